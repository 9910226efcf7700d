"""The learning rate rises, holds and falls; its corners are where the config says."""

import json
import math

import pytest

from engine.config import OptimizerConfig, ScheduleConfig, load_preset
from engine.home import PROJECT
from engine.schedule import learning_rate_factor, momentum

TOTAL = 100


def factors(total: int = TOTAL, **settings: float | str) -> list[float]:
    """The factor of every step, and of the end point after the last one."""
    schedule = ScheduleConfig(**({"warmup": 0.1, "decay": 0.4, "shape": "linear", "final": 0.1} | settings))
    return [learning_rate_factor(step, total, schedule) for step in range(total + 1)]


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_end_points(shape: str) -> None:
    rate = factors(shape=shape)

    assert rate[0] == pytest.approx(0.1)  # the first of ten steps of warmup
    assert rate[9] == 1.0  # the last one
    assert rate[10] == rate[59] == rate[60] == 1.0  # held until forty steps are left
    assert rate[61] < 1.0
    assert 0.1 < rate[99] < 0.13
    assert rate[100] == pytest.approx(0.1)  # `final` is where the run would go on


def test_a_linear_fall_is_straight_and_a_cosine_is_half_way_in_the_middle() -> None:
    straight, curved = factors(final=0.2), factors(final=0.2, shape="cosine")

    assert straight[80] == pytest.approx(0.6) and curved[80] == pytest.approx(0.6)
    assert straight[70] == pytest.approx(0.2 + 0.8 * 0.75)
    assert curved[70] == pytest.approx(0.2 + 0.8 * (0.5 + 0.5 * math.cos(math.pi / 4)))


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize(("warmup", "decay"), [(0.1, 0.4), (0.5, 0.5), (0.0, 1.0), (1.0, 0.0), (0.33, 0.21)])
@pytest.mark.parametrize("total", [1, 7, TOTAL])
def test_it_never_falls_before_it_rises(shape: str, warmup: float, decay: float, total: int) -> None:
    rate = factors(total, shape=shape, warmup=warmup, decay=decay, final=0.0)
    top = rate.index(max(rate))

    assert all(0.0 <= value <= 1.0 for value in rate)
    assert rate[: top + 1] == sorted(rate[: top + 1])
    assert rate[top:] == sorted(rate[top:], reverse=True)


def test_without_warmup_the_first_step_is_whole() -> None:
    assert factors(warmup=0.0)[0] == 1.0


def test_without_decay_the_rate_holds_to_the_end() -> None:
    assert factors(decay=0.0)[10:] == [1.0] * 91


def test_every_step_that_is_made_learns_something() -> None:
    assert min(factors(warmup=0.02, decay=0.65, final=0.0)[:TOTAL]) > 0


def test_a_run_of_one_step_uses_the_whole_rate() -> None:
    assert learning_rate_factor(0, 1, ScheduleConfig()) == 1.0


def test_the_published_recipe_has_the_learning_rates_of_the_published_log() -> None:
    """The log counts micro-batches, two a step; its first row, in the rise, is one step of 610 behind ours."""
    log = json.loads((PROJECT / "data" / "reference" / "blueberry-nano.json").read_text(encoding="utf-8"))["history"]
    preset = load_preset("blueberry-nano-published")

    found = [
        preset.optimizer.muon_lr * learning_rate_factor(micro_step // 2, preset.total_steps, preset.schedule)
        for micro_step in log["micro_step"]
    ]

    assert found[0] == pytest.approx(log["learning_rate"][0], rel=1 / 500)
    assert found[1:] == pytest.approx(log["learning_rate"][1:], rel=1e-4)
    assert log["micro_step"][-1] // 2 * preset.train.batch_tokens == pytest.approx(preset.train.tokens / 2, rel=1e-4)


def test_momentum_rises_over_its_warmup_and_holds() -> None:
    config = OptimizerConfig(momentum_start=0.85, momentum=0.95, momentum_warmup=0.2)

    values = [momentum(step, TOTAL, config) for step in range(TOTAL)]

    assert values[0] == 0.85 and values[10] == pytest.approx(0.9)
    assert values == sorted(values) and set(values[20:]) == {0.95} and values[19] < 0.95


@pytest.mark.parametrize("total", [1, 3, TOTAL])
def test_without_a_warmup_momentum_is_the_same_from_the_first_step(total: int) -> None:
    config = OptimizerConfig(momentum=0.9, momentum_warmup=0.0)

    assert {momentum(step, total, config) for step in range(total)} == {0.9}


def test_a_warmup_as_long_as_the_run_or_shorter_than_a_step_has_its_end_points() -> None:
    whole = OptimizerConfig(momentum_start=0.5, momentum=0.9, momentum_warmup=1.0)
    short = OptimizerConfig(momentum_start=0.5, momentum=0.9, momentum_warmup=0.001)

    assert momentum(TOTAL // 2, TOTAL, whole) == pytest.approx(0.7) and momentum(TOTAL, TOTAL, whole) == 0.9
    assert [momentum(step, TOTAL, short) for step in (0, 1)] == [0.5, 0.9]
