"""Attention against a loop over positions: every backend a CPU has, windows, documents, and a cache."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import VOCABULARY, tiny_config, tiny_model
from torch import Tensor

from engine import attention
from engine.attention import PLAIN_LENGTH, attend, choose_backend, document_bounds, in_use, visible
from engine.config import ConfigError
from engine.model import Cache, Transformer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
END = 0
LENGTH = 19


def heads(query_heads: int = 4, kv_heads: int = 2, size: int = 6, rows: int = 2) -> list[Tensor]:
    """q, k, v in fp32."""
    dice = torch.Generator().manual_seed(1)
    return [
        torch.randn(rows, count, LENGTH, size, generator=dice).requires_grad_()
        for count in (query_heads, kv_heads, kv_heads)
    ]


def with_ends() -> np.ndarray:
    """Two rows whose documents have several lengths, of one token too; the first row ends with an END."""
    tokens = np.random.default_rng(1).integers(1, VOCABULARY, (2, LENGTH))
    tokens[0, [4, 5, LENGTH - 1]] = tokens[1, [0, 11]] = END
    return tokens


def naive(q: Tensor, k: Tensor, v: Tensor, window: int = 0, tokens: np.ndarray | None = None) -> Tensor:
    """One position and one head after the other, in fp64; each document begins after an END."""
    q, k, v = q.double(), k.double(), v.double()
    rows = []
    for row in range(q.shape[0]):
        ends = [] if tokens is None else np.flatnonzero(tokens[row] == END)
        positions = []
        for at in range(q.shape[2]):
            first = max([0, *(int(end) + 1 for end in ends if end < at), at + 1 - window if window else 0])
            mixed = []
            for head in range(q.shape[1]):
                shared = head * k.shape[1] // q.shape[1]
                scores = k[row, shared, first : at + 1] @ q[row, head, at] / q.shape[-1] ** 0.5
                mixed.append(scores.softmax(dim=0) @ v[row, shared, first : at + 1])
            positions.append(torch.stack(mixed))
        rows.append(torch.stack(positions, dim=1))
    return torch.stack(rows)


def bounds_of(tokens: np.ndarray | None) -> Tensor | None:
    return None if tokens is None else document_bounds(tokens, END)


@pytest.mark.parametrize("backend", ["sdpa", "plain"])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("window", [0, 1, 5, LENGTH])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_every_position_sees_what_it_should(groups: int, window: int, documents: bool, backend: str) -> None:
    parts, tokens = heads(4, 4 // groups), with_ends() if documents else None
    direction = torch.randn(2, 4, LENGTH, 6, generator=torch.Generator().manual_seed(2))

    found = attend(*parts, backend, window, bounds_of(tokens))

    wanted = naive(*parts, window, tokens)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    slopes = torch.autograd.grad(found, parts, direction), torch.autograd.grad(wanted, parts, direction.double())
    for mine, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("window", "documents"), [(0, True), (5, False), (5, True)])
def test_what_a_gpu_is_asked_for_is_the_same(monkeypatch: pytest.MonkeyPatch, window: int, documents: bool) -> None:
    """torch's attention over packed texts, here done by the loop: it has to hear of texts, window and shared heads."""
    from torch.nn.attention import varlen

    def packed(
        q: Tensor, k: Tensor, v: Tensor, starts: Tensor, starts_k: Tensor, longest: int, longest_k: int, *,
        window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        assert (enable_gqa or q.shape[1] == k.shape[1]) and starts is starts_k and starts.dtype == torch.int32
        left, right = window_size
        assert right == 0, "would see what comes later"
        lengths = starts.diff()
        assert int(lengths.max()) <= longest == longest_k and int(starts[-1]) == len(q)
        texts = [(int(start), int(start + length)) for start, length in zip(starts, lengths, strict=False) if length]
        mixed = [naive(*(part[a:b].transpose(0, 1)[None] for part in (q, k, v)), left + 1) for a, b in texts]
        return torch.cat([text[0].transpose(0, 1) for text in mixed]).to(q.dtype)

    monkeypatch.setattr(varlen, "varlen_attn", packed)
    monkeypatch.setattr(attention, "_has_flash", lambda *_: True)
    parts, tokens = heads(), with_ends() if documents else None

    found = attend(*parts, "sdpa", window, bounds_of(tokens))

    torch.testing.assert_close(found.double(), naive(*parts, window, tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("room", [0, 7, 64])
def test_bounds_are_where_documents_begin_and_fill_their_room(room: int) -> None:
    tokens = with_ends()

    bounds = document_bounds(tokens, END, room)

    starts = [0, 5, 6, LENGTH, LENGTH + 1, LENGTH + 12]
    assert bounds.dtype == torch.int32
    assert bounds[: len(starts)].tolist() == starts
    # An END in the last place of a row begins nothing that the next row does not begin anyway.
    assert len(bounds) == max(len(starts), room) + 1
    assert set(bounds[len(starts) :].tolist()) == {2 * LENGTH}


@pytest.mark.parametrize("token", [1, END])
def test_rows_without_an_end_and_rows_of_nothing_else(token: int) -> None:
    bounds = document_bounds(np.full((3, 4), token), END)

    assert bounds.tolist() == (list(range(13)) if token == END else [0, 4, 8, 12])
    seen = visible(3, 4, 0, bounds, CPU)
    assert torch.equal(seen[:, 0], (torch.eye(4) if token == END else torch.ones(4, 4).tril()).bool().expand(3, 4, 4))


def losses(model: Transformer, tokens: Tensor, first: int, last: int, documents: bool) -> Tensor:
    """Scores of the targets at some places of the first row."""
    bounds = document_bounds(tokens[:, :-1].numpy(), END) if documents else None
    return model._scores(model(tokens[:, :-1], bounds)).log_softmax(dim=-1)[0, first:last]


@pytest.mark.parametrize("backend", ["sdpa", "plain"])
@pytest.mark.parametrize("window", [0, 6])
def test_what_document_a_says_changes_nothing_in_document_b(window: int, backend: str) -> None:
    """Only where documents are kept apart: otherwise B sees A."""
    model = tiny_model(window=window)
    model.attention = backend
    tokens = torch.randint(1, VOCABULARY, (2, LENGTH + 1), generator=torch.Generator().manual_seed(3))
    tokens[0, 8] = END
    other = tokens.clone()
    other[0, :8] = other[0, :8] % (VOCABULARY - 1) + 1
    other[1] = other[1] % (VOCABULARY - 1) + 1

    with torch.no_grad():
        apart = [losses(model, text, 9, LENGTH, True) for text in (tokens, other)]
        joined = [losses(model, text, 9, LENGTH, False) for text in (tokens, other)]
        alone = losses(model, tokens[:1, 9:], 0, LENGTH - 9, False)

    torch.testing.assert_close(*apart, rtol=0.0, atol=1e-6)
    assert (joined[0] - joined[1]).abs().max() > 1e-3
    # Rotary positions tell only how far apart two tokens are, so B reads as it does by itself.
    torch.testing.assert_close(apart[0], alone, rtol=1e-4, atol=1e-4)


def test_the_loss_and_its_gradients_take_the_bounds() -> None:
    model = tiny_model()
    tokens = torch.from_numpy(with_ends())
    bounds = document_bounds(tokens[:, :-1].numpy(), END)

    with_bounds, *_ = model.loss(tokens[:, :-1], tokens[:, 1:], bounds)

    pieces = [row[start:last] for row in tokens for start, last in pieces_of(row)]
    alone = sum(model.loss(piece[None, :-1], piece[None, 1:])[0] for piece in pieces)
    torch.testing.assert_close(with_bounds, alone, rtol=1e-5, atol=1e-3)
    slopes = [torch.autograd.grad(loss, list(model.parameters())) for loss in (with_bounds, alone)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def pieces_of(row: Tensor) -> list[tuple[int, int]]:
    """Each document of a row, with the token after it that its last token has to guess."""
    starts = [0, *(at + 1 for at in range(len(row) - 2) if row[at] == END)]
    return [(start, last + 1) for start, last in zip(starts, [*starts[1:], len(row) - 1], strict=True)]


@pytest.mark.parametrize("prompt", [1, 7, LENGTH])
@pytest.mark.parametrize("window", [1, 4, LENGTH])
def test_a_cached_answer_sees_through_the_same_window(window: int, prompt: int) -> None:
    """A prompt at once and then token by token, against all of it without a cache."""
    model = tiny_model(window=window)
    tokens = torch.from_numpy(with_ends())
    cache = Cache.empty(model.config, 2, torch.float32, CPU)
    positions = torch.arange(LENGTH).expand(2, -1)

    with torch.no_grad():
        plain = model.logits(tokens)
        found = [model.next_logits(tokens[:, :prompt], positions[:, :prompt], cache)]
        for at in range(prompt, LENGTH):
            found.append(model.next_logits(tokens[:, at : at + 1], positions[:, at : at + 1], cache))
        unlimited = tiny_model().logits(tokens)

    torch.testing.assert_close(torch.stack(found, dim=1), plain[:, prompt - 1 :], rtol=1e-4, atol=1e-4)
    assert torch.allclose(plain, unlimited, atol=1e-4) == (window == LENGTH)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A GPU of some compute capability."""
    fake = SimpleNamespace(capability=(9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: fake.capability)
    return fake


@pytest.mark.parametrize(
    ("capability", "dtype", "head_size", "chosen"),
    [
        ((9, 0), torch.bfloat16, 64, "cudnn"),
        ((10, 0), torch.float16, 128, "cudnn"),
        ((8, 9), torch.bfloat16, 64, "sdpa"),
        ((7, 5), torch.float16, 64, "sdpa"),
        ((9, 0), torch.float32, 64, "sdpa"),
        ((9, 0), torch.bfloat16, 20, "sdpa"),
        ((9, 0), torch.bfloat16, 192, "sdpa"),
    ],
)
def test_auto_is_the_fastest_that_runs(
    card: SimpleNamespace, capability: tuple[int, int], dtype: torch.dtype, head_size: int, chosen: str
) -> None:
    card.capability = capability

    assert choose_backend("auto", CUDA, dtype, head_size) == chosen


def test_a_cpu_has_two_backends() -> None:
    assert [choose_backend(name, CPU, torch.bfloat16) for name in ("auto", "plain")] == ["sdpa", "plain"]


@pytest.mark.parametrize("name", ["cudnn", "flash", "flash-attn"])
def test_a_backend_that_cannot_be_had_is_refused_with_what_would_do(card: SimpleNamespace, name: str) -> None:
    for device, dtype in ((CPU, torch.bfloat16), (CUDA, torch.float32)):
        with pytest.raises(ConfigError, match=rf"^train.attention = {name} needs a CUDA device and bf16 or fp16; "):
            choose_backend(name, device, dtype)
    for capability, size in (((7, 5), 64), ((9, 0), 20), ((9, 0), 264)):
        card.capability = capability
        with pytest.raises(
            ConfigError, match=rf"needs an Ampere GPU or a newer one.* = {size}\); choose auto or plain"
        ):
            choose_backend(name, CUDA, torch.float16, size)


def test_flash_attn_needs_its_package(card: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(ConfigError, match=r"the package cannot be imported \(.*\); install requirements-gpu.txt"):
        choose_backend("flash-attn", CUDA, torch.bfloat16)

    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace())
    names = ["flash-attn", "cudnn", "flash", "plain"]
    assert [choose_backend(name, CUDA, torch.bfloat16) for name in names] == names


@pytest.mark.parametrize(
    ("backend", "dtype", "changes", "shown"),
    [
        ("sdpa", torch.float32, {}, "sdpa"),
        ("sdpa", torch.bfloat16, {}, "plain"),
        ("sdpa", torch.bfloat16, {"context": PLAIN_LENGTH + 8}, "sdpa"),
        ("sdpa", torch.bfloat16, {"window": 4}, "masked"),
        ("plain", torch.float32, {"window": 4}, "masked"),
        ("flash-attn", torch.bfloat16, {"window": 4}, "flash-attn"),
    ],
)
def test_what_is_shown_is_what_computes(backend: str, dtype: torch.dtype, changes: dict[str, int], shown: str) -> None:
    shape = replace(tiny_config().model, **changes)

    assert in_use(backend, shape, False, torch.device("cpu"), dtype) == shown
    assert (in_use(backend, shape, True, torch.device("cpu"), dtype) == "masked") == (backend != "flash-attn")
