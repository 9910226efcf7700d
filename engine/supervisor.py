"""The parent of a home's trainers: starts them, sees that a stop is a stop, and says what they died of. No torch.

Dataset jobs are looked after by engine/jobs.py. It may end or be killed at any time: trainers and jobs go on, and the
next supervisor watches them by pid and start time.
"""

import argparse
import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import FrameType

from sqlite_utils import Database

from engine import causes, probing, process, store
from engine.children import LINGER, Child, apart, spawn, tell
from engine.courier import Courier, Stalls
from engine.endings import BANNER, REQUESTS, STARTS, end_dead, is_lost, lock_of, stop_command
from engine.home import Home
from engine.jobs import JOB, Jobs
from engine.ladder import GRACE, GRACE_NOW, Ladder
from engine.metering import Metering
from engine.turns import give_turns

TRAINER = (sys.executable, "-m", "engine.train")
TICK = 0.1
"""Seconds between two looks at the database and the processes."""


@dataclass
class Trainer(Child):
    """A process that trains a run."""

    ladder: Ladder | None = None
    """Since it was asked to stop. The run's next trainer begins without one."""


class Supervisor:
    """Watches one home until `end` is set, or nothing has run or waited for `idle` seconds."""

    def __init__(
        self,
        home: Home,
        trainer: Sequence[str] = TRAINER,
        *,
        idle: float = 10.0,
        grace: float = GRACE,
        grace_now: float = GRACE_NOW,
        linger: float = LINGER,
        jobs: Jobs | None = None,
        metering: Metering | None = None,
    ) -> None:
        self.home, self.trainer, self.idle = home, trainer, idle
        self.jobs = jobs or Jobs(home)
        self.metering = metering or Metering(home)
        self.courier, self.stalls = Courier(home), Stalls()
        self.grace, self.grace_now, self.linger = grace, grace_now, linger
        self.end = False
        self.trainers: dict[str, Trainer] = {}
        self.told: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Watch until there is nothing left to do; trainers that still run are left running."""
        db = store.connect(self.home.database, durable=True)
        busy = time.monotonic()
        try:
            while not self.end and time.monotonic() - busy < self.idle:
                if not self.home.database.exists():
                    tell("runs.db is gone; trainers are left alone")
                    return
                try:
                    if self.tick(db):
                        busy = time.monotonic()
                except store.DatabaseError as error:
                    tell(f"runs.db cannot be used now: {error}")  # locked, or the disk is full: trainers go on
                    busy = time.monotonic()
                    time.sleep(1)
                time.sleep(TICK)
            self.courier.leave()
        finally:
            self.metering.close(db)
            db.close()

    def tick(self, db: Database) -> bool:
        """Look once at everything; whether anything runs or waits."""
        self._reap(db)
        in_line = give_turns(self.home, db)
        waiting = store.waiting_commands(db, STARTS)
        for command in waiting:
            with self._apart(db, command["run_id"]):
                if self._ready_for(store.get_run(db, command["run_id"])):
                    self._start(db, command["run_id"])
        runs = [run for run in store.open_runs(db) if run["status"] in store.ACTIVE]
        for run in runs:
            with self._apart(db, run["id"]):
                self._watch(db, run)
                if run["id"] in self.trainers:
                    self.metering.look(db, run)
        still_open = {run["id"] for run in runs}
        self.stalls.forget(still_open)
        for run_id, trainer in self.trainers.items():  # one that stays would keep memory and the run's lock
            if trainer.shaken_off(run_id not in still_open, self.linger):
                tell(f"run {run_id}: its trainer had ended the run {self.linger:g} s ago and was killed")
        to_tell = False
        with apart("alerts", self.told, tell):
            to_tell = self.courier.tick(db)
        return self.jobs.tick(db) or bool(self.trainers or waiting or runs or in_line or to_tell)

    def _reap(self, db: Database) -> None:
        """Bury trainers that have ended, with what is left of their group, and end their runs if they did not."""
        for run_id, trainer in list(self.trainers.items()):
            if not trainer.alive():
                with self._apart(db, run_id):
                    self.metering.end(db, trainer.row)
                with self._apart(db, run_id):
                    self._end(db, trainer)
                del self.trainers[run_id]

    def _end(self, db: Database, trainer: Trainer) -> None:
        returncode, run = trainer.bury(), trainer.row
        killed = trainer.ladder.killed if trainer.ladder else ""
        if end_dead(self.home, db, run, returncode, killed, trainer.before):
            how = "is gone" if returncode is None else process.describe_exit(returncode)
            tell(f"run {run['id']}: trainer {run['pid']} {how}")
        else:
            _note_stop(db, run)

    def _apart(self, db: Database, run_id: str) -> contextlib.AbstractContextManager[None]:
        return apart(f"run {run_id}", self.told, partial(store.add_event, db, run_id, "note"))

    def _ready_for(self, run: store.Row) -> bool:
        """Whether the last trainer of a run is quite gone, and whoever else held its device; a measurement is ended."""
        there = any(run_id == run["id"] or one.row["device"] == run["device"] for run_id, one in self.trainers.items())
        if there or process.is_held(lock_of(self.home, run["id"])):
            return False
        return not probing.make_way(self.home, run["device"])

    def _start(self, db: Database, run_id: str) -> None:
        """Take a waiting start and spawn the trainer, unless the run has been stopped meanwhile."""
        log, before = self.home.log(run_id), causes.kills()
        commands = store.take_commands(db, STARTS, run_id)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output, store.writing(db):
                # In one transaction, so that whoever stops or ends the run finds it with its process or without one.
                run = store.get_run(db, run_id)
                if run["status"] == "preparing":
                    store.drop_commands(db, run_id, REQUESTS, "meant for the attempt before")
                    output.write(f"{BANNER} {run['attempt'] + 1}, {datetime.now():%Y-%m-%d %H:%M:%S}\n".encode())
                    output.flush()
                    child = spawn([*self.trainer, "--home", str(self.home.path), run_id], run_id, output)
                    who = process.identity(child.pid)
                    self.trainers[run_id] = Trainer(run | who, child, before)
                    store.update_state(db, run_id, **who)
                    store.begin_meter(db, run_id)
                    tell(f"run {run_id}: trainer {child.pid} started")
                elif run["status"] == "stopping":
                    store.end_run(db, run_id, "stopped")
        except OSError as error:
            store.end_run(db, run_id, "failed", f"The trainer could not be started: {error.strerror or error}.")
        for command in commands:
            store.finish_command(db, command["id"], "started" if run_id in self.trainers else "not started")

    def _watch(self, db: Database, run: store.Row) -> None:
        """One run that has not ended: it may need adoption, be dead, or be due for another rung of the stop ladder."""
        trainer = self.trainers.get(run["id"])
        if trainer is None and Trainer(run).alive():
            trainer = self.trainers[run["id"]] = Trainer(run)
            tell(f"run {run['id']}: trainer {run['pid']} adopted")
        if trainer is None:
            if is_lost(self.home, db, run, watched=False):
                end_dead(self.home, db, run)
                tell(f"run {run['id']}: it has no trainer any more")
            return
        command = stop_command(db, run["id"])
        if command or run["status"] == "stopping":
            trainer.ladder = trainer.ladder or Ladder(self.grace, self.grace_now)
            trainer.ladder.climb(db, run, command)
        self.stalls.look(db, run)


def _note_stop(db: Database, trained: store.Row) -> None:
    """The last rung of most stops: the trainer has ended its run by itself."""
    run, command = store.get_run(db, trained["id"]), stop_command(db, trained["id"])
    if run["status"] == "stopped" and run["pid"] == trained["pid"] and command:
        seconds = max(0.0, run["ended_at"] - command["created_at"])
        store.add_event(
            db, run["id"], "stopped", f"It has ended by itself, {seconds:.0f} s after it was asked to.", run["step"]
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Supervise a home; ends at once where another supervisor does it already."""
    parser = argparse.ArgumentParser(prog="python -m engine.supervisor", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds without work after which it ends")
    parser.add_argument("--trainer", type=shlex.split, default=TRAINER, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=shlex.split, default=JOB, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    home = Home.at(given.home)
    supervisor = Supervisor(home, given.trainer, idle=given.idle, jobs=Jobs(home, given.job))

    def leave(number: int, frame: FrameType | None) -> None:
        supervisor.end = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        return supervise(supervisor)
    except store.StoreError as error:
        tell(str(error))
        return 1


def supervise(supervisor: Supervisor) -> int:
    """Hold the home's lock while the supervisor runs; exit status."""
    home = supervisor.home
    while lock := process.hold_lock(home.supervisor_lock):
        with lock:
            tell(f"supervisor {os.getpid()} watches {home.path}")
            supervisor.run()
        if supervisor.end or not home.database.exists() or not _work_waits(home):
            tell(f"supervisor {os.getpid()} ends")
            return 0
    return 0


def _work_waits(home: Home) -> bool:
    """Whether something came in while the lock was still held: its sender has taken us for alive."""
    db = store.connect(home.database)
    try:
        return bool(store.waiting_commands(db, STARTS) or store.lines_that_move(db) or store.open_jobs(db))
    finally:
        db.close()


if __name__ == "__main__":
    sys.exit(main())
