"""Sweeps: groups of runs that differ in one or two settings. Functions take an open database first."""

import json
import time
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, Row, insert, rows
from engine.store.runs import runs_where


def add_sweep(db: Database, name: str, preset: str, settings: dict[str, list[Any]]) -> None:
    """Insert a sweep, inside a transaction of the caller's; `settings` are the values by dotted name."""
    if rows(db, "SELECT 1 FROM sweeps WHERE name = ?", [name]):
        raise Refused(f"There is a sweep {name} already; choose another name.")
    insert(db, "sweeps", {"name": name, "preset": preset, "settings": json.dumps(settings), "created_at": time.time()})


def list_sweeps(db: Database) -> list[Row]:
    """Every sweep, newest first."""
    found = rows(db, "SELECT * FROM sweeps ORDER BY created_at DESC, rowid DESC")
    return [sweep | {"settings": json.loads(sweep["settings"])} for sweep in found]


def get_sweep(db: Database, name: str) -> Row:
    """One sweep; raises Refused when there is none."""
    for sweep in list_sweeps(db):
        if sweep["name"] == name:
            return sweep
    raise Refused(f"There is no sweep {name[:80]!r}; `python -m engine sweep` lists them.")


def runs_of_sweep(db: Database, name: str) -> list[Row]:
    """The runs of a sweep in the order in which they were put in line."""
    return runs_where(db, "sweep = ? ORDER BY runs.rowid", [name])


def evals_of_sweep(db: Database, name: str, column: str) -> dict[str, Row]:
    """By run, the `best` (smallest) value of an evaluation's column with its `best_step`, and the `final` one.

    Without what was not measured and what was done again.
    """
    assert column in ("val_loss", "val_bits_per_byte")
    found = rows(
        db,
        f"""SELECT current_evals.run_id, min({column}) AS best, step AS best_step,
               (SELECT {column} FROM current_evals AS last WHERE last.run_id = current_evals.run_id
                AND last.{column} IS NOT NULL ORDER BY last.id DESC LIMIT 1) AS final
            FROM current_evals JOIN runs ON runs.id = current_evals.run_id
            WHERE runs.sweep = ? AND {column} IS NOT NULL GROUP BY current_evals.run_id""",
        [name],
    )
    return {row["run_id"]: row for row in found}
