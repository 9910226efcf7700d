"""Processes of the supervisor: how one is started, whether it lives, how it is buried. No torch."""

import contextlib
import os
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from engine import causes, process, store
from engine.home import PROJECT
from engine.say import say

LINGER = 30.0
"""Seconds that a process may take to exit after it has ended its run or job."""


@dataclass
class Child:
    """A process that works on a run or a job: started by this supervisor, or adopted (then it has no `child`)."""

    row: store.Row
    """Of the run or the job, with the process in it."""
    child: subprocess.Popen[bytes] | None = None
    before: causes.Kills = field(default_factory=causes.kills)
    done_since: float | None = None

    def alive(self) -> bool:
        """Whether it still runs."""
        return process.alive(self.row["pid"], self.row["process_started_at"], self.row["boot_id"])

    def signal(self, number: int) -> bool:
        """Signal it, SIGKILL its whole group; False when it is gone."""
        who = self.row["pid"], self.row["process_started_at"], self.row["boot_id"]
        return process.send(number, *who, group=number == signal.SIGKILL)

    def bury(self) -> int | None:
        """Kill what is left of its group; its exit status, which only its parent learns. May be repeated."""
        if self.child is None:
            process.end_leftovers(self.row["pid"], self.row["id"])
            return None
        # Until it is waited for, its number stays taken and the group is its own; then both may be a stranger's.
        if self.child.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)
        return self.child.wait()

    def shaken_off(self, ended: bool, linger: float) -> bool:
        """Kill it where its work has `ended` for `linger` seconds and it does not exit; whether that was done now."""
        if not ended:
            self.done_since = None
        elif self.done_since is None:
            self.done_since = time.monotonic()
        elif time.monotonic() - self.done_since > linger:
            return self.signal(signal.SIGKILL)
        return False


def spawn(command: Sequence[str], mark: str, output: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a process that outlives this one; `mark`: the id of what it works on. Raises OSError."""
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=process.torch_environment() | {process.MARK: mark},
        start_new_session=True,
    )


@contextlib.contextmanager
def apart(what: str, told: set[tuple[str, str]], note: Callable[[str], object]) -> Iterator[None]:
    """What goes wrong with `what` is told once and leaves the others alone; a database that fails concerns all."""
    try:
        yield
    except store.DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary between runs: each of the others needs its supervisor
        kind = type(error).__name__
        if (what, kind) not in told:
            told.add((what, kind))
            tell(f"{what}: {traceback.format_exc().strip()}")
            note(f"The supervisor stumbled over this {what.split()[0]} ({kind}); .supervisor.log tells more.")


def tell(message: str) -> None:
    """A line in the supervisor's log."""
    say(f"{datetime.now():%Y-%m-%d %H:%M:%S} {message}")
