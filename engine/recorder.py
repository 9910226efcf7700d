"""What a trainer tells the world: rows and state go to runs.db from a thread of their own, commands come back.

Training never waits for the disk: rows lie in a bounded buffer until the writer has stored them, about twice a second,
and a database that is locked or full for a while only delays them.
"""

import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from engine import store

PERIOD = 0.5
"""Seconds between two writes; a kill -9 loses at most this much."""
CAPACITY = 200_000
"""Rows kept while the database cannot be written: hours of training."""
COMMANDS = ("stop", "pause", "unpause", "sample")


class Recorder:
    """One run's writer. `stop`, `pause` and `sample` are flags the training loop looks at between steps."""

    def __init__(self, database: Path, run_id: str, attempt: int) -> None:
        self.run_id, self.attempt = run_id, attempt
        self.stop, self.stop_now = threading.Event(), threading.Event()
        self.pause, self.sample = threading.Event(), threading.Event()
        self._rows: deque[tuple[str, store.Row]] = deque()
        self._state: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._wake, self._idle, self._closing = threading.Event(), threading.Condition(), False
        self._asked, self._written = 0, 0
        self._thread = threading.Thread(target=self._write_forever, args=(database,), name="recorder", daemon=True)
        self._thread.start()

    def add(self, table: str, **row: Any) -> None:
        """Queue one row of metrics, evals or samples."""
        self._queue(table, {"run_id": self.run_id, "attempt": self.attempt, **row})

    def event(self, kind: str, message: str, step: int | None = None) -> None:
        """Queue an event a person may read later."""
        self._queue(
            "events", {"run_id": self.run_id, "step": step, "kind": kind, "message": message, "created_at": time.time()}
        )

    def state(self, **values: Any) -> None:
        """Overwrite parts of the run's state at the next write; once asked to stop, the status stays `stopping`."""
        if self.stop.is_set():
            values.pop("status", None)
        with self._lock:
            self._state |= values

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything given so far is stored; False when the database did not take it in time."""
        with self._idle:
            self._asked += 1
            asked = self._asked
            self._wake.set()
            self._idle.wait_for(lambda: self._written >= asked or not self._thread.is_alive(), timeout)
            return self._written >= asked

    def close(self) -> bool:
        """Store what is left and end the writer; False when rows had to be left unwritten."""
        stored = self.flush()
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=10)
        return stored

    def _queue(self, table: str, row: store.Row) -> None:
        if not self._thread.is_alive():
            raise RuntimeError("the writer of metrics has ended; its reason is in the log above")
        with self._lock:
            if len(self._rows) < CAPACITY:
                self._rows.append((table, row))

    def _write_forever(self, database: Path) -> None:
        db = store.connect(database)
        while not self._closing:
            self._wake.wait(PERIOD)
            self._wake.clear()
            asked = self._asked
            try:
                self._write(db)
                self._obey(db)
            except store.DatabaseError as error:
                # Locked or full: the rows stay in the buffer and are tried again. The log says so.
                print(f"runs.db did not take the rows ({error}); trying again", flush=True)
                continue
            with self._idle:
                self._written = asked
                self._idle.notify_all()
        db.close()

    def _write(self, db: Any) -> None:
        with self._lock:
            rows, state = list(self._rows), self._state | {"heartbeat_at": time.time()}
        with store.writing(db):
            for table, row in rows:
                store.insert(db, table, row)
            store.update_state(db, self.run_id, **state)
        with self._lock:
            for _ in rows:
                self._rows.popleft()
            self._state = {key: value for key, value in self._state.items() if state.get(key) is not value}

    def _obey(self, db: Any) -> None:
        for command in store.take_commands(db, COMMANDS, self.run_id):
            kind = command["kind"]
            if kind == "stop":
                self.stop.set()
                if command["argument"] == "now":
                    self.stop_now.set()
            elif kind == "sample":
                self.sample.set()
            elif kind == "pause":
                self.pause.set()
            else:
                self.pause.clear()
            store.finish_command(db, command["id"], "taken by the trainer")
