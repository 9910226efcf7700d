"""ui/word_changes.py: what two answers share."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.word_changes import compared

texts = st.lists(st.sampled_from(["the", "boat", "sea", ",", "\n", "  ", "é", "🌊"])).map(" ".join)


@given(texts, texts)
def test_the_parts_of_a_text_add_up_to_it(before: str, after: str) -> None:
    found = compared(before, after)

    assert "".join(text for _, text in found["before"]) == before
    assert "".join(text for _, text in found["after"]) == after
    kept = [[word for kept, text in found[side] if kept for word in text.split()] for side in ("before", "after")]
    assert kept[0] == kept[1]


def test_white_space_alone_is_no_change_of_words() -> None:
    found = compared(" a boat", " a  boat")

    assert (found["stayed"], found["left"], found["came"], found["same"]) == (2, 0, 0, False)


def test_the_same_words() -> None:
    assert compared(" a boat", " a boat")["same"]


@pytest.mark.parametrize("after", ["", " "])
def test_nothing_beside_something(after: str) -> None:
    found = compared(" a boat", after)

    assert found["before"] == [(False, " a boat")] and found["left"] == 2


def test_long_answers_are_compared_in_a_moment() -> None:
    """Two texts of three thousand words, most of them frequent ones, in no order."""
    common = ["the", "of", "and", "a", "to", "in", "he", "was", "that", "it"]
    before = " ".join(common[(n * n) % 10] for n in range(3000))
    after = " ".join(common[(n * n * n) % 10] for n in range(3000))
    began = time.process_time()

    compared(before, after)

    assert time.process_time() - began < 2
