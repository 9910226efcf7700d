"""Curves of runs for the charts: the part looked at, thinned to what a screen can show, smoothed from all rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlite_utils import Database

from engine import store
from engine.store import Refused, Row
from ui.columns import Array, Columns, SeriesCache
from ui.series import broken, number, numbers, pack, smooth, thin, window

AXES = {"steps": "step", "tokens": "tokens", "time": "elapsed_seconds", "date": "elapsed_seconds"}
"""Horizontal axes and the column behind each; dates are made from the time worked, see `clock`."""
METRIC_COLUMNS = {"loss": "train_loss", "rate": "learning_rate", "norm": "grad_norm", "speed": "tokens_per_second"}
EVAL_COLUMNS = {
    "loss": "val_loss",
    "accuracy": "val_accuracy",
    "perplexity": "val_perplexity",
    "bits": "val_bits_per_byte",
}
CURVES = tuple({**METRIC_COLUMNS, **EVAL_COLUMNS})
NOISY = ("loss", "norm", "speed")
"""Curves that are smoothed."""
DIGITS = {"loss": 7, "rate": 4, "norm": 4, "speed": 4, "accuracy": 5, "perplexity": 6, "bits": 6}
SIDE_POINTS = 400
"""Points of the small charts, whose width is half of the large one's."""
POINTS = (100, 10_000)
SMOOTHING = 2.5
MOST_SMOOTHING = 50.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What of a curve is asked for; what makes no sense is refused."""

    axis: str = "steps"
    low: float | None = None
    high: float | None = None
    points: int = 2000
    """About as many of each curve; the smoothed one has half as many."""
    smoothing: float = SMOOTHING
    """Percent of a run's steps that are averaged; 0 for no smoothed curve."""
    curves: tuple[str, ...] = CURVES
    """Some of CURVES."""

    def __post_init__(self) -> None:
        check_axis(self.axis)
        check_curves(self.curves)
        if not 0 <= self.smoothing <= MOST_SMOOTHING:
            raise Refused(f"smooth = {self.smoothing:g} must be a percentage from 0 to {MOST_SMOOTHING:g}.")
        object.__setattr__(self, "points", min(max(self.points, POINTS[0]), POINTS[1]))


def check_axis(axis: str) -> None:
    """Raise Refused unless `axis` is one of AXES."""
    if axis not in AXES:
        raise Refused(f"x = {axis[:20]!r} must be one of {', '.join(AXES)}.")


def check_curves(names: tuple[str, ...]) -> None:
    """Raise Refused unless all of `names` are in CURVES."""
    for name in names:
        if name not in CURVES:
            raise Refused(f"curves = {name[:20]!r} must be some of {', '.join(CURVES)}.")


def series(db: Database, cache: SeriesCache, run: Row, look: Look) -> dict[str, Any]:
    """Curves of one run between `low` and `high` on the axis: `m` measured at each step, `s` smoothed, `e` evaluated.

    `at` are the cursors from which a refresh goes on.
    """
    axis = ("step", "elapsed_seconds") if look.axis == "date" else (AXES[look.axis],)
    measured = [name for name in look.curves if name in METRIC_COLUMNS]
    metrics = cache.metrics(db, run["id"], run["attempt"], (*axis, *(METRIC_COLUMNS[name] for name in measured)))
    evals = cache.evals(db, run["id"], run["attempt"])
    moments = clock(db, run, metrics) if look.axis == "date" else None
    x = places(metrics, look.axis, moments)
    part = window(x, look.low, look.high)
    whole = part.stop - part.start <= look.points
    answer: dict[str, Any] = {
        "run": run["id"],
        "attempt": run["attempt"],
        "rows": metrics.rows,
        "whole": whole,
        "at": [metrics.cursor, evals.cursor],
        "m": {},
        "s": {},
        "e": {},
    }
    if look.axis == "date" and moments is None:
        return answer
    for name in measured:
        y = metrics[METRIC_COLUMNS[name]]
        if np.isfinite(y[part]).any():
            points = look.points if name == "loss" or whole else min(SIDE_POINTS, look.points)
            answer["m"][name] = _curve(x[part], y[part], name, points)
            if look.smoothing and name in NOISY:
                at, mean = smooth(y, part, points if whole else points // 2, look.smoothing)
                answer["s"][name] = {"x": pack(x[at]), "y": numbers(mean, 5)}
    x = places(evals, look.axis, moments)
    part = window(x, look.low, look.high)
    for name in [name for name in look.curves if name in EVAL_COLUMNS]:
        y = evals[EVAL_COLUMNS[name]][part]
        if np.isfinite(y).any():
            answer["e"][name] = _curve(x[part], y, name, look.points)
    return answer


def places(held: Columns, axis: str, moments: tuple[Array, Array] | None) -> Array:
    """Where the rows lie on the axis: steps, tokens, seconds worked, or seconds since 1970."""
    worked = held[AXES[axis]]
    if axis != "date" or moments is None:
        return worked
    return dated(worked, moments)


def dated(worked: Array, moments: tuple[Array, Array]) -> Array:
    """Dates (seconds since 1970) of times worked, between the `moments` of which both are known; beyond, time flies."""
    known, dates = moments
    beyond = np.minimum(worked - known[0], 0) + np.maximum(worked - known[-1], 0)
    return np.asarray(np.interp(worked, known, dates) + beyond)


def clock(db: Database, run: Row, metrics: Columns) -> tuple[Array, Array] | None:
    """Times worked and their dates, both rising, as far as events, saves and answers tell; None where nothing does.

    A row of metrics has no date of its own. Between two of these moments a pause is spread evenly.
    """
    found = [(0.0, run["started_at"]), (run["elapsed_seconds"], run["heartbeat_at"])]
    if metrics.rows:
        steps, worked = metrics["step"], metrics["elapsed_seconds"]
        told = [(step, date) for step, date in store.moments(db, run["id"]) if steps[0] <= step <= steps[-1]]
        reached = np.interp([step for step, _ in told], steps, worked)
        found += zip(reached.tolist(), (date for _, date in told), strict=True)
    rising: list[tuple[float, float]] = []
    for place, date in sorted((place, date) for place, date in found if date is not None):
        # What an earlier attempt did at a step that was made again later is too early, and left out.
        if not rising or (place > rising[-1][0] and date >= rising[-1][1]):
            rising.append((place, date))
    if not rising:
        return None
    known, dates = np.array(rising).T
    return known, dates


def miniature(db: Database, cache: SeriesCache, run: Row, points: int = 48) -> list[list[float | int | None]]:
    """The run's loss over tokens, small enough for an exhibit card: validation, or training where that is short."""
    curve, y = cache.evals(db, run["id"], run["attempt"]), "val_loss"
    if curve.rows < points // 4 and run["kind"] != "published":
        curve, y = cache.metrics(db, run["id"], run["attempt"], ("tokens", "train_loss")), "train_loss"
    at, mean = smooth(curve[y], slice(0, curve.rows), points, SMOOTHING)
    pairs = zip(curve["tokens"][at], mean, strict=True)
    return [[number(tokens), number(loss, 4)] for tokens, loss in pairs]


def _curve(x: Array, y: Array, name: str, points: int) -> dict[str, Any]:
    """x, y; `pairs` where y is pairs of a lowest and a highest value, `bad` where steps of them were no numbers."""
    at = thin(y, points)
    curve: dict[str, Any] = {"x": pack(x[at]), "y": numbers(y[at], DIGITS[name])}
    if len(y) > points:
        curve["pairs"] = True
        if name == "loss" and len(bad := broken(y, points)):
            curve["bad"] = [number(place, 15) for place in x[bad].tolist()]
    return curve
