"""The parent of a home's trainers: starts them, sees that a stop is a stop, and says what they died of. No torch.

It may end or be killed at any time: trainers go on, and the next supervisor watches them by pid and start time.
"""

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType

from sqlite_utils import Database

from engine import process, store
from engine.endings import BANNER, REQUESTS, STARTS, at_once, end_dead, is_lost, lock_of, stop_command
from engine.home import PROJECT, Home

TRAINER = (sys.executable, "-m", "engine.train")
TICK = 0.1
"""Seconds between two looks at the database and the processes."""
GRACE, GRACE_NOW = 60.0, 5.0
"""Seconds from a stop to SIGKILL: ordinary, and at once."""
SLOW = ("evaluating", "sampling", "saving")
"""Phases that a trainer ends before it hears a stop: three times the grace."""
LINGER = 30.0
"""Seconds that a trainer may take to exit after it has ended its run."""
DEAF = 1.0
"""Seconds after which a stop that the trainer has not taken is repeated as SIGTERM."""


@dataclass
class Stopping:
    """How far a run is on the stop ladder; times are monotonic."""

    since: float = field(default_factory=time.monotonic)
    now_since: float | None = None
    told: bool = False
    killed: str = ""


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
    ) -> None:
        self.home, self.trainer, self.idle = home, trainer, idle
        self.grace, self.grace_now, self.linger = grace, grace_now, linger
        self.end = False
        self.done_since: dict[str, float] = {}
        self.children: dict[str, tuple[subprocess.Popen[bytes], store.Row]] = {}
        self.ladders: dict[str, Stopping] = {}

    def run(self) -> None:
        """Watch until there is nothing left to do; trainers that still run are left running."""
        db = store.connect(self.home.database, durable=True)
        busy = time.monotonic()
        try:
            while not self.end and time.monotonic() - busy < self.idle:
                if not self.home.database.exists():
                    say("runs.db is gone; trainers are left alone")
                    return
                try:
                    if self.tick(db):
                        busy = time.monotonic()
                except store.DatabaseError as error:
                    say(f"runs.db cannot be used now: {error}")  # locked, or the disk is full: trainers go on
                    busy = time.monotonic()
                    time.sleep(1)
                time.sleep(TICK)
        finally:
            db.close()

    def tick(self, db: Database) -> bool:
        """Look once at everything; whether anything runs or waits."""
        self._reap(db)
        waiting = store.waiting_commands(db, STARTS)
        for command in waiting:
            if self._ready_for(command["run_id"]):
                self._start(db, command["run_id"])
        runs = store.open_runs(db)
        for run in runs:
            self._watch(db, run)
        still_open = {run["id"] for run in runs}
        self.ladders = {run_id: ladder for run_id, ladder in self.ladders.items() if run_id in still_open}
        self._shake_off(set(self.children) - still_open)
        return bool(self.children or waiting or runs)

    def _reap(self, db: Database) -> None:
        """Bury trainers that have ended, with what is left of their group, and end their runs if they did not."""
        for run_id, (child, run) in list(self.children.items()):
            if process.alive(run["pid"], run["process_started_at"], run["boot_id"]):
                continue
            if child.returncode is None:
                # Until it is waited for, its number stays taken: the group is still its own.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
            returncode = child.wait()
            killed = self.ladders[run_id].killed if run_id in self.ladders else ""
            if end_dead(self.home, db, run, returncode, killed):
                say(f"run {run_id}: trainer {child.pid} {process.describe_exit(returncode)}")
            del self.children[run_id]

    def _ready_for(self, run_id: str) -> bool:
        """Whether the last trainer of a run is quite gone."""
        return run_id not in self.children and not process.is_held(lock_of(self.home, run_id))

    def _start(self, db: Database, run_id: str) -> None:
        """Take a waiting start and spawn the trainer, unless the run has been stopped meanwhile."""
        log = self.home.log(run_id)
        log.parent.mkdir(parents=True, exist_ok=True)
        commands = store.take_commands(db, STARTS, run_id)
        try:
            with log.open("ab") as output, store.writing(db):
                # In one transaction, so that whoever stops or ends the run finds it with its process or without one.
                run = store.get_run(db, run_id)
                if run["status"] == "preparing":
                    store.drop_commands(db, run_id, REQUESTS, "meant for the attempt before")
                    output.write(f"{BANNER} {run['attempt'] + 1}, {datetime.now():%Y-%m-%d %H:%M:%S}\n".encode())
                    output.flush()
                    child = subprocess.Popen(
                        [*self.trainer, "--home", str(self.home.path), run_id],
                        cwd=PROJECT,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        env=process.torch_environment(),
                        start_new_session=True,
                    )
                    who = process.identity(child.pid)
                    self.children[run_id] = (child, run | who)
                    store.update_state(db, run_id, **who)
                    say(f"run {run_id}: trainer {child.pid} started")
                elif run["status"] == "stopping":
                    store.end_run(db, run_id, "stopped")
        except OSError as error:
            store.end_run(db, run_id, "failed", f"The trainer could not be started: {error.strerror or error}.")
        for command in commands:
            store.finish_command(db, command["id"], "started" if run_id in self.children else "not started")

    def _watch(self, db: Database, run: store.Row) -> None:
        """One run that has not ended: an adopted one may be dead, a stopping one may need another rung."""
        ladder = self.ladders.get(run["id"])
        if run["id"] not in self.children and is_lost(self.home, db, run, watched=False):
            if end_dead(self.home, db, run, killed=ladder.killed if ladder else ""):
                say(f"run {run['id']}: trainer {run['pid']} is gone")
            return
        command = stop_command(db, run["id"])
        if command or run["status"] == "stopping":
            self._urge(db, run, command, self.ladders.setdefault(run["id"], Stopping()))

    def _urge(self, db: Database, run: store.Row, command: store.Row | None, ladder: Stopping) -> None:
        """The stop ladder: the command row and a first SIGTERM are there already; then SIGTERM, then SIGKILL."""
        clock = time.monotonic()
        if at_once(command) and ladder.now_since is None:
            ladder.now_since = clock
        if command and command["taken_at"] is None and not ladder.told and clock - ladder.since > DEAF:
            ladder.told = _signal(signal.SIGTERM, run)
        grace = self.grace * (3 if run["phase"] in SLOW else 1)
        late = ladder.now_since is not None and clock - ladder.now_since > self.grace_now
        if ladder.killed or not (late or clock - ladder.since > grace):
            return
        sentence = (
            f"Ended at once by SIGKILL: it did not end by itself within {self.grace_now:g} s."
            if late
            else f"It did not save and end within {grace:g} s and was killed (SIGKILL); the last checkpoint counts."
        )
        if _signal(signal.SIGKILL, run):
            ladder.killed = sentence
            store.add_event(db, run["id"], "kill", sentence, run["step"])

    def _shake_off(self, done: set[str]) -> None:
        """Kill trainers that have ended their run but do not exit: they would keep memory and the run's lock."""
        self.done_since = {run_id: self.done_since.get(run_id, time.monotonic()) for run_id in done}
        for run_id, since in self.done_since.items():
            if time.monotonic() - since > self.linger and _signal(signal.SIGKILL, self.children[run_id][1]):
                say(f"run {run_id}: its trainer had ended the run {self.linger:g} s ago and was killed")


def say(message: str) -> None:
    """A line in the supervisor's log."""
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {message}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Supervise a home; ends at once where another supervisor does it already."""
    parser = argparse.ArgumentParser(prog="python -m engine.supervisor", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds without work after which it ends")
    parser.add_argument("--trainer", type=shlex.split, default=TRAINER, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    supervisor = Supervisor(Home.at(given.home), given.trainer, idle=given.idle)

    def leave(number: int, frame: FrameType | None) -> None:
        supervisor.end = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        return supervise(supervisor)
    except store.StoreError as error:
        say(str(error))
        return 1


def supervise(supervisor: Supervisor) -> int:
    """Hold the home's lock while the supervisor runs; exit status."""
    home = supervisor.home
    while lock := process.hold_lock(home.supervisor_lock):
        with lock:
            say(f"supervisor {os.getpid()} watches {home.path}")
            supervisor.run()
        if supervisor.end or not home.database.exists() or not _work_waits(home):
            say(f"supervisor {os.getpid()} ends")
            return 0
    return 0


def _work_waits(home: Home) -> bool:
    """Whether a start came in while the lock was still held: its sender has taken us for alive."""
    db = store.connect(home.database)
    try:
        return bool(store.waiting_commands(db, STARTS))
    finally:
        db.close()


def _signal(number: int, run: store.Row) -> bool:
    """Signal the group of a run's trainer (SIGKILL) or the trainer itself, if it is still that very process."""
    return process.send(number, run["pid"], run["process_started_at"], run["boot_id"], group=number == signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
