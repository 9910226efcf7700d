"""How surprised a model is by a text: its own probabilities, for every token, each with what it covers."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hostile import fuzz
from hypothesis import given
from hypothesis import strategies as st
from support import give_dataset, speaker_of, tiny_model
from test_pieces import TEXTS, unigram, wordpiece  # noqa: F401 - fixtures
from tokenizers import Tokenizer

from engine import surprise, tokenizer
from engine.generate import Ask, Piece, Speaker
from engine.home import Home
from engine.store import Refused
from engine.surprise import look, read, said_again, spelled


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tokenizer.load(give_dataset(Home.at(tmp_path_factory.mktemp("words"))) / "tokenizer.json")


@pytest.fixture(scope="module")
def speaker(words: Tokenizer) -> Speaker:
    return speaker_of(tiny_model(), words)


def probabilities(speaker: Speaker, ids: list[int]) -> torch.Tensor:
    """What the model gives every piece after each of `ids`, worked out the plain way."""
    with torch.no_grad():
        return speaker.model.logits(torch.tensor([ids])).double().softmax(-1)[0]


def raw(token: dict[str, Any]) -> bytes:
    return bytes.fromhex(token["hex"]) if token["hex"] else str(token["text"]).encode()


def test_every_number_is_the_models_own(speaker: Speaker, words: Tokenizer) -> None:
    prompt, text = "The Queen", " of Hearts was angry."
    ids = words.encode(prompt).ids + words.encode(text).ids
    seen = probabilities(speaker, ids)

    found = look(speaker, prompt, text)["tokens"]

    assert [token["id"] for token in found] == ids
    for place, token in enumerate(found[1:]):
        here, mine = seen[place], float(seen[place][ids[place + 1]])
        assert token["probability"] == pytest.approx(mine, rel=1e-4)
        assert token["bits"] == pytest.approx(-math.log2(mine), rel=1e-4)
        assert token["rank"] == 1 + sum(float(one) > mine for one in here)
        assert token["entropy"] == pytest.approx(float(-(here * here.log2()).sum()), rel=1e-4)
        best = here.topk(8)
        assert [number for number, _ in token["others"]] == best.indices.tolist()
        assert [share for _, share in token["others"]] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_the_totals_are_those_of_the_text_and_not_of_its_prompt(speaker: Speaker) -> None:
    found = look(speaker, "Alice was", " beginning to get very tired")

    bits = [token["bits"] for token in found["tokens"] if token["said"]]
    assert found["counted"] == len(bits) > 3
    assert found["mean"] == pytest.approx(sum(bits) / len(bits))
    assert found["perplexity"] == pytest.approx(2 ** found["mean"])
    assert {token["said"] for token in found["tokens"]} == {True, False}


def test_the_loss_of_a_text_is_its_mean_surprise(speaker: Speaker, words: Tokenizer) -> None:
    text = "Alice was beginning to get very tired"
    ids = torch.tensor([words.encode(text).ids])
    with torch.no_grad():
        nats, _, _ = speaker.model.loss(ids[:, :-1], ids[:, 1:])

    assert look(speaker, "", text)["mean"] == pytest.approx(float(nats) / (ids.shape[1] - 1) / math.log(2), rel=1e-5)


def test_the_first_token_has_nothing_before_it_that_could_foretell_it(speaker: Speaker) -> None:
    alone, more = look(speaker, "", "a"), look(speaker, "", "Alice said")

    assert alone["tokens"][0]["probability"] is None and alone["tokens"][0]["others"] == []
    assert (alone["counted"], alone["mean"], alone["perplexity"]) == (0, None, None)
    assert more["tokens"][0]["bits"] is None and all(token["bits"] > 0 for token in more["tokens"][1:])
    assert more["counted"] == len(more["tokens"]) - 1


def test_nothing_at_all_has_no_tokens(speaker: Speaker) -> None:
    found = look(speaker, "", "")

    assert (found["tokens"], found["mean"], found["pieces"]) == ([], None, {})


def test_prompt_and_continuation_meet_where_they_met_when_it_was_said(speaker: Speaker, words: Tokenizer) -> None:
    """Encoded together, "Al" and "ice" could become other tokens than those that were said."""
    found = look(speaker, "Al", "ice")["tokens"]

    assert [token["id"] for token in found] == words.encode("Al").ids + words.encode("ice").ids
    assert b"".join(raw(token) for token in found if not token["said"]) == b"Al"


def test_a_text_is_looked_at_in_the_tokens_in_which_it_was_said(speaker: Speaker, words: Tokenizer) -> None:
    letters = [words.token_to_id(letter) for letter in "the"]
    assert words.encode("the").ids != letters

    found = look(speaker, "a", "the", letters)["tokens"]

    assert [token["id"] for token in found if token["said"]] == letters
    assert found[-1]["probability"] == pytest.approx(
        float(probabilities(speaker, words.encode("a").ids + letters)[-2][letters[-1]]), rel=1e-4
    )


def test_bytes_that_are_no_letter_are_told_as_bytes(speaker: Speaker, words: Tokenizer) -> None:
    half = words.encode("é").ids
    assert len(half) == 2

    found = look(speaker, "caf", "é")["tokens"][-2:]
    said = look(speaker, "caf", "\ufffd", half[:1])["tokens"][-1]

    assert [token["hex"] for token in found] == ["C3", "A9"] and said["hex"] == "C3"
    assert all(token["text"] == "" and token["bits"] > 0 for token in found)


def test_the_end_of_a_text_is_a_token_without_text(speaker: Speaker, words: Tokenizer) -> None:
    end = words.token_to_id(tokenizer.END)

    token = look(speaker, "a", "b", [*words.encode("b").ids, end])["tokens"][-1]

    assert (token["id"], token["name"], token["text"], token["hex"]) == (end, tokenizer.END, "", "")
    assert token["bits"] > 0


def test_every_alternative_is_spelled(speaker: Speaker, words: Tokenizer) -> None:
    found = look(speaker, "Alice", " was not a bit hurt")
    known = tokenizer.spellings(words)

    for token in found["tokens"]:
        for number, _ in token["others"]:
            assert raw(found["pieces"][number]) == known[number]
            assert found["pieces"][number]["name"]


def test_a_text_is_cut_where_the_model_sees_no_more_and_says_so(speaker: Speaker, words: Tokenizer) -> None:
    text = "Alice was beginning to get very tired. " * 20
    count = len(words.encode(text).ids)

    found = look(speaker, "", text)

    assert found["note"] == f"This model sees 64 tokens at once: these are the first 64 of {count:,}."
    assert len(found["tokens"]) == 64 and text.startswith(b"".join(map(raw, found["tokens"])).decode())
    assert look(speaker, "", "short")["note"] == ""


def test_scores_do_not_depend_on_how_many_places_are_scored_at_once(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Alice was beginning to get very tired of sitting"
    whole = look(speaker, "", text)["mean"]

    monkeypatch.setattr(surprise, "ROWS", 3)

    assert look(speaker, "", text)["mean"] == pytest.approx(whole, rel=1e-5)


def test_a_model_of_experts_and_one_that_sees_a_window_are_looked_at_too(words: Tokenizer) -> None:
    for changes in ({"experts": 2, "experts_per_token": 1}, {"window": 16}):
        other = speaker_of(tiny_model(**changes), words)
        ids = words.encode("Alice was beginning to get very tired").ids
        wanted = float(probabilities(other, ids)[-2][ids[-1]])

        found = look(other, "", "Alice was beginning to get very tired")["tokens"][-1]["probability"]

        assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("heard", range(4))
def test_a_cancel_is_heard_before_every_layer_and_between_scores(speaker: Speaker, heard: int) -> None:
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(len(asked) >= heard)
        return asked[-1]

    found = look(speaker, "", "Alice was", cancelled=cancelled)

    layers = len(speaker.model.layers)
    assert (found == {}) == (heard < layers + 1) and len(asked) == min(heard + 1, layers + 1)
    assert look(speaker, "", "Alice was")["counted"] > 0


def test_weights_that_are_no_numbers_are_refused(words: Tokenizer) -> None:
    broken = tiny_model()
    with torch.no_grad():
        broken.norm.weight.fill_(math.nan)

    with pytest.raises(Refused, match="no numbers any more"):
        look(speaker_of(broken, words), "", "Alice")


def row(speaker: Speaker, **fields: Any) -> tuple[dict[str, Any], Piece]:
    """An answer as it is stored, and as it was said."""
    ask = Ask(**({"prompt": "Alice was", "max_tokens": 30, "seed": 3} | fields))
    piece = list(speaker.stream(ask))[-1]
    return speaker.sample_row(ask, piece, "playground"), piece


def test_a_stored_answer_is_said_again_token_by_token(speaker: Speaker, words: Tokenizer) -> None:
    sample, piece = row(speaker)
    assert len(piece.ids) == piece.new_tokens and words.decode(list(piece.ids)).startswith(piece.text)

    assert said_again(speaker, sample) == piece.ids
    # A young model says texts otherwise than its tokenizer writes them.
    assert words.encode(piece.text).ids != list(piece.ids)


def test_an_answer_that_was_cancelled_is_said_as_far_as_it_came(speaker: Speaker) -> None:
    sample, piece = row(speaker, max_tokens=9)

    assert said_again(speaker, sample | {"max_tokens": 4000, "finish": "cancelled"}) == piece.ids


def test_of_an_answer_that_was_stopped_the_text_is_looked_at_and_not_what_stopped_it(
    speaker: Speaker, words: Tokenizer
) -> None:
    sample, piece = row(speaker)
    cut = words.decode(list(piece.ids[:20]))
    stopped = replace(piece, text=cut, finish="stop")
    assert cut != piece.text

    told = said_again(Echo(speaker, stopped), sample | {"text": cut, "finish": "stop"})  # type: ignore[arg-type]

    assert told is not None and words.decode(list(told)) == cut


class Echo:
    """A speaker that says one answer."""

    def __init__(self, speaker: Speaker, piece: Piece) -> None:
        self.tokenizer, self.device, self.weights_sha256 = speaker.tokenizer, speaker.device, speaker.weights_sha256
        self.piece = piece

    def stream(self, ask: Ask, cancelled: Any) -> list[Piece]:
        return [self.piece]


@pytest.mark.parametrize(
    "change", [{"text": "something else"}, {"seed": 4}, {"device": "cuda"}, {"weights_sha256": "1" * 64}]
)
def test_what_cannot_be_said_again_word_for_word_has_no_tokens_of_its_own(
    speaker: Speaker, change: dict[str, Any]
) -> None:
    assert said_again(speaker, row(speaker)[0] | change) is None


@pytest.mark.parametrize("text", TEXTS)
def test_no_byte_of_a_text_is_lost_or_told_twice(
    text: str,
    words: Tokenizer,
    unigram: Tokenizer,  # noqa: F811
    wordpiece: Tokenizer,  # noqa: F811
) -> None:
    for one in (words, unigram, wordpiece):
        assert b"".join(part.raw for part in read(one, text, said=True)) == text.encode()


def test_a_tokenizer_whose_pieces_are_no_parts_of_a_text(
    speaker: Speaker,
    wordpiece: Tokenizer,  # noqa: F811
) -> None:
    found = look(replace(speaker, tokenizer=wordpiece), "the", "cat.")

    assert not found["joins"] and [token["text"] for token in found["tokens"]] == ["the", "cat", "."]
    assert [part.raw for part in spelled(wordpiece, [1, 2])] == [b"the", b"cat"]


@fuzz(60)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_looked_at_whole(speaker: Speaker, prompt: str, text: str) -> None:
    found = json.loads(json.dumps(look(speaker, prompt, text), allow_nan=False))

    if not found["note"]:
        assert b"".join(map(raw, found["tokens"])) == (prompt + text).encode()
    assert all(
        0 <= token["probability"] <= 1 and token["bits"] >= 0 and 1 <= token["rank"] <= found["vocabulary"]
        for token in found["tokens"]
        if token["bits"] is not None
    )
