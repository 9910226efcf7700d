"""What people are told about runs, and whether it reached them. Functions take an open database first.

Most rows are made by triggers (`alerts` in changes.py), in the transaction in which it happened.
"""

import time
from collections.abc import Sequence

from sqlite_utils import Database

from engine.store.connect import Row, rows

_ALERT = """
    SELECT alerts.id, alerts.run_id, alerts.attempt, alerts.kind, alerts.message, alerts.created_at, state, tries,
           due_at, sent_at, alerts.error, name, device, step, tokens, total_steps, train_loss, val_loss
    FROM alerts JOIN runs ON runs.id = alerts.run_id JOIN run_state ON run_state.run_id = alerts.run_id
"""


def add_stall(db: Database, run: Row, message: str) -> bool:
    """Tell that an attempt of a run stands still; False where that was told before."""
    sql = "INSERT OR IGNORE INTO alerts (run_id, attempt, kind, message, created_at) VALUES (?, ?, 'stalled', ?, ?)"
    return bool(db.conn.execute(sql, [run["id"], run["attempt"], message, time.time()]).rowcount)


def alerts_to_send(db: Database, kinds: Sequence[str]) -> list[Row]:
    """The alerts of these kinds that wait to be sent, those with the fewest tries first, with figures of their runs."""
    where = f"state = 'waiting' AND alerts.kind IN ({_marks(kinds)}) ORDER BY tries, alerts.id LIMIT 100"
    return rows(db, f"{_ALERT} WHERE {where}", kinds)


def claim_alert(db: Database, alert: Row, until: float) -> bool:
    """Count one more try before it is made; nobody else tries `until` then. False when somebody else was faster."""
    sql = "UPDATE alerts SET tries = tries + 1, due_at = ? WHERE id = ? AND state = 'waiting' AND tries = ?"
    return bool(db.conn.execute(sql, [until, alert["id"], alert["tries"]]).rowcount)


def settle_alert(db: Database, alert_id: int, state: str, error: str = "", due_at: float = 0.0) -> None:
    """Keep what a try came to: `sent`, `failed`, or `waiting` for the next one at `due_at`."""
    db.conn.execute(
        "UPDATE alerts SET state = ?, error = ?, due_at = ?, sent_at = ? WHERE id = ?",
        [state, error, due_at, time.time() if state == "sent" else None, alert_id],
    )


def silence_alerts(db: Database, but: Sequence[str] = ()) -> None:
    """Send none of those that wait, but those of some kinds: they were made when nobody wanted them sent."""
    db.conn.execute(
        f"UPDATE alerts SET state = 'quiet' WHERE state = 'waiting' AND kind NOT IN ({_marks(but)})", list(but)
    )


def list_alerts(db: Database, kinds: Sequence[str], after: int = 0, limit: int = 50) -> list[Row]:
    """The newest `limit` alerts of these kinds with an id above `after`, oldest first, with figures of their runs."""
    where = f"alerts.id > ? AND alerts.kind IN ({_marks(kinds)}) ORDER BY alerts.id DESC LIMIT ?"
    return rows(db, f"{_ALERT} WHERE {where}", [after, *kinds, limit])[::-1]


def newest_alert_id(db: Database) -> int:
    """The greatest id of an alert of any kind, 0 when there is none."""
    return int(rows(db, "SELECT ifnull(max(id), 0) AS id FROM alerts")[0]["id"])


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" for _ in values)
