"""What a refresh tells the page: the state of one run and what is new since the cursors it sent. Pure functions."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlite_utils import Database

from engine import store
from engine.store import Refused, Row
from ui.costs import costs
from ui.curves import AXES, CURVES, DIGITS, EVAL_COLUMNS, METRIC_COLUMNS, check_axis, check_curves
from ui.describe import speed
from ui.series import number, numbers, pack

SHOWN = 200
"""Runs on one chart at most."""
INCREMENT = 600
"""Rows of a run in one refresh at most; a page that slept longer reads the whole curve again."""
SILENT = 8.0
"""Seconds without a word after which a page says so."""


@dataclass(frozen=True)
class Shown:
    """A run on the page: its attempt and the last metrics and evals ids that the page has."""

    run_id: str
    attempt: int
    metrics: int
    evals: int


def parse_shown(text: str) -> list[Shown]:
    """Read `id:attempt:metrics_cursor:evals_cursor,...`; raises Refused."""
    shown = []
    for part in filter(None, text.split(",")):
        run_id, *counts = part.split(":")
        if len(counts) != 3 or not all(count.isdecimal() and len(count) < 18 for count in counts):
            raise Refused("runs takes id:attempt:metrics_cursor:evals_cursor, comma separated.")
        shown.append(Shown(run_id, *map(int, counts)))
    check_number(len(shown))
    return shown


def parse_ids(text: str) -> set[str]:
    """Read `id,id,...`, one at least; raises Refused."""
    ids = set(filter(None, text.split(",")))
    if not ids:
        raise Refused("runs takes the ids of one run or more, comma separated.")
    check_number(len(ids))
    return ids


def check_number(runs: int) -> None:
    """Raise Refused for more runs than one chart shows."""
    if runs > SHOWN:
        raise Refused(f"{runs} runs are too many for one chart; {SHOWN} at most.")


def version(runs: Iterable[Row], held: Mapping[str, str] | None = None) -> str:
    """Changes whenever the list of runs does, a status, an attempt, an end, a place in line, a price, what people wrote
    about a run, or which lines are `held`."""
    seen = ("id", "name", "status", "attempt", "total_steps", "place", "tags", "notes", "put_away_at", *store.PRICE)
    text = json.dumps([[[run[name] for name in seen] for run in runs], held or {}])
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:10]


def pulse(run: Row) -> dict[str, Any]:
    """What changes about a run while it runs; what is unknown is left out."""
    values = {
        "status": run["status"],
        "phase": run["phase"],
        "message": run["message"],
        "error": run["error"],
        "progress": number(run["progress"], 4),
        "attempt": run["attempt"],
        "step": run["step"],
        "tokens": run["tokens"],
        "loss": number(run["train_loss"], 5),
        "val_loss": number(run["val_loss"], 5),
        "speed": number(speed(run) or None, 3),
        "eta": number(run["eta_seconds"], 3),
        "seconds": number(run["elapsed_seconds"], 4),
        "silent": silence(run),
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def silence(run: Row) -> int | None:
    """Seconds since a living trainer last wrote, where that is too long; it writes every half second when it can."""
    if run["status"] not in ("running", "paused", "stopping") or run["heartbeat_at"] is None:
        return None
    seconds = time.time() - run["heartbeat_at"]
    return round(seconds) if seconds > SILENT else None


def increments(db: Database, shown: Shown, run: Row, axis: str, wanted: Iterable[str]) -> dict[str, Any]:
    """New rows of one run since its cursors; `again` when the page must read the whole curve anew."""
    if shown.attempt != run["attempt"]:
        return {"again": True}
    metrics = store.metrics_after(db, shown.run_id, shown.metrics, INCREMENT + 1)
    evals = store.evals_after(db, shown.run_id, shown.evals, INCREMENT + 1)
    if len(metrics) > INCREMENT or len(evals) > INCREMENT:
        return {"again": True}
    # A row has no date; the newest state has one, and what is new was measured just before it.
    began = (run["heartbeat_at"] or 0) - run["elapsed_seconds"] if axis == "date" else 0
    answer: dict[str, Any] = {}
    if metrics:
        columns = {name: column for name, column in METRIC_COLUMNS.items() if name in wanted}
        answer["m"] = _rows(metrics, store.METRICS, AXES[axis], began, columns)
    if evals:
        answer["e"] = _rows(evals, store.EVALS, AXES[axis], began, EVAL_COLUMNS)
    if answer:
        answer["at"] = [metrics[-1][0] if metrics else shown.metrics, evals[-1][0] if evals else shown.evals]
    return answer


def live(
    db: Database,
    runs: list[Row],
    shown: list[Shown],
    axis: str,
    selected: str,
    events: int,
    curves: tuple[str, ...] = CURVES,
) -> dict[str, Any]:
    """One refresh. `runs` are all runs, with true statuses; unknown ids among `shown` are left out.

    `curves` are the metrics of the selected run; of the others only the loss comes with every refresh. Evaluations are
    few and come whole.
    """
    check_axis(axis)
    check_curves(curves)
    by_id = {run["id"]: run for run in runs}
    seen = version(runs, store.held_lines(db))
    answer: dict[str, Any] = {
        "v": seen,
        "active": sum(run["status"] in store.OPEN for run in runs),
        "alert": store.newest_alert_id(db),
    }
    grown = {
        one.run_id: increments(db, one, by_id[one.run_id], axis, curves if one.run_id == selected else ("loss",))
        for one in shown
        if one.run_id in by_id
    }
    if news := {run_id: new for run_id, new in grown.items() if new}:
        answer["runs"] = news
    if selected in by_id:
        answer["now"] = pulse(by_id[selected])
        if money := costs(db, by_id[selected]):
            answer["now"]["money"] = money
        if by_id[selected]["status"] in store.RESUMABLE:
            answer["now"]["saved"] = max(
                (row["step"] for row in store.list_checkpoints(db, selected, "full")), default=0
            )
        if newest := store.last_eval(db, selected):
            answer["now"] |= {"val_step": newest["step"], "val_accuracy": number(newest["val_accuracy"], 3)}
        answer["said"] = store.newest_sample_id(db, selected)
        if happened := store.list_events(db, selected, events, limit=20):
            answer["events"] = [event(row) for row in happened]
    return answer


def event(row: Row) -> dict[str, Any]:
    """One line of the event log."""
    return {
        "id": row["id"],
        "step": row["step"],
        "kind": row["kind"],
        "message": row["message"],
        "at": round(row["created_at"]),
    }


def _rows(
    rows: list[tuple[float | None, ...]], names: tuple[str, ...], axis: str, began: float, wanted: dict[str, str]
) -> dict[str, Any]:
    table = dict(zip(names, np.array(rows, dtype=np.float64).T, strict=True))
    known = {name: column for name, column in wanted.items() if name == "loss" or np.isfinite(table[column]).any()}
    return {"x": pack(table[axis] + began)} | {
        name: numbers(table[column], DIGITS[name]) for name, column in known.items()
    }
