"""Where a run is going: a curve of the law is foretold from its beginning, what is too little is not."""

import math
from functools import partial

import numpy as np
import pytest
from support import tiny_config

from engine.forecast import Array, Schedule, ahead_at, forecast, remaining, standing
from engine.schedule import learning_rate_factor

TOTAL = 2000
RATE = partial(learning_rate_factor, total_steps=TOTAL, schedule=tiny_config().schedule)


def curve(steps: Array, power: float = 0.5, gain: float = 0.15, floor: float = 3.0) -> Array:
    """Losses of the law that the forecast assumes, in units of its own: 2 nats above the floor at 600 steps."""
    schedule = Schedule(RATE, TOTAL, 600)
    found: Array = floor + 2 * schedule.share(steps) ** -power - gain * schedule.drop(steps)
    return found


def foretold(
    upto: int, power: float = 0.5, gain: float = 0.15, noise: float = 0.05, spikes: int = 0
) -> tuple[float, ...]:
    """Truth, forecast and band of the end, seen up to a step."""
    dice = np.random.default_rng(1)
    steps = np.arange(1.0, upto + 1)
    losses = curve(steps, power, gain) + noise * dice.standard_normal(len(steps))
    losses[dice.choice(len(steps), spikes, replace=False)] = 50.0
    evals = np.arange(0.0, upto + 1, 50)
    found = forecast(RATE, TOTAL, steps, losses, evals, curve(np.maximum(evals, 1), power, gain))
    assert found is not None and found.steps[0] == upto and found.steps[-1] == TOTAL
    truth = float(curve(np.array([float(TOTAL)]), power, gain)[0])
    return [truth, float(found.loss[-1]), float(found.low[-1]), float(found.high[-1])]


@pytest.mark.parametrize("power", [0.35, 0.45, 0.6])
def test_the_end_of_a_curve_of_the_law_is_foretold_from_30_percent(power: float) -> None:
    truth, loss, low, high = foretold(600, power)

    assert low < truth < high
    assert abs(loss - truth) < 0.35 * abs(float(curve(np.array([600.0]), power)[0]) - truth), "better than no change"


def test_the_more_is_seen_the_narrower_the_band() -> None:
    widths = [high - low for _, _, low, high in (foretold(upto) for upto in (200, 600, 1200, 1900))]

    assert widths == sorted(widths, reverse=True)


def test_spikes_and_broken_steps_do_not_move_it() -> None:
    _, calm, *_ = foretold(600)
    _, spiky, *_ = foretold(600, spikes=20)
    assert spiky == pytest.approx(calm, abs=0.03)

    steps = np.arange(1.0, 601)
    losses = curve(steps)
    losses[::7] = math.nan
    found = forecast(RATE, TOTAL, steps, losses, np.array([0.0, 600.0]), np.array([9.0, math.nan]))
    assert found is not None and np.isfinite(found.loss).all() and np.isfinite(found.high).all()


def test_of_too_little_and_of_an_ended_run_nothing_is_said() -> None:
    nothing = np.empty(0)
    few = np.array([1.0, 2.0, 3.0])
    whole = np.arange(1.0, TOTAL + 1)
    assert forecast(RATE, TOTAL, nothing, nothing, nothing, nothing) is None
    assert forecast(RATE, TOTAL, few, few, few, few) is None
    assert forecast(RATE, TOTAL, whole, whole, whole, whole) is None


def test_the_time_left_has_a_band_as_wide_as_the_pace_was_uneven() -> None:
    steps = np.arange(1.0, 401)
    even = remaining(steps, steps * 0.5, 1000)
    assert even is not None
    assert (even.seconds, even.low, even.high) == pytest.approx((300, 300, 300))

    pauses = np.cumsum(np.where(steps % 100 < 50, 0.25, 0.75))
    uneven = remaining(steps, pauses, 1000)
    assert uneven is not None
    assert uneven.seconds == pytest.approx(300, rel=0.02)
    assert uneven.low == pytest.approx(150, rel=0.1) and uneven.high == pytest.approx(450, rel=0.1)


def test_the_time_left_of_a_run_that_has_hardly_begun_or_is_done_is_not_known() -> None:
    steps = np.arange(1.0, 5)
    assert remaining(steps, steps, 1000) is None
    assert remaining(np.empty(0), np.empty(0), 1000) is None
    assert remaining(np.arange(1.0, 101), np.arange(1.0, 101), 100) is None
    assert remaining(np.arange(1.0, 101), np.full(100, 3.0), 1000) is None, "a clock that stands still"


def test_two_runs_are_compared_at_the_same_tokens_and_minutes() -> None:
    tokens, losses = np.array([0.0, 1e6, 2e6]), np.array([8.0, 6.0, 5.0])
    slow = tokens, np.array([0.0, 100.0, 200.0]), losses
    fast = tokens / 2, np.array([0.0, 25.0, 50.0]), losses - 0.5

    stands = standing(fast, slow)

    assert stands.same_tokens == pytest.approx(6.0 - 4.5)
    assert stands.same_minutes == pytest.approx(7.0 - 4.5)
    assert standing(slow, fast).same_tokens is None, "the other has not read so much"


def test_where_the_other_has_measured_nothing_nothing_is_compared() -> None:
    assert ahead_at(5.0, 1.0, np.empty(0), np.empty(0)) is None
    assert ahead_at(5.0, 1.0, np.array([0.0, 10.0]), np.array([math.nan, 2.0])) is None
    assert ahead_at(10.0, 1.5, np.array([0.0, 10.0]), np.array([math.nan, 2.0])) == 0.5
