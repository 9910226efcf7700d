"""The past of a forked run: the curves of the runs it comes from, each up to the step at which it was left."""

from typing import Any

import numpy as np
from sqlite_utils import Database

from engine import store
from engine.store import Row
from ui.columns import Array, SeriesCache
from ui.curves import DIGITS, EVAL_COLUMNS, METRIC_COLUMNS
from ui.series import numbers, pack, thin

AXES = {"steps": "step", "tokens": "tokens", "time": "elapsed_seconds"}
"""Axes that a fork counts on from its parent; on other ones it has no past."""
POINTS = 400
"""Of each curve at most: they are drawn faintly, behind a run's own."""
STEPS_A_POINT = 10
"""Steps that are averaged where there are so many: the noise of single ones is of no use there."""


def past(db: Database, cache: SeriesCache, run: Row, axis: str) -> list[dict[str, Any]]:
    """Curves of the runs that a run comes from, its parent first; `step` is where each was left."""
    if axis not in AXES:
        return []
    return [
        {"run": row["id"], "name": row["name"], "step": step, **_curves(db, cache, row, step, AXES[axis])}
        for row, step in store.ancestors(db, run)
    ]


def _curves(db: Database, cache: SeriesCache, run: Row, step: int, x: str) -> dict[str, dict[str, Any]]:
    metrics, evals = cache.metrics(db, run["id"], run["attempt"]), cache.evals(db, run["id"], run["attempt"])
    answer: dict[str, dict[str, Any]] = {"m": {}, "e": {}}
    if count := int(np.searchsorted(metrics["step"], step, side="right")):
        for name, column in METRIC_COLUMNS.items():
            at, y = _averaged(metrics[column][:count])
            _put(answer["m"], name, metrics[x][:count][at], y)
    if count := int(np.searchsorted(evals["step"], step, side="right")):
        for name, column in EVAL_COLUMNS.items():
            y = evals[column][:count]
            at = thin(y, POINTS)
            _put(answer["e"], name, evals[x][:count][at], y[at])
    return answer


def _averaged(y: Array) -> tuple[Any, Array]:
    """Rows and values of about a tenth of the rows, each the mean of those around it; both ends stay."""
    count = len(y)
    points = min(POINTS, max(count // STEPS_A_POINT, min(count, 2 * STEPS_A_POINT)))
    at = np.unique(np.linspace(0, count - 1, points).astype(np.intp))
    reach = max(1, count // points)
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, count)
    good = np.isfinite(y)
    # Long sums need more digits than what was measured.
    total = np.concatenate([[0.0], np.cumsum(np.where(good, y, 0.0), dtype=np.float64)])
    known = np.concatenate([[0], np.cumsum(good)])
    number = known[high] - known[low]
    return at, np.where(number > 0, (total[high] - total[low]) / np.maximum(number, 1), np.nan)


def _put(curves: dict[str, Any], name: str, x: Array, y: Array) -> None:
    if np.isfinite(y).any():
        curves[name] = {"x": pack(x), "y": numbers(y, DIGITS[name])}
