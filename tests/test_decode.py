"""The tokens of answers as a GPU makes them, here in plain torch on a processor: the same as step by step."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from support import give_dataset, speaker_of, tiny_model
from tokenizers import Tokenizer

from engine import decode_plain, tokenizer
from engine.ask import Ask
from engine.decode import LEAD, Decoder
from engine.generate import Speaker
from engine.home import Home
from engine.pick import pick, pick_rows

CPU = torch.device("cpu")
PROMPTS = ["Alice", "The Queen of Hearts was", "a", "said the Hatter,", "Off", "no, no!", "I wonder ", "Once upon a"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tokenizer.load(give_dataset(Home.at(tmp_path_factory.mktemp("words"))) / "tokenizer.json")


def decoding(speaker: Speaker) -> Speaker:
    """The same speaker, with what a GPU would answer with."""
    return replace(speaker, decoder=Decoder(speaker.model, decode_plain))


def asks(**fields: Any) -> list[Ask]:
    return [Ask(prompt=prompt, max_tokens=12, seed=seed, **fields) for seed, prompt in enumerate(PROMPTS)]


@pytest.mark.parametrize("activation", ["swiglu", "relu2"])
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {},
        {"top_k": 5, "top_p": 0.8},
        {"temperature": 1.5, "min_p": 0.3},
        {"repetition_penalty": 1.6},
        {"temperature": 0.0, "repetition_penalty": 3.0},
        {"stop": ("e", "the")},
    ],
)
def test_a_decoder_says_what_the_model_says_step_by_step(
    words: Tokenizer, activation: str, settings: dict[str, Any]
) -> None:
    plain = speaker_of(tiny_model(activation=activation), words)

    expected = plain.answer(asks(**settings))

    assert decoding(plain).answer(asks(**settings)) == expected


def test_rows_are_asked_each_in_its_own_way(words: Tokenizer) -> None:
    mixed = [
        Ask(prompt="Alice", temperature=0.0, max_tokens=9),
        Ask(prompt="The Queen", temperature=1.5, top_k=4, max_tokens=3),
        Ask(prompt="a", top_p=0.3, max_tokens=11),
        Ask(prompt="Off", temperature=2.0, min_p=0.2, repetition_penalty=1.3, max_tokens=7),
    ]
    speaker = decoding(speaker_of(tiny_model(), words))

    together = speaker.answer(mixed)

    assert together == [speaker.answer([ask])[0] for ask in mixed]
    assert [piece.new_tokens for piece in together] == [9, 3, 11, 7]
    assert together[:3] == speaker.answer(mixed[:3])  # which are made by other steps: nothing is penalised there


def test_a_prompt_alone_and_in_a_batch_gets_one_answer(words: Tokenizer) -> None:
    speaker = decoding(speaker_of(tiny_model(), words))
    alone = [speaker.answer([ask])[0] for ask in asks()]

    for size in (2, 5, 8):
        assert speaker.answer(asks()[:size]) == alone[:size]
    assert speaker.answer([*asks(), *asks(), *asks()[:1]]) == [*alone, *alone, *alone[:1]]


def test_a_decoder_answers_again_and_again(words: Tokenizer) -> None:
    """What earlier answers left in the cache is not seen."""
    speaker = decoding(speaker_of(tiny_model(), words))
    first = speaker.answer(asks())

    speaker.answer([Ask(prompt="z" * 40, max_tokens=500)])

    assert speaker.answer(asks()) == first


def test_an_answer_ends_where_the_context_does(words: Tokenizer) -> None:
    speaker = speaker_of(tiny_model(), words)
    questions = [Ask(prompt=prompt, max_tokens=500) for prompt in ("a" * 40, "Alice", "aaaaa")]

    pieces = decoding(speaker).answer(questions)

    assert (pieces[0].finish, pieces[0].new_tokens) == ("context", 64 - len(words.encode("a" * 40).ids))
    assert pieces == speaker.answer(questions)


def test_streaming_is_the_answer_growing_and_a_cancel_is_heard_at_once(words: Tokenizer) -> None:
    speaker = decoding(speaker_of(tiny_model(), words))
    heard: list[str] = []

    for piece in speaker.stream(Ask(prompt="Alice", max_tokens=40), lambda: len(heard) >= 5):
        heard.append(piece.finish)

    assert heard == [""] * 5 + ["cancelled"]
    assert piece.new_tokens == 6


def test_no_more_steps_are_made_than_asked_for_and_few_after_a_cancel(words: Tokenizer) -> None:
    speaker = decoding(speaker_of(tiny_model(), words))
    assert speaker.decoder
    steps = counted(speaker.decoder)

    speaker.answer([Ask(prompt="Alice", max_tokens=9)])
    assert len(steps) == 8  # the first token comes with the prompt

    steps.clear()
    speaker.answer([Ask(prompt="Alice", max_tokens=40)], lambda: True)
    assert len(steps) == LEAD


def counted(decoder: Decoder) -> list[int]:
    steps: list[int] = []
    step = decoder._step

    def counting(*args: Any) -> None:
        steps.append(1)
        step(*args)

    decoder._step = counting  # type: ignore[method-assign]
    return steps


def test_a_decoder_holds_no_weight_twice_and_changes_none() -> None:
    model = tiny_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}

    decoder = Decoder(model, decode_plain)

    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    owned = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    for layer in decoder.layers:
        assert {layer.heads.untyped_storage().data_ptr(), layer.up.untyped_storage().data_ptr()} <= owned


def rows_of(questions: Sequence[Ask], vocabulary: int, position: int) -> tuple[torch.Tensor, ...]:
    return (
        torch.tensor([ask.temperature for ask in questions]),
        torch.tensor([min(ask.top_k or vocabulary, vocabulary) for ask in questions]),
        torch.tensor([ask.top_p for ask in questions], dtype=torch.float64),
        torch.tensor([ask.dice(position) for ask in questions], dtype=torch.float64),
        torch.tensor([ask.least for ask in questions], dtype=torch.float64),
    )


@pytest.mark.parametrize("vocabulary", [1, 2, 300, 4096])
def test_rows_pick_what_each_would_pick_alone(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    dice = random.Random(vocabulary)
    settings = [
        {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        for temperature in (0.0, 0.01, 0.8, 10.0)
        for top_k in (0, 1, 2, 50, 100_000)
        for top_p in (1e-9, 0.3, 0.95, 1.0)
        for min_p in (0.0, 0.1, 1.0)
    ]
    for position in range(5):
        questions = [Ask(prompt="a", seed=dice.randrange(2**63), **setting) for setting in settings]
        logits = torch.randn(len(questions), vocabulary, generator=generator) * 3

        picked = pick_rows(logits, *rows_of(questions, vocabulary, position))

        assert picked.tolist() == [pick(row, ask, position) for row, ask in zip(logits, questions, strict=True)]


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0 - 2**-53])
def test_the_edges_of_a_draw_are_inside(draw: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal scores, scores of nothing, and a draw of the very first and the very last chance."""
    monkeypatch.setattr(Ask, "dice", lambda ask, position: draw)
    questions = [
        Ask(prompt="a", top_k=top_k, top_p=top_p, min_p=min_p)
        for top_k in (0, 1, 3)
        for top_p in (0.5, 1.0)
        for min_p in (0.0, 1.0)
    ]
    for scores in (torch.zeros(7), torch.tensor([0.0, -200.0, -torch.inf, 5.0, 5.0, -1.0, 5.0])):
        logits = scores.expand(len(questions), 7)

        picked = pick_rows(logits, *rows_of(questions, 7, 0))

        assert picked.tolist() == [pick(scores, ask, 0) for ask in questions]


def test_draws_are_those_of_python_for_seed_and_position() -> None:
    assert Ask(prompt="a", seed=7).dice(3) == random.Random("7:3").random()
