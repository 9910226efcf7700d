"""Whether runs.db and the SQLite that reads it are sound."""

from sqlite_utils import Database

from engine.store.connect import SOUND, rows
from engine.store.migrations import MIGRATIONS


def sqlite_version() -> tuple[str, bool]:
    """The version in use, and whether it has the fix without which processes that share a database can lose rows."""
    db = Database(memory=True)
    version = str(rows(db, "SELECT sqlite_version() AS version")[0]["version"])
    db.close()
    return version, tuple(map(int, version.split("."))) >= SOUND


def complaints(db: Database) -> list[str]:
    """What SQLite finds wrong in the file, read through once; empty when it is whole."""
    return [row["quick_check"] for row in rows(db, "PRAGMA quick_check(5)") if row["quick_check"] != "ok"]


def schema_versions(db: Database) -> tuple[int, int]:
    """The schema that the file has, and the one that this program makes."""
    return int(rows(db, "PRAGMA user_version")[0]["user_version"]), len(MIGRATIONS)
