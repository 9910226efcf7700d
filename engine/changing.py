"""What people ask to change about a run while it runs, or before it goes on. The run's trainer does it."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine import launch, store
from engine.config import RunConfig, from_json
from engine.home import Home
from engine.inflight import Course, check_changes, course, told
from engine.store import Refused


@dataclass(frozen=True)
class Change:
    """What was asked for."""

    run: store.Row
    values: dict[str, float]
    notes: tuple[str, ...]
    """What each value does, in a sentence, if the run takes it now."""


def plan_change(db: Database, run: store.Row, wanted: Mapping[str, Any]) -> Change:
    """What setting these values would do; raises Refused or ConfigError for what cannot be."""
    if run["kind"] != "trained":
        kind = "a published run" if run["kind"] == "published" else "a run that was trained elsewhere"
        raise Refused(f"{run['name']} is {kind}; there is nothing to change about it.")
    if run["status"] not in (*store.OPEN, *store.RESUMABLE):
        raise Refused(f"{run['name']} has {run['status']}; fork it to go on with other settings.")
    config, step = from_json(store.get_config(db, run["id"])), run["step"]
    now = course(config, _asked_for(db, run["id"]))
    values, notes = check_changes(config, now, step, wanted), []
    for key, value in values.items():
        before, now = now, now.changed(key, value, config)
        notes.append(told(config, before, now, key, step))
    return Change(run, values, tuple(notes))


@dataclass(frozen=True)
class Standing:
    """What may change about a run as it is now, and what was changed so far."""

    planned: Course
    """What its config says."""
    now: Course
    """With everything that was asked for."""
    changes: tuple[store.Row, ...]
    """In the order in which they hold; `step` is None where the trainer has not taken it between two steps."""


def standing(db: Database, run_id: str, config: RunConfig) -> Standing:
    """How a run stands with what was asked for while it ran."""
    changes = _asked_for(db, run_id)
    return Standing(Course.planned(config), course(config, changes), tuple(changes))


def change_run(home: Home, run: str, wanted: Mapping[str, Any]) -> Change:
    """Ask a run to go on with other values from its next step on; one that has ended early does so when it goes on."""
    with closing(store.connect(home.database, durable=True)) as db:
        launch.reconcile(home, db)
        with store.writing(db):
            change = plan_change(db, store.find_run(db, run), wanted)
            store.give_command(db, change.run["id"], "set", json.dumps(change.values))
    return change


def _asked_for(db: Database, run_id: str) -> list[store.Row]:
    """The changes of a run with those that no trainer has taken yet."""
    changes = store.list_changes(db, run_id)
    for command in store.waiting_changes(db, run_id):
        asked = json.loads(command["argument"])
        at = command["created_at"]
        changes += [{"key": key, "value": value, "step": None, "created_at": at} for key, value in asked.items()]
    return changes
