"""What was changed about a run while it ran. Functions take an open database first."""

import json
import time
from collections.abc import Mapping

from sqlite_utils import Database

from engine.store.connect import Row, insert, rows, writing
from engine.store.runs import finish_command, waiting_commands

COMMAND = "set"
"""The kind of a command whose argument is JSON: new values by key. It waits until a trainer of the run takes it."""


def take_changes(db: Database, run_id: str) -> list[Row]:
    """Take the waiting `set` commands of a run: their rows, which hold from no step yet."""
    if not waiting_changes(db, run_id):
        return []
    taken = []
    with writing(db):  # with the command goes its rows: killed in between, neither or both are there
        now = time.time()
        for command in waiting_changes(db, run_id):
            for key, value in json.loads(command["argument"]).items():
                row = {"run_id": run_id, "key": key, "value": value, "created_at": now}
                taken.append({"id": insert(db, "run_changes", row), "step": None, **row})
            db.conn.execute("UPDATE commands SET taken_at = ? WHERE id = ?", [now, command["id"]])
            finish_command(db, command["id"], "taken by the trainer")
    return taken


def waiting_changes(db: Database, run_id: str) -> list[Row]:
    """The `set` commands that no trainer has taken, oldest first."""
    return [command for command in waiting_commands(db, (COMMAND,)) if command["run_id"] == run_id]


def date_change(db: Database, change_id: int, step: int) -> None:
    """Note after how many steps a change was made, within the caller's transaction.

    Of the same setting, what an attempt that has gone further had changed after that step is superseded.
    """
    db.conn.execute(
        """UPDATE run_changes SET superseded = 1 WHERE step > ? AND superseded = 0 AND id < ?
           AND (run_id, key) = (SELECT run_id, key FROM run_changes WHERE id = ?)""",
        [step, change_id, change_id],
    )
    db.conn.execute("UPDATE run_changes SET step = ? WHERE id = ?", [step, change_id])


def add_changes(db: Database, run_id: str, step: int, values: Mapping[str, float]) -> None:
    """Changes that hold from a step on, within the caller's transaction."""
    for key, value in values.items():
        row = {"run_id": run_id, "key": key, "value": value, "step": step, "created_at": time.time()}
        insert(db, "run_changes", row)


def list_changes(db: Database, run_id: str) -> list[Row]:
    """Changes of a run that count, in the order in which they hold; those of no step yet last."""
    return rows(
        db,
        """SELECT * FROM run_changes WHERE run_id = ? AND superseded = 0 ORDER BY ifnull(step, 1e300), id""",
        [run_id],
    )
