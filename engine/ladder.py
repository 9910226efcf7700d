"""From the request to stop to SIGKILL: the rungs of one run, each of them an event that people can read."""

import signal
import time
from dataclasses import dataclass, field

from sqlite_utils import Database

from engine import process, store
from engine.endings import at_once

GRACE, GRACE_NOW = 60.0, 5.0
"""Seconds from a stop to SIGKILL: the least of an ordinary one, and that of one at once."""
LONGER = 3
"""An ordinary stop waits for as long as so many of the run's saves take, or for so many graces in a phase of SLOW."""
SLOW = ("evaluating", "saving")
"""Phases that a trainer ends before it hears a stop."""
DEAF = 1.0
"""Seconds after which a stop that the trainer has not taken is repeated as SIGTERM."""
STUCK = 10.0
"""Seconds after which a process that SIGKILL has not ended hangs in the kernel."""


def patience(run: store.Row, least: float = GRACE) -> float:
    """Seconds that a run gets to save and end, as it is now."""
    return max(least * (LONGER if run["phase"] in SLOW else 1), LONGER * (run["save_seconds"] or 0.0))


@dataclass
class Ladder:
    """How far the stop of one trainer has come; times are monotonic seconds."""

    grace: float = GRACE
    grace_now: float = GRACE_NOW
    since: float = field(default_factory=time.monotonic)
    now_since: float | None = None
    allowed: float = 0.0
    told: bool = False
    killed: str = ""
    killed_at: float = 0.0
    stuck: bool = False

    def climb(self, db: Database, run: store.Row, command: store.Row | None) -> None:
        """Take the next rung when it is time; the command row and a first SIGTERM are there already."""
        clock = time.monotonic()
        if at_once(command) and self.now_since is None:
            self.now_since = clock
        if self.killed:
            self._wait_for_the_kernel(db, run, clock)
            return
        # Once allowed, always allowed: after a long evaluation the save is still to come.
        self.allowed = grace = max(self.allowed, patience(run, self.grace))
        late = self.now_since is not None and clock - self.now_since > self.grace_now
        if late or clock - self.since > grace:
            self._kill(db, run, clock, grace, late)
        elif command and command["taken_at"] is None and not self.told and clock - self.since > DEAF:
            self.told = signal_trainer(signal.SIGTERM, run)
            if self.told:
                message = f"It has not answered yet and was told again (SIGTERM); it has {grace:g} s to save and end."
                store.add_event(db, run["id"], "stop", message, run["step"])

    def _kill(self, db: Database, run: store.Row, clock: float, grace: float, late: bool) -> None:
        sentence = (
            f"Ended at once by SIGKILL: it did not end by itself within {self.grace_now:g} s."
            if late
            else f"It did not save and end within {grace:g} s and was killed (SIGKILL); the last checkpoint counts."
        )
        if signal_trainer(signal.SIGKILL, run):
            self.killed, self.killed_at = sentence, clock
            store.add_event(db, run["id"], "kill", sentence, run["step"])

    def _wait_for_the_kernel(self, db: Database, run: store.Row, clock: float) -> None:
        if not self.stuck and clock - self.killed_at > STUCK:
            self.stuck = True
            message = (
                f"SIGKILL has not ended it within {STUCK:g} s: the system waits for a disk or a driver. "
                "If it stays so, restart the machine."
            )
            store.add_event(db, run["id"], "kill", message, run["step"])


def signal_trainer(number: int, run: store.Row) -> bool:
    """Signal the group of a run's trainer (SIGKILL) or the trainer itself, if it is still that very process."""
    return process.send(number, run["pid"], run["process_started_at"], run["boot_id"], group=number == signal.SIGKILL)
