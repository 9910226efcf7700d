"""What a run measures: metrics, evaluations, events. Functions take an open database first."""

import json
import time
from collections.abc import Sequence

from sqlite_utils import Database

from engine.store.connect import Row, columns, insert, rows

METRICS = ("id", "step", "tokens", "elapsed_seconds", "train_loss", "learning_rate", "grad_norm", "tokens_per_second")
EVALS = ("id", "step", "tokens", "elapsed_seconds", "val_loss", "val_accuracy", "val_perplexity", "val_bits_per_byte")


def add_event(db: Database, run_id: str, kind: str, message: str, step: int | None = None) -> None:
    """Something a person should be able to read later."""
    insert(db, "events", {"run_id": run_id, "step": step, "kind": kind, "message": message, "created_at": time.time()})


def supersede_after(db: Database, run_id: str, step: int) -> None:
    """Mark what was measured and said after `step`: a resumed run will do those steps again."""
    for table in ("metrics", "evals", "samples", "diagnostics"):
        db.conn.execute(
            f"UPDATE {table} SET superseded = 1 WHERE run_id = ? AND step > ? AND superseded = 0 "
            + ("AND source = 'periodic'" if table == "samples" else ""),
            [run_id, step],
        )


def metrics_after(db: Database, run_id: str, cursor: int, limit: int = -1) -> list[tuple[float | None, ...]]:
    """Current metrics rows with an id above `cursor`, as tuples in the order of METRICS."""
    return columns(
        db,
        f"SELECT {', '.join(METRICS)} FROM current_metrics WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?",
        [run_id, cursor, limit],
    )


def evals_after(db: Database, run_id: str, cursor: int, limit: int = -1) -> list[tuple[float | None, ...]]:
    """Current evaluation rows with an id above `cursor`, as tuples in the order of EVALS."""
    return columns(
        db,
        f"SELECT {', '.join(EVALS)} FROM current_evals WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?",
        [run_id, cursor, limit],
    )


def numbers_after(
    db: Database, table: str, run_id: str, names: Sequence[str], after: int, limit: int, last: int = 2**62
) -> tuple[int, list[str]]:
    """Columns of a run's current rows with after < id <= last, each as a JSON array; and the greatest id, 0 for none.

    SQLite writes the arrays itself, a third of the time of making a tuple a row, and holds no lock of Python meanwhile.
    """
    assert table in ("metrics", "evals") and set(names) <= {*METRICS, *EVALS}, "names come from our own code"
    arrays = ", ".join(f"json_group_array({name})" for name in names)
    found = columns(
        db,
        f"SELECT ifnull(max(id), 0), {arrays} FROM (SELECT * FROM current_{table} "
        "WHERE run_id = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?)",
        [run_id, after, last, limit],
    )
    return int(found[0][0]), list(found[0][1:])


def newest_speeds(db: Database, run_id: str, count: int, after: int = 0) -> list[tuple[int, float | None]]:
    """The ids and tokens a second of a run's newest steps, the newest first, of those with an id above `after`."""
    return columns(
        db,
        "SELECT id, tokens_per_second FROM metrics WHERE run_id = ? AND id > ? ORDER BY id DESC LIMIT ?",
        [run_id, after, count],
    )


def moments(db: Database, run_id: str) -> list[tuple[int, float]]:
    """Steps of a run and when they were reached (seconds since 1970), as far as something tells, in order of time."""
    return columns(
        db,
        "SELECT step, created_at FROM events WHERE run_id = :run AND step IS NOT NULL "
        "UNION SELECT step, created_at FROM checkpoints WHERE run_id = :run "
        "UNION SELECT step, created_at FROM samples WHERE run_id = :run AND source = 'periodic' AND superseded = 0 "
        "ORDER BY created_at",
        {"run": run_id},
    )


def last_eval(db: Database, run_id: str, step: int | None = None) -> Row | None:
    """The newest current evaluation, of `step` where it is given."""
    found = rows(
        db,
        "SELECT * FROM current_evals WHERE run_id = ? AND step = ifnull(?, step) ORDER BY id DESC LIMIT 1",
        [run_id, step],
    )
    return found[0] if found else None


def last_evals(db: Database) -> dict[str, Row]:
    """The newest current evaluation of every run that has one, by run."""
    found = rows(
        db,
        """SELECT evals.* FROM runs JOIN evals ON evals.id = (
               SELECT max(id) FROM current_evals WHERE current_evals.run_id = runs.id)""",
    )
    return {row["run_id"]: row for row in found}


def expert_load(db: Database, run_id: str) -> list[list[float]] | None:
    """The share of the validation text that each expert of each layer got at the newest evaluation, or None."""
    newest = last_eval(db, run_id)
    if newest is None or newest["expert_load"] is None:
        return None
    loads: list[list[float]] = json.loads(newest["expert_load"])
    return loads


def list_events(db: Database, run_id: str, cursor: int = 0, limit: int = 200) -> list[Row]:
    """The newest `limit` events with an id above `cursor`, oldest first."""
    found = rows(
        db, "SELECT * FROM events WHERE run_id = ? AND id > ? ORDER BY id DESC LIMIT ?", [run_id, cursor, limit]
    )
    return found[::-1]
