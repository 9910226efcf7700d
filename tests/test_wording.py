"""Words of a text: one rule, in characters and in bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wording import hashes_in, hashes_of, said, words

TEXTS = {
    "Alice was": ["alice", "was"],
    "don't, Don’t 'quoted' rock'n'roll O''Brien": ["don't", "don't", "quoted", "rock'n'roll", "o", "brien"],
    "“Curly,” she said—twice… «là»": ["curly", "she", "said", "twice", "là"],
    "in 1876, 3.5%": ["in", "1876", "3", "5"],
    "École École": ["École", "École"],
    "a\ufffdb c\u00a0d": ["a", "b", "c", "d"],
    "世界、你好": ["世界", "你好"],
    "": [],
    "'’.,": [],
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.items())
def test_words_by_hand(text: str, expected: list[str]) -> None:
    assert [word.text for word in words(text)] == expected


def test_a_word_knows_its_place() -> None:
    text = "So, Don’t go"
    assert [text[word.start : word.end] for word in words(text)] == ["So", "Don’t", "go"]


def test_words_that_began_in_the_prompt_or_were_cut_off_do_not_count() -> None:
    def texts(*answer: str) -> list[str]:
        return [word.text for word in said(*answer)]

    assert texts("The ship", "ped goods were sol", "length") == ["goods", "were"]
    assert texts("The ship", " sailed away.", "length") == ["sailed", "away"]
    assert texts("The ship ", "sailed away", "end") == ["sailed", "away"]
    assert texts("", "one", "length") == []


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("aAb'’ .-é—\ufffd")))
def test_bytes_and_characters_give_the_same_words(text: str) -> None:
    raw = np.frombuffer(text.encode(), np.uint8)
    found = words(text)
    hashes, places = hashes_in(raw)

    assert places.tolist() == [len(text[: word.start].encode()) for word in found]
    assert hashes.tolist() == hashes_of([word.text for word in found]).tolist()
    assert len({word.text for word in found}) == len(set(hashes.tolist()))
