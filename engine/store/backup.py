"""A copy of runs.db while others write: through SQLite alone, whole or not at all."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlite_utils import Database

from engine.store.connect import DatabaseError, Refused, StoreError, bare, rows
from engine.sync import sync

PAGES = 1000
"""Pages of 4 KB copied between two reports."""
STALE = 3600.0
"""Seconds after which a half-made copy that nobody has written to belongs to a process that was killed (assumption)."""
BESIDE = ("", "-journal", "-wal", "-shm")
"""What SQLite adds to a database's name for the files that it may have beside it."""
_TEMPORARY = re.compile(rf"\..+\.blueberry-[0-9]+-[0-9]+({'|'.join(BESIDE)})")
"""What `_temporary` names a half-made copy: a folder that people choose has hidden files of others too."""


def backup(db: Database, target: Path, report: Callable[[float], None] = lambda share: None) -> int:
    """Copy the whole database to the new file `target`; returns its size in bytes.

    The copy is the state of one moment: one read transaction holds it, writers go on. `report` gets the share that is
    done, 0 to 1. The file appears under its name when it is complete, checked and on the disk. Raises Refused where
    `target` exists or cannot be made, StoreError where the copy is damaged; what was there before is never touched.
    """
    with _temporary(target) as temporary:
        copy = bare(temporary)
        try:
            db.conn.execute("BEGIN")
            try:
                rows(db, "SELECT count(*) FROM runs")  # the read transaction begins with the first read
                db.conn.backup(copy.conn, pages=PAGES, progress=lambda _, left, all: report(1 - left / max(all, 1)))
            finally:
                db.conn.execute("ROLLBACK")
            _check(copy)
        finally:
            copy.close()
        sync(temporary)
        temporary.rename(target)
        sync(target.parent)
        return target.stat().st_size


def _check(copy: Database) -> None:
    """One file that stands alone, and sound; raises StoreError."""
    rows(copy, "PRAGMA journal_mode = DELETE")
    found = [row["integrity_check"] for row in rows(copy, "PRAGMA integrity_check")]
    if found != ["ok"]:
        raise StoreError(f"The copy is damaged ({found[0]}), so runs.db is too; keep your older backups.")


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name beside `target` for the half-made copy; it and those that killed processes left are removed."""
    temporary = target.with_name(f".{target.name}.blueberry-{os.getpid()}-{time.monotonic_ns()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise Refused(f"{target.name} exists already; choose another name.")
        _sweep(target.parent)
        try:
            yield temporary
        finally:
            for suffix in BESIDE:
                temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"The backup cannot be written to {target.parent.name}/: {error.strerror}.") from error
    except DatabaseError as error:
        hint = f"; free some space in {target.parent.name}/." if "full" in str(error) else "."
        raise Refused(f"The backup was not made: {error}{hint}") from error


def _sweep(folder: Path) -> None:
    """Remove the half-made copies that killed processes left in `folder`, and nothing else."""
    for old in folder.iterdir():
        if _TEMPORARY.fullmatch(old.name):
            # Another process may be sweeping too, and what cannot be removed is in nobody's way.
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > STALE:
                    old.unlink()
