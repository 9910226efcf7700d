"""Has what models said measured in the background, by a process at the lowest priority that knows no trainer."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing

from engine import store
from engine.home import PROJECT, Home

JUDGE = (sys.executable, "-m", "engine.judging")
LOOK = 5.0
"""Seconds between two looks whether anything new was said."""
REST, LEAST_REST = 30.0, 5.0
"""Seconds between two processes; the same where somebody waits for what they do."""


class Judging:
    """Starts the process that measures, one after the other, as long as the page is open."""

    def __init__(
        self,
        home: Home,
        command: Sequence[str] = JUDGE,
        *,
        look: float = LOOK,
        rest: float = REST,
        least_rest: float = LEAST_REST,
    ) -> None:
        self.home, self.command = home, command
        self.look, self.rest, self.least_rest = look, rest, least_rest
        self._asked, self._ends = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to look, in a thread that ends with the page."""
        threading.Thread(target=self._run, name="judging", daemon=True).start()

    def wake(self) -> None:
        """Somebody waits for an index: do not rest for long."""
        self._asked.set()

    def close(self) -> None:
        """End, with the process; what it has measured stays, and an index goes on where it was."""
        with self._lock:
            self._ends.set()
            self._asked.set()
            if self._process:
                self._process.terminate()

    def _run(self) -> None:
        measured = -1
        while not self._ends.is_set():
            newest = self._newest()
            if newest not in (None, measured) or self._asked.is_set():
                self._asked.clear()
                measured = newest if self._measure() and newest is not None else measured
                if not self._ends.wait(self.least_rest):
                    self._asked.wait(max(self.rest - self.least_rest, 0))
            else:
                self._asked.wait(self.look)

    def _newest(self) -> int | None:
        """The last thing that was said; None while the database cannot be read."""
        try:
            with closing(store.connect(self.home.database)) as db:
                return store.newest_answer_id(db)
        except store.UNUSABLE:
            return None

    def _measure(self) -> bool:
        """Run the process to its end; whether it measured everything."""
        with self._lock:
            if self._ends.is_set():
                return False
            command = [*self.command, "--home", str(self.home.path)]
            self._process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL)
        ended = self._process.wait() == 0
        with self._lock:
            self._process = None
        return ended
