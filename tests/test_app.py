"""app.py: what it refuses, and that it opens."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from helpers import wait_for

from engine.home import PROJECT


def run_app(*arguments: str, password: str = "") -> "subprocess.Popen[str]":
    """An app.py process without a terminal."""
    environment = os.environ | {"BLUEBERRY_PASSWORD": password, "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "app.py", "--no-open", *arguments],
        cwd=PROJECT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


def refusal(*arguments: str) -> str:
    """The one line of an app.py that ends with exit status 1."""
    process = run_app(*arguments)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1, errors
    assert errors.count("\n") == 1
    return errors


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_address_without_a_password_is_refused(tmp_path: Path, host: str) -> None:
    assert "BLUEBERRY_PASSWORD" in refusal("--home", str(tmp_path), "--host", host, "--port", "0")


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert f"Port {port} on 127.0.0.1 cannot be used" in refusal("--home", str(tmp_path), "--port", str(port))


def test_an_answer_does_not_wait_until_its_beginning_is_acknowledged() -> None:
    import app

    with app.reserve("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_out_of_range_is_refused(tmp_path: Path) -> None:
    assert "0 to 65535" in refusal("--home", str(tmp_path), "--port", "70000")


def test_a_home_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "cannot be used" in refusal("--home", str(tmp_path / "file"), "--port", "0")


def test_it_opens_says_where_and_asks_for_the_password(tmp_path: Path) -> None:
    port = free_port()
    process = run_app("--home", str(tmp_path), "--port", str(port), password="quiet")

    def status() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    try:
        assert wait_for(status, timeout=30) == 401
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        assert (tmp_path / "runs.db").exists()
    finally:
        process.terminate()
        process.communicate(timeout=10)
