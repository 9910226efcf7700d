"""A growing answer: what ends it, and what is shown of it meanwhile."""

from typing import Any

import pytest

from engine.answer import Answer, Piece, first_stop, half_a_stop
from engine.ask import Ask
from engine.config import ConfigError


class Bytes:
    """A tokenizer whose tokens are bytes; 0 ends a text."""

    def encode(self, text: str) -> Any:
        return type("Encoding", (), {"ids": list(text.encode())})

    def decode(self, ids: list[int]) -> str:
        return bytes(number for number in ids if number).decode("utf-8", "replace")

    def token_to_id(self, piece: str) -> int:
        return 0


def pieces(said: str, context: int = 1000, **fields: Any) -> list[Piece]:
    """Every piece of an answer that would say this."""
    words: Any = Bytes()
    answer = Answer(words, "", Ask(**({"prompt": "a", "max_tokens": 100} | fields)), context)
    heard = []
    for token in said.encode():
        answer.add(token)
        heard.append(answer.piece())
        if answer.finish:
            break
    return heard


def test_a_stop_ends_the_answer_before_it() -> None:
    heard = pieces("Once. The end. More", stop=("The end",))

    assert heard[-1] == Piece("Once. ", 13, "stop")
    assert all("T" not in piece.text for piece in heard)


def test_what_only_looked_like_a_stop_is_shown_after_all() -> None:
    texts = [piece.text for piece in pieces("a The cat", stop=("The end",))]

    assert texts[2:6] == ["a ", "a ", "a ", "a "] and texts[6] == "a The c"


def test_half_a_stop_is_shown_where_the_answer_ends_by_itself() -> None:
    assert pieces("say The e", stop=("The end",), max_tokens=9)[-1] == Piece("say The e", 9, "length")
    assert pieces("say The\0", stop=("The end",))[-1] == Piece("say The", 8, "end")


def test_the_first_of_several_stops_counts_and_wins_over_the_length() -> None:
    assert pieces("one, two. three", stop=(".", ","))[-1] == Piece("one", 4, "stop")
    assert pieces("abc", stop=("c",), max_tokens=3)[-1] == Piece("ab", 3, "stop")


def test_a_stop_of_several_bytes_is_found_when_its_last_one_has_come() -> None:
    heard = pieces("ein Haus…", stop=("…",))

    assert heard[-1] == Piece("ein Haus", 11, "stop")
    assert all("\ufffd" not in piece.text for piece in heard)


def test_a_prompt_may_hold_a_stop() -> None:
    assert pieces("bcd", prompt="a.", stop=(".",), max_tokens=3)[-1].finish == "length"


def test_a_cancelled_answer_shows_all_that_was_said() -> None:
    words: Any = Bytes()
    answer = Answer(words, "", Ask(prompt="a", stop=("the end",)), 100)
    for token in b"so th":
        answer.add(token)

    assert answer.piece().text == "so " and answer.cancelled().piece() == Piece("so th", 5, "cancelled")


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    with pytest.raises(ConfigError, match="The prompt has 12 tokens; this model sees 12"):
        pieces("a", context=12, prompt="x" * 12)


def test_stops_of_one_letter_and_of_none_hold_nothing_back() -> None:
    assert half_a_stop("abc", ("c",)) == half_a_stop("abc", ()) == 0 and half_a_stop("abc", ("cd", "bcx")) == 2
    assert first_stop("abc", ()) is None and first_stop("abcab", ("ca", "b")) == 1
