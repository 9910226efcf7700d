"""ui/series.py: reading columns once, thinning them without losing anything a person would miss."""

import json

import numpy as np
import pytest
from sqlite_utils import Database
from ui_helpers import add_rows

from engine import store
from ui.series import Columns, SeriesCache, number, numbers, pack, smooth, smoothing_window, thin, window


def unpack(packed: object) -> list[float]:
    """What curves.js does with a packed column."""
    if isinstance(packed, list):
        return packed
    assert isinstance(packed, dict)
    steps = packed["steps"] if "steps" in packed else [packed["by"]] * (packed["n"] - 1)
    return [round(packed["from"] + sum(steps[:at]), 1) for at in range(len(steps) + 1)]


def test_a_single_spike_among_a_million_points_stays() -> None:
    y = np.linspace(8, 3, 1_000_000)
    y[123_457] = 50.0
    y[765_431] = -1.0

    kept = thin(y, 2000)

    assert len(kept) <= 2010
    assert 123_457 in kept and 765_431 in kept
    assert kept[0] == 0 and kept[-1] == 999_999


@pytest.mark.parametrize("count", [1999, 2000, 2001, 2003, 7777, 100_001])
def test_every_length_keeps_ends_order_and_extremes(count: int) -> None:
    y = np.sin(np.arange(count) / 11) * np.arange(count)

    kept = thin(y, 2000)

    assert kept[0] == 0 and kept[-1] == count - 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 2010
    assert y[kept].max() == y.max() and y[kept].min() == y.min()


def test_a_value_that_is_not_finite_stays_and_becomes_null() -> None:
    y = np.ones(50_000)
    y[31_415] = np.nan

    kept = thin(y, 500)

    assert 31_415 in kept
    assert numbers(y[kept]).count(None) == 1


def test_a_curve_of_nothing_but_nan_does_not_fail() -> None:
    assert len(thin(np.full(10_000, np.nan), 100)) > 0
    at, mean, _ = smooth(np.full(10_000, np.nan), 100)
    assert len(at) == 100 and np.isnan(mean).all()


def test_the_window_keeps_a_neighbour_on_each_side() -> None:
    x = np.arange(100.0)

    part = window(x, 10.5, 20.5)

    assert x[part][0] == 10 and x[part][-1] == 21
    assert window(x, None, None) == slice(0, 100)
    assert window(x, 500, 600).stop == 100


def test_smoothing_keeps_the_ends_and_a_straight_line() -> None:
    y = np.linspace(8, 3, 4001)

    at, mean, span = smooth(y, 500)

    assert span == smoothing_window(4001) == 101
    assert np.allclose(mean, y[at])
    assert at[0] == 0 and at[-1] == 4000


def test_smoothing_leaves_out_what_is_not_finite() -> None:
    y = np.full(400, 2.0)
    y[200] = np.nan

    _, mean, _ = smooth(y, 400)

    assert np.allclose(mean, 2.0)


@pytest.mark.parametrize("values", [[], [7.0], [0.0, 4096.0, 8192.0], [1.0, 2.0, 4.0, 4.0], [0.1, 0.3, 0.35]])
def test_packed_columns_come_back(values: list[float]) -> None:
    packed = json.loads(json.dumps(pack(np.array(values))))

    assert unpack(packed) == pytest.approx(values, abs=0.051)


def test_numbers_have_the_digits_of_a_float32() -> None:
    loss = float(np.float32(3.1945123))

    assert number(loss) == pytest.approx(loss, rel=1e-6)
    assert number(float("nan")) is None and number(None) is None and number(float("inf")) is None
    assert number(1e15) == 10**15


def test_columns_grow_by_cursor() -> None:
    columns = Columns(("id", "loss"))
    columns.extend([(5, 1.0), (9, None)])
    columns.extend([(12, 3.0)])

    assert columns.cursor == 12 and columns.rows == 3
    assert columns["loss"][0] == 1.0 and np.isnan(columns["loss"][1]) and columns["loss"][2] == 3.0


def metric(step: int, attempt: int = 1) -> tuple[str, store.Row]:
    return "metrics", {
        "run_id": store.REFERENCE_ID,
        "attempt": attempt,
        "step": step,
        "tokens": step * 10,
        "train_loss": 9 - step / 1000,
        "elapsed_seconds": step / 10,
    }


def test_the_cache_reads_only_what_is_new(db: Database) -> None:
    cache = SeriesCache()
    before = cache.metrics(db, store.REFERENCE_ID, 1).rows
    add_rows(db, [metric(step) for step in range(100, 110)])

    after = cache.metrics(db, store.REFERENCE_ID, 1)

    assert after.rows == before + 10
    assert after["step"][-1] == 109


def test_a_new_attempt_is_read_anew_without_superseded_rows(db: Database) -> None:
    cache = SeriesCache()
    add_rows(db, [metric(step) for step in range(70_000, 70_010)])
    first = cache.metrics(db, store.REFERENCE_ID, 1).rows
    store.supersede_after(db, store.REFERENCE_ID, 70_004)
    add_rows(db, [metric(70_005, attempt=2)])

    again = cache.metrics(db, store.REFERENCE_ID, 2)

    assert again.rows == first - 5 + 1
    assert again["step"][-1] == 70_005
