"""Writing to a database that is locked, full or gone for a while: what was to be stored waits, and the work goes on."""

import time
from collections.abc import Callable
from pathlib import Path

from sqlite_utils import Database

from engine import store
from engine.say import say

QUIET = 60.0
"""Seconds between two lines of the log about one outage."""
PATIENCE = 60.0
"""Seconds for which storing how a run or a job ended is tried."""
RETRY = 1.0
"""Seconds between two such tries."""
UNWRITABLE: tuple[type[Exception], ...] = (store.Refused, *store.UNUSABLE)
"""What a database that is locked, full, gone or another one raises."""


class Connection:
    """The writer's connection to the file that is runs.db now: SQLite would go on writing into a deleted one."""

    def __init__(self, database: Path, check: Callable[[Database], object]) -> None:
        """`check` raises where an opened file is not the right one: Refused, say, because it has no such run."""
        self.database, self.check = database, check
        self._db: Database | None = None
        self._file: tuple[int, int] | None = None

    def open(self) -> Database:
        """The open database; raises StoreError where the file is gone, and what `check` does."""
        file = store.file_of(self.database)
        if self._db is None or file != self._file:
            self.close()
            db = store.connect(self.database)
            try:
                self.check(db)
            except BaseException:
                db.close()
                raise
            self._db, self._file = db, file
        return self._db

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
        self._db = None


class Outage:
    """A time in which the database could not be written: told once a reason, once a minute, and at its end."""

    def __init__(self, work: str = "training") -> None:
        """`work`: what goes on meanwhile."""
        self._work = work
        self._last_good = self._began = self._said = time.monotonic()
        self._reason, self._most = "", 0
        self._told: set[str] = set()

    def goes_on(self, error: Exception, waiting: int) -> None:
        """One more attempt failed, and `waiting` rows are still in memory."""
        now = time.monotonic()
        if not self._reason:
            self._began = self._last_good
        if str(error) not in self._told or now - self._said >= QUIET:
            self._said = now
            self._told.add(str(error))
            say(f"runs.db cannot be written now ({error}); {_rows(waiting)} wait, {self._work} goes on")
        self._reason, self._most = str(error), max(self._most, waiting)

    def seconds(self) -> float:
        """How long it has lasted, 0 without one."""
        return time.monotonic() - self._began if self._reason else 0.0

    def told(self) -> str:
        """What to say at its end."""
        if not self._reason:
            return "runs.db refused rows"
        return f"runs.db could not be written for {self.seconds():.0f} s ({self._reason.rstrip('.')})"

    def ends(self) -> None:
        """A write worked."""
        if self._reason:
            say(f"{self.told()}; {_rows(self._most)} arrived late")
        self._last_good, self._reason, self._most = time.monotonic(), "", 0
        self._told.clear()


def patiently(write: Callable[[], object], patience: float = PATIENCE) -> None:
    """Store something that may not be lost: while the database does not take it, again for `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            write()
            return
        except UNWRITABLE as error:
            if time.monotonic() > until:
                raise
            say(f"runs.db did not take how this ended ({error}); trying again")
            time.sleep(RETRY)


def _rows(number: int) -> str:
    return f"{number:,} row{'s' * (number != 1)}"
