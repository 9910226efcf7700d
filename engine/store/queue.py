"""Runs in line for a device, and lines that are held. Functions take an open database first."""

import time
from collections.abc import Sequence

from sqlite_utils import Database

from engine.store.connect import Row, rows
from engine.store.migrations import ACTIVE
from engine.store.runs import end_run, get_run, runs_where, update_state, wake
from engine.store.telemetry import add_event

STOPS_AFTER_FAILURE = "queue_stops_after_failure"
"""The preference of people who want a line to wait for them when a run of it did not end well."""
FAILURES = ("failed", "crashed", "diverged")
_OWNED = f"status IN ({', '.join('?' for _ in ACTIVE)})"


def queued_runs(db: Database, device: str = "") -> list[Row]:
    """The runs in line for `device`, or for all of them, the next one first."""
    where = "status = 'queued' AND (device = ? OR ? = '') ORDER BY device, place, runs.rowid"
    return runs_where(db, where, [device, device])


def owner_of(db: Database, device: str) -> Row | None:
    """The run that has `device`, or None while it is free."""
    found = runs_where(db, f"device = ? AND {_OWNED}", [device, *ACTIVE])
    return found[0] if found else None


def lines_that_move(db: Database) -> list[str]:
    """The devices with runs in line that begin without a person: those whose line is not held."""
    found = rows(
        db,
        """SELECT DISTINCT device FROM run_state WHERE status = 'queued'
                       AND device NOT IN (SELECT device FROM lines WHERE held IS NOT NULL) ORDER BY device""",
    )
    return [row["device"] for row in found]


def held_lines(db: Database) -> dict[str, str]:
    """Why a line is held, in a sentence, by device."""
    found = rows(db, "SELECT device, held FROM lines WHERE held IS NOT NULL ORDER BY device")
    return {row["device"]: row["held"] for row in found}


def hold_line(db: Database, device: str, why: str) -> None:
    """Let no run of a device's line begin until it is released; `why` is a sentence for people."""
    db.conn.execute(
        "INSERT INTO lines (device, held) VALUES (?, ?) ON CONFLICT (device) DO UPDATE SET held = excluded.held",
        [device, why],
    )


def release_line(db: Database, device: str) -> bool:
    """Let a held line go on; False where it was not held. Failures until now do not hold it again."""
    sql = "UPDATE lines SET held = NULL, released_at = ? WHERE device = ? AND held IS NOT NULL"
    return bool(db.conn.execute(sql, [time.time(), device]).rowcount)


def unanswered_failure(db: Database, device: str) -> Row | None:
    """The run that ended last on `device`, if it ended badly while others waited and nobody has released the line."""
    found = runs_where(
        db,
        """device = ? AND kind = 'trained' AND ended_at IS NOT NULL
           AND (started_at IS NOT NULL OR status != 'stopped') ORDER BY ended_at DESC LIMIT 1""",
        [device],
    )
    if not found or found[0]["status"] not in FAILURES:
        return None
    since = rows(
        db,
        """SELECT max(coalesce((SELECT min(queued_at) FROM run_state WHERE status = 'queued' AND device = :device), 0),
                      coalesce((SELECT released_at FROM lines WHERE device = :device), 0)) AS at""",
        {"device": device},
    )[0]["at"]
    return found[0] if found[0]["ended_at"] >= since else None


def begin_run(db: Database, run_id: str) -> bool:
    """Take a run out of line and leave the command that starts its trainer; False when it is not its turn any more.

    Inside a transaction of the caller's. The index one_active_run_per_device is the last guard.
    """
    found = runs_where(db, "runs.id = ? AND status = 'queued'", [run_id])
    if not found or owner_of(db, found[0]["device"]) or found[0]["device"] in held_lines(db):
        return False
    if queued_runs(db, found[0]["device"])[0]["id"] != run_id:
        return False
    wake(db, run_id, "resume" if found[0]["attempt"] else "start")
    return True


def leave_line(db: Database, run_id: str) -> bool:
    """Take a run out of line, inside a transaction of the caller's; False when it is in none any more."""
    if not end_run(db, run_id, "stopped", only_from=("queued",)):
        return False
    add_event(db, run_id, "stopped", "Taken out of the line before it began.", get_run(db, run_id)["step"])
    return True


def set_order(db: Database, run_ids: Sequence[str]) -> None:
    """Give the runs of one line the places 1, 2, ... in this order, inside a transaction of the caller's."""
    for place, run_id in enumerate(run_ids, start=1):
        update_state(db, run_id, place=place)
