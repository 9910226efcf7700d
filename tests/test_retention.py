"""Which weights stay: the newest, the round ones, the best, and what an exhibit needs to be asked again."""

import random
from dataclasses import replace

import pytest

from engine.config import CheckpointConfig
from engine.retention import removable_ages, removable_checkpoints

RULES = CheckpointConfig(keep=2, keep_best=False)
STEPS = [100, 200, 300, 400, 500, 600]


def kept(rules: CheckpointConfig = RULES, steps: list[int] = STEPS, **needs: object) -> list[int]:
    gone = removable_checkpoints(steps, rules, **{"val_losses": {}} | needs)  # type: ignore[arg-type]
    assert gone == sorted(gone)
    return [step for step in steps if step not in gone]


def test_the_newest_stay() -> None:
    assert kept() == [500, 600]
    assert kept(replace(RULES, keep=1)) == [600]
    assert kept(replace(RULES, keep=10)) == STEPS
    assert kept(steps=[]) == []


def test_newest_is_meant_by_number_in_whatever_order_they_are_given() -> None:
    shuffled = random.Random(1).sample(STEPS, len(STEPS))

    assert sorted(kept(steps=shuffled)) == [500, 600]


def test_every_so_many_steps_one_stays_for_good() -> None:
    assert kept(replace(RULES, keep_every=200)) == [200, 400, 500, 600]


@pytest.mark.parametrize(
    ("val_losses", "best"),
    [
        ({100: 4.0, 200: 3.0, 300: 3.5, 600: 3.2}, 200),
        ({100: 4.0, 250: 3.0, 310: 3.1}, 300),  # its newest evaluation is the one at 250
        ({200: 3.0, 300: 3.0}, 200),
    ],
    ids=["at its own step", "at the evaluation before it", "the earlier of equals"],
)
def test_the_best_stays_by_the_newest_evaluation_up_to_it(val_losses: dict[int, float], best: int) -> None:
    assert kept(replace(RULES, keep_best=True), val_losses=val_losses) == [best, 500, 600]
    assert kept(val_losses=val_losses) == [500, 600]


def test_without_an_evaluation_there_is_no_best() -> None:
    assert kept(replace(RULES, keep_best=True)) == [500, 600]
    assert kept(replace(RULES, keep_best=True), val_losses={700: 1.0}) == [500, 600]


def test_an_exhibit_keeps_its_checkpoint_only_where_nothing_else_can_say_it_again() -> None:
    assert kept(exhibits={100, 300, 950}) == [100, 300, 500, 600]
    assert kept(exhibits={100, 300}, ages={300, 600}) == [100, 500, 600]


def test_ages_all_stay_unless_a_number_is_given_and_exhibits_always() -> None:
    assert removable_ages(STEPS, 0) == []
    assert removable_ages(STEPS, 2) == [100, 200, 300, 400]
    assert removable_ages(STEPS, 2, exhibits={200}) == [100, 300, 400]
    assert removable_ages(STEPS, 10) == []


def test_however_often_it_is_applied_nothing_needed_goes() -> None:
    """Save after save over a whole run, with random rules: newest, round, best and exhibits are there at each."""
    dice = random.Random(2)
    for _ in range(50):
        rules = CheckpointConfig(keep=dice.randint(1, 3), keep_every=dice.choice([0, 300]), keep_best=True)
        there: list[int] = []
        losses: dict[int, float] = {}
        exhibits, ages = {200, 700}, {200}
        for step in range(100, 2001, 100):
            there.append(step)
            losses[step] = dice.random()
            gone = removable_checkpoints(there, rules, losses, exhibits, ages)
            there = [one for one in there if one not in gone]
            assert there[-rules.keep :] == list(range(100, step + 1, 100))[-rules.keep :]
            assert min(losses, key=lambda one: losses[one]) in there
            assert step < 700 or 700 in there
            assert not rules.keep_every or {*range(300, step + 1, 300)} <= {*there}
