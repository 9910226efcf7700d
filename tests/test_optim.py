"""Muon against torch's own, orthogonality, and optimizers that go on after being stored as if nothing had happened."""

import copy
from collections.abc import Callable

import pytest
import torch
from support import VOCABULARY, tiny_model
from torch import Tensor, nn

from engine.config import OptimizerConfig, load_preset
from engine.model import Transformer
from engine.optim import Muon, Optimizers, orthogonalize

JORDAN = (3.4445, -4.775, 2.0315)
"""The coefficients of Keller Jordan's Muon, which torch uses for each of its five steps."""
SHAPES = {"square": (24, 24), "wide": (16, 40), "tall": (40, 16)}


def learn(model: Transformer, tokens: Tensor, share: float = 1.0) -> None:
    loss, *_ = model.loss(tokens[:, :-1], tokens[:, 1:])
    (loss / tokens[:, 1:].numel() * share).backward()  # type: ignore[no-untyped-call]


def some_tokens(rows: int = 8, seed: int = 3) -> Tensor:
    return torch.randint(VOCABULARY, (rows, 17), generator=torch.Generator().manual_seed(seed))


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_muon_steps_as_torch_does(shape: tuple[int, int], weight_decay: float) -> None:
    dice = torch.Generator().manual_seed(1)
    mine = [nn.Parameter(torch.randn(shape, generator=dice)) for _ in range(3)]
    theirs = [nn.Parameter(matrix.detach().clone()) for matrix in mine]
    ours = Muon(
        {"some.role": mine},
        momentum=0.9,
        weight_decay=weight_decay,
        dtype=torch.bfloat16,
        coefficients=(JORDAN,) * 5,
        safety=1.0,
    )
    torchs = torch.optim.Muon(
        theirs,
        lr=0.05,
        momentum=0.9,
        nesterov=True,
        weight_decay=weight_decay,
        ns_coefficients=JORDAN,
        ns_steps=5,
        eps=1e-7,
        adjust_lr_fn="original",
    )

    for _ in range(6):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn(shape, generator=dice)
            other.grad = one.grad.clone()
        ours.step(0.05)
        torchs.step()

    for one, other in zip(mine, theirs, strict=True):
        # Both make their products in bf16, ours with the linear term inside the factor; six steps of 0.05 move a weight
        # by up to about 0.3.
        torch.testing.assert_close(one, other, rtol=0.0, atol=8e-3)
        assert (one - other).abs().mean() < 1.2e-3


def test_the_published_recipe_steps_as_torchs_muon_and_adamw_with_its_settings() -> None:
    """Decay pulls at embeddings and gains and at no matrix, as in the published code."""
    config = load_preset("blueberry-nano-published").optimizer
    mine = tiny_model()
    theirs = copy.deepcopy(mine)
    ours = Optimizers(mine, config, torch.bfloat16)
    matrices = [matrix for matrix in theirs.layers.parameters() if matrix.dim() == 2]
    others = [parameter for parameter in theirs.parameters() if all(parameter is not matrix for matrix in matrices)]
    muon = torch.optim.Muon(
        matrices, lr=0.01, momentum=0.95, weight_decay=0.0, ns_coefficients=JORDAN, ns_steps=5, adjust_lr_fn="original"
    )
    adamw = torch.optim.AdamW(others, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.2)

    for seed in range(5):
        for model in (mine, theirs):
            model.zero_grad()
            learn(model, some_tokens(seed=seed))
        ours.step(1.0)
        muon.step()
        adamw.step()

    for (name, one), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=3e-3, msg=lambda text, name=name: f"{name}: {text}")
        assert (one - other).abs().mean() < 3e-4, name


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonal_means_singular_values_near_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    sizes = torch.tensor([1e-4, 1.0, 30.0, 1e4])[:, None, None]
    stack = torch.randn(4, *shape, generator=torch.Generator().manual_seed(2)) * sizes

    made = orthogonalize(stack.to(dtype)).float()

    values = torch.linalg.svdvals(made)
    assert made.shape == stack.shape
    assert values.min() > 0.8 and values.max() < 1.2
    # The nearest one: it leaves the directions as they are.
    left, _, right = torch.linalg.svd(stack, full_matrices=False)
    assert (made - left @ right).norm() < 0.15 * (left @ right).norm()


def test_a_matrix_of_zeros_stays_one() -> None:
    assert torch.equal(orthogonalize(torch.zeros(2, 4, 4)), torch.zeros(2, 4, 4))


def test_every_parameter_has_one_optimizer_and_only_block_matrices_have_muon() -> None:
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)

    muons = {id(parameter) for stack in optimizers.muon.stacks.values() for parameter in stack}
    adamws = {id(parameter) for group in optimizers.adamw.param_groups for parameter in group["params"]}

    assert not muons & adamws and muons | adamws == {id(parameter) for parameter in model.parameters()}
    assert muons == {
        id(parameter)
        for name, parameter in model.named_parameters()
        if name.startswith("layers.") and name.endswith("_proj.weight")
    }
    for stack in optimizers.muon.stacks.values():
        assert len(stack) == model.config.layers and len({parameter.shape for parameter in stack}) == 1


def test_a_step_moves_every_weight_and_a_factor_of_zero_none() -> None:
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)
    learn(model, some_tokens())
    before = copy.deepcopy(model)

    optimizers.step(0.0)
    assert torch.equal(weights_of(model), weights_of(before))

    optimizers.step(1.0)
    for (name, parameter), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(parameter, old), name


def test_the_length_of_a_step_is_the_learning_rate_whatever_the_gradient() -> None:
    matrix = nn.Parameter(torch.zeros(8, 8))
    muon = Muon({"some.role": [matrix]}, momentum=0.0, weight_decay=0.0, dtype=torch.float32)

    for size in (1e-3, 1e3):
        matrix.data.zero_()
        matrix.grad = torch.eye(8) * size
        muon.step(0.02)

        torch.testing.assert_close(matrix.data, torch.eye(8) * -0.02, rtol=0.2, atol=1e-6)


@pytest.mark.parametrize("steps", [0, 3])
def test_stored_and_loaded_optimizers_go_on_exactly(steps: int) -> None:
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(weight_decay=0.01), torch.float32)

    def go(model: Transformer, optimizers: Optimizers, seed: int) -> None:
        learn(model, some_tokens(seed=seed))
        optimizers.step(0.7)
        optimizers.zero_grad()

    for seed in range(steps):
        go(model, optimizers, seed)
    stored = {name: tensor.clone() for name, tensor in optimizers.tensors().items()}
    other = copy.deepcopy(model)
    loaded = Optimizers(other, OptimizerConfig(weight_decay=0.01), torch.float32)
    loaded.load_tensors(stored)
    for seed in range(steps, steps + 3):
        go(model, optimizers, seed)
        go(other, loaded, seed)

    assert torch.equal(weights_of(model), weights_of(other))
    assert optimizers.tensors().keys() == loaded.tensors().keys()


def test_four_micro_batches_are_one_big_batch() -> None:
    model, tokens = tiny_model(), some_tokens(rows=8)
    whole = copy.deepcopy(model)

    learn(whole, tokens)
    for part in tokens.split(2):
        learn(model, part, share=0.25)

    for parts, one in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(parts.grad, one.grad, rtol=1e-4, atol=1e-7)


def test_a_gradient_scaler_takes_both_as_one_and_skips_what_overflows() -> None:
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = weights_of(model)

    learn(model, some_tokens(), share=float(scaler.scale(torch.tensor(float("inf")))))
    scaler.unscale_(optimizers)
    scaler.step(optimizers, 1.0)
    scaler.update()

    assert torch.equal(weights_of(model), before)
    assert scaler.get_scale() == 4.0


@pytest.mark.parametrize("way", [Optimizers.step, Optimizers.masked_step])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_step_with_a_good_flag_is_the_step_without_one(weight_decay: float, way: Callable[..., None]) -> None:
    ends = []
    for finite in (None, torch.tensor(True)):
        model = tiny_model()
        optimizers = Optimizers(model, OptimizerConfig(weight_decay=weight_decay), torch.bfloat16)
        for seed in range(4):
            learn(model, some_tokens(seed=seed))
            way(optimizers, 0.7, finite)
            optimizers.zero_grad()
        ends.append({**dict(model.named_parameters()), **optimizers.tensors()})

    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("way", [Optimizers.step, Optimizers.masked_step])
def test_a_bad_flag_leaves_every_bit_as_it_was(way: Callable[..., None], bad: float, steps: int) -> None:
    """Weights, averages and counts, whether the optimizers have made a step before or not; then all goes on."""
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(weight_decay=0.1), torch.float32)
    undisturbed, theirs = copy.deepcopy(model), None
    for seed in range(steps):
        learn(model, some_tokens(seed=seed))
        optimizers.step(1.0, torch.tensor(True))
        optimizers.zero_grad()
    undisturbed.load_state_dict(model.state_dict())
    theirs = Optimizers(undisturbed, OptimizerConfig(weight_decay=0.1), torch.float32)
    if steps:
        theirs.load_tensors(optimizers.tensors())

    learn(model, some_tokens())
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(bad)
    way(optimizers, 1.0, torch.tensor(False))
    optimizers.zero_grad()

    assert bits(dict(model.named_parameters())) == bits(dict(undisturbed.named_parameters()))
    if steps:
        assert bits(optimizers.tensors()) == bits(theirs.tensors())
    for one, its in ((model, optimizers), (undisturbed, theirs)):
        learn(one, some_tokens(seed=9))
        its.step(1.0, torch.tensor(True))
    assert bits({**dict(model.named_parameters()), **optimizers.tensors()}) == bits(
        {**dict(undisturbed.named_parameters()), **theirs.tensors()}
    )


def bits(tensors: dict[str, Tensor]) -> dict[str, bytes]:
    """Unlike equality, this tells -0.0 from 0.0."""
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}
