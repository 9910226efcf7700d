"""The processes that a page is measured with: app.py, and the writer that stands for trainers."""

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator

import psutil

from benchmarks.page.homes import Big
from engine import process
from engine.home import PROJECT, Home

PATIENCE = 120.0
"""Seconds that app.py may take for one answer."""


class Failed(Exception):
    """Something cannot be measured; says why in a sentence."""


class Server:
    """An app.py of its own at a free port."""

    def __init__(self, home: Home) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`, as long as the process lives
        self._child = subprocess.Popen(
            [sys.executable, "app.py", "--home", str(home.path), "--port", str(self.port), "--no-open"],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
        )
        self._counters = psutil.Process(self._child.pid)
        self._await()

    def _await(self) -> None:
        """Until it answers; raises Failed."""
        until = time.monotonic() + PATIENCE
        while self._child.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/api/presets", timeout=5):
                return
            time.sleep(0.05)
        self._words.seek(0)
        said = self._words.read().decode("utf-8", "replace").strip().splitlines()
        self.close()
        raise Failed(f"app.py did not answer; its last words: {said[-1] if said else 'none'}")

    def cpu_seconds(self) -> float:
        """What its threads have worked so far."""
        used = self._counters.cpu_times()
        return float(used.user + used.system)

    def warm(self, ids: Iterable[str]) -> None:
        """Let it read the curves of these runs."""
        for run_id in ids:
            path = f"/api/series?run={run_id}&x=tokens"
            with urllib.request.urlopen(self.address + path, timeout=PATIENCE) as answer:
                answer.read()

    def close(self) -> None:
        """End it."""
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._words.close()


@contextlib.contextmanager
def serving(big: Big) -> Iterator[Server]:
    """A server whose home starts no supervisor: its runs have no trainers that one could look after."""
    lock = process.hold_lock(big.home.supervisor_lock)
    if lock is None:
        raise Failed("This home is in use: it has a supervisor.")
    with lock:
        server = Server(big.home)
        try:
            yield server
        finally:
            server.close()


@contextlib.contextmanager
def growing(big: Big, runs: int, rate: float) -> Iterator[None]:
    """The first `runs` runs go on by `rate` steps a second."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.page.writer", str(big.home.path), str(runs), str(rate)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin and child.stdout
    try:
        if child.stdout.readline().strip() != b"ready":
            raise Failed("The writer of new steps did not start.")
        yield
    finally:
        child.stdin.close()
        child.wait(timeout=30)
        child.stdout.close()
