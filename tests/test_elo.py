"""engine/elo.py: ratings on votes worked out by hand."""

import pytest

from engine.elo import START, K, expected, standings

A, B, C = ("a", 1), ("b", 2), ("c", 3)


def test_expectations_follow_the_formula() -> None:
    assert expected(1000, 1000) == 0.5
    assert expected(1400, 1000) == pytest.approx(10 / 11)
    assert expected(1000, 1200) + expected(1200, 1000) == pytest.approx(1)


def test_a_win_moves_both_sides_and_a_tie_of_equals_none() -> None:
    found = standings([(A, B, 1.0)])
    assert (found[A].rating, found[B].rating) == (START + K / 2, START - K / 2) == (1012, 988)
    assert standings([(A, B, 0.5)])[A].rating == START and standings([(A, B, 0.5)])[A].votes == 1


def test_votes_count_in_their_order_and_what_was_not_expected_counts_more() -> None:
    found = standings([(A, B, 1.0), (B, A, 1.0), (C, A, 0.5)])

    # B, at 988 against 1012, was expected to win 0.4655 points.
    assert found[B].rating == pytest.approx(988 + 24 * (1 - 0.46551), abs=0.01)
    assert found[B].rating > 1000 > found[A].rating
    assert sum(one.rating for one in found.values()) == pytest.approx(3000)
    assert {key: one.votes for key, one in found.items()} == {A: 3, B: 2, C: 1}
