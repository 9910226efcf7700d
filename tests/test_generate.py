"""Asking a model: the same words for the same seed, alone or in a batch, and weights that are what they were."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sqlite_utils import Database
from support import give_dataset, new_run, speaker_of, tiny_model
from tokenizers import Tokenizer
from torch import Tensor

from engine import store, tokenizer
from engine.config import ConfigError
from engine.generate import Ask, Piece, Speaker, pick
from engine.home import Home

CPU = torch.device("cpu")
PROMPTS = [
    "Alice",
    "The Queen of Hearts was",
    "a",
    "said the Hatter,",
    "Once upon a time there",
    "Off",
    "no, no!",
    "I wonder ",
]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tokenizer.load(give_dataset(Home.at(tmp_path_factory.mktemp("words"))) / "tokenizer.json")


def faked(model: Any, words: Tokenizer) -> Speaker:
    return Speaker(
        model=model, tokenizer=words, run_id="run", attempt=1, step=3, tokens=768, weights_sha256="0" * 64, device=CPU
    )


@pytest.fixture
def speaker(words: Tokenizer) -> Speaker:
    return speaker_of(tiny_model(), words)


def test_an_answer_takes_one_core_and_leaves_the_others_as_they_were(speaker: Speaker) -> None:
    before, used = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    try:
        for _ in speaker.stream(Ask(prompt="Alice", max_tokens=3), lambda: bool(used.add(torch.get_num_threads()))):
            pass
        assert used == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Parrot:
    """A fake model that says given ids after the prompt, whatever it is asked."""

    compute_dtype = torch.float32

    def __init__(self, prompt_length: int, ids: list[int]) -> None:
        self.config = SimpleNamespace(vocab_size=300, context=64, layers=1, kv_heads=1, head_size=2)
        self.prompt_length, self.ids = prompt_length, ids

    def next_logits(self, tokens: Tensor, positions: Tensor, cache: Any) -> Tensor:
        at = max(int(positions[0, -1]) + 1 - self.prompt_length, 0)
        scores = torch.zeros(len(tokens), 300)
        scores[:, self.ids[min(at, len(self.ids) - 1)]] = 10.0
        return scores


def parrot(words: Tokenizer, ids: list[int]) -> Speaker:
    return faked(Parrot(len(words.encode("a").ids), ids), words)


def greedy(**fields: Any) -> Ask:
    return Ask(**({"prompt": "a", "temperature": 0.0, "max_tokens": 8} | fields))


def last(pieces: Iterator[Piece]) -> Piece:
    return list(pieces)[-1]


def heard(speaker: Speaker, asks: list[Ask]) -> tuple[list[Piece], list[list[Tensor]]]:
    """The answers, and for each ask the scores that its tokens were drawn from."""
    first: list[Tensor] = []
    rounds: list[Tensor] = []

    def listening(tokens: Tensor, positions: Tensor, cache: Any) -> Tensor:
        scores = type(speaker.model).next_logits(speaker.model, tokens, positions, cache)
        (first if len(first) < len(asks) else rounds).append(scores.clone())
        return scores

    speaker.model.next_logits = listening  # type: ignore[method-assign]
    try:
        pieces = speaker.answer(asks)
    finally:
        del speaker.model.next_logits
    return pieces, [
        [first[row][0], *(scores[row] for scores in rounds[: piece.new_tokens - 1])] for row, piece in enumerate(pieces)
    ]


def test_the_same_seed_says_the_same_and_another_seed_something_else(speaker: Speaker) -> None:
    ask = Ask(prompt="Alice was", max_tokens=20, seed=1)

    assert last(speaker.stream(ask)) == last(speaker.stream(ask))
    assert len({last(speaker.stream(Ask(prompt="Alice was", max_tokens=20, seed=seed))).text for seed in range(4)}) == 4


@pytest.mark.parametrize("threads", [1, 2])
def test_a_prompt_alone_and_in_a_batch_gets_one_answer_from_equal_scores(speaker: Speaker, threads: int) -> None:
    """In batches of several sizes and in several places of them, with several cores or one: not one bit differs."""
    before = torch.get_num_threads()
    alone = {prompt: heard(speaker, [Ask(prompt=prompt, max_tokens=10)]) for prompt in PROMPTS}
    torch.set_num_threads(threads)
    try:
        for size in (2, 5, 8, 11, 17):
            prompts = [PROMPTS[(3 * place + size) % len(PROMPTS)] for place in range(size)]
            pieces, scores = heard(speaker, [Ask(prompt=prompt, max_tokens=10) for prompt in prompts])
            for place, prompt in enumerate(prompts):
                (single,), (rounds,) = alone[prompt]
                assert pieces[place] == single
                assert len(rounds) == len(scores[place]) == single.new_tokens
                for one, other in zip(rounds, scores[place], strict=True):
                    assert torch.equal(one, other), f"{prompt!r} at place {place} of {size}"
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_several_answers_at_once_are_those_that_their_seeds_get_alone(speaker: Speaker) -> None:
    ask = Ask(prompt="The Queen", max_tokens=16, temperature=1.2, min_p=0.02, repetition_penalty=1.2, seed=2**63 - 2)

    streamed = list(speaker.stream_all(ask.several(4)))

    assert [one.seed for one in ask.several(4)] == [2**63 - 2, 2**63 - 1, 0, 1]
    assert streamed[-1] == [last(speaker.stream(one)) for one in ask.several(4)]
    assert len({piece.text for piece in streamed[-1]}) == 4
    assert all(len(pieces) == 4 for pieces in streamed)


def test_streaming_is_the_answer_growing(speaker: Speaker) -> None:
    ask = Ask(prompt="Alice", max_tokens=12)

    pieces = list(speaker.stream(ask))

    assert [piece.new_tokens for piece in pieces] == list(range(1, 13))
    assert [piece.finish for piece in pieces] == [""] * 11 + ["length"]
    assert pieces[-1] == speaker.answer([ask])[0]


def test_cached_words_are_those_of_a_plain_forward(speaker: Speaker) -> None:
    """Temperature 0, against taking the likeliest token of a forward pass over the whole text each time."""
    ids = speaker.tokenizer.encode("The Queen").ids
    start = len(ids)
    for _ in range(12):
        ids.append(int(speaker.model.logits(torch.tensor([ids]))[0, -1].argmax()))

    answer = last(speaker.stream(Ask(prompt="The Queen", temperature=0.0, max_tokens=12)))

    assert answer.text == speaker.tokenizer.decode(ids[start:]).rstrip("\ufffd")


def test_one_choice_is_the_likeliest(speaker: Speaker) -> None:
    plain = last(speaker.stream(greedy(prompt="Alice")))

    assert last(speaker.stream(Ask(prompt="Alice", max_tokens=8, top_k=1, temperature=5.0))) == plain
    assert last(speaker.stream(Ask(prompt="Alice", max_tokens=8, top_p=1e-9, temperature=5.0))) == plain


def test_draws_follow_the_probabilities() -> None:
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()

    def shares(**settings: Any) -> list[float]:
        drawn = [
            pick(scores, Ask(prompt="a", seed=seed, **({"temperature": 1.0, "top_p": 1.0} | settings)), 0)
            for seed in range(3000)
        ]
        return [round(drawn.count(token) / len(drawn), 3) for token in range(4)]

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(top_k=400) == shares()  # more than there are
    assert shares(top_p=0.9) == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0], abs=0.03)
    assert shares(top_p=0.8) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(temperature=0.1)[0] > 0.98


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    scores = torch.zeros(1000)
    drawn = [[pick(scores, Ask(prompt="a", seed=seed), position) for position in range(20)] for seed in (1, 2)]

    assert drawn == [[pick(scores, Ask(prompt="b", seed=seed), position) for position in range(20)] for seed in (1, 2)]
    assert len(set(drawn[0])) > 10 and drawn[0] != drawn[1]


def test_asking_leaves_all_dice_of_the_program_alone(speaker: Speaker) -> None:
    torch.manual_seed(5)
    random.seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()

    speaker.answer([Ask(prompt=prompt) for prompt in PROMPTS])

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_the_end_of_a_document_ends_the_answer_and_is_not_said(words: Tokenizer) -> None:
    said = [*words.encode("yes").ids, words.token_to_id(tokenizer.END)]

    answer = last(parrot(words, said).stream(greedy(max_tokens=30)))

    assert answer == Piece("yes", len(said), "end")


def test_an_answer_ends_where_the_context_does(speaker: Speaker) -> None:
    prompt = "a" * 40
    room = 64 - len(speaker.tokenizer.encode(prompt).ids)

    answer = last(speaker.stream(Ask(prompt=prompt, max_tokens=500)))

    assert (answer.finish, answer.new_tokens) == ("context", room)


def test_others_go_on_when_one_has_ended(speaker: Speaker) -> None:
    asks = [Ask(prompt="Alice", max_tokens=2), Ask(prompt="a" * 40, max_tokens=500), Ask(prompt="Alice", max_tokens=9)]

    pieces = speaker.answer(asks)

    assert [piece.finish for piece in pieces] == ["length", "context", "length"]
    assert pieces == [speaker.answer([ask])[0] for ask in asks]


def test_half_a_character_is_held_back_until_it_is_whole(words: Tokenizer) -> None:
    said = words.encode("né").ids
    assert len(said) == 3  # é is two bytes, and the tiny vocabulary has no piece for both

    texts = [piece.text for piece in parrot(words, said).stream(greedy(max_tokens=3))]

    assert texts == ["n", "n", "né"]


def test_a_cancelled_answer_keeps_what_was_said(words: Tokenizer) -> None:
    said = words.encode("tick tock tick").ids
    pieces: list[Piece] = []

    for piece in parrot(words, said).stream(greedy(max_tokens=30), lambda: len(pieces) >= 2):
        pieces.append(piece)

    assert pieces[-1] == Piece(words.decode(said[:3]), 3, "cancelled")


def test_cancelling_does_not_change_an_answer_that_has_ended(speaker: Speaker) -> None:
    assert speaker.answer([Ask(prompt="Alice", max_tokens=1)], lambda: True)[0].finish == "length"


@pytest.mark.parametrize("letters", [64, 8192])
def test_a_prompt_that_is_too_long_is_refused_with_both_lengths(speaker: Speaker, letters: int) -> None:
    tokens = len(speaker.tokenizer.encode("z" * letters).ids)

    with pytest.raises(ConfigError, match=f"^The prompt has {tokens:,} tokens; this model sees 64 at once"):
        last(speaker.stream(Ask(prompt="z" * letters)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 8193),
        ("max_tokens", 0),
        ("max_tokens", 8193),
        ("temperature", -0.1),
        ("temperature", 11),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("seed", -1),
        ("seed", 2**63),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("min_p", float("nan")),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("inf")),
        ("stop", "one text"),
        ("stop", ("a", 1)),
        ("stop", tuple("abcdefghi")),
    ],
)
def test_questions_that_make_no_sense_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{field} " if field != "prompt" else "prompt"):
        Ask(**({"prompt": "a"} | {field: value}))


@pytest.mark.parametrize(("given", "asked"), [("a\ud800b", "a?b"), ("a\0b", "ab"), ("\0", " "), ("né 火", "né 火")])
def test_prompts_are_made_writable(given: str, asked: str) -> None:
    assert Ask(prompt=given).prompt == asked


def test_a_sample_tells_all_that_is_needed_to_ask_again(speaker: Speaker, home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    ask = Ask(
        prompt="Alice",
        max_tokens=4,
        temperature=0.5,
        top_k=9,
        top_p=0.9,
        seed=11,
        min_p=0.01,
        repetition_penalty=1.3,
        stop=("\n\n", "The “End”"),
    )
    piece = last(speaker.stream(ask))

    row = speaker.sample_row(ask, piece, "playground") | {"run_id": run_id}
    sample = store.get_sample(db, store.add_sample(db, row))

    assert Ask.from_sample(sample) == ask
    assert sample["text"] == piece.text and sample["new_tokens"] == 4 and sample["finish"] == "length"
    assert (sample["step"], sample["tokens"], sample["dtype"], sample["device"]) == (3, 768, "float32", "cpu")
    assert (sample["weights_sha256"], sample["source"], sample["superseded"]) == ("0" * 64, "playground", 0)
