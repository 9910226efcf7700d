"""The supervisor's side of dataset jobs: starts them one after the other, hears of their end, lets them go on.

A job may be killed at any time: what it has written up to its last whole chunk counts, and the next attempt goes on
there. No torch.
"""

import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlite_utils import Database

from engine import causes, process, store
from engine.children import LINGER, Child, apart, spawn, tell
from engine.endings import ASKED_EXITS, BANNER, last_words, silent
from engine.home import Home

JOB = (sys.executable, "-m", "engine.data.job")
GRACE = 10.0
"""Seconds from a stop to SIGKILL, which costs no more than the chunk in work."""
KILLED = "It did not end within {grace:g} s and was killed (SIGKILL); nothing whole is lost."
WAITS = "Waits until"
RETRIES = 3
"""How often in a row a job goes on by itself without getting further."""


@dataclass
class Worker(Child):
    """A process that works on a job."""

    stopping_since: float | None = None
    """When its stop was first seen, in monotonic seconds."""
    killed: str = ""
    """Why it was killed, once it was."""


class Jobs:
    """The jobs of one home, for the supervisor's tick. One works at a time: each of them uses all cores."""

    def __init__(
        self, home: Home, command: Sequence[str] = JOB, *, grace: float = GRACE, linger: float = LINGER
    ) -> None:
        self.home, self.command, self.grace, self.linger = home, command, grace, linger
        self.workers: dict[str, Worker] = {}
        self.told: set[tuple[str, str]] = set()

    def tick(self, db: Database) -> bool:
        """Look once at everything; whether anything works or waits."""
        self._reap(db)
        jobs = store.open_jobs(db)
        # Those that work first: what waits begins when there are none.
        for job in sorted(jobs, key=lambda job: job["status"] == "waiting"):
            with apart(f"job {job['id']}", self.told, partial(_note, db, job)):
                (self._begin if job["status"] == "waiting" else self._watch)(db, job)
        still_open = {job["id"] for job in jobs}
        for job_id, worker in self.workers.items():
            if worker.shaken_off(job_id not in still_open, self.linger):
                tell(f"job {job_id}: its process had ended it {self.linger:g} s ago and was killed")
        return bool(self.workers or jobs)

    def _reap(self, db: Database) -> None:
        """Bury processes that have ended, and end their jobs if they did not."""
        for job_id, worker in list(self.workers.items()):
            if not worker.alive():
                with apart(f"job {job_id}", self.told, partial(_note, db, worker.row)):
                    returncode = worker.bury()
                    if end_dead(self.home, db, worker.row, returncode, worker.killed, worker.before):
                        how = "is gone" if returncode is None else process.describe_exit(returncode)
                        tell(f"job {job_id}: process {worker.row['pid']} {how}")
                del self.workers[job_id]

    def _watch(self, db: Database, job: store.Row) -> None:
        """A job with a process: it may need adoption, be dead, or not hear its stop."""
        worker = self.workers.get(job["id"])
        if worker is None and (found := Worker(job)).alive():
            worker = self.workers[job["id"]] = found
            tell(f"job {job['id']}: process {job['pid']} adopted")
        if worker is None:
            if end_dead(self.home, db, job):
                tell(f"job {job['id']}: it has no process any more")
        elif job["status"] == "stopping" and not worker.killed:
            worker.stopping_since = worker.stopping_since or time.monotonic()
            if time.monotonic() - worker.stopping_since > self.grace and worker.signal(signal.SIGKILL):
                worker.killed = KILLED.format(grace=self.grace)

    def _begin(self, db: Database, job: store.Row) -> None:
        """A job that waits: it begins unless another one works."""
        if not self.workers:
            self._start(db, job)
            return
        for job_id, worker in self.workers.items():
            message = f"{WAITS} {worker.row['name']} is ready"
            free = not job["message"] or job["message"].startswith(WAITS)  # else it says why it begins again
            if free and job_id != job["id"] and message != job["message"]:
                _note(db, job, message)

    def _start(self, db: Database, job: store.Row) -> None:
        """Spawn the process of a waiting job, unless it was stopped or discarded meanwhile."""
        log, before = self.home.job_log(job["name"]), causes.kills()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab" if job["attempt"] else "wb") as output, store.writing(db):
                # In one transaction, so that whoever stops the job finds it with its process or without one.
                now = store.job_of(db, job["name"])
                if now is None or now["id"] != job["id"] or now["status"] != "waiting":
                    return
                output.write(f"{BANNER} {now['attempt'] + 1}, {datetime.now():%Y-%m-%d %H:%M:%S}\n".encode())
                output.flush()
                child = spawn([*self.command, "--home", str(self.home.path), job["id"]], job["id"], output)
                who = process.identity(child.pid)
                self.workers[job["id"]] = Worker(now | who, child, before)
                store.update_job(db, job["id"], status="running", message="Starting", heartbeat_at=time.time(), **who)
                tell(f"job {job['id']}: process {child.pid} started for {job['name']}")
        except OSError as error:
            store.end_job(db, job["id"], "failed", f"The job could not be started: {error.strerror or error}.")


def _note(db: Database, job: store.Row, message: str) -> None:
    store.update_job(db, job["id"], message=message)


def reconcile(home: Home, db: Database, watched: bool) -> bool:
    """End the jobs whose process is gone, or let them go on; whether any is open. Cheap enough before every read.

    `watched`: another process supervises them; that one goes first, because it knows what its child died of.
    """
    jobs = store.open_jobs(db)
    lost = [
        job for job in jobs if job["status"] != "waiting" and not Child(job).alive() and (not watched or silent(job))
    ]
    for job in lost:
        end_dead(home, db, job)
    return bool(store.open_jobs(db) if lost else jobs)


def end_dead(
    home: Home,
    db: Database,
    job: store.Row,
    returncode: int | None = None,
    killed: str = "",
    before: causes.Kills | None = None,
) -> bool:
    """End a job whose process, the one named in `job`, is gone; False when it has ended itself or a newer one has it.

    `returncode` and `before` are known to the process's parent only; `killed` says why that killed it itself. A job
    that crashed goes on by itself, RETRIES times in a row without getting further.
    """
    if job["pid"] is not None:
        process.end_leftovers(job["pid"], job["id"])
    spoken, lacked = last_words(home, home.job_log(job["name"])), causes.lacked_memory(before, causes.kills())
    death = causes.explain_death(returncode, spoken, lacked, shutil.disk_usage(home.path).free, causes.JOB)
    with store.writing(db):
        now = store.job_of(db, job["name"])
        if now is None or now["status"] not in ("running", "stopping") or _process(now) != _process(job):
            return False
        status, error = _verdict(home, now, returncode, killed, death)
        store.end_job(db, now["id"], status, error)
        if status == "crashed":
            _go_on(home, db, now, error or "")
    return True


def _process(job: store.Row) -> tuple[str, int | None, float | None]:
    return job["id"], job["pid"], job["process_started_at"]


def _verdict(home: Home, job: store.Row, returncode: int | None, killed: str, death: str) -> tuple[str, str | None]:
    """End status and error: what happened and what to do."""
    if home.dataset(job["name"]).exists():
        return "finished", None  # it was whole before the process could say so
    if killed:
        return "stopped", killed
    if job["status"] == "stopping":
        return "stopped", None if returncode is None or returncode in ASKED_EXITS else death
    if job["boot_id"] != process.boot_id():
        return "crashed", "The computer was restarted or switched off meanwhile. Resume goes on where it was."
    return "failed" if (returncode or 0) > 0 else "crashed", death


def _go_on(home: Home, db: Database, job: store.Row, error: str) -> None:
    """Let a crashed job go on by itself, unless it does so in vain."""
    try:
        reached = home.job_state(job["name"]).stat().st_mtime
    except OSError:  # before its first chunk
        reached = None
    done = job["auto_resumes"] if reached == job["reached"] else 0
    if done < RETRIES:
        message = f"Goes on by itself ({done + 1} of {RETRIES} without getting further). {error}"
        store.reopen_job(db, job["id"], message, done + 1)
    else:
        error += f" It has gone on by itself {RETRIES} times and got no further: find the cause, then resume."
        store.update_job(db, job["id"], error=error)
    store.update_job(db, job["id"], reached=reached)
