"""The measures of an answer on texts made by hand, with values worked out by hand."""

import difflib
import random
import time

import pytest

from engine.measures import Loop, change, distinct, loop, stuck_share, unknown_share


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("a b a b", 1, 2 / 4),
        ("a b a b", 2, 2 / 3),  # ab ba ab
        ("a b a b", 3, 2 / 2),  # aba bab
        ("the cat sat on the mat", 1, 5 / 6),
        ("the cat sat on the mat", 2, 5 / 5),
        ("no no no no", 2, 1 / 3),
        ("no", 2, None),
        ("", 1, None),
    ],
)
def test_distinct_n(text: str, length: int, expected: float | None) -> None:
    assert distinct(text.split(), length) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so he ran and ran and ran away", Loop(5, 2, 2)),
        ("it was very very good", Loop(2, 2, 1)),
        ("no no no no", Loop(4, 0, 1)),
        ("the end of the day and the end of the day and then", Loop(12, 0, 6)),
        ("the end of the day and the end of the day and the", Loop(13, 0, 6)),
        ("round and round it went", Loop(0, 0, 0)),  # said again, but not in full: three words with p = 2
        ("a b c d", Loop(0, 0, 0)),
        ("a a b b b", Loop(3, 2, 1)),
        ("one", Loop(0, 0, 0)),
        ("", Loop(0, 0, 0)),
    ],
)
def test_the_longest_loop(text: str, expected: Loop) -> None:
    assert loop(text.split()) == expected


def test_a_phrase_of_a_hundred_words_is_found_and_a_longer_one_is_not() -> None:
    phrase = [f"w{number}" for number in range(100)]
    assert loop(phrase * 2) == Loop(200, 0, 100)
    assert loop([*phrase, "more"] * 2) == Loop(0, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No, no, no, no.", 14 / 15),
        ("00000000", 1),
        ("0000000", 0),  # too short to be one
        ("he ran and ran and ran.", 0),  # " ran and", eight signs, is said twice and a half
        ("very, very good", 0),
        ("ha! ha! so it was", 0),
        ("", None),
    ],
)
def test_the_share_of_stutters(text: str, expected: float | None) -> None:
    assert stuck_share(text) == (None if expected is None else pytest.approx(expected))


def test_the_share_of_unknown_words() -> None:
    assert unknown_share([True, False, True, True]) == 0.25
    assert unknown_share([]) is None


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("the cat sat", "the dog sat down", 3 / 7),
        ("a b c", "a b c", 0),
        ("a b", "c d", 1),
        ("a b c d", "d c b a", 1 - 2 / 8),
        ("", "a", 1),
        ("", "", None),
    ],
)
def test_change_since_the_last_age(before: str, now: str, expected: float | None) -> None:
    found = change(before.split(), now.split())
    assert found == (None if expected is None else pytest.approx(expected))


def test_change_is_that_of_the_table_written_out() -> None:
    dice = random.Random(3)
    for _ in range(100):
        one, other = ([dice.choice("abcde") for _ in range(dice.randrange(1, 30))] for _ in range(2))
        table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
        for row, left in enumerate(one):
            for column, right in enumerate(other):
                grown = table[row][column] + 1
                table[row + 1][column + 1] = (
                    grown if left == right else max(table[row][column + 1], table[row + 1][column])
                )
        assert change(one, other) == pytest.approx(1 - 2 * table[-1][-1] / (len(one) + len(other)))
        ratio = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
        assert change(one, other) <= 1 - ratio + 1e-9  # type: ignore[operator]


def test_the_longest_answer_is_measured_quickly() -> None:
    dice = random.Random(5)
    words = [dice.choice("abcdefgh") for _ in range(6000)]
    started = time.process_time()
    assert loop(words).words > 0
    assert 0 < (change(words, words[::-1]) or 0) < 1
    assert time.process_time() - started < 1
