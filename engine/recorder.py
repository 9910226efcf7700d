"""What a trainer tells the world: rows and state go to runs.db from a thread of their own, commands come back.

Training never waits for the disk: rows lie in a bounded buffer until the writer has stored them, about twice a second.
A database that is locked, full or gone for a while only delays them. A row that the database will never take is put
into the run's `rejected.jsonl` and told as an event, and the rest goes on.
"""

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from engine import store
from engine.home import Home
from engine.outage import UNWRITABLE, Connection, Outage
from engine.say import say

PERIOD = 0.5
"""Seconds between two writes; a kill -9 loses at most this much."""
CAPACITY = 200_000
"""Rows kept while the database cannot be written: hours of training."""
BATCH = 5_000
"""Rows in one transaction: others wait for the write lock a fifth of a second at most, also after a long outage."""
WORTH_AN_EVENT = 2.0
"""Seconds of outage from which on the run's history mentions it."""
CLOSING, ENDING = 65.0, 30.0
"""Seconds that the last rows wait for the database, longer than how the run ended does (it is worth less alone); and
seconds for the writer to come back from a statement, which waits 5 s at most, and from a slow disk."""
COMMANDS = ("stop", "pause", "unpause", "sample")
Rows = list[tuple[str, store.Row]]
WRITERS: dict[str, Callable[[Any, store.Row], None]] = {
    "checkpoints": store.put_checkpoint,
    "run_changes": lambda db, row: store.date_change(db, row["id"], row["step"]),
    "commands": lambda db, row: store.finish_command(db, row["id"], row["result"]),
}
"""How rows are stored that are not simply added."""


class Recorder:
    """One run's writer. `stop`, `pause` and `sample` are flags the training loop looks at between steps."""

    def __init__(self, database: Path, run_id: str, attempt: int) -> None:
        self.run_id, self.attempt = run_id, attempt
        self.stop, self.stop_now = threading.Event(), threading.Event()
        self.pause, self.sample = threading.Event(), threading.Event()
        self.changes: deque[store.Row] = deque()
        """What a person has changed, for the training loop to take between two steps."""
        self.rejected = Home(database.parent).run(run_id) / "rejected.jsonl"
        self._wishes: deque[int] = deque()
        self._rows: deque[tuple[str, store.Row]] = deque()
        self._state: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._wake, self._idle, self._closing = threading.Event(), threading.Condition(), False
        self._ended = False
        self._asked, self._written = 0, 0
        self._lost, self._aside, self._aside_told = 0, 0, 0
        self._outage, self._log_is_long = Outage(), False
        self._thread = threading.Thread(target=self._work, args=(database,), name="recorder", daemon=True)
        self._thread.start()

    def add(self, table: str, **row: Any) -> None:
        """Queue one row of metrics, evals, samples or checkpoints."""
        self._queue(table, {"run_id": self.run_id, "attempt": self.attempt, **row})

    def event(self, kind: str, message: str, step: int | None = None) -> None:
        """Queue an event a person may read later."""
        self._queue(
            "events", {"run_id": self.run_id, "step": step, "kind": kind, "message": message, "created_at": time.time()}
        )

    def dated(self, change: int, step: int) -> None:
        """Queue the step from which a change of a person's holds."""
        self._queue("run_changes", {"run_id": self.run_id, "id": change, "step": step})

    def wishes(self) -> list[int]:
        """Take down the flag `sample`; the commands that had put it up, which are done once the prompts were asked."""
        self.sample.clear()
        return [self._wishes.popleft() for _ in range(len(self._wishes))]

    def granted(self, wishes: list[int], result: str) -> None:
        """Queue that these commands are done, behind the answers that were given to them."""
        for command in wishes:
            self._queue("commands", {"run_id": self.run_id, "id": command, "result": result})

    def state(self, **values: Any) -> None:
        """Overwrite parts of the run's state at the next write; once asked to stop, the status stays `stopping`."""
        if self.stop.is_set() and "status" in values:
            values["status"] = "stopping"
        with self._lock:
            self._state |= values

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything given so far is stored; False when the database did not take it in time."""
        with self._idle:
            self._asked += 1
            asked = self._asked
            self._wake.set()
            self._idle.wait_for(lambda: self._written >= asked or self._ended, timeout)
            return self._written >= asked

    def close(self, timeout: float = CLOSING) -> bool:
        """Store what is left and end the writer; False when rows had to be put aside or lost instead."""
        self.flush(timeout)
        self._closing = True
        self._wake.set()
        self._thread.join(ENDING)
        if self._thread.is_alive():  # it may still store them, so they must not be put aside as well
            say(f"The writer of metrics hangs in the system; {len(self._rows):,} rows are lost if it never comes back")
            return False
        left, self._rows = list(self._rows), deque()
        if left:
            self._put_aside(left, "runs.db could not be written until the trainer ended")
        return not left

    def _queue(self, table: str, row: store.Row) -> None:
        if self._ended:
            raise RuntimeError("the writer of metrics has ended; its reason is in the log above")
        with self._lock:
            if len(self._rows) < CAPACITY:
                self._rows.append((table, row))
                return
            self._lost += 1
            lost = self._lost
        if lost == 1:
            say(f"{CAPACITY:,} rows wait for runs.db; what is measured from now on is lost")

    def _work(self, database: Path) -> None:
        try:
            self._write_forever(database)
        finally:
            with self._idle:
                self._ended = True
                self._idle.notify_all()

    def _write_forever(self, database: Path) -> None:
        connection = Connection(database, partial(store.get_run, run_id=self.run_id))
        while not self._closing:
            self._wake.wait(PERIOD)
            self._wake.clear()
            asked = self._asked
            try:
                db = connection.open()
                self._write(db)
                self._obey(db)
            except UNWRITABLE as error:
                # Locked, full or gone: the rows stay in the buffer and are tried again.
                self._outage.goes_on(error, len(self._rows))
                continue
            self._tell(database)
            with self._idle:
                self._written = asked
                self._idle.notify_all()
        with contextlib.suppress(*UNWRITABLE):
            if self._rows or self._state:  # what was said about the last write, or what it could not take
                self._write(connection.open())
        connection.close()

    def _write(self, db: Any) -> None:
        """Store what is queued now and the state, in transactions of BATCH rows."""
        with self._lock:
            waiting, state = len(self._rows), self._state | {"heartbeat_at": time.time()}
        while waiting > BATCH:
            waiting -= self._store(db, BATCH, {})
        self._store(db, waiting, state)
        with self._lock:
            self._state = {key: value for key, value in self._state.items() if state.get(key) is not value}

    def _store(self, db: Any, count: int, state: dict[str, Any]) -> int:
        with self._lock:
            rows = list(islice(self._rows, count))
        refused: dict[str, Rows] = {}
        with store.writing(db):
            for table, row in rows:
                try:
                    WRITERS[table](db, row) if table in WRITERS else store.insert(db, table, row)
                except store.ROW_ERRORS as error:
                    if not store.refused_for_good(error):
                        raise
                    refused.setdefault(str(error), []).append((table, row))
            self._store_state(db, state, refused)
        with self._lock:
            for _ in rows:
                self._rows.popleft()
        for reason, those in refused.items():
            self._put_aside(those, reason)
        return len(rows)

    def _store_state(self, db: Any, state: dict[str, Any], refused: dict[str, Rows]) -> None:
        if not state:
            return
        try:
            store.report_state(db, self.run_id, **state)
        except store.ROW_ERRORS as error:
            if not store.refused_for_good(error):
                raise
            refused.setdefault(str(error), []).append(("run_state", state))
            store.report_state(db, self.run_id, heartbeat_at=state["heartbeat_at"])

    def _put_aside(self, rows: Rows, reason: str) -> None:
        """Keep rows that the database does not take in a file of the run, and say so at the 1st, 10th, 100th ..."""
        try:
            self.rejected.parent.mkdir(parents=True, exist_ok=True)
            with self.rejected.open("a", encoding="ascii") as file:
                for table, row in rows:
                    file.write(json.dumps({"table": table, "reason": reason, "row": row}, default=repr) + "\n")
        except OSError as error:
            say(f"{len(rows):,} rows that runs.db refused ({reason}) are lost: {error.strerror}")
            with self._lock:
                self._lost += len(rows)
            return
        self._aside += len(rows)
        if self._aside >= self._aside_told * 10:
            self._aside_told = self._aside
            sentence = (
                f"runs.db does not take {self._aside:,} {'row' if self._aside == 1 else 'rows'} so far, the newest "
                f"of {rows[-1][0]} ({reason}); {self.rejected.name} in the run's folder has what was refused."
            )
            say(sentence)
            if not self._closing:
                self.event("note", sentence)

    def _tell(self, database: Path) -> None:
        """After a write that worked: what went wrong before it, and what may go wrong soon."""
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost or self._outage.seconds() >= WORTH_AN_EVENT:
            missing = f"{lost:,} rows could not be kept and are missing" if lost else "no row is missing"
            self.event("note", f"{self._outage.told()}; {missing}.")
        self._outage.ends()
        was, self._log_is_long = self._log_is_long, store.log_bytes(database) > store.LOG_LIMIT
        if self._log_is_long and not was:
            self.event(
                "note",
                f"runs.db-wal has grown beyond {store.LOG_LIMIT / 1e6:,.0f} MB: another program has been reading "
                "runs.db in one long transaction; close it, and the file shrinks by itself.",
            )

    def _obey(self, db: Any) -> None:
        for command in store.take_commands(db, COMMANDS, self.run_id):
            kind = command["kind"]
            if kind == "stop":
                self.stop.set()
                if command["argument"] == "now":
                    self.stop_now.set()
            elif kind == "sample":
                self._wishes.append(command["id"])
                self.sample.set()
                continue  # it is done when the prompts were asked
            elif kind == "pause":
                self.pause.set()
            else:
                self.pause.clear()
            store.finish_command(db, command["id"], "taken by the trainer")
        self.changes.extend(store.take_changes(db, self.run_id))
