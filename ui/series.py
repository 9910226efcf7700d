"""Columns of numbers for the charts: read once, grown by cursor, thinned out without losing a spike."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from engine import store

Array = NDArray[np.float64]
Read = Callable[[Database, str, int, int], list[tuple[float | None, ...]]]
CHUNK = 50_000
"""Rows read at once: a million rows as Python tuples would take 300 MB."""
CACHED_ROWS = 6_000_000
"""Rows kept in memory for all runs together; 8 columns of 8 bytes make this at most 400 MB, plus slack for growth."""
AXES = {"steps": "step", "tokens": "tokens", "time": "elapsed_seconds"}


@dataclass
class Columns:
    """The rows of one run in one table as one array a column, in the order of `names`; NULL is NaN."""

    names: tuple[str, ...]
    cursor: int = 0
    rows: int = 0
    data: Array = field(default_factory=lambda: np.empty((0, 0)))

    def extend(self, more: list[tuple[float | None, ...]]) -> None:
        """Append rows whose first value is their id."""
        block = np.array(more, dtype=np.float64).T
        needed = self.rows + block.shape[1]
        if needed > self.data.shape[1]:
            grown = np.empty((len(self.names), max(1024, needed + needed // 4)))
            if self.rows:
                grown[:, : self.rows] = self.data[:, : self.rows]
            self.data = grown
        self.data[:, self.rows : needed] = block
        self.rows, self.cursor = needed, int(more[-1][0] or 0)

    def __getitem__(self, name: str) -> Array:
        return self.data[self.names.index(name), : self.rows] if self.rows else np.empty(0)


class SeriesCache:
    """Metrics and evaluations of the runs looked at lately, keyed by run id and attempt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, int, str], Columns] = OrderedDict()

    def metrics(self, db: Database, run_id: str, attempt: int) -> Columns:
        """The run's current metrics up to now."""
        return self._current(db, run_id, attempt, "metrics", store.METRICS, store.metrics_after)

    def evals(self, db: Database, run_id: str, attempt: int) -> Columns:
        """The run's current evaluations up to now."""
        return self._current(db, run_id, attempt, "evals", store.EVALS, store.evals_after)

    def _current(
        self, db: Database, run_id: str, attempt: int, table: str, names: tuple[str, ...], read: Read
    ) -> Columns:
        with self._lock:
            # A resumed run marks old rows as superseded, so rows of an earlier attempt cannot be trusted.
            for key in [key for key in self._held if key[0] == run_id and key[1] != attempt]:
                del self._held[key]
            held = self._held.setdefault((run_id, attempt, table), Columns(names))
            self._held.move_to_end((run_id, attempt, table))
            while more := read(db, run_id, held.cursor, CHUNK):
                held.extend(more)
            while sum(kept.rows for kept in self._held.values()) > CACHED_ROWS and len(self._held) > 2:
                self._held.popitem(last=False)
            return Columns(names, held.cursor, held.rows, held.data)


def window(x: Array, low: float | None, high: float | None) -> slice:
    """The rows with low <= x <= high and one neighbour on each side, so that lines reach the edges.

    `x` must not fall; elapsed seconds of a resumed run do not either.
    """
    first = 0 if low is None else max(0, int(np.searchsorted(x, low)) - 1)
    last = len(x) if high is None else min(len(x), int(np.searchsorted(x, high, side="right")) + 1)
    return slice(first, max(first, last))


def thin(y: Array, points: int) -> NDArray[np.intp]:
    """Indices of about `points` values that draw the same curve as all of `y`.

    Of every bucket the lowest, the highest and the first non-finite value stay, and both ends of the curve.
    """
    count = len(y)
    if count <= points:
        return np.arange(count)
    buckets = max(1, points // 2)
    size = math.ceil(count / buckets)
    whole = count // size
    finite = np.isfinite(y)
    parts = [np.array([0, count - 1])]
    for start, rows, width in ((0, whole, size), (whole * size, 1, count - whole * size)):
        if not width or not rows:
            continue
        part = slice(start, start + rows * width)
        block, good = y[part].reshape(rows, width), finite[part].reshape(rows, width)
        offset = start + np.arange(rows) * width
        parts.append(offset + np.where(good, block, np.inf).argmin(axis=1))
        parts.append(offset + np.where(good, block, -np.inf).argmax(axis=1))
        if not good.all():
            broken = ~good.all(axis=1)
            parts.append((offset + (~good).argmax(axis=1))[broken])
    return np.unique(np.concatenate(parts))


def smooth(y: Array, points: int) -> tuple[NDArray[np.intp], Array, int]:
    """A centred moving average of `y` at about `points` places: indices, values, and the window in rows.

    Non-finite values are left out of the mean; a window of nothing else gives NaN.
    """
    count = len(y)
    if not count:
        return np.arange(0), np.empty(0), 1
    span = smoothing_window(count)
    finite = np.isfinite(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, y, 0.0))])
    known = np.concatenate([[0], np.cumsum(finite)])
    at = np.unique(np.linspace(0, count - 1, min(count, points)).astype(np.intp))
    # Near the ends the window shrinks on both sides alike: a one-sided one would pull the curve's ends askew.
    reach = np.minimum(span // 2, np.minimum(at, count - 1 - at))
    low, high = at - reach, at + reach + 1
    number = known[high] - known[low]
    mean = np.where(number > 0, (total[high] - total[low]) / np.maximum(number, 1), np.nan)
    return at, mean, span


def smoothing_window(count: int) -> int:
    """Rows averaged for the smoothed curve of `count` rows (an odd number); charts.js has the same rule."""
    return 2 * (max(0, min(count // 40, 5000)) // 2) + 1


def number(value: float | None, digits: int = 7) -> float | int | None:
    """A JSON number of `digits` significant digits; None for what is not finite. 7 are all a float32 has."""
    if value is None or not math.isfinite(value):
        return None
    if value == int(value) and abs(value) < 2**53:
        return int(value)
    return float(f"{value:.{digits}g}")


def pack(values: Array) -> Any:
    """A rising column as JSON: its first value and the differences, or the one difference they all are."""
    if not len(values):
        return []
    rounded = np.round(values, 1)
    steps = np.round(np.diff(rounded), 1)
    if len(steps) and np.all(steps == steps[0]):
        return {"from": number(rounded[0], 15), "by": number(steps[0]), "n": len(values)}
    return {"from": number(rounded[0], 15), "steps": [number(step) for step in steps]}


def numbers(values: Array, digits: int = 7) -> list[float | int | None]:
    """A column as JSON numbers."""
    return [number(value, digits) for value in values.tolist()]
