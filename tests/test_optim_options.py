"""Muon's options: NorMuon, cautious decay, momentum that changes; and stacks that stay the model's own weights."""

import copy
from typing import Any

import pytest
import torch
from support import tiny_model
from test_optim import bits, learn, some_tokens, weights_of
from torch import Tensor, nn

from engine.config import OptimizerConfig
from engine.model import Transformer
from engine.optim import Muon, Optimizers, orthogonalize
from engine.stacks import stack_parameters

EVERYTHING: dict[str, Any] = {
    "weight_decay": 0.1,
    "adamw_weight_decay": 0.1,
    "cautious": True,
    "neuron_memory": 0.9,
    "momentum_warmup": 0.5,
}
EXPERTS = {"experts": 4, "experts_per_token": 2}


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def normuon(weight: Tensor, gradients: list[Tensor], rate: float, momentum: float, memory: float) -> Tensor:
    """Algorithm 1 of Li et al. 2025 (arXiv 2510.05491) for one matrix, in loops over its rows.

    In two things as Muon here does it: Nesterov's momentum, and an update that keeps its own length times
    sqrt(max(1, rows / columns)), where the paper gives it 0.2 sqrt(rows x columns).
    """
    weight, average, neurons = weight.clone(), torch.zeros_like(weight), [0.0] * len(weight)
    for gradient in gradients:
        average = momentum * average + (1 - momentum) * gradient
        ortho = orthogonalize((momentum * average + (1 - momentum) * gradient)[None])[0]
        evened = torch.empty_like(ortho)
        for row in range(len(weight)):
            neurons[row] = memory * neurons[row] + (1 - memory) * float((ortho[row] ** 2).mean())
            evened[row] = ortho[row] / neurons[row] ** 0.5
        length = float(ortho.norm()) * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
        weight -= rate * length / evened.norm() * evened
    return weight


@pytest.mark.parametrize("shape", [(24, 24), (8, 20), (20, 8), (3, 12, 10), (3, 10, 12)])
@pytest.mark.parametrize("memory", [0.5, 0.95])
def test_normuon_is_the_papers(shape: tuple[int, ...], memory: float) -> None:
    """Also of experts [experts, m, n], each a matrix of its own."""
    before = [drawn(*shape, seed=seed) for seed in (1, 2)]
    matrices = [nn.Parameter(matrix.clone()) for matrix in before]
    sizes = torch.logspace(-2, 2, shape[-2])[:, None]
    gradients = [[drawn(*shape, seed=10 * step + number) * sizes for number in (1, 2)] for step in range(1, 6)]
    muon = Muon({"role": matrices}, momentum=0.9, weight_decay=0.0, dtype=torch.float32, neuron_memory=memory)

    for step in gradients:
        for matrix, gradient in zip(matrices, step, strict=True):
            matrix.grad = gradient.clone()
        muon.step(0.05)

    for number, matrix in enumerate(matrices):
        alone = before[number].view(-1, *shape[-2:]), [step[number].view(-1, *shape[-2:]) for step in gradients]
        for part, found in enumerate(matrix.detach().view(-1, *shape[-2:])):
            wanted = normuon(alone[0][part], [gradient[part] for gradient in alone[1]], 0.05, 0.9, memory)
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_normuon_evens_out_rows_and_keeps_the_length_of_the_step() -> None:
    # Tall, so that not even the orthogonal matrix has rows of one size.
    gradient = drawn(64, 8, seed=1) * torch.logspace(-2, 0, 64)[:, None]
    moved = []
    for memory in (0.0, 0.5):
        matrix = nn.Parameter(torch.zeros(64, 8))
        matrix.grad = gradient.clone()
        Muon({"role": [matrix]}, 0.9, 0.0, torch.float32, neuron_memory=memory).step(1.0)
        moved.append(matrix.detach())

    rows = [step.norm(dim=1) for step in moved]
    assert rows[0].max() > 5 * rows[0].min() and rows[1].max() < 1.01 * rows[1].min()
    torch.testing.assert_close(moved[1].norm(), moved[0].norm())


@pytest.mark.parametrize("neuron_memory", [0.0, 0.9])
def test_cautious_decay_pulls_only_at_weights_that_the_update_shrinks(neuron_memory: float) -> None:
    ends = []
    for decay in (0.0, 0.5):
        matrix = nn.Parameter(drawn(16, 12, seed=1))
        before = matrix.detach().clone()
        matrix.grad = drawn(16, 12, seed=2)
        muon = Muon({"role": [matrix]}, 0.9, decay, torch.float32, cautious=True, neuron_memory=neuron_memory)
        muon.step(0.1)
        ends.append(matrix.detach())

    update = before - ends[0]
    agree = update * before > 0
    assert 0.2 < agree.float().mean() < 0.8
    assert torch.equal(ends[1][~agree], ends[0][~agree])
    torch.testing.assert_close((ends[0] - ends[1])[agree], before[agree] * 0.1 * 0.5, rtol=1e-3, atol=1e-6)


def test_decay_that_is_not_cautious_pulls_at_every_weight() -> None:
    matrix = nn.Parameter(drawn(16, 12, seed=1))
    before, other = matrix.detach().clone(), nn.Parameter(matrix.detach().clone())
    for one, decay in ((matrix, 0.5), (other, 0.0)):
        one.grad = drawn(16, 12, seed=2)
        Muon({"role": [one]}, 0.9, decay, torch.float32).step(0.1)

    torch.testing.assert_close((other - matrix).detach(), before * 0.1 * 0.5, rtol=1e-3, atol=1e-6)


def test_a_step_takes_the_momentum_it_is_given_from_then_on() -> None:
    """Told by the moving averages, and none given leaves it as it was."""
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(momentum=0.95), torch.float32)
    wanted = {role: torch.zeros_like(average) for role, average in optimizers.muon.averages.items()}
    for seed, (given, used) in enumerate([(None, 0.95), (0.85, 0.85), (None, 0.85), (0.9, 0.9)]):
        optimizers.zero_grad()
        learn(model, some_tokens(seed=seed))
        for role, average in wanted.items():
            slopes = torch.stack([matrix.grad for matrix in optimizers.muon.stacks[role] if matrix.grad is not None])
            average.lerp_(slopes, 1 - used)
        optimizers.step(1.0, momentum=given)

        for role, average in wanted.items():
            torch.testing.assert_close(optimizers.muon.averages[role], average, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("shape", [{}, EXPERTS], ids=["dense", "experts"])
def test_weights_stay_views_of_their_stacks(shape: dict[str, int]) -> None:
    """Whatever happens in place: a step, other weights loaded, gradients let go."""
    model = tiny_model(**shape)
    optimizers = Optimizers(model, OptimizerConfig(**EVERYTHING), torch.float32)

    def assert_views() -> None:
        for role, stack in optimizers.muon.weights.items():
            matrices = torch.stack(list(optimizers.muon.stacks[role])).detach()
            assert torch.equal(stack.view_as(matrices), matrices), role
            assert {m.untyped_storage().data_ptr() for m in optimizers.muon.stacks[role]} == {
                stack.untyped_storage().data_ptr()
            }

    learn(model, some_tokens())
    optimizers.step(1.0)
    assert_views()
    model.load_state_dict(tiny_model(seed=2, **shape).state_dict())
    assert_views()
    learn(model, some_tokens())
    optimizers.step(1.0)
    optimizers.zero_grad()
    assert_views()
    assert {role: stack.data_ptr() for role, stack in optimizers.muon.weights.items()} == {
        role: stack.data_ptr() for role, stack in model.stacks().items() if role in optimizers.muon.weights
    }


def test_neighbours_in_memory_are_stacked_only_if_they_are_one() -> None:
    """A GPU's allocator puts tensors side by side, each with storage of its own: together they are nobody's view."""
    room = bytearray(3 * 4 * 4)
    parts = [torch.frombuffer(room, dtype=torch.float32, count=4, offset=16 * number) for number in range(3)]
    parameters = [nn.Parameter(part.view(2, 2)) for part in parts]
    with torch.no_grad():
        for number, parameter in enumerate(parameters):
            parameter.fill_(number)

    stack = stack_parameters(parameters)

    stack += 1.0
    assert [parameter[1, 1].item() for parameter in parameters] == [1.0, 2.0, 3.0]
    assert stack_parameters(parameters).data_ptr() == stack.data_ptr()


def test_a_model_that_was_moved_is_not_stepped_in_vain() -> None:
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)
    model.double().float()  # new storage for every weight
    learn(model, some_tokens())

    with pytest.raises(AssertionError, match="was moved after its optimizer was made"):
        optimizers.step(1.0)

    before = weights_of(model)
    Optimizers(model, OptimizerConfig(), torch.float32).step(1.0)
    assert not torch.equal(weights_of(model), before)


@pytest.mark.parametrize("shape", [{}, EXPERTS], ids=["dense", "experts"])
@pytest.mark.parametrize("steps", [0, 3])
def test_everything_is_stored_and_goes_on_exactly(steps: int, shape: dict[str, int]) -> None:
    config = OptimizerConfig(**EVERYTHING)
    model = tiny_model(**shape)
    optimizers = Optimizers(model, config, torch.float32)

    def go(model: Transformer, optimizers: Optimizers, seed: int) -> None:
        optimizers.zero_grad()
        learn(model, some_tokens(seed=seed))
        optimizers.step(0.7, momentum=0.8 + 0.01 * seed)

    for seed in range(steps):
        go(model, optimizers, seed)
    stored = {name: tensor.clone() for name, tensor in optimizers.tensors().items()}
    assert {f"neurons.{role}" for role in optimizers.muon.stacks} <= stored.keys()
    other = copy.deepcopy(model)
    loaded = Optimizers(other, config, torch.float32)
    loaded.load_tensors(stored)
    for seed in range(steps, steps + 3):
        go(model, optimizers, seed)
        go(other, loaded, seed)

    assert bits(dict(model.named_parameters())) == bits(dict(other.named_parameters()))
    assert bits(optimizers.tensors()) == bits(loaded.tensors())


@pytest.mark.parametrize("shape", [{}, EXPERTS], ids=["dense", "experts"])
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e-3])
def test_a_masked_step_moves_no_bit_with_every_option_on(bad: float, steps: int, shape: dict[str, int]) -> None:
    """Nor does it where the gradient itself would do, and something else said no."""
    model = tiny_model(**shape)
    with torch.no_grad():  # of both zeros, which only bits tell apart
        for parameter in model.parameters():
            parameter.view(-1)[:2] = torch.tensor([-0.0, 0.0])
    optimizers = Optimizers(model, OptimizerConfig(**EVERYTHING), torch.float32)
    for seed in range(steps):
        learn(model, some_tokens(seed=seed))
        optimizers.step(1.0, momentum=0.85)
        optimizers.zero_grad()
    learn(model, some_tokens())
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(bad)
    # AdamW makes its state, of zeros, in the first step whatever the flag says.
    weights, state = bits(dict(model.named_parameters())), bits(optimizers.tensors())

    optimizers.masked_step(1.0, torch.tensor(False))

    assert bits(dict(model.named_parameters())) == weights
    after = bits(optimizers.tensors())
    assert {name: after[name] for name in state} == state
    assert all(set(after[name]) == {0} for name in after.keys() - state.keys())


def test_each_expert_is_evened_out_by_itself() -> None:
    """The step of one expert does not depend on what the others learn."""
    ends = []
    for others in (1.0, 100.0):
        stack = nn.Parameter(torch.zeros(3, 12, 10))
        muon = Muon({"role": [stack]}, 0.9, 0.0, torch.float32, neuron_memory=0.9)
        for seed in range(4):
            stack.grad = drawn(3, 12, 10, seed=seed)
            stack.grad[1:] *= others
            muon.step(0.1)
        ends.append(stack.detach()[0])

    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)
