"""What several tests share: waiting for something to come true, and a supervisor whose trainers are fakes."""

import contextlib
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from engine import process, store
from engine.home import PROJECT, Home

FAKE, FAKE_JOB = (Path(__file__).resolve().parent / name for name in ("fake_trainer.py", "fake_job.py"))
T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float = 15.0, every: float = 0.02) -> T:
    """The first true value of `condition`; fails the test when there is none within `timeout` seconds."""
    until = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < until, f"still not so after {timeout:g} s"
        time.sleep(every)
    return value


def fake_trainer(*options: str) -> list[str]:
    """The command of a fake trainer with these options (see fake_trainer.py)."""
    return [sys.executable, str(FAKE), *options]


def fake_job(*options: str) -> list[str]:
    """The command of a job whose preparer is a fake with these options (see fake_job.py)."""
    return [sys.executable, str(FAKE_JOB), *options]


@contextlib.contextmanager
def supervised(
    home: Home, *options: str, idle: float = 600.0, job: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A real supervisor process for `home` that starts fake trainers and jobs; all are gone at the end.

    `options` are the trainers', `job` those of the jobs.
    """
    with home.supervisor_log.open("ab") as log:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "engine.supervisor",
                "--home",
                str(home.path),
                "--idle",
                str(idle),
                "--trainer",
                shlex.join(fake_trainer(*options)),
                "--job",
                shlex.join(fake_job(*job)),
            ],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: process.is_held(home.supervisor_lock))
        yield child
    finally:
        child.terminate()
        child.wait(timeout=10)
        end_trainers(home)


def end_trainers(home: Home) -> None:
    """Kill what still trains or prepares in this home."""
    db = store.connect(home.database)
    for run in [*store.list_runs(db), *store.list_jobs(db)]:
        process.send(signal.SIGKILL, run["pid"], run["process_started_at"], run["boot_id"], group=True)
    db.close()


@contextlib.contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """This process may read `folder` and what lies in it, and write nothing there, also where the tests are root's."""
    root = os.geteuid() == 0
    files = [folder, *folder.rglob("*")]
    modes = [file.stat().st_mode for file in files]
    above = [path for path in folder.parents if root and not path.stat().st_mode & 0o001]
    closed = [path.stat().st_mode for path in above]
    for path, mode in zip(above, closed, strict=True):
        path.chmod(mode | 0o011)
    for file, mode in zip(files, modes, strict=True):
        file.chmod(0o555 if stat.S_ISDIR(mode) else 0o444)
    if root:
        os.seteuid(65534)  # nobody
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for file, mode in [*zip(files, modes, strict=True), *zip(above, closed, strict=True)]:
            if file.exists():
                file.chmod(mode)


def kill(child: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process of ours and take note of its end."""
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=10)
