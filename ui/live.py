"""What a refresh tells the page: the state of one run and what is new since the cursors it sent. Pure functions."""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlite_utils import Database

from engine import store
from engine.store import Refused, Row
from ui.costs import costs
from ui.describe import speed
from ui.series import AXES, Array, Columns, SeriesCache, number, numbers, pack, smooth, thin, window

SHOWN = 50
"""Runs on one chart at most."""
INCREMENT = 600
"""Rows of a run in one refresh at most; a page that slept longer reads the whole curve again."""
SIDE_POINTS = 600
"""Points of the small charts, whose width is half of the large one's."""
METRIC_COLUMNS = {"loss": "train_loss", "rate": "learning_rate", "norm": "grad_norm", "speed": "tokens_per_second"}
EVAL_COLUMNS = {
    "loss": "val_loss",
    "accuracy": "val_accuracy",
    "perplexity": "val_perplexity",
    "bits": "val_bits_per_byte",
}
LOSS_ONLY = {"loss": "train_loss"}
SILENT = 8.0
"""Seconds without a word after which a page says so."""
DIGITS = {"loss": 7, "rate": 4, "norm": 4, "speed": 4, "accuracy": 5, "perplexity": 6, "bits": 6}


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
    if len(shown) > SHOWN:
        raise Refused(f"{len(shown)} runs are too many for one chart; {SHOWN} at most.")
    return shown


def version(runs: Iterable[Row]) -> str:
    """Changes whenever the list of runs, a name, a status, an attempt or a price does."""
    seen = ("id", "name", "status", "attempt", *store.PRICE)
    text = json.dumps([[run[name] for name in seen] for run in runs])
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


def increments(db: Database, shown: Shown, attempt: int, axis: str, selected: bool) -> dict[str, Any]:
    """New rows of one run since its cursors; `again` when the page must read the whole curve anew."""
    if shown.attempt != attempt:
        return {"again": True}
    metrics = store.metrics_after(db, shown.run_id, shown.metrics, INCREMENT + 1)
    evals = store.evals_after(db, shown.run_id, shown.evals, INCREMENT + 1)
    if len(metrics) > INCREMENT or len(evals) > INCREMENT:
        return {"again": True}
    answer: dict[str, Any] = {}
    if metrics:
        answer["m"] = _rows(metrics, store.METRICS, axis, METRIC_COLUMNS if selected else LOSS_ONLY)
    if evals:
        answer["e"] = _rows(evals, store.EVALS, axis, EVAL_COLUMNS)
    if answer:
        answer["at"] = [metrics[-1][0] if metrics else shown.metrics, evals[-1][0] if evals else shown.evals]
    return answer


def live(db: Database, runs: list[Row], shown: list[Shown], axis: str, selected: str, events: int) -> dict[str, Any]:
    """One refresh. `runs` are all runs, with true statuses; unknown ids among `shown` are left out."""
    check_axis(axis)
    by_id = {run["id"]: run for run in runs}
    answer: dict[str, Any] = {"v": version(runs), "active": sum(run["status"] in store.OPEN for run in runs)}
    curves = {
        one.run_id: increments(db, one, by_id[one.run_id]["attempt"], axis, one.run_id == selected)
        for one in shown
        if one.run_id in by_id
    }
    if news := {run_id: new for run_id, new in curves.items() if new}:
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


def series(
    db: Database, cache: SeriesCache, run: Row, axis: str, low: float | None, high: float | None, points: int
) -> dict[str, Any]:
    """Whole curves of one run between `low` and `high` on `axis`, thinned to about `points` for the loss."""
    check_axis(axis)
    metrics, evals = cache.metrics(db, run["id"], run["attempt"]), cache.evals(db, run["id"], run["attempt"])
    answer: dict[str, Any] = {
        "run": run["id"],
        "attempt": run["attempt"],
        "x": axis,
        "rows": metrics.rows,
        "at": [metrics.cursor, evals.cursor],
        "last": _last(metrics),
        "m": {},
        "e": {},
    }
    x = metrics[AXES[axis]]
    part = window(x, low, high)
    whole = part.stop - part.start <= points
    for name, column in METRIC_COLUMNS.items():
        y = metrics[column][part]
        if np.isfinite(y).any():
            answer["m"][name] = _curve(x[part], y, name, points if name == "loss" or whole else SIDE_POINTS)
    answer["whole"] = whole
    if not whole and "loss" in answer["m"]:
        at, mean, span = smooth(metrics["train_loss"][part], points // 4)
        answer["m"]["smooth"] = {"x": pack(x[part][at]), "y": numbers(mean, 5)}
        answer["span"] = span
    x = evals[AXES[axis]]
    part = window(x, low, high)
    for name, column in EVAL_COLUMNS.items():
        y = evals[column][part]
        if np.isfinite(y).any():
            answer["e"][name] = _curve(x[part], y, name, points)
    return answer


def check_axis(axis: str) -> None:
    """Raise Refused unless `axis` is one of AXES."""
    if axis not in AXES:
        raise Refused(f"x = {axis[:20]!r} must be one of {', '.join(AXES)}.")


def miniature(db: Database, cache: SeriesCache, run: Row, points: int = 48) -> list[list[float | int | None]]:
    """The run's loss over tokens, small enough for an exhibit card: validation, or training where that is short."""
    curve, y = cache.evals(db, run["id"], run["attempt"]), "val_loss"
    if curve.rows < points // 4 and run["kind"] != "published":
        curve, y = cache.metrics(db, run["id"], run["attempt"]), "train_loss"
    at, mean, _ = smooth(curve[y], points)
    pairs = zip(curve["tokens"][at], mean, strict=True)
    return [[number(tokens), number(loss, 4)] for tokens, loss in pairs]


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
    rows: list[tuple[float | None, ...]], names: tuple[str, ...], axis: str, wanted: dict[str, str]
) -> dict[str, Any]:
    table = Columns(names)
    table.extend(rows)
    known = {name: column for name, column in wanted.items() if name == "loss" or np.isfinite(table[column]).any()}
    return {"x": pack(table[AXES[axis]])} | {
        name: numbers(table[column], DIGITS[name]) for name, column in known.items()
    }


def _curve(x: Array, y: Array, name: str, points: int) -> dict[str, Any]:
    at = thin(y, points)
    return {"x": pack(x[at]), "y": numbers(y[at], DIGITS[name])}


def _last(metrics: Columns) -> list[float | int | None]:
    """Steps, tokens and seconds of the newest row: where a live curve goes on."""
    return [number(float(metrics[column][-1])) for column in AXES.values()] if metrics.rows else []
