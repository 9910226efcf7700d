"""Capsules that came from elsewhere, and the rows that go into one or come out of one. Functions take an open database
first.
"""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, Row, insert, rows
from engine.store.front import put_tags, with_tags

POINTS = 2000
"""Steps of a run's curve that go into a capsule, at most."""
AT_ONCE = 10_000
"""Exhibits whose tags are read at once; a statement takes some 32,000 values."""
_OWN = ("id", "run_id")


def columns_of(db: Database, table: str) -> dict[str, str]:
    """The columns of a table with their types."""
    return {row["name"]: row["type"] for row in rows(db, f"SELECT name, type FROM pragma_table_info('{table}')")}


def kept_rows(db: Database, run_ids: Sequence[str], exhibits: Sequence[int] | None = None) -> list[tuple[Row, Row]]:
    """The exhibits of these runs, or those of them in `exhibits`, in the order in which they were kept.

    Each as its sample, with all columns there are, and how it is kept: with its tags and its place among the pinned.
    """
    where, values = "samples.run_id IN (SELECT value FROM json_each(?))", [json.dumps(list(run_ids))]
    if exhibits is not None:
        where, values = f"{where} AND archive.id IN (SELECT value FROM json_each(?))", [*values, json.dumps(exhibits)]
    source = f"archive JOIN samples ON samples.id = archive.sample_id WHERE {where} ORDER BY archive.id"
    db.conn.execute("BEGIN")  # both see the same
    try:
        said = rows(db, f"SELECT samples.* FROM {source}", values)
        how = "archive.id, category, title, archive.note, archive.created_at, archive.place AS pinned"
        kept = rows(db, f"SELECT {how} FROM {source}", values)
    finally:
        db.conn.execute("COMMIT")
    tagged = [one for at in range(0, len(kept), AT_ONCE) for one in with_tags(db, kept[at : at + AT_ONCE])]
    for one in tagged:
        del one["id"]
    return list(zip(said, tagged, strict=True))


def said_rows(db: Database, run_id: str) -> list[Row]:
    """What a run said in its own rounds, oldest first, without what was done again."""
    return rows(
        db, "SELECT * FROM samples WHERE run_id = ? AND superseded = 0 AND source = 'periodic' ORDER BY id", [run_id]
    )


def thin_curve(db: Database, table: str, run_id: str, points: int = POINTS) -> list[Row]:
    """The current rows of `metrics` or `evals` of a run; of many every second, third and so on, and the last one."""
    found = rows(db, f"SELECT count(*) AS n, max(id) AS last FROM current_{table} WHERE run_id = ?", [run_id])[0]
    every = max(1, -(-found["n"] // points))
    return rows(
        db,
        f"""SELECT * FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM current_{table} WHERE run_id = ?)
            WHERE place % ? = 0 OR id = ? ORDER BY id""",
        [run_id, every, found["last"]],
    )


def portable(row: Row) -> Row:
    """A row without what only this database knows."""
    return {name: value for name, value in row.items() if name not in (*_OWN, "place", "superseded")}


def add_capsule(db: Database, row: Row) -> None:
    """Note that a capsule has come, within the caller's transaction; one that came before and is gone comes anew."""
    db.conn.execute("UPDATE runs SET capsule_id = NULL WHERE capsule_id = ?", [row["id"]])
    db.conn.execute("DELETE FROM capsules WHERE id = ?", [row["id"]])
    insert(db, "capsules", row | {"imported_at": time.time()})


def list_capsules(db: Database) -> list[Row]:
    """The capsules that came, newest first, each with the number of its runs that are still here."""
    return rows(
        db,
        """SELECT capsules.*, (SELECT count(*) FROM runs JOIN run_state ON run_id = runs.id
               WHERE capsule_id = capsules.id) AS here
           FROM capsules ORDER BY imported_at DESC, id""",
    )


def get_capsule(db: Database, capsule_id: str) -> Row:
    """One capsule by its id or the beginning of it; raises Refused."""
    found = [row for row in list_capsules(db) if row["id"].startswith(capsule_id)] if capsule_id else []
    if len(found) != 1:
        raise Refused(f"There is no capsule {capsule_id[:80]!r} here." if not found else "Give more of the id.")
    return found[0]


def capsule_opened(db: Database, capsule_id: str) -> None:
    """Note that a capsule is open, within the caller's transaction."""
    db.conn.execute("UPDATE capsules SET opened_at = ? WHERE id = ?", [time.time(), capsule_id])


def forget_capsule(db: Database, capsule_id: str) -> None:
    """Forget a capsule, within the caller's transaction; runs that came with it stay."""
    db.conn.execute("UPDATE runs SET capsule_id = NULL WHERE capsule_id = ?", [capsule_id])
    db.conn.execute("DELETE FROM capsules WHERE id = ?", [capsule_id])


def is_free(db: Database, run_id: str) -> bool:
    """Whether no run has this id, not even one whose deletion has begun."""
    return not rows(db, "SELECT 1 FROM runs WHERE id = ?", [run_id])


def runs_of_capsule(db: Database, capsule_id: str) -> list[Row]:
    """Id and name of the runs that came with a capsule and are still here."""
    return rows(
        db,
        "SELECT id, name FROM runs JOIN run_state ON run_id = id WHERE capsule_id = ? ORDER BY runs.rowid",
        [capsule_id],
    )


def add_weights(db: Database, row: Row) -> None:
    """Index weights that came with a capsule, within the caller's transaction."""
    insert(db, "checkpoints", row)


def add_imported(db: Database, run: Row, state: Row) -> None:
    """A run that was trained elsewhere, within the caller's transaction."""
    insert(db, "runs", run | {"kind": "imported"})
    insert(db, "run_state", state | {"run_id": run["id"], "device": "elsewhere", "attempt": 1})


def add_words(db: Database, run_id: str, said: Iterable[tuple[Row, Row | None]]) -> list[tuple[int, int]]:
    """Answers of an imported run, and how they are kept, within the caller's transaction.

    Returns the exhibits that were pinned, each with its place there and its id here.
    """
    pinned: list[tuple[int, int]] = []
    for sample, kept in said:
        number = insert(db, "samples", sample | {"run_id": run_id})
        if kept is not None:
            plain = {name: value for name, value in kept.items() if name not in ("tags", "pinned")}
            exhibit = insert(db, "archive", plain | {"sample_id": number})
            put_tags(db, exhibit, kept["tags"])
            if kept["pinned"] is not None:
                pinned.append((kept["pinned"], exhibit))
    return pinned


def add_curve(db: Database, table: str, run_id: str, points: Iterable[dict[str, Any]]) -> None:
    """Rows of `metrics` or `evals` of an imported run, within the caller's transaction."""
    for point in points:
        insert(db, table, point | {"run_id": run_id, "attempt": 1})
