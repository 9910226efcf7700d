"""What people ask to change about a run while it runs, or before it goes on. The run's trainer does it."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine import launch, store
from engine.config import from_json
from engine.home import Home
from engine.inflight import check_changes, course, told
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
        raise Refused(f"{run['name']} is a published run; there is nothing to change about it.")
    if run["status"] not in (*store.OPEN, *store.RESUMABLE):
        raise Refused(f"{run['name']} has {run['status']}; fork it to go on with other settings.")
    config, step = from_json(store.get_config(db, run["id"])), run["step"]
    changes = store.list_changes(db, run["id"])
    for command in store.waiting_changes(db, run["id"]):
        asked = json.loads(command["argument"])
        changes += [{"key": key, "value": value, "step": None} for key, value in asked.items()]
    now = course(config, changes)
    values, notes = check_changes(config, now, step, wanted), []
    for key, value in values.items():
        before, now = now, now.changed(key, value, config)
        notes.append(told(config, before, now, key, step))
    return Change(run, values, tuple(notes))


def change_run(home: Home, run: str, wanted: Mapping[str, Any]) -> Change:
    """Ask a run to go on with other values from its next step on; one that has ended early does so when it goes on."""
    with closing(store.connect(home.database, durable=True)) as db:
        launch.reconcile(home, db)
        with store.writing(db):
            change = plan_change(db, store.find_run(db, run), wanted)
            store.give_command(db, change.run["id"], "set", json.dumps(change.values))
    return change
