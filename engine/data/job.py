"""One dataset job, in a process of its own: `python -m engine.data.job --home DIR JOB_ID`.

The supervisor starts it. It talks to the rest of the program through its row in runs.db only, about twice a second; a
database that is locked, full or gone for a while does not hold it up.
"""

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from sqlite_utils import Database

from engine import process, store
from engine.causes import JOB, explain_death
from engine.config import ConfigError
from engine.data import prepare
from engine.data.progress import Asked, Progress, Report, Stopped
from engine.data.recipe import Recipe
from engine.endings import without_folders
from engine.home import Home
from engine.outage import PATIENCE, UNWRITABLE, Connection, Outage, patiently
from engine.say import say

PERIOD = 0.5
"""Seconds between two looks at the row: a stop is heard within a second."""
WINDOW = 60.0
"""Seconds over which speed and time left are measured: several chunks of text on two cores."""
NICE = 5
"""A run on the same processor, and the page, come first."""
KILL_ME_FIRST = Path("/proc/self/oom_score_adj"), "300"
"""Where memory runs out, Linux ends a job before a trainer: it loses the least by it."""
LONGEST = 500
"""Characters of an error."""


class Preparer(Protocol):
    """What a job does; engine.data.prepare."""

    def __call__(
        self, home: Home, name: str, recipe: Recipe, *, report: Report, stopped: Asked, roots: Sequence[Path] | None
    ) -> None: ...


class Pace:
    """Tokens a second and seconds left, by the last WINDOW seconds of reading and encoding."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Progress]] = deque()

    def measure(self, progress: Progress) -> tuple[float | None, float | None]:
        """Speed and time left, each None while it is not known."""
        if progress.stage not in ("reading", "encoding") or not progress.tokens:
            return None, None
        now = time.monotonic()
        self._seen.append((now, progress))
        while now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        began, first = self._seen[0]
        seconds, tokens = now - began, progress.tokens - first.tokens
        if seconds < PERIOD or tokens <= 0:
            return None, None
        share = None if progress.share is None or first.share is None else progress.share - first.share
        left = (1 - (progress.share or 0)) * seconds / share if share else None
        return tokens / seconds, left


class Reporter:
    """Writes what a job says into its row, from a thread of its own; `stop` is set when somebody asked for that."""

    def __init__(self, database: Path, job: store.Row) -> None:
        self.job, self.stop = job, threading.Event()
        self._database = database
        self._began, self._pace, self._progress = time.monotonic(), Pace(), Progress("", "Starting")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)
        self._thread.start()

    def report(self, progress: Progress) -> None:
        """Take in how far the job is; costs nothing."""
        self._progress = progress

    def close(self) -> None:
        """End the thread; what was said last may not be written."""
        self._closing.set()
        self._thread.join(PATIENCE)

    def end(self, status: str, error: str | None) -> None:
        """Store how this attempt ended, with what was said last; a database that is away is waited for."""
        self.close()

        def store_end(db: Database) -> None:
            self._write(db)
            why = error
            with store.writing(db):
                if status == "stopped" and store.get_job(db, self.job["id"])["status"] == "running":
                    why = f"It was told to end (SIGTERM) by the system or another program. {JOB.go_on}."
                store.end_job(db, self.job["id"], status, why, attempt=self.job["attempt"])

        with contextlib.closing(self._connection()) as connection:
            patiently(lambda: store_end(connection.open()))

    def _connection(self) -> Connection:
        return Connection(self._database, partial(store.get_job, job_id=self.job["id"]))

    def _work(self) -> None:
        connection, outage = self._connection(), Outage("preparing")
        while not self._closing.wait(PERIOD):
            try:
                self._write(connection.open())
                outage.ends()
            except UNWRITABLE as error:
                outage.goes_on(error, 1)
        connection.close()

    def _write(self, db: Database) -> None:
        progress = self._progress
        speed, left = self._pace.measure(progress)
        values = {
            "stage": progress.stage,
            "message": progress.message,
            "progress": progress.share,
            "eta_seconds": left,
            "elapsed_seconds": self.job["elapsed_seconds"] + time.monotonic() - self._began,
            "heartbeat_at": time.time(),
        }
        if progress.stage not in ("", "waiting"):  # else it has not looked yet at what is there already
            values |= {key: getattr(progress, key) for key in ("documents", "tokens", "bytes", "dropped")}
        if progress.stage not in ("finishing", "finished"):
            values["tokens_per_second"] = speed
        with store.writing(db):
            job = store.get_job(db, self.job["id"])
            if job["status"] == "stopping" or job["attempt"] != self.job["attempt"]:
                self.stop.set()
            if job["attempt"] == self.job["attempt"]:
                store.update_job(db, job["id"], **values)


def claim(db: Database, job_id: str) -> store.Row | None:
    """Make this process the one that works on a job; None where the job has ended or another process has it."""
    me = process.identity()
    with store.writing(db):
        job = store.get_job(db, job_id)
        other = job["pid"] != me["pid"] and process.alive(job["pid"], job["process_started_at"], job["boot_id"])
        if job["status"] not in store.OPEN_JOBS or other:
            return None
        now = time.time()
        values = {
            "status": "running" if job["status"] == "waiting" else job["status"],
            "attempt": job["attempt"] + 1,
            "started_at": job["started_at"] or now,
            "heartbeat_at": now,
            **me,
        }
        store.update_job(db, job_id, **values)
        return job | values


def work_on(home: Home, job: store.Row, reporter: Reporter, preparer: Preparer) -> tuple[str, str | None]:
    """The status that the job ends with, and why in a sentence."""
    try:
        if home.dataset(job["name"]).exists() and job["attempt"] > 1:
            return "finished", None  # the attempt before ended between the last file and its last word
        roots = None if job["roots"] is None else [Path(root) for root in job["roots"]]
        recipe = Recipe.from_json(job["recipe"])
        preparer(home, job["name"], recipe, report=reporter.report, stopped=reporter.stop.is_set, roots=roots)
    except Stopped:
        return "stopped", None
    except Exception as error:  # noqa: BLE001 - the boundary of the process: whatever it was is told and kept
        with contextlib.suppress(OSError):  # the log may lie on a disk that is full
            traceback.print_exc()
        return "failed", explain(error, home)
    return "finished", None


def explain(error: BaseException, home: Home) -> str:
    """One or two sentences on why a job failed and what to do."""
    root = error.__cause__ if isinstance(error, store.Refused) and isinstance(error.__cause__, OSError) else error
    if isinstance(root, OSError) and root.errno in (errno.ENOSPC, errno.EDQUOT):
        return explain_death(1, "No space left on device", None, kind=JOB)
    if isinstance(error, (ConfigError, store.Refused, store.StoreError)):
        return str(error)
    if isinstance(error, MemoryError):
        return explain_death(1, "MemoryError", None, kind=JOB)
    said = str(error).strip().splitlines()
    return without_folders(home, f"{type(error).__name__}: {said[0] if said else 'no message'}")[:LONGEST]


def main(argv: Sequence[str] | None = None, preparer: Preparer = prepare) -> int:
    """Make one attempt at a job and leave a true end status behind; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.job")
    parser.add_argument("--home", required=True)
    parser.add_argument("job_id")
    arguments = parser.parse_args(argv)
    home, job_id = Home.at(arguments.home), arguments.job_id
    os.nice(NICE)
    with contextlib.suppress(OSError):
        KILL_ME_FIRST[0].write_text(KILL_ME_FIRST[1], encoding="ascii")
    with contextlib.closing(store.connect(home.database, durable=True, patience=PATIENCE)) as db:
        job = claim(db, job_id)
    if job is None:
        say(f"Job {job_id} has ended, or another process works on it")
        return 1
    reporter = Reporter(home.database, job)
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop.set())
    status, error = work_on(home, job, reporter, preparer)
    reporter.end(status, error)
    return int(status == "failed")


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # A thread that still reads from a network must not keep the process.
    os._exit(code)
