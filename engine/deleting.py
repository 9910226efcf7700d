"""Runs that nobody needs any more: what deleting one frees, and the deletion, which may be killed at any moment.

First the run is hidden, in one transaction under its lock: from then on there is no such run. Then its weights go, then
its rows a few at a time, so that a trainer that writes meanwhile hardly waits, and its own row last. What a killed
process has left is finished by the next deletion or the next start of the app.
"""

import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from engine import process, store
from engine.endings import lock_of
from engine.home import Home
from engine.space import folder_bytes

BREATH = 0.005
"""Seconds between two transactions at least, or as long as the last one took: who waits for the write lock gets it."""
PATIENCE = 60.0
"""Seconds that the removal of rows waits for another process's lock; there is no hurry."""


@dataclass(frozen=True)
class Frees:
    """What goes with a run, before it goes."""

    run_id: str
    name: str
    bytes: int
    """Of its folder: weights, tokenizer, log. They are free at once; the room of rows in runs.db is used again."""
    checkpoints: int
    """Sets of weights on disk, those that can only be asked among them."""
    rows: dict[str, int]
    """By table."""
    exhibits: list[store.Row]
    """id, category and title of what the time capsule has of it: they go only if that is asked for."""
    children: list[str]
    """Names of the runs that were forked from it; they stay whole."""
    refusal: str
    """Why it cannot go now, in a sentence, or ""."""


def what_it_frees(home: Home, run: str) -> Frees:
    """What deleting a run would free and remove, and what is in the way of it; changes nothing.

    Here and in `delete_run` statuses are taken as they are stored: see `launch.reconcile`.
    """
    with closing(store.connect(home.database)) as db:
        return _frees(home, db, store.find_run(db, run))


def delete_run(home: Home, run: str, exhibits: bool = False) -> Frees:
    """Delete a run for good, with `exhibits` also what the time capsule has of it; returns what went.

    Raises Refused for the published run, for one that has not ended, whose trainer is still there, or that has exhibits
    which are not to go.
    """
    with closing(store.connect(home.database, durable=True)) as db:
        found = store.find_run(db, run)
        frees = _frees(home, db, found)
        _refuse(found, frees.exhibits, exhibits)
        # The transaction keeps a resume away, the lock a trainer that has ended its run but not itself yet.
        lock = process.hold_lock(lock_of(home, found["id"]))
        if lock is None:
            raise store.Refused(f"{found['name']} is still ending; delete it in a moment.")
        with lock:
            _hide(db, found["id"], exhibits)
    if problem := finish(home).get(found["id"]):
        raise store.Refused(f"{found['name']} is deleted, but not its files: {problem}; remove them yourself.")
    return frees


def finish(home: Home) -> dict[str, str]:
    """Remove what is left of runs whose deletion has begun, here or in a process that was killed.

    Returns why files of a run cannot be removed, by its id. Several processes may do this at once.
    """
    problems = {}
    with closing(store.connect(home.database, patience=PATIENCE)) as db:
        for run_id in store.hidden_runs(db):
            problem = _remove_folder(home.run(run_id))
            while _remove_rows(db, run_id) and not problem and not store.remove_run(db, run_id):
                pass  # an answer of the generation worker came in between
            if problem:
                problems[run_id] = problem
    return problems


def _refuse(run: store.Row, exhibits: list[store.Row], also_exhibits: bool) -> None:
    """Raise Refused where a run may not go."""
    if sentence := _in_the_way(run):
        raise store.Refused(sentence)
    if exhibits and not also_exhibits:
        many = "an exhibit" if len(exhibits) == 1 else f"{len(exhibits)} exhibits"
        raise store.Refused(
            f"The time capsule has {many} of {run['name']}; say that these go too, or put the run away instead."
        )


def _in_the_way(run: store.Row) -> str:
    if run["kind"] == "published":
        return "The published run stays: this home has no other copy of it."
    if run["status"] in store.OPEN:
        doing = "waits in line" if run["status"] == "queued" else f"is {run['status']}"
        return f"{run['name']} {doing}; stop it first."
    return ""


def _frees(home: Home, db: Database, run: store.Row) -> Frees:
    weights = [row for kind in ("", "kept") for row in store.list_checkpoints(db, run["id"], kind)]
    return Frees(
        run_id=run["id"],
        name=run["name"],
        bytes=folder_bytes(home.run(run["id"])),
        checkpoints=len(weights),
        rows=store.count_rows(db, run["id"]),
        exhibits=store.exhibits_of(db, run["id"]),
        children=[child["name"] for child in store.children_of(db, run["id"])],
        refusal=_in_the_way(run),
    )


def _hide(db: Database, run_id: str, exhibits: bool) -> None:
    """Take the run out of sight, its exhibits before it; refused where something has come in the way meanwhile."""
    while True:
        with store.writing(db):
            run = store.get_run(db, run_id)
            _refuse(run, store.exhibits_of(db, run_id) if not exhibits else [], exhibits)
            if not store.remove_exhibits(db, run_id):
                store.hide_run(db, run)
                return


def _remove_rows(db: Database, run_id: str) -> bool:
    """Remove the rows of a hidden run; False when another process has removed the run meanwhile."""
    while True:
        began = time.monotonic()
        if not store.remove_some(db, run_id):
            return run_id in store.hidden_runs(db)
        time.sleep(max(BREATH, time.monotonic() - began))


def _remove_folder(folder: Path) -> str:
    """Remove a run's folder, which another process may be doing too; why that does not work, or ""."""
    try:
        if folder.is_symlink():
            folder.unlink()  # what it points to was put elsewhere by a person
        while folder.exists():
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                continue
    except OSError as error:
        return f"checkpoints/{folder.name} cannot be removed ({error.strerror})"
    return ""
