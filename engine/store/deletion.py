"""The rows of a run that goes: counted, hidden at once, then removed a few at a time. engine/deleting.py has the rest.

A run without a row in `run_state` is one whose deletion has begun: no query of a run finds it any more.
"""

import time
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Row, insert, rows, writing

BATCH = 2_000
"""Rows removed in one transaction: others wait for the write lock some 20 ms (measured, docs/LOG.md)."""
EXHIBITS = 200
"""The same of the archive; fewer, because each also has to leave a full-text index."""
SAMPLES = 400
"""The same of samples, for the same reason."""


def count_rows(db: Database, run_id: str) -> dict[str, int]:
    """How many rows of each table belong to a run, by table; tables without any are left out."""
    found = {
        table: int(rows(db, f"SELECT count(*) AS n FROM {table} WHERE {column} = ?", [run_id])[0]["n"])
        for table, column in _references(db)
        if column == "run_id"
    }
    return {table: number for table, number in found.items() if number}


def exhibits_of(db: Database, run_id: str, limit: int = -1) -> list[Row]:
    """The exhibits that a run said, newest first and `limit` at most: id, category, title."""
    return rows(
        db,
        """SELECT archive.id, category, title FROM samples JOIN archive ON archive.sample_id = samples.id
           WHERE samples.run_id = ? ORDER BY archive.id DESC LIMIT ?""",
        [run_id, limit],
    )


def children_of(db: Database, run_id: str) -> list[Row]:
    """The runs that were forked from a run, oldest first: id, name, step of the fork."""
    return rows(
        db,
        """SELECT runs.id, name, parent_step FROM runs JOIN run_state ON run_id = runs.id
           WHERE parent_run_id = ? ORDER BY created_at""",
        [run_id],
    )


def remove_exhibits(db: Database, run_id: str, limit: int = EXHIBITS) -> int:
    """Take up to `limit` exhibits of a run out of the archive, in a transaction of the caller's; how many went."""
    return _removed(
        db,
        """DELETE FROM archive WHERE id IN (SELECT archive.id FROM samples
           JOIN archive ON archive.sample_id = samples.id WHERE samples.run_id = ? LIMIT ?)""",
        [run_id, limit],
    )


def hide_run(db: Database, run: Row) -> None:
    """Begin the deletion of a run in a transaction of the caller's: nobody finds it from here on.

    Runs that were forked from it keep in words what they came from.
    """
    for child in children_of(db, run["id"]):
        origin = f"Forked from {run['name']} ({run['id']}) at step {child['parent_step'] or 0:,}; that run was deleted."
        db.conn.execute(
            "UPDATE runs SET parent_run_id = NULL, note = trim(note || ' ' || ?) WHERE id = ?", [origin, child["id"]]
        )
        event = {"run_id": child["id"], "kind": "note", "message": origin, "created_at": time.time()}
        insert(db, "events", event)
    db.conn.execute("DELETE FROM commands WHERE run_id = ? AND taken_at IS NULL", [run["id"]])
    db.conn.execute("DELETE FROM run_state WHERE run_id = ?", [run["id"]])


def hidden_runs(db: Database) -> list[str]:
    """Ids of the runs whose deletion has begun."""
    return [row["id"] for row in rows(db, "SELECT id FROM runs WHERE id NOT IN (SELECT run_id FROM run_state)")]


def remove_some(db: Database, run_id: str, limit: int = BATCH) -> bool:
    """Remove up to `limit` rows of a hidden run in one transaction; False when only its own is left."""
    with writing(db):
        left = limit - remove_exhibits(db, run_id)  # kept since it was hidden, of an answer that goes
        for table, column in _references(db):
            if left > 0 and column == "run_id":
                some = f"SELECT rowid FROM {table} WHERE run_id = ? LIMIT ?"
                most = min(left, SAMPLES) if table == "samples" else left
                left -= _removed(db, f"DELETE FROM {table} WHERE rowid IN ({some})", [run_id, most])
    return left < limit


def remove_run(db: Database, run_id: str) -> bool:
    """Remove the last row of a hidden run; False when something refers to it again, or it is not hidden."""
    with writing(db):
        if run_id not in hidden_runs(db) or count_rows(db, run_id):
            return False
        for table, column in _references(db):
            if column != "run_id":
                db.conn.execute(f"UPDATE {table} SET {column} = NULL WHERE {column} = ?", [run_id])
        db.conn.execute("DELETE FROM runs WHERE id = ?", [run_id])
    return True


def _references(db: Database) -> list[tuple[str, str]]:
    """Every column that refers to a run, as table and name. Rows with it as `run_id` belong to that run."""
    return [
        (row["name"], row["column_name"])
        for row in rows(
            db,
            """SELECT tables.name AS name, keys."from" AS column_name FROM sqlite_master AS tables,
               pragma_foreign_key_list(tables.name) AS keys
               WHERE tables.type = 'table' AND keys."table" = 'runs' ORDER BY tables.name""",
        )
    ]


def _removed(db: Database, sql: str, values: list[Any]) -> int:
    return int(db.conn.execute(sql, values).rowcount)
