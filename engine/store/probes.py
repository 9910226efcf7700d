"""What short measurements before runs found. Functions take an open database first."""

import json
import time
from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Row, rows


def put_probe(
    db: Database, key: str, device: str, settings: Mapping[str, Any], result: Mapping[str, Any], now: float = 0.0
) -> None:
    """Keep `result` under `key`, in place of an older one; `now` in seconds since 1970, 0 for this moment.

    `settings` are what the key stands for; both are stored as JSON and must have no numbers that are not finite.
    """
    values = [key, device, json.dumps(dict(settings)), json.dumps(dict(result), allow_nan=False), now or time.time()]
    db.conn.execute(
        "INSERT INTO probes (key, device, settings, result, measured_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) "
        "DO UPDATE SET device = excluded.device, result = excluded.result, measured_at = excluded.measured_at",
        values,
    )


def get_probe(db: Database, key: str) -> Row | None:
    """The row under `key` with settings and result as objects, or None where nothing was measured."""
    found = rows(db, "SELECT key, device, settings, result, measured_at FROM probes WHERE key = ?", [key])
    decoded = [row | {name: json.loads(row[name]) for name in ("settings", "result")} for row in found]
    return decoded[0] if decoded else None
