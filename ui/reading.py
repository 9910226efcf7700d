"""How the page reads the database: one connection a thread, and statuses made true before they are shown."""

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlite_utils import Database

from engine import store
from engine.home import Home
from engine.store import Row

RECONCILE_SECONDS = 1.0


class Reader:
    """Opens runs.db for each thread that asks, and reconciles at most once a second for all of them."""

    def __init__(self, home: Home, reconcile: Callable[[Home, Any], None]) -> None:
        self.home = home
        self._reconcile = reconcile
        self._local = threading.local()
        self._lock = threading.Lock()
        self._reconciled_at = 0.0

    def db(self) -> Database:
        """This thread's connection; raises StoreError when the database is gone."""
        # SQLite goes on happily with a file that was deleted or replaced, and everything written would be lost.
        file = store.file_of(self.home.database)
        if getattr(self._local, "file", None) != file:
            self._local.db, self._local.file = store.connect(self.home.database), file
        database: Database = self._local.db
        return database

    def runs(self) -> list[Row]:
        """Every run with its true status, newest first, the published one last."""
        self.settle()
        return store.list_runs(self.db())

    def run(self, run_id: str) -> Row:
        """One run with its true status by exact id; raises Refused."""
        self.settle()
        return store.get_run(self.db(), run_id)

    def settle(self) -> None:
        """Make statuses true, unless that was done less than a second ago or is being done right now."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._reconciled_at >= RECONCILE_SECONDS:
                self._reconcile(self.home, self.db())
                self._reconciled_at = time.monotonic()
        finally:
            self._lock.release()
