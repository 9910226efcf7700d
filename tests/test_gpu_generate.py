"""Answers on a CUDA device: captured, by Triton's kernels, and still the same alone as in a batch."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.generate import Numbers, random_weights
from engine import decode_plain
from engine.ask import Ask
from engine.config import ModelConfig, load_preset
from engine.decode import Choice, Decoder, choose_backend
from engine.generate import Speaker, make_speaker
from engine.model import Transformer
from engine.pick import pick, pick_rows

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # torch itself warns about its own internals when it compiles.
    pytest.mark.filterwarnings("default"),
]

SHAPES = [
    load_preset("seedling").model,
    # Nothing a power of two, three queries a key, and the other activation.
    ModelConfig(
        layers=2, width=72, heads=6, kv_heads=2, mlp_width=200, activation="relu2", context=200, vocab_size=999
    ),
]


@pytest.fixture
def cuda() -> torch.device:
    return torch.device("cuda")


def speaker_of(shape: ModelConfig, backend: Any = None) -> Speaker:
    words: Any = Numbers()
    speaker = make_speaker(
        shape,
        random_weights(shape),
        words,
        torch.device("cuda"),
        run_id="run",
        attempt=1,
        step=1,
        tokens=1,
        weights_sha256="0" * 64,
    )
    return speaker if backend is None else replace(speaker, decoder=Decoder(speaker.model, backend))


def questions(shape: ModelConfig, count: int, **fields: Any) -> list[Ask]:
    """Prompts of many lengths."""
    dice = torch.Generator().manual_seed(3)
    lengths = [1, 5, 17, 64, 100, 33, 2, 70, 16, 65, 31, 90]
    return [
        Ask(
            prompt=" ".join(
                map(str, torch.randint(shape.vocab_size, (lengths[row % len(lengths)],), generator=dice).tolist())
            ),
            seed=row,
            **({"max_tokens": 40} | fields),
        )
        for row in range(count)
    ]


@pytest.fixture(params=SHAPES, ids=["seedling", "odd"])
def shape(request: pytest.FixtureRequest) -> ModelConfig:
    chosen: ModelConfig = request.param
    return chosen


@pytest.fixture
def triton_kernels(cuda: torch.device) -> Any:
    backend = choose_backend(cuda)
    if backend is decode_plain:
        pytest.skip("Triton's kernels need Triton and a GPU with bf16 products")
    return backend


def close(ours: Tensor, plain: Tensor) -> None:
    torch.testing.assert_close(ours.float(), plain.float(), rtol=2e-2, atol=4e-2)


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize(
    ("tokens", "inputs", "outputs"), [(8, 512, 1024), (16, 2048, 512), (5, 72, 200), (130, 96, 40)]
)
def test_projections_are_those_of_plain_torch(
    triton_kernels: Any, prompt: bool, tokens: int, inputs: int, outputs: int
) -> None:
    torch.manual_seed(0)
    wide = {"dtype": torch.bfloat16, "device": "cuda"}
    x, gain = torch.randn(tokens, inputs, **wide), torch.rand(inputs, **wide) + 0.5  # type: ignore[arg-type]
    weight = torch.randn(outputs, inputs, **wide) / inputs**0.5  # type: ignore[arg-type]
    residual = torch.randn(tokens, outputs, **wide)  # type: ignore[arg-type]
    for settings in (
        {"gain": gain, "eps": 1e-6},
        {"gain": gain, "eps": 1e-6, "after": "swiglu"},
        {"gain": gain, "eps": 1e-6, "after": "relu2"},
        {"residual": residual},
        {"gain": gain, "eps": 1e-6, "dtype": torch.float32},
    ):
        close(
            triton_kernels.project(x, weight, prompt=prompt, **settings),
            decode_plain.project(x, weight, prompt=prompt, **settings),  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(("kv_heads", "group", "size"), [(4, 2, 64), (2, 3, 12), (1, 20, 128)])
@pytest.mark.parametrize("prompt", [False, True])
def test_attention_is_that_of_plain_torch(
    triton_kernels: Any, prompt: bool, kv_heads: int, group: int, size: int
) -> None:
    torch.manual_seed(0)
    lengths = [7, 90, 1, 65]
    rows = torch.tensor([row for row, length in enumerate(lengths) for _ in range(length)], device="cuda")
    positions = torch.cat([torch.arange(length) for length in lengths]).cuda()
    if not prompt:
        rows, positions = torch.arange(4, device="cuda"), torch.tensor([0, 140, 63, 64], device="cuda")
    wide: Any = {"dtype": torch.bfloat16, "device": "cuda"}
    gains = (torch.rand(size, **wide) + 0.5, torch.rand(size, **wide) + 0.5)
    angles = torch.rand(150, size // 2, device="cuda") * 6
    rotary = (angles.cos().bfloat16(), angles.sin().bfloat16())
    heads = torch.randn(len(rows), kv_heads * (group + 2), size, **wide)
    ours, plain = (
        (torch.zeros(4, kv_heads, 150, size, **wide), torch.zeros(4, kv_heads, 150, size, **wide)) for _ in range(2)
    )

    close(
        triton_kernels.attend(heads, gains, rotary, rows, positions, ours, 1e-6, prompt),
        decode_plain.attend(heads, gains, rotary, rows, positions, plain, 1e-6, prompt),
    )
    close(ours[0], plain[0])
    assert torch.equal(ours[1], plain[1])


def scores_said(speaker: Speaker, asks: Sequence[Ask]) -> Iterator[Tensor]:
    """For each answer, how far below the likeliest token each said token is in a plain forward over the whole text."""
    for ask, piece in zip(asks, speaker.answer(asks), strict=True):
        prompt, said = [int(n) for n in ask.prompt.split()], [int(n) for n in piece.text.split()]
        assert len(said) == ask.max_tokens
        with torch.inference_mode():
            scores = speaker.model.logits(torch.tensor([prompt + said[:-1]], device="cuda"))[0, len(prompt) - 1 :]
        yield scores.amax(dim=1) - scores.gather(1, torch.tensor(said, device="cuda")[:, None])[:, 0]


@pytest.mark.parametrize("plain", [False, True])
def test_the_words_are_the_likeliest_of_a_plain_forward(shape: ModelConfig, plain: bool) -> None:
    speaker = speaker_of(shape, decode_plain if plain else None)

    for missed in scores_said(speaker, questions(shape, 6, temperature=0.0)):
        assert float(missed.max()) < 0.1  # bf16 rounds scores of this size to 1/64


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {},
        {"top_k": 20},
        {"temperature": 1.5, "min_p": 0.1},
        {"repetition_penalty": 1.4},
        {"temperature": 0.0, "repetition_penalty": 1.4},
    ],
)
def test_a_prompt_alone_and_in_a_batch_gets_one_answer(
    shape: ModelConfig, plain: bool, settings: dict[str, Any]
) -> None:
    speaker = speaker_of(shape, decode_plain if plain else None)
    # Torch's products may round by their shape: it holds for as many rows as are padded to anyway.
    asks = questions(shape, 8 if plain else 12, **settings)
    together = speaker.answer(asks)

    assert speaker.answer(asks) == together
    for ask, piece in zip(asks, together, strict=True):
        assert speaker.answer([ask]) == [piece]
    assert speaker.answer(asks[3:7]) == together[3:7]


def test_what_was_said_is_penalised_by_the_device_too(shape: ModelConfig) -> None:
    """So strongly that no token comes twice, nor one of the prompt."""
    speaker = speaker_of(shape)
    asks = questions(shape, 5, temperature=0.0, repetition_penalty=10.0)
    for ask, piece in zip(asks, speaker.answer(asks), strict=True):
        said = [int(number) for number in piece.text.split()]
        assert len(set(said)) == len(said) == ask.max_tokens
        assert not set(said) & {int(number) for number in ask.prompt.split()}


def test_rows_on_the_device_pick_what_each_would_pick_alone(cuda: torch.device) -> None:
    asks = [
        Ask(prompt="a", seed=seed, temperature=1.3, top_k=top_k, top_p=top_p, min_p=min_p)
        for seed in range(4)
        for top_k in (0, 3, 200)
        for top_p in (0.5, 1.0)
        for min_p in (0.0, 0.05, 0.5, 1.0)
    ]
    logits = torch.randn(len(asks), 4096, generator=torch.Generator().manual_seed(5)).to(cuda) * 3
    wide: Any = {"dtype": torch.float64, "device": cuda}

    picked = pick_rows(
        logits,
        torch.tensor([ask.temperature for ask in asks], device=cuda),
        torch.tensor([ask.top_k or 4096 for ask in asks], device=cuda),
        torch.tensor([ask.top_p for ask in asks], **wide),
        torch.tensor([ask.dice(0) for ask in asks], **wide),
        torch.tensor([ask.least for ask in asks], **wide),
    )

    assert picked.tolist() == [pick(row, ask, 0) for row, ask in zip(logits, asks, strict=True)]


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("greedy", [False, True])
def test_a_captured_step_is_the_step_and_waits_for_nothing(shape: ModelConfig, greedy: bool, penalised: bool) -> None:
    speaker = speaker_of(shape)
    settings = ({"temperature": 0.0} if greedy else {}) | ({"repetition_penalty": 1.3} if penalised else {})
    asks, choice = questions(shape, 3, **settings), Choice(greedy, penalised)
    captured = speaker.answer(asks)
    decoder = speaker.decoder
    assert decoder and decoder._board and choice in decoder._board.steps
    board = decoder._board

    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            board.steps[choice]()
            decoder._step(board, choice)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    board.steps[choice] = lambda: decoder._step(board, choice)

    assert speaker.answer(asks) == captured


def test_a_capture_leaves_other_threads_alone() -> None:
    """A trainer's loader pins and copies batches while the trainer asks its prompts."""
    ended, failed = threading.Event(), []

    def load() -> None:
        try:
            while not ended.is_set():
                torch.ones(1 << 16).pin_memory().to("cuda", non_blocking=True)
                torch.cuda.current_stream().synchronize()
        except RuntimeError as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        answers = [speaker_of(SHAPES[0]).answer(questions(SHAPES[0], 3)) for _ in range(3)]
    finally:
        ended.set()
        thread.join()

    assert not failed
    assert answers[0] == answers[1] == answers[2]


def test_a_speakers_memory_goes_with_it() -> None:
    def held() -> int:
        speaker = speaker_of(SHAPES[0])
        speaker.answer(questions(SHAPES[0], 12))
        del speaker
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    first = held()

    assert [held() for _ in range(3)] == [first] * 3


def test_a_model_of_another_kind_is_asked_step_by_step() -> None:
    class Unknown(torch.nn.Module):
        pass

    with torch.device("cuda"):
        model = Transformer(SHAPES[0], torch.bfloat16)
    assert Decoder.suits(model)

    model.layers[1].mlp = Unknown()  # type: ignore[union-attr]

    assert not Decoder.suits(model)
