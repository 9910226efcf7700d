"""Looks at how a run learns. Functions take an open database first."""

import json

from sqlite_utils import Database

from engine.store.connect import Row, rows


def looks(db: Database, run_id: str) -> list[Row]:
    """The current looks at a run, oldest first, with `groups`, `attention` and `findings` as values."""
    found = rows(
        db,
        "SELECT step, tokens, groups, attention, findings FROM diagnostics "
        "WHERE run_id = ? AND superseded = 0 ORDER BY id",
        [run_id],
    )
    return [row | {name: json.loads(row[name]) for name in ("groups", "attention", "findings")} for row in found]
