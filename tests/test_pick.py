"""Which token comes next: what min-p and the repetition penalty mean, and that neutral values do nothing."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.ask import Ask
from engine.pick import penalise, pick

SCORES = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def drawn(scores: Tensor = SCORES, seen: tuple[int, ...] = (), **settings: Any) -> set[int]:
    """The tokens that come in 400 draws."""
    asked = {"temperature": 1.0, "top_p": 1.0} | settings
    return {pick(scores, Ask(prompt="a", seed=seed, **asked), 0, seen) for seed in range(400)}


@pytest.mark.parametrize(
    ("min_p", "kept"), [(0.0, {0, 1, 2, 3}), (0.09, {0, 1, 2, 3}), (0.11, {0, 1, 2}), (0.5, {0, 1}), (1.0, {0})]
)
def test_min_p_keeps_what_is_likely_beside_the_likeliest(min_p: float, kept: set[int]) -> None:
    assert drawn(min_p=min_p) == kept


def test_min_p_looks_at_the_chances_after_the_temperature() -> None:
    """At temperature 2 chances are as their square roots: 0.05 is then 0.32 of 0.5."""
    assert drawn(min_p=0.3, temperature=2.0) == {0, 1, 2, 3} and drawn(min_p=0.29) == {0, 1, 2}


def test_the_narrowest_of_the_three_cuts_holds() -> None:
    assert drawn(min_p=0.11, top_k=2) == drawn(min_p=0.5, top_k=3) == drawn(min_p=0.01, top_p=0.6) == {0, 1}


def test_min_p_of_scores_that_are_no_numbers_still_says_something() -> None:
    assert drawn(torch.full((4,), math.nan), min_p=0.5)


def test_a_penalty_divides_scores_above_zero_and_multiplies_those_below() -> None:
    penalty = torch.tensor(2.0)
    assert penalise(torch.tensor([4.0, -4.0, 0.0]), penalty).tolist() == [2.0, -8.0, 0.0]


def test_a_penalty_is_for_tokens_that_were_seen_however_often() -> None:
    scores = torch.tensor([3.0, 2.0, 1.0])
    likeliest = {"temperature": 0.0, "repetition_penalty": 2.0}

    assert drawn(scores, **likeliest) == drawn(scores, (2,), **likeliest) == {0}
    assert drawn(scores, (0,), **likeliest) == drawn(scores, (0, 0, 0), **likeliest) == {1}
    assert drawn(scores, (0, 1), **likeliest) == {0}  # 1.5, 1.0, 1.0


def test_scores_are_left_as_they_were() -> None:
    scores = torch.tensor([3.0, 2.0])
    drawn(scores, (0,), repetition_penalty=2.0)
    assert scores.tolist() == [3.0, 2.0]


def test_neutral_settings_change_no_draw() -> None:
    generator = torch.Generator().manual_seed(1)
    for seed in range(50):
        scores = torch.randn(300, generator=generator) * 3
        plain = Ask(prompt="a", seed=seed)
        neutral = Ask(prompt="a", seed=seed, min_p=0.0, repetition_penalty=1.0, stop=())
        assert pick(scores, neutral, seed, range(300)) == pick(scores, plain, seed)
