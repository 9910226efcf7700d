"""Processes are recognised by pid, start time and boot; locks die with their holder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import kill, wait_for

from engine import process
from engine.home import PROJECT


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)


def known(child: subprocess.Popen[bytes]) -> tuple[int, float, str]:
    who = process.identity(child.pid)
    return who["pid"], who["process_started_at"], who["boot_id"]


def test_this_process_is_alive() -> None:
    who = process.identity()
    assert who["pid"] == os.getpid()
    assert process.alive(who["pid"], who["process_started_at"], who["boot_id"])


def test_a_pid_of_another_start_or_boot_is_a_stranger_and_never_signalled() -> None:
    child = sleeper()
    try:
        pid, start, boot = known(child)
        strangers = ((pid, start - 0.01, boot), (pid, start, "another boot"), (pid, None, boot), (None, start, boot))
        for stranger in strangers:
            assert not process.alive(*stranger)
            assert not process.send(signal.SIGKILL, *stranger)
        assert child.poll() is None
    finally:
        kill(child)


def test_a_zombie_is_not_alive_but_still_known() -> None:
    child = sleeper()
    who = known(child)
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: not process.alive(*who))
    assert known(child) == who
    assert not process.send(signal.SIGTERM, *who)
    child.wait()
    with pytest.raises(ProcessLookupError):
        process.identity(child.pid)


def test_a_signal_reaches_the_whole_group() -> None:
    script = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout and child.stdin
    grandchild = int(child.stdout.readline())
    who, other = known(child), process.identity(grandchild)
    assert process.send(signal.SIGKILL, *who, group=True)
    assert child.wait() == -signal.SIGKILL
    wait_for(lambda: not process.alive(other["pid"], other["process_started_at"], other["boot_id"]))
    child.stdin.close()
    child.stdout.close()


@pytest.mark.parametrize(("mark", "ended"), [("mine", 1), ("another's", 0)])
def test_only_what_a_dead_trainer_has_left_behind_is_ended(mark: str, ended: int) -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL).pid)"
    leader = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {process.MARK: "mine"},
    )
    left = int(leader.communicate(timeout=10)[0])
    who = process.identity(left)
    try:
        assert process.end_leftovers(leader.pid, mark) == ended
        wait_for(lambda: process.alive(left, who["process_started_at"], who["boot_id"]) is not bool(ended))
    finally:
        process.send(signal.SIGKILL, left, who["process_started_at"], who["boot_id"])


def test_a_stranger_with_a_dead_trainers_number_is_spared_with_all_it_has_started() -> None:
    script = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print(flush=True); sys.stdin.read()"
    stranger = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert stranger.stdout and stranger.stdin
    stranger.stdout.readline()
    try:
        assert process.end_leftovers(stranger.pid, "a run") == 0
        assert stranger.poll() is None
    finally:
        os.killpg(stranger.pid, signal.SIGKILL)
        stranger.communicate()


def test_a_lock_has_one_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    script = "import sys; from engine.process import hold_lock; held = hold_lock(sys.argv[1]); print(held, flush=True)"
    script = script.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])") + "; sys.stdin.read()"
    assert not process.is_held(path)
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdin
    assert b"Lock" in holder.stdout.readline()
    assert process.is_held(path)
    assert process.hold_lock(path, wait=0.05) is None
    kill(holder)
    holder.stdin.close()
    holder.stdout.close()
    assert not process.is_held(path)
    with process.hold_lock(path) as lock:  # type: ignore[union-attr]
        assert isinstance(lock, process.Lock)


def test_who_only_looks_is_never_taken_for_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    script = (
        "import pathlib, sys; from engine.process import is_held; print(flush=True)\n"
        "while True: is_held(pathlib.Path(sys.argv[1]))"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=PROJECT, stdout=subprocess.PIPE)
    assert other.stdout
    try:
        other.stdout.readline()
        assert not any(process.is_held(path) for _ in range(10_000))
    finally:
        kill(other)
        other.stdout.close()


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = process.hold_lock(path)
    assert lock
    child = sleeper()
    try:
        lock.release()
        again = process.hold_lock(path, wait=0)
        assert again
        again.release()
    finally:
        kill(child)


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "without saying why"),
        (3, "exit status 3"),
        (-9, "SIGKILL), perhaps by the system for lack of memory"),
        (-11, "SIGSEGV"),
        (-15, "was killed (SIGTERM)"),
        (-250, "signal 250"),
    ],
)
def test_an_exit_is_described_in_words(returncode: int, words: str) -> None:
    assert words in process.describe_exit(returncode)
