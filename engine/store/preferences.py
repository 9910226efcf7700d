"""What a person set for the whole home: values by name, as JSON. Functions take an open database first."""

import json
from typing import Any

from sqlite_utils import Database

from engine.store.connect import rows


def get_preference(db: Database, key: str, default: Any = None) -> Any:
    """The value kept under `key`, or `default`."""
    found = rows(db, "SELECT value FROM preferences WHERE key = ?", [key])
    return json.loads(found[0]["value"]) if found else default


def set_preference(db: Database, key: str, value: Any) -> None:
    """Keep `value`, which must be JSON, under `key`; None forgets it."""
    if value is None:
        db.conn.execute("DELETE FROM preferences WHERE key = ?", [key])
        return
    db.conn.execute(
        "INSERT INTO preferences (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, json.dumps(value)],
    )
