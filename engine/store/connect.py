"""Opening runs.db: driver, settings, migrations, transactions. The only file that imports the SQLite driver."""

import contextlib
import sqlite3 as standard_library
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # pysqlite3 where it is installed: its SQLite has the WAL-reset fix

from engine.store.migrations import MIGRATIONS

Row = dict[str, Any]
SOUND = (3, 51, 3)
"""SQLite before this can lose committed rows when several processes reset the write-ahead log."""

DatabaseError: tuple[type[Exception], ...] = (sqlite3.Error, standard_library.Error)
"""What a failing statement raises, whichever driver runs it."""


class StoreError(RuntimeError):
    """The database cannot be used; the message is one sentence for the person."""


class Refused(RuntimeError):
    """A request that cannot be carried out now; the message is one sentence for the person."""


def connect(path: Path, *, durable: bool = False, patience: float = 5.0) -> Database:
    """Open the database at `path`, which must have been made by `migrate`.

    `durable` waits for the disk at each commit (run state, checkpoints); metrics do without. A statement waits up to
    `patience` seconds for another process's lock. Connections belong to the thread that opened them.
    """
    if not path.exists():
        raise StoreError(f"{path.name} is not there; start the app once to make it, or check --home.")
    return _open(path, durable, patience)


def migrate(path: Path) -> None:
    """Make the database or bring it to the newest schema, once, under one lock; a newer one is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = _open(path, durable=True, patience=5.0)
    try:
        with writing(db):
            version = rows(db, "PRAGMA user_version")[0]["user_version"]
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"{path.name} has schema {version}, this program knows up to {len(MIGRATIONS)}; "
                    "update Blueberry Studio."
                )
            for number in range(version, len(MIGRATIONS)):
                MIGRATIONS[number](db)
                db.conn.execute(f"PRAGMA user_version = {number + 1}")
    finally:
        db.close()


@contextlib.contextmanager
def writing(db: Database) -> Iterator[Database]:
    """One immediate transaction: the write lock is taken first, so that what is read in it stays true."""
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.conn.execute("COMMIT")
    except BaseException:
        if db.conn.in_transaction:  # a full disk rolls back by itself; a commit that fails does not
            db.conn.execute("ROLLBACK")
        raise


def rows(db: Database, sql: str, values: Sequence[Any] | Row = ()) -> list[Row]:
    """All rows of a query as dicts; the cursor is emptied and closed, so that the log can be checkpointed."""
    with contextlib.closing(db.conn.execute(sql, values)) as cursor:
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def columns(db: Database, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query as plain tuples, for reading many numbers."""
    with contextlib.closing(db.conn.execute(sql, values)) as cursor:
        return list(cursor.fetchall())


def insert(db: Database, table: str, row: Row) -> int:
    """Insert one row and return its row id."""
    names = ", ".join(row)
    marks = ", ".join("?" for _ in row)
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    with contextlib.closing(db.conn.execute(sql, list(row.values()))) as cursor:
        return int(cursor.lastrowid or 0)


def _open(path: Path, durable: bool, patience: float) -> Database:
    if sqlite3.sqlite_version_info < SOUND:
        warnings.warn(
            f"SQLite {sqlite3.sqlite_version} can lose rows when processes share a database; "
            "pip install pysqlite3 for a sound one.",
            stacklevel=3,
        )
    # isolation_level None: no hidden BEGIN; transactions are the ones `writing` opens.
    connection = sqlite3.connect(str(path), timeout=patience, isolation_level=None)
    for setting in (
        "journal_mode = WAL",
        f"synchronous = {'FULL' if durable else 'NORMAL'}",
        "foreign_keys = ON",
        "mmap_size = 0",
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {setting}")
    return Database(connection, recursive_triggers=False, execute_plugins=False)
