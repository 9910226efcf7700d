"""Arithmetic of curves: a part of one, thinned without losing a spike, smoothed alike at every zoom, packed as JSON."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ui.columns import Array

Indices = NDArray[np.intp]


def window(x: Array, low: float | None, high: float | None) -> slice:
    """The rows with low <= x <= high and one neighbour on each side, so that lines reach the edges.

    `x` must not fall; elapsed seconds of a resumed run do not either.
    """
    first = 0 if low is None else max(0, int(np.searchsorted(x, low)) - 1)
    last = len(x) if high is None else min(len(x), int(np.searchsorted(x, high, side="right")) + 1)
    return slice(first, max(first, last))


def thin(y: Array, points: int) -> Indices:
    """Indices of about `points` values that draw the same curve as all of `y`.

    All of them where they are few enough. Else pairs, the lowest and the highest finite value of each bucket in the
    order in which they occur (one value twice where it is both), so that they are a band as well as a line; the ends of
    the curve are buckets of their own. A bucket without a finite value gives its first value twice.
    """
    count = len(y)
    if count <= points:
        return np.arange(count)
    low, high = (_bucketed(y, points, lowest) for lowest in (True, False))
    inner = np.sort(np.stack([low, high], axis=1), axis=1).ravel()
    return np.concatenate([[0, 0], inner, [count - 1, count - 1]])


def _bucketed(y: Array, points: int, lowest: bool) -> Indices:
    """The place of the lowest or highest finite value in each of about points / 2 buckets."""
    found = []
    clean = np.where(np.isfinite(y), y, np.inf if lowest else -np.inf)
    for start, rows, width in buckets(len(y), points):
        block = clean[start : start + rows * width].reshape(rows, width)
        found.append(start + np.arange(rows) * width + (block.argmin(axis=1) if lowest else block.argmax(axis=1)))
    return np.concatenate(found)


def buckets(count: int, points: int) -> list[tuple[int, int, int]]:
    """How `count` rows are cut into about points / 2 equal buckets and a rest: start, buckets, width of each."""
    size = math.ceil(count / max(1, points // 2))
    whole = count // size
    rest = count - whole * size
    return [(0, whole, size), *([(whole * size, 1, rest)] if rest else [])]


def broken(y: Array, points: int) -> Indices:
    """The first value that is not finite in each bucket that has one; every such value where `y` is not thinned."""
    bad = np.flatnonzero(~np.isfinite(y))
    if len(y) <= points or not len(bad):
        return bad
    size = math.ceil(len(y) / max(1, points // 2))
    return bad[np.unique(bad // size, return_index=True)[1]]


def smooth(y: Array, part: slice, points: int, percent: float) -> tuple[Indices, Array]:
    """A centred moving average over `percent` of all rows, at about `points` places of `part`: indices and values.

    It is taken from all of `y`, so that a curve does not change its shape when a part of it is looked at. Non-finite
    values are left out of the mean; a window of nothing else gives NaN.
    """
    count = len(y)
    first, last = part.start, min(part.stop, count)
    if last <= first:
        return np.arange(0), np.empty(0)
    half = smoothing_window(count, percent) // 2
    low, high = max(0, first - half), min(count, last + half)
    near = y[low:high].astype(np.float64)
    finite = np.isfinite(near)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, near, 0.0))])
    known = np.concatenate([[0], np.cumsum(finite)])
    at = np.unique(np.linspace(first, last - 1, min(last - first, points)).astype(np.intp))
    # Near the ends the window shrinks on both sides alike: a one-sided one would pull the curve's ends askew. An eighth
    # of it stays, or the last value would be as noisy as the steps are.
    reach = np.maximum(half // 8, np.minimum(half, np.minimum(at, count - 1 - at)))
    start, stop = np.maximum(at - reach, 0) - low, np.minimum(at + reach + 1, count) - low
    number = known[stop] - known[start]
    return at, np.where(number > 0, (total[stop] - total[start]) / np.maximum(number, 1), np.nan)


def smoothing_window(count: int, percent: float) -> int:
    """Rows averaged for the smoothed curve of `count` rows (an odd number); curves.js has the same rule."""
    return 2 * (int(count * percent / 100) // 2) + 1


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
    rounded = np.round(values.astype(np.float64), 1)
    steps = np.round(np.diff(rounded), 1)
    if len(steps) and np.all(steps == steps[0]):
        return {"from": number(rounded[0], 15), "by": number(steps[0]), "n": len(values)}
    return {"from": number(rounded[0], 15), "steps": _plain(steps)}


def numbers(values: Array, digits: int = 7) -> list[float | int | None]:
    """A column as JSON numbers of `digits` significant digits; None for what is not finite. 7 are all a float32 has."""
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    size = np.log10(np.abs(wide, where=finite & (wide != 0), out=np.ones_like(wide)))
    scale = 10.0 ** np.clip(digits - 1 - np.floor(size), -300, 300)
    found = _plain(np.where(finite, np.round(wide * scale) / scale, 0))
    if finite.all():
        return found
    return [value if fine else None for value, fine in zip(found, finite.tolist(), strict=True)]


def _plain(values: Array) -> list[Any]:
    """Python's numbers; integers where all of them are, which takes fewer bytes."""
    if np.all(np.abs(values) < 2**53) and np.all(values == np.floor(values)):
        return list(values.astype(np.int64).tolist())
    return list(values.tolist())
