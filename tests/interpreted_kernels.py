"""The fused training path against the plain model, in Triton's interpreter; tests/test_fused.py runs this file.

The interpreter computes with numpy, one program after the other, so the shapes are small and the programs few.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import VOCABULARY, tiny_model
from torch import Tensor

from engine import fused, loss
from engine.attention import document_bounds
from engine.config import OptimizerConfig
from engine.kernels import momentum_step
from engine.loss import linear_cross_entropy
from engine.model import Transformer
from engine.optim import Muon, Optimizers

EPS = 1e-6


@pytest.fixture(autouse=True)
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each takes several turns, and some find nothing to do in the last one."""
    monkeypatch.setattr(fused, "PROGRAMS", 3)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def some_tokens(rows: int, length: int) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length + 1), generator=torch.Generator().manual_seed(5))


def learned(model: Transformer, tokens: Tensor, bounds: Tensor | None = None) -> list[Tensor]:
    """Loss, right guesses and all gradients of a batch."""
    model.zero_grad()
    total, correct, _ = model.loss(tokens[:, :-1], tokens[:, 1:], bounds)
    torch.autograd.backward(total / tokens.numel())
    return [
        total.detach(),
        correct,
        *(parameter.grad for parameter in model.parameters() if parameter.grad is not None),
    ]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    """Equal to what fp32 can hold, each tensor measured by its largest number."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=2e-5 * max(1e-3, float(other.detach().abs().max())))


@pytest.mark.parametrize(
    ("shape", "rows", "length"),
    [
        pytest.param({}, 3, 17, id="swiglu"),
        pytest.param({"activation": "relu2", "kv_heads": 1}, 2, 9, id="relu2"),
        pytest.param({"width": 40, "heads": 5, "kv_heads": 5, "mlp_width": 33}, 1, 64, id="five heads, odd sizes"),
        pytest.param({"width": 36, "heads": 6, "kv_heads": 3, "activation": "relu2"}, 2, 7, id="heads of 6"),
        pytest.param({"width": 72, "heads": 3, "kv_heads": 1, "layers": 1}, 1, 5, id="heads of 24, one token row"),
        pytest.param({"window": 4}, 2, 13, id="window"),
    ],
)
def test_loss_and_gradients_are_those_of_the_plain_model(shape: dict[str, int | str], rows: int, length: int) -> None:
    model, tokens = tiny_model(**shape), some_tokens(rows, length)
    plain = learned(model, tokens)

    model.fused = True

    assert_same(learned(model, tokens), plain)


def test_documents_and_blocks_computed_again_give_the_same_gradients() -> None:
    model, tokens = tiny_model(), some_tokens(2, 11)
    tokens[0, 4] = tokens[1, 7] = 0
    bounds = document_bounds(tokens[:, :-1].numpy(), 0)
    plain = learned(model, tokens, bounds)

    model.fused = model.recompute = True

    assert_same(learned(model, tokens, bounds), plain)


def test_without_gradients_the_loss_is_the_same_and_nothing_is_kept() -> None:
    model, tokens = tiny_model(), some_tokens(2, 11)
    plain = learned(model, tokens)[:2]
    model.fused = True

    with torch.no_grad():
        total, correct, _ = model.loss(tokens[:, :-1], tokens[:, 1:])

    assert not total.requires_grad
    assert_same([total, correct], plain)


@pytest.mark.parametrize("changed", [False, True])
def test_weights_that_change_are_seen_by_the_next_pass(changed: bool) -> None:
    """By an optimizer's step in place, and by loading others."""
    model, tokens = tiny_model(), some_tokens(2, 11)
    model.fused = True
    learned(model, tokens)
    if changed:
        model.load_state_dict(tiny_model(seed=2).state_dict())
    else:
        Optimizers(model, OptimizerConfig(), torch.float32).step(1.0)
    found = learned(model, tokens)

    model.fused = False

    assert_same(found, learned(model, tokens))


@pytest.mark.parametrize("width", [8, 40])
@pytest.mark.parametrize("added", [True, False])
def test_the_norm_of_a_sum_is_torchs(added: bool, width: int) -> None:
    """More rows than three programs take in one turn; of the sum and the product both have slopes."""
    x, delta = drawn(2, 250, width), drawn(2, 250, width, seed=2) if added else None
    gain, matrices = drawn(width, seed=3), (drawn(5, width, seed=4), drawn(3, width, seed=5))
    slopes = [drawn(2, 250, width, seed=6).detach(), drawn(2, 250, 8, seed=7).detach()]
    weight = torch.cat(matrices).detach()
    sources = [x, gain, *matrices, *([delta] if delta is not None else [])]

    found = fused.add_norm_linear(x, delta, gain, EPS, weight, *matrices)

    total = x if delta is None else x + delta
    wanted = total, F.rms_norm(total, (width,), gain, EPS) @ torch.cat(matrices).T
    assert_same(list(found), list(wanted))
    assert_same(list(torch.autograd.grad(found, sources, slopes)), list(torch.autograd.grad(wanted, sources, slopes)))


def test_strides_of_what_comes_in_do_not_matter() -> None:
    """Slopes of queries and keys come as attention leaves them, and residuals may be parts of something larger."""
    width, gain = 12, drawn(12, seed=3)
    x, delta = drawn(4, 6, 2 * width)[..., ::2], drawn(width, 6, 4, seed=2).permute(2, 1, 0)
    assert_same(list(fused.add_norm(x, delta, gain, EPS)), [x + delta, F.rms_norm(x + delta, (width,), gain, EPS)])
    qkv, gains = drawn(2, 6, 5, 8), (drawn(8, seed=2), drawn(8, seed=3))
    angles = torch.outer(torch.arange(6.0), torch.tensor([1.0, 0.1, 0.01, 0.001]))
    results = fused.norm_rotate(qkv, *gains, angles.cos(), angles.sin(), 1, EPS)
    straight = [drawn(*result.shape, seed=9).detach() for result in results]
    strange = [slope.transpose(0, 3).contiguous().transpose(0, 3) for slope in straight]
    sources = [qkv, *gains]

    even = torch.autograd.grad(results, sources, straight, retain_graph=True)

    assert_same(list(torch.autograd.grad(results, sources, strange)), list(even))


@pytest.mark.parametrize("gated", [True, False])
def test_the_activation_is_torchs(gated: bool) -> None:
    """In more than one block of columns, and the last one not whole."""
    width = fused.ACTIVATION_BLOCK + 5
    up, matrix = drawn(2, 3, (1 + gated) * width), drawn(4, width, seed=2)
    slope = drawn(2, 3, 4, seed=3).detach()

    found = fused.activate_linear(up, gated, matrix.detach(), matrix)

    hidden = F.silu(up[..., :width]) * up[..., width:] if gated else F.relu(up).square()
    wanted = hidden @ matrix.T
    assert_same([found], [wanted])
    assert_same(
        list(torch.autograd.grad(found, [up, matrix], slope)), list(torch.autograd.grad(wanted, [up, matrix], slope))
    )


@pytest.mark.parametrize("vocabulary", [37, 4096, 4099])
def test_the_loss_is_torchs_and_so_is_the_first_of_equal_guesses(
    vocabulary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary in part of a block, a whole one, and two; pieces of 8 tokens; targets that do not lie close."""
    monkeypatch.setattr(loss, "FUSED_ROWS", 8)
    hidden, weight = drawn(20, 6), drawn(vocabulary, 6, seed=2)
    with torch.no_grad():
        weight[0] *= 10.0  # the best guess of nine, together with its doubles
        weight[5] = weight[vocabulary - 1] = weight[0]
        hidden[:9] = weight[0] * 0.1
    targets = torch.arange(60)[::3] % vocabulary
    targets[:9] = torch.tensor([0, 5, vocabulary - 1] * 3)

    total, correct = linear_cross_entropy(hidden, weight, targets, fused=True)

    scores = hidden @ weight.T
    wanted = F.cross_entropy(scores, targets, reduction="sum")
    assert_same([total], [wanted.detach()])
    assert correct == (scores.argmax(dim=1) == targets).sum() >= 3
    found = torch.autograd.grad(total / 3, [hidden, weight])
    assert_same(list(found), list(torch.autograd.grad(wanted / 3, [hidden, weight])))


@pytest.mark.parametrize("learning", [True, False])
def test_scores_become_their_gradient_only_where_something_learns(learning: bool) -> None:
    scores, targets = drawn(4, 37).detach(), torch.tensor([0, 1, 36, 7])
    before = scores.clone()
    losses, hits = torch.empty(2, 4)

    slope = loss._score_fused(scores, targets, losses, hits, learning)

    assert torch.equal(slope, before) != learning
    torch.testing.assert_close(losses, F.cross_entropy(before, targets, reduction="none"))


def test_great_scores_stay_finite_and_a_number_that_is_none_is_not_hidden() -> None:
    hidden, weight, targets = drawn(9, 6), drawn(37, 6, seed=2), torch.arange(9)

    great, _ = linear_cross_entropy(hidden * 1e3, weight * 1e3, targets, fused=True)
    with np.errstate(invalid="ignore"):  # the interpreter's numpy warns
        none, _ = linear_cross_entropy(hidden + torch.nan, weight, targets, fused=True)

    assert great.isfinite() and none.isnan()
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(great, (hidden, weight)))


def test_the_momentum_kernel_is_the_plain_step() -> None:
    """More numbers than one program takes, and no multiple of them."""
    steps = []
    for kernel in (False, True):
        matrices = [torch.nn.Parameter(drawn(53, 41, seed=seed).detach()) for seed in (1, 2)]
        muon = Muon({"role": matrices}, momentum=0.9, weight_decay=0.1, dtype=torch.float32)
        muon.fused = kernel
        for seed in (3, 4, 5):
            for number, matrix in enumerate(matrices):
                matrix.grad = drawn(53, 41, seed=10 * seed + number).detach()
            muon.step(0.02, torch.tensor(True))
        steps.append([*(matrix.detach() for matrix in matrices), muon.averages["role"]])

    assert_same(steps[1], steps[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1.0])
@pytest.mark.parametrize("finite", [True, False])
def test_momentum_moves_not_one_bit_unless_all_is_finite(finite: bool, bad: float) -> None:
    gradient, average = torch.full((4099,), bad), drawn(4099).detach()
    average[:2] = torch.tensor([-0.0, 0.0])
    before, direction = average.clone(), torch.full((4099,), 7.0, dtype=torch.bfloat16)

    momentum_step[(2,)](gradient, average, direction, torch.tensor(finite), 4099, 0.95, 4096)

    same = average.view(torch.int32) == before.view(torch.int32)
    if finite:
        torch.testing.assert_close(average, before.lerp(gradient, 0.05), equal_nan=True)
        assert not same.any()
    else:
        assert same.all() and (direction.view(torch.int16) == 0).all()
