"""A home with finished runs, answers of several ages and exhibits, written at once; and an empty one again."""

import shutil

from sqlite_utils import Database
from ui_helpers import add_answer, add_points, make_run

from engine import store
from engine.home import Home
from engine.store.reference import add_reference

PROMPTS = ("Once upon a time", "The captain of the ship")


TABLES = (
    "alerts",
    "votes",
    "archive",
    "samples",
    "run_labels",
    "report_blocks",
    "diagnostics",
    "machine",
    "preferences",
    "metrics",
    "evals",
    "events",
    "commands",
    "checkpoints",
    "run_state",
    "runs",
    "capsules",
    "jobs",
    "lines",
    "sweeps",
    "probes",
)


def empty(home: Home) -> None:
    """Make a home in which nothing trains as it was at first."""
    db = store.connect(home.database)
    for table in TABLES:
        db.conn.execute(f"DELETE FROM {table}")
    add_reference(db)
    db.close()
    for folder in ("checkpoints", "datasets"):
        shutil.rmtree(home.path / folder, ignore_errors=True)


def clear_lines(home: Home) -> None:
    """Nothing waits in line and nothing is held."""
    db = store.connect(home.database)
    for run in store.queued_runs(db):
        store.end_run(db, run["id"], "stopped")
    for device in store.held_lines(db):
        store.release_line(db, device)
    store.set_preference(db, store.STOPS_AFTER_FAILURE, None)
    db.close()


def open_runs(home: Home) -> list[str]:
    """The names of runs that wait or train."""
    db = store.connect(home.database)
    found = [run["name"] for run in store.list_runs(db) if run["status"] in store.OPEN]
    db.close()
    return found


def finished_run(db: Database, name: str, steps: int = 60) -> str:
    """A run that ended, with curves and an answer to each prompt at every tenth step."""
    run_id = make_run(db, name)
    add_points(db, run_id, 1, steps)
    for step in range(10, steps + 1, 10):
        for prompt in PROMPTS:
            add_answer(db, run_id, f" there was an answer at step {step}.", step, prompt, finish="length")
    store.update_state(db, run_id, step=steps, tokens=steps * 4096, progress=1.0, val_loss=3.2, elapsed_seconds=240.0)
    store.end_run(db, run_id, "finished")
    return run_id


def furnished(home: Home, exhibits: int = 3) -> list[str]:
    """Two finished runs and some exhibits of the first; returns the runs' ids."""
    db = store.connect(home.database)
    try:
        runs = [finished_run(db, "elder"), finished_run(db, "younger", 40)]
        for number in range(exhibits):
            sample = add_answer(db, runs[0], f" there was a marmalade cat {number}.", 10 + number % 50, "A cat")
            store.keep(db, sample, ("good", "strange", "hallucination")[number % 3], f"Cat {number}", "purring")
        return runs
    finally:
        db.close()
