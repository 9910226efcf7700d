"""Which run came from which. Functions take an open database first."""

import time

from sqlite_utils import Database

from engine.store.connect import Row
from engine.store.runs import get_run, update_state
from engine.store.words import put_checkpoint


def make_fork(db: Database, run_id: str, parent_id: str, checkpoint: Row) -> None:
    """Make a new run the child of another one, within the caller's transaction.

    `checkpoint` is what it begins with: step, tokens, path, bytes and sha256 of a whole one in its own folder.
    """
    db.conn.execute(
        "UPDATE runs SET parent_run_id = ?, parent_step = ? WHERE id = ?", [parent_id, checkpoint["step"], run_id]
    )
    update_state(db, run_id, step=checkpoint["step"], tokens=checkpoint["tokens"])
    # Attempt 0: no trainer of its own has written it.
    put_checkpoint(db, {"run_id": run_id, "attempt": 0, "kind": "full", "created_at": time.time(), **checkpoint})


def tokens_since_fork(run: Row) -> int:
    """Tokens that a run has read itself: all of its age, but for a fork, whose first steps were its parent's.

    A step of a fork reads as many tokens as one of its parent. The parent's own row may be gone.
    """
    if not run["parent_step"]:
        return int(run["tokens"])
    return int(run["tokens"] - run["parent_step"] * run["target_tokens"] // run["total_steps"])


def ancestors(db: Database, run: Row) -> list[tuple[Row, int]]:
    """Parent, grandparent and so on of a run, each with the step up to which it is that run's past."""
    found: list[tuple[Row, int]] = []
    step: int | None = None
    while run["parent_run_id"] is not None:
        step = run["parent_step"] if step is None else min(step, run["parent_step"])
        run = get_run(db, run["parent_run_id"])
        found.append((run, step))
    return found
