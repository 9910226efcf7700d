"""The piecewise cross-entropy is torch's, in value and in slope, without ever holding all scores."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine import loss
from engine.loss import linear_cross_entropy

WIDTH, VOCABULARY = 16, 37


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred tokens are several pieces, the last one shorter."""
    monkeypatch.setattr(loss, "ROWS", 64)


def problem(tokens: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, head, targets."""
    dice = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, WIDTH, generator=dice, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=dice, dtype=torch.float64)
    weight = weight.to(torch.promote_types(dtype, torch.float32))
    return hidden, weight.requires_grad_(), torch.randint(VOCABULARY, (tokens,), generator=dice)


def true_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ weight.T, targets, reduction="sum")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [1, 64, 200])
def test_value_and_slopes_are_those_of_torch(tokens: int, dtype: torch.dtype) -> None:
    hidden, weight, targets = problem(tokens, dtype)

    total, correct = linear_cross_entropy(hidden, weight, targets)

    torch.testing.assert_close(total.to(dtype), true_loss(hidden, weight, targets), rtol=1e-5, atol=1e-4)
    assert correct == ((hidden @ weight.T).argmax(dim=1) == targets).sum()
    # Half of it, as when a step is made of two micro-batches.
    mine = torch.autograd.grad(total / 2, (hidden, weight))
    true = torch.autograd.grad(true_loss(hidden, weight, targets) / 2, (hidden, weight))
    for one, other in zip(mine, true, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_bf16_is_the_same_to_its_last_digits_and_the_head_learns_in_fp32() -> None:
    hidden, weight, targets = problem(200, torch.bfloat16)
    exact = hidden.detach().float().requires_grad_()

    total, _ = linear_cross_entropy(hidden, weight, targets)

    assert total.dtype == torch.float32
    torch.testing.assert_close(total, true_loss(exact, weight, targets), rtol=0.01, atol=0.0)
    mine = torch.autograd.grad(total, (hidden, weight))
    true = torch.autograd.grad(true_loss(exact, weight, targets), (exact, weight))
    assert [slope.dtype for slope in mine] == [torch.bfloat16, torch.float32]
    for one, other in zip(mine, true, strict=True):
        assert (one.float() - other).norm() < 0.02 * other.norm()


def test_without_learning_the_value_is_the_same() -> None:
    hidden, weight, targets = problem(200)

    with torch.no_grad():
        total, correct = linear_cross_entropy(hidden, weight, targets)

    assert not total.requires_grad
    learned = linear_cross_entropy(hidden, weight, targets)
    assert (total, correct) == learned and learned[0].requires_grad and not learned[1].requires_grad


def test_great_scores_stay_finite() -> None:
    hidden, weight, targets = problem(64)

    total, _ = linear_cross_entropy(hidden * 1e3, weight * 1e3, targets)

    assert total.isfinite() and all(slope.isfinite().all() for slope in torch.autograd.grad(total, (hidden, weight)))


def test_a_sure_and_right_guess_costs_nothing() -> None:
    total, correct = linear_cross_entropy(torch.eye(4) * 100, torch.eye(4), torch.arange(4))

    assert (float(total), float(correct)) == (0.0, 4.0)


def test_a_number_that_is_none_is_not_hidden() -> None:
    hidden, weight, targets = problem(64)

    total, _ = linear_cross_entropy(hidden + torch.nan, weight, targets)

    assert total.isnan()
