"""What happened to a run, with its place on the charts: saves, resumes, spikes, changed settings, forks."""

from typing import Any

import numpy as np
from sqlite_utils import Database

from engine import store
from engine.store import Row
from ui.columns import SeriesCache
from ui.curves import AXES, check_axis, clock, places
from ui.series import number

MARKED = {
    "resumed": "resumed",
    "epoch": "text read again",
    "spike": "spike",
    "skipped": "left out",
    "roll-back": "rolled back",
    "changed": "changed",
}
"""Kinds of events that have a mark on the charts, and what it is called."""
IN_FULL = ("spike", "skipped", "changed")
"""Those whose message says more than their name does."""
EVENTS = 1000


def marks(db: Database, cache: SeriesCache, run: Row, axis: str) -> list[dict[str, Any]]:
    """The marks of a run with their place on `axis`, each with `kind`, `step`, `x` and perhaps a `message`."""
    check_axis(axis)
    curve = cache.metrics(db, run["id"], run["attempt"], ("step", "elapsed_seconds", AXES[axis]))
    moments = clock(db, run, curve) if axis == "date" else None
    if axis == "date" and moments is None:
        return []
    x = places(curve, axis, moments)
    found = [("saved", step, "") for step in store.saved_steps(db, run["id"])]
    found += [
        (MARKED[event["kind"]], event["step"], event["message"] if event["kind"] in IN_FULL else "")
        for event in store.list_events(db, run["id"], limit=EVENTS)
        if event["kind"] in MARKED and event["step"] is not None
    ]
    if run["parent_step"] is not None:
        found.append(("forked", run["parent_step"], ""))
    placed = []
    for kind, step, message in found:
        at = int(np.searchsorted(curve["step"], step))
        if at < curve.rows:
            mark = {"kind": kind, "step": step, "x": number(float(x[at]), 15)}
            placed.append(mark | ({"message": message} if message else {}))
    return placed
