"""Work on capsules that takes its time: each is a `python -m engine capsule` of its own, heard, cancelled, tidied up.

A process for each keeps torch out of this one, and what a stranger's file may do to a program as well.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.home import PROJECT, Home
from engine.process import torch_environment
from engine.store import Refused

COMMAND = (sys.executable, "-m", "engine", "capsule")
AT_ONCE = 3
"""Jobs that may run at once; each is a process."""
REMEMBERED = 3600.0
"""Seconds for which the end of a job is remembered, and what it made is kept to be fetched."""
PATIENCE = 3.0
"""Seconds in which a job that is ended may tidy up."""
ON_THEIR_WAY = ".way-*"


@dataclass
class Job:
    """One piece of work."""

    kind: str
    process: subprocess.Popen[bytes] | None
    file: Path | None
    """What it makes or reads; removed with the job."""
    reads: Path | None = None
    """The file of another job that it reads: it is removed only after its end."""
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int = 0
    state: str = "running"
    """`running`, `done`, `failed`, `cancelled`."""
    result: Any = None
    error: str = ""


class Jobs:
    """The jobs of one home, for any number of threads."""

    def __init__(self, home: Home, command: Sequence[str] = COMMAND) -> None:
        self.home, self.command = home, tuple(command)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        for left in home.capsules.glob(ON_THEIR_WAY) if home.capsules.is_dir() else ():
            left.unlink(missing_ok=True)  # of a page that was killed

    def new_file(self) -> Path:
        """A name for what is on its way in or out."""
        self.home.capsules.mkdir(exist_ok=True)
        return self.home.capsules / f".way-{secrets.token_hex(8)}.capsule"

    def start(self, kind: str, words: Sequence[str], file: Path | None = None, reads: Path | None = None) -> str:
        """Begin a job; returns its id. Raises Refused when enough of them run."""
        self._tidy()
        with self._lock:
            if sum(job.state == "running" for job in self._jobs.values()) >= AT_ONCE:
                raise Refused(f"{AT_ONCE} capsules are being worked on already; try again in a moment.")
            process = subprocess.Popen(
                [*self.command, kind, "--json", "--progress", "--home", str(self.home.path), *words],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=torch_environment(),
                start_new_session=True,
            )
            token, job = secrets.token_hex(8), Job(kind, process, file, reads)
            self._jobs[token] = job
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)  # training and the page come first
        threading.Thread(target=self._hear, args=(job, process), name="capsule-job", daemon=True).start()
        return token

    def said(self, kind: str, result: Any) -> str:
        """A job that was done before it began; returns its id."""
        token = secrets.token_hex(8)
        with self._lock:
            self._jobs[token] = Job(kind, None, None, state="done", result=result)
        return token

    def get(self, token: str) -> Job:
        """A job by its id; raises Refused."""
        job = self._jobs.get(token)
        if job is None:
            raise Refused("This is not known any more; begin again.")
        return job

    def cancel(self, token: str) -> None:
        """End a job, whatever it does, and remove its file; one that is not known is no error."""
        with self._lock:
            job = self._jobs.pop(token, None)
        if job is not None:
            self._end(job)

    def take_file(self, token: str) -> Path:
        """The file that a job made, which is the caller's from here on; raises Refused."""
        job = self.get(token)
        with self._lock:
            file, job.file = job.file, None
        if job.kind != "export" or job.state != "done" or file is None or not file.is_file():
            if file is not None:
                job.file = file
            raise Refused("There is no file to fetch; pack the capsule again.")
        return file

    def close(self) -> None:
        """End all jobs and remove their files."""
        for token in list(self._jobs):
            self.cancel(token)

    def _end(self, job: Job) -> None:
        if job.process is not None and job.state == "running":
            job.state = "cancelled"
            job.process.terminate()  # it tidies up; whatever it stores is in one transaction
            try:
                job.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                job.process.kill()
                job.process.wait()
            for left in (self.home.path / "checkpoints").glob(f".capsule-{job.process.pid}-*"):
                shutil.rmtree(left, ignore_errors=True)
        self._drop_file(job)

    def _drop_file(self, job: Job) -> None:
        """Remove what a job made or read, and the folder where nothing else is in it."""
        reader = next((one for one in self._jobs.values() if one.state == "running" and one.reads == job.file), None)
        if job.file is not None and reader is not None:
            reader.file = job.file  # which removes it at its own end
        elif job.file is not None:
            job.file.unlink(missing_ok=True)
            for part in job.file.parent.glob(f".{job.file.name}.*"):
                part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.home.capsules.rmdir()

    def _hear(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        """Follow a process to its end; runs in a thread of its own."""
        assert process.stdout is not None and process.stderr is not None
        last = ""
        with process.stdout, process.stderr:
            for line in process.stderr:
                try:
                    told = json.loads(line)
                    job.done, job.total = int(told["done"]), int(told["total"])
                except (ValueError, TypeError, LookupError):
                    last = line.decode("utf-8", "replace").strip() or last
            answer = process.stdout.read()
        code = process.wait()
        with self._lock:
            if job.state != "running":
                return
            try:
                job.result, job.state = json.loads(answer), "done"
                if job.kind == "import":
                    self._drop_file(job)
            except ValueError:
                plain = code == 1 and last.endswith((".", "!"))
                job.error = last if plain else "It ended without an answer; python -m engine capsule says more."
                job.state = "failed"
                self._drop_file(job)  # nothing can be done with it any more

    def _tidy(self) -> None:
        """Forget what nobody has asked for in an hour."""
        for token, job in list(self._jobs.items()):
            if job.state != "running" and time.monotonic() - job.began > REMEMBERED:
                self.cancel(token)
