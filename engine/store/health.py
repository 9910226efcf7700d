"""Whether runs.db is whole, and what reads it."""

from sqlite_utils import Database

from engine.store.connect import rows


def sqlite_version() -> str:
    """The version of SQLite in use; `soundness` says whether it will do."""
    db = Database(memory=True)
    version = str(rows(db, "SELECT sqlite_version() AS version")[0]["version"])
    db.close()
    return version


def complaints(db: Database) -> list[str]:
    """What SQLite finds wrong in the file, read through once; empty when it is whole."""
    return [row["quick_check"] for row in rows(db, "PRAGMA quick_check(5)") if row["quick_check"] != "ok"]


def schema_version(db: Database) -> int:
    """The number of schema changes that the file has seen."""
    return int(rows(db, "PRAGMA user_version")[0]["user_version"])
