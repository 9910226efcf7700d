"""Whether runs.db is whole, and what reads it."""

from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from engine.store.connect import connect, rows


def sqlite_version() -> str:
    """The version of SQLite in use; `soundness` says whether it will do."""
    db = Database(memory=True)
    version = str(rows(db, "SELECT sqlite_version() AS version")[0]["version"])
    db.close()
    return version


def complaints(db: Database) -> list[str]:
    """What SQLite finds wrong in the file, read through once; empty when it is whole.

    A connection of its own looks: the check of a full-text index (SQLite 3.53) goes by what a connection has read of it
    before, and takes what another process has merged since for damage.
    """
    file = str(rows(db, "PRAGMA database_list")[0]["file"])
    with closing(connect(Path(file))) as fresh:
        return [row["quick_check"] for row in rows(fresh, "PRAGMA quick_check(5)") if row["quick_check"] != "ok"]


def schema_version(db: Database) -> int:
    """The number of schema changes that the file has seen."""
    return int(rows(db, "PRAGMA user_version")[0]["user_version"])
