"""ui/series.py: thinning without losing anything a person would miss, smoothing alike at every zoom."""

import json

import numpy as np
import pytest

from ui.series import broken, number, pack, smooth, smoothing_window, thin, window


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
    assert (np.diff(kept) >= 0).all()
    assert len(kept) <= 2010
    assert y[kept].max() == y.max() and y[kept].min() == y.min()


def test_thinned_values_come_in_pairs_of_a_lowest_and_a_highest() -> None:
    y = np.random.default_rng(7).normal(size=10_000)

    pairs = y[thin(y, 400)].reshape(-1, 2)[1:-1]  # without the ends
    blocks = y.reshape(200, 50)

    assert np.allclose(pairs.min(axis=1), blocks.min(axis=1)) and np.allclose(pairs.max(axis=1), blocks.max(axis=1))


def test_steps_that_were_no_numbers_are_told_beside_the_curve() -> None:
    y = np.ones(50_000)
    y[[31_415, 31_416, 49_999]] = np.nan

    assert np.isfinite(y[thin(y, 500)[:-2]]).all()
    assert broken(y, 500).tolist() == [31_415, 49_999]  # one a bucket
    assert broken(y[31_400:31_430], 500).tolist() == [15, 16]  # each, where nothing is thinned


def test_a_curve_of_nothing_but_nan_does_not_fail() -> None:
    assert len(thin(np.full(10_000, np.nan), 100)) > 0
    at, mean = smooth(np.full(10_000, np.nan), slice(0, 10_000), 100, 2.5)
    assert len(at) == 100 and np.isnan(mean).all()


def test_the_window_keeps_a_neighbour_on_each_side() -> None:
    x = np.arange(100.0)

    part = window(x, 10.5, 20.5)

    assert x[part][0] == 10 and x[part][-1] == 21
    assert window(x, None, None) == slice(0, 100)
    assert window(x, 500, 600).stop == 100


def test_smoothing_keeps_the_ends_and_a_straight_line() -> None:
    y = np.linspace(8, 3, 4001)

    at, mean = smooth(y, slice(0, 4001), 500, 2.5)

    assert smoothing_window(4001, 2.5) == 101
    assert np.allclose(mean, y[at], atol=0.005)  # the ends lean by some steps
    assert np.allclose(mean[10:-10], y[at[10:-10]])
    assert at[0] == 0 and at[-1] == 4000


def test_smoothing_leaves_out_what_is_not_finite() -> None:
    y = np.full(400, 2.0)
    y[200] = np.nan

    _, mean = smooth(y, slice(0, 400), 400, 2.5)

    assert np.allclose(mean, 2.0)


@pytest.mark.parametrize("part", [slice(0, 900), slice(5000, 6000), slice(9_500, 10_000)])
def test_a_part_is_smoothed_as_the_whole_is(part: slice) -> None:
    y = np.random.default_rng(7).normal(size=10_000)

    all_at, all_mean = smooth(y, slice(0, 10_000), 10_000, 3.0)
    at, mean = smooth(y, part, 10_000, 3.0)

    assert np.allclose(mean, all_mean[part]) and (at == all_at[part]).all()


def test_a_running_mean_is_what_it_says() -> None:
    y = np.random.default_rng(7).normal(size=1000).astype(np.float32)

    at, mean = smooth(y, slice(100, 900), 1000, 2.0)

    half = smoothing_window(1000, 2.0) // 2
    assert mean[50] == pytest.approx(y[at[50] - half : at[50] + half + 1].mean(), rel=1e-5)


@pytest.mark.parametrize("values", [[], [7.0], [0.0, 4096.0, 8192.0], [1.0, 2.0, 4.0, 4.0], [0.1, 0.3, 0.35]])
def test_packed_columns_come_back(values: list[float]) -> None:
    packed = json.loads(json.dumps(pack(np.array(values))))

    assert unpack(packed) == pytest.approx(values, abs=0.051)


def test_numbers_have_the_digits_of_a_float32() -> None:
    loss = float(np.float32(3.1945123))

    assert number(loss) == pytest.approx(loss, rel=1e-6)
    assert number(float("nan")) is None and number(None) is None and number(float("inf")) is None
    assert number(1e15) == 10**15
