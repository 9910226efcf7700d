"""What a question may ask for: settings by name, and who is asked."""

from typing import Any

import pytest

from engine.store import Refused
from ui import asking

RIGHT: dict[str, Any] = asking.DEFAULTS | {"count": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"min_p": 1.5},
        {"min_p": float("nan")},
        {"repetition_penalty": 0},
        {"repetition_penalty": "2"},
        {"stop": "."},
        {"stop": ["."] * 9},
        {"stop": [5]},
        {"stop": ["x" * 101]},
        {"count": 0},
        {"count": 9},
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        asking.checked(RIGHT | change)


def test_what_is_not_given_is_left_to_the_talker() -> None:
    assert asking.checked(RIGHT) == RIGHT
    assert "min_p" not in asking.checked(RIGHT | {"min_p": None})


def test_settings_by_name() -> None:
    assert asking.parse_settings("") == asking.DEFAULTS
    assert asking.parse_settings('{"stop": ["."], "seed": 3}') == asking.DEFAULTS | {"stop": ["."], "seed": 3}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "must be JSON"),
        ("[" * 100_000, "20,000 at most"),
        ("[1]", "something else"),
        ('{"top_q": 1}', "there is no 'top_q'"),
        ('{"token": "x"}', "there is no 'token'"),
        (5, "must be text"),
    ],
)
def test_settings_that_are_none_are_refused_in_a_sentence(given: Any, words: str) -> None:
    with pytest.raises(Refused, match=words):
        asking.parse_settings(given)
