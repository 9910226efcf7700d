"""Opening runs.db: driver, settings, migrations, transactions. The only file that imports the SQLite driver."""

import contextlib
import sqlite3 as standard_library
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # pysqlite3 where it is installed: its SQLite has the WAL-reset fix

from engine.store.migrations import MIGRATIONS

Row = dict[str, Any]
SOUND = (3, 51, 3)
"""SQLite before this can lose committed rows when several processes reset the write-ahead log."""

LOG_LIMIT = 67_108_864
"""Bytes to which the write-ahead log is cut back; a reader that stays in one transaction lets it grow beyond."""
RETRY = 0.02
"""Seconds between two attempts to make a database a WAL one."""

DatabaseError: tuple[type[Exception], ...] = (sqlite3.Error, standard_library.Error)
"""What a failing statement raises, whichever driver runs it."""
ROW_ERRORS: tuple[type[Exception], ...] = (*DatabaseError, OverflowError, ValueError)
"""What storing a row raises: the database's errors, and the driver's for a number or text it cannot pass on."""
_WRONG = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)


class StoreError(RuntimeError):
    """The database cannot be used; the message is one sentence for the person."""


UNUSABLE: tuple[type[Exception], ...] = (StoreError, *DatabaseError)
"""What a database that cannot be used now raises."""


class Refused(RuntimeError):
    """A request that cannot be carried out now; the message is one sentence for the person."""


def connect(path: Path, *, durable: bool = False, patience: float = 5.0) -> Database:
    """Open the database at `path`, which must have been made by `migrate`.

    `durable` waits for the disk at each commit (run state, checkpoints); metrics do without. A statement waits up to
    `patience` seconds for another process's lock. Connections belong to the thread that opened them.
    """
    if not path.exists():
        raise StoreError(f"{path.name} is not there; start the app once to make it, or check --home.")
    if path.is_file() and not path.stat().st_size:  # opening it would make it a database
        raise StoreError(f"{path.name} is empty; put a backup there, or remove it and start the app to begin anew.")
    db = _open(path, durable, patience)
    try:
        version = _version(db, path)
        if not version:
            raise StoreError(f"{path.name} holds no runs; put a backup there, or start the app once to make it.")
        if version < len(MIGRATIONS):
            migrate(path)
    except BaseException:
        db.close()
        raise
    return db


def bare(path: Path) -> Database:
    """A bare new database at `path`, for a copy of another one."""
    return Database(sqlite3.connect(str(path), isolation_level=None), recursive_triggers=False, execute_plugins=False)


def migrate(path: Path) -> None:
    """Make the database or bring it to the newest schema, once, under one lock; a newer one is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = _open(path, durable=True, patience=5.0)
    try:
        with writing(db):
            for number in range(_version(db, path), len(MIGRATIONS)):
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


def columns(db: Database, sql: str, values: Sequence[Any] | Row = ()) -> list[tuple[Any, ...]]:
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


def insert_many(db: Database, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows whose values stand in the order of `names`; `writing` around it makes that a hundred times faster."""
    marks = ", ".join("?" for _ in names)
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
    db.conn.executemany(sql, rows).close()


def refused_for_good(error: Exception) -> bool:
    """Whether the same row would be refused again at any time: its values are wrong, nothing is locked or full."""
    if not isinstance(error, DatabaseError):
        return True
    code = getattr(error, "sqlite_errorcode", None)  # None: the driver did not even ask SQLite
    return code is None or code & 0xFF in _WRONG


def soundness() -> str:
    """What is wrong with the SQLite in use, in a sentence; "" when it is sound."""
    if sqlite3.sqlite_version_info >= SOUND:
        return ""
    return (
        f"SQLite {sqlite3.sqlite_version} can lose rows when several processes share a database; "
        f"pip install pysqlite3, or Python with SQLite {'.'.join(map(str, SOUND))} or later, has one that does not."
    )


def file_of(path: Path) -> tuple[int, int]:
    """Which file is at `path` now, as device and inode; raises StoreError when there is none.

    A connection goes on with a file that was deleted or replaced, and what it writes is lost.
    """
    try:
        found = path.stat()  # opens nothing: closing a file of ours would drop SQLite's locks
    except OSError as error:
        raise StoreError(
            f"{path.name} is not there any more; put it back, or restart the app to begin a new one."
        ) from error
    return found.st_dev, found.st_ino


def log_bytes(path: Path) -> int:
    """Size of the write-ahead log of the database at `path`."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0


def _version(db: Database, path: Path) -> int:
    """The number of schema changes the database has seen; raises StoreError when this program knows fewer."""
    version = int(rows(db, "PRAGMA user_version")[0]["user_version"])
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path.name} has schema {version}, this program knows up to {len(MIGRATIONS)}; update Blueberry Studio."
        )
    return version


def _use_log(connection: Any, patience: float) -> None:
    """Make the database a WAL one; the exclusive lock that this takes is not covered by the busy timeout.

    Without the loop 12 of 360 openings failed when six processes made one database, with it none of 1,200 (measured).
    """
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except DatabaseError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
        time.sleep(RETRY)


def _open(path: Path, durable: bool, patience: float) -> Database:
    if problem := soundness():
        warnings.warn(problem, stacklevel=3)
    # isolation_level None: no hidden BEGIN; transactions are the ones `writing` opens.
    connection = sqlite3.connect(str(path), timeout=patience, isolation_level=None)
    _use_log(connection, patience)
    for setting in (
        f"synchronous = {'FULL' if durable else 'NORMAL'}",
        "foreign_keys = ON",
        "mmap_size = 0",
        f"journal_size_limit = {LOG_LIMIT}",
    ):
        connection.execute(f"PRAGMA {setting}")
    return Database(connection, recursive_triggers=False, execute_plugins=False)
