"""The gradients of a step are those of its loss, whatever the micro-batches; what a GPU adds: test_gpu_training.py."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from support import VOCABULARY, tiny_model
from torch import Tensor

from engine.attention import document_bounds
from engine.batches import Batch
from engine.gradients import Gradients
from engine.model import Transformer

ROWS, LENGTH, END = 8, 16, 0
EXPERTS = {"experts": 4, "experts_per_token": 2}


def some_tokens(seed: int = 3) -> Tensor:
    return torch.randint(VOCABULARY, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(seed))


def batches(tokens: Tensor, rows: int, documents: bool = False) -> Iterator[Batch]:
    """The rows of a step, some at a time."""
    for part in tokens.split(rows):
        inputs, targets = part[:, :-1], part[:, 1:]
        yield Batch(inputs, targets, document_bounds(inputs.numpy(), END, 7) if documents else None)


def slopes(model: Transformer) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def assert_close(found: list[Tensor], wanted: list[Tensor]) -> None:
    """To what fp32 can hold, each tensor measured by its largest number."""
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-6 * float(other.abs().max()))


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("shape", [{}, EXPERTS], ids=["dense", "experts"])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_micro_batches_are_one_batch(rows: int, shape: dict[str, int], documents: bool) -> None:
    model, tokens = tiny_model(**shape), some_tokens()
    tokens[::3, 5] = END
    gradients = Gradients(model, ROWS, balance_loss=0.3)
    whole_loss, whole_balance = gradients.of(batches(tokens, ROWS, documents))
    whole = slopes(model)

    loss, balance = gradients.of(batches(tokens, rows, documents))

    assert_close([loss, balance], [whole_loss, whole_balance])
    assert_close(slopes(model), whole)
    assert (float(whole_balance) > 0.5) == bool(shape)


def test_the_loss_is_the_mean_over_targets_and_its_gradients_are_torchs() -> None:
    model, tokens = tiny_model(), some_tokens()
    wanted = F.cross_entropy(model.logits(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    wanted.backward()  # type: ignore[no-untyped-call]
    true = slopes(model)

    loss, balance = Gradients(model, ROWS).of(batches(tokens, 2))

    torch.testing.assert_close(loss, wanted.detach(), rtol=1e-6, atol=0.0)
    assert balance == 0.0 and not loss.requires_grad
    for one, other in zip(slopes(model), true, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_balance_of_experts_is_part_of_what_is_learned_by_its_weight() -> None:
    model, tokens = tiny_model(**EXPERTS), some_tokens()
    router = model.layers[0].mlp.gate.weight
    found = []
    for weight in (0.0, 1.0, 2.0):
        loss, balance = Gradients(model, ROWS, balance_loss=weight).of(batches(tokens, 4))
        found.append((loss, balance, router.grad.clone()))

    assert len({(float(loss), float(balance)) for loss, balance, _ in found}) == 1
    pull = found[1][2] - found[0][2]
    assert pull.abs().max() > 0
    torch.testing.assert_close(found[2][2] - found[0][2], 2 * pull, rtol=1e-3, atol=1e-6)


def test_each_step_begins_with_no_gradients() -> None:
    """Also after they were clipped in place, and when nobody else zeroes them."""
    model = tiny_model()
    gradients = Gradients(model, ROWS)
    first, _ = gradients.of(batches(some_tokens(), 2))
    true = slopes(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    gradients.of(batches(some_tokens(seed=4), 2))

    again, _ = gradients.of(batches(some_tokens(), 2))

    assert torch.equal(first, again)
    assert all(map(torch.equal, slopes(model), true))


def test_what_is_backpropagated_is_scaled_and_what_is_told_is_not() -> None:
    model, tokens = tiny_model(), some_tokens()
    plain, _ = Gradients(model, ROWS).of(batches(tokens, 4))
    true = slopes(model)

    loss, _ = Gradients(model, ROWS, scale=lambda loss: loss * 1024.0).of(batches(tokens, 4))

    assert torch.equal(loss, plain)
    assert all(torch.equal(one, other * 1024.0) for one, other in zip(slopes(model), true, strict=True))


def test_a_number_that_is_none_is_told() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.norm.weight[0] = torch.nan

    loss, _ = Gradients(model, ROWS).of(batches(some_tokens(), 2))

    assert loss.isnan()
