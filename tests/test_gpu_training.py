"""The fast path of training on a CUDA device: kernels, attention, the recorded pass, memory. `pytest -m gpu`."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attention import attend, choose_backend, document_bounds
from engine.batches import Batch
from engine.config import ModelConfig, OptimizerConfig, load_preset
from engine.gradients import Gradients
from engine.loss import FUSED_ROWS, linear_cross_entropy
from engine.model import Transformer
from engine.optim import Muon, Optimizers

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),  # torch warns about its own internals when it records
]
CUDA = torch.device("cuda")
GIB = 2**30
END = 0
EVERYTHING: dict[str, Any] = {
    "weight_decay": 0.1,
    "adamw_weight_decay": 0.1,
    "cautious": True,
    "neuron_memory": 0.9,
}
hopper = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (9, 0), reason="needs a Hopper GPU"
)


@pytest.fixture(autouse=True)
def memory_of_its_own() -> Iterator[None]:
    """What one test leaves is no part of another's peak."""
    yield
    gc.collect()
    torch.cuda.empty_cache()


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator("cuda").manual_seed(seed), device=CUDA).to(dtype)


def small(**changes: Any) -> ModelConfig:
    """blueberry-nano with fewer layers, a shorter context and an odd, small vocabulary."""
    shape = {"layers": 3, "context": 512, "vocab_size": 5003} | changes
    return replace(load_preset("blueberry-nano").model, **shape)


def filled(config: ModelConfig, dtype: torch.dtype, fused: bool = True) -> Transformer:
    """A model none of whose matrices is zero, so that every weight matters."""
    with CUDA:
        model = Transformer(config, dtype)
    model.init_weights(1)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter += drawn(*parameter.shape, seed=number) * (0.1 if parameter.dim() == 1 else 0.02)
    model.attention = choose_backend("auto", CUDA, dtype, config.head_size)
    model.fused = fused
    return model


def some_batch(config: ModelConfig, rows: int, seed: int, documents: bool = False) -> Batch:
    dice = torch.Generator().manual_seed(seed)
    tokens = torch.randint(config.vocab_size, (rows, config.context + 1), generator=dice)
    tokens[:, 37 + seed :: 61] = END
    bounds = document_bounds(tokens[:, :-1].numpy(), END, rows * config.context // 8) if documents else None
    return Batch(tokens[:, :-1].cuda(), tokens[:, 1:].cuda(), None if bounds is None else bounds.cuda())


def slopes(model: Transformer) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def distances(found: list[Tensor], true: list[Tensor]) -> list[float]:
    """How far each tensor is from the true one, as a share of its length."""
    lengths = [((one.float() - other).norm() / other.norm()).item() for one, other in zip(found, true, strict=True)]
    assert len(found) == len(true)
    return lengths


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"activation": "relu2", "window": 100},
        {"width": 480, "heads": 5, "kv_heads": 5, "mlp_width": 1001},
        {"width": 144, "heads": 6, "kv_heads": 2, "context": 129},
        {"experts": 4, "experts_per_token": 2, "mlp_width": 256},
    ],
    ids=["nano", "relu2-window", "heads-of-96", "heads-of-24", "experts"],
)
def test_the_fused_path_is_as_near_to_fp32_as_the_plain_one(shape: dict[str, Any], dtype: torch.dtype) -> None:
    config = small(**shape)
    batch = some_batch(config, 3, seed=1)
    ends = []
    for kind, fused in ((torch.float32, False), (dtype, False), (dtype, True)):
        model = filled(config, kind, fused)
        loss, correct, _ = model.loss(batch.inputs, batch.targets)
        torch.autograd.backward(loss / 16)
        ends.append(([loss.detach(), correct], slopes(model)))
    (true_loss, true), (plain_loss, plain), (fused_loss, found) = ends

    assert abs(fused_loss[0] - plain_loss[0]) < 0.002 * plain_loss[0]
    assert abs(fused_loss[1] - true_loss[1]) <= 0.02 * batch.targets.numel()
    # A router whose scores are nearly even sends a token elsewhere after the smallest rounding.
    slack = 0.3 if "experts" in shape else 0.01
    for mine, its in zip(distances(found, true), distances(plain, true), strict=True):
        assert mine < 1.5 * its + slack


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("window", [0, 1, 100])
@pytest.mark.parametrize("backend", ["sdpa", "flash", pytest.param("cudnn", marks=hopper), "flash-attn"])
def test_every_attention_backend_is_the_plain_one(backend: str, window: int, documents: bool) -> None:
    if backend == "flash-attn":
        pytest.importorskip("flash_attn", reason="needs the flash-attn package: requirements-gpu.txt")
    parts = [drawn(2, heads, 384, 64, seed=heads).bfloat16().requires_grad_() for heads in (8, 4)]
    parts.append(drawn(2, 4, 384, 64, seed=9).bfloat16().requires_grad_())
    exact = [part.detach().float().requires_grad_() for part in parts]
    direction = drawn(2, 8, 384, 64, seed=10)
    bounds = None
    if documents:
        tokens = torch.ones(2, 384, dtype=torch.int64)
        tokens[:, ::29] = END
        bounds = document_bounds(tokens.numpy(), END, 200).cuda()

    found = attend(*parts, backend, window, bounds)

    true = attend(*exact, "plain", window, bounds)
    torch.testing.assert_close(found.float(), true, rtol=0.02, atol=0.02)
    mine = torch.autograd.grad(found, parts, direction.bfloat16())
    theirs = torch.autograd.grad(true, exact, direction)
    # Of a position that sees itself alone the query and the key have no slope.
    for one, other in zip(mine, theirs, strict=True):
        assert (one.float() - other).norm() < 0.02 * other.norm() + 0.02


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("rows", [4, 2])
def test_a_recorded_pass_gives_what_an_eager_one_gives(rows: int, recompute: bool, documents: bool) -> None:
    """With other tokens than it was recorded with, after gradients were clipped in place, and with another shape."""
    config = small()
    model = filled(config, torch.bfloat16)
    model.recompute = recompute
    gradients = Gradients(model, rows_per_step=4)
    steps = [[some_batch(config, rows, 10 * step + part, documents) for part in range(4 // rows)] for step in (1, 2)]
    steps.append([some_batch(config, 1, part, documents) for part in range(4)])
    eager = []
    for step in steps:
        loss, _ = gradients.of(step)
        eager.append([loss.clone(), *slopes(model)])

    gradients.record(some_batch(config, rows, 99, documents))

    for step, wanted in [*zip(steps, eager, strict=True), (steps[0], eager[0])]:
        loss, balance = gradients.of(step)
        assert max(distances([loss, *slopes(model)], wanted)) < 0.02
        assert float(balance) == 0.0
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)


def test_a_recorded_pass_follows_the_weights_and_the_scale() -> None:
    config = small(vocab_size=1000)
    model = filled(config, torch.float16)
    optimizers = Optimizers(model, OptimizerConfig(), torch.bfloat16)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    gradients = Gradients(model, 2, scale=scaler.scale)
    batch = some_batch(config, 2, seed=1)
    gradients.record(batch)

    first, _ = gradients.of([batch])
    true = slopes(model)
    scaler.update(512.0)
    again, _ = gradients.of([batch])
    assert torch.equal(first, again) and max(distances([2 * one for one in slopes(model)], true)) < 0.02
    for _ in range(5):
        loss, _ = gradients.of([batch])
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad.div_(512.0)
        optimizers.step(1.0)
    assert loss < first - 0.1


def test_a_recording_that_is_forgotten_gives_its_memory_back() -> None:
    config = small()
    model = filled(config, torch.bfloat16)
    gradients = Gradients(model, 4)
    gradients.of([some_batch(config, 4, seed=1)])
    gradients.forget()
    before = allocated()

    gradients.record(some_batch(config, 4, seed=2))
    recorded = allocated()
    gradients.forget()

    assert recorded - before > 40 * 2**20  # the gradients alone
    assert allocated() - before < 2**20  # the batch that it read may stay


def allocated() -> int:
    """Bytes that tensors take, without what cuBLAS keeps for each stream it was ever used on."""
    torch.cuda.synchronize()
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    return torch.cuda.memory_allocated()


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "every option"])
@pytest.mark.parametrize("recorded", [False, True])
def test_no_step_waits_for_the_device(recorded: bool, options: dict[str, Any]) -> None:
    config = small()
    model = filled(config, torch.bfloat16)
    optimizers = Optimizers(model, OptimizerConfig(**options), torch.bfloat16)
    optimizers.muon.fused = True
    gradients = Gradients(model, 4)
    steps = [[some_batch(config, 2, 2 * step + part) for part in range(2)] for step in range(3)]
    if recorded:
        gradients.record(steps[0][0])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for number, step in enumerate(steps):
        torch.cuda.set_sync_debug_mode("error" if number else "default")
        try:
            loss, _ = gradients.of(step)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizers.step(1.0, loss.isfinite() & norm.isfinite(), momentum=0.9)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "every option"])
def test_the_optimizers_kernels_step_as_without_and_a_bad_step_moves_no_bit(options: dict[str, Any]) -> None:
    chosen = {name: options[name] for name in ("cautious", "neuron_memory") if name in options}
    ends = []
    for dtype, fused in ((torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)):
        matrices = [torch.nn.Parameter(drawn(515, 257, seed=seed)) for seed in (1, 2)]
        first = [matrix.detach().clone() for matrix in matrices]
        muon = Muon({"role": matrices}, 0.9, 0.1 if options else 0.0, dtype, **chosen)
        muon.fused = fused
        for step, good in enumerate((True, True, False)):
            for number, matrix in enumerate(matrices):
                matrix.grad = drawn(515, 257, seed=10 * step + number) * (1.0 if good else torch.nan)
            before = [matrix.detach().clone() for matrix in [*matrices, *muon.averages.values()]]
            muon.step(0.02, torch.tensor(good, device=CUDA))
        after = [matrix.detach() for matrix in [*matrices, *muon.averages.values()]]
        assert all(
            torch.equal(old.view(torch.int32), new.view(torch.int32)) for old, new in zip(before, after, strict=True)
        )
        ends.append([new - old for old, new in zip(first, after[:2], strict=True)])

    exact, plain, found = ends
    for mine, its in zip(distances(found, exact), distances(plain, exact), strict=True):
        assert mine < 1.2 * its + 0.005


def test_the_loss_kernel_is_torchs_at_the_published_vocabulary() -> None:
    """In two pieces, the second one short; some rows have two best guesses."""
    hidden = drawn(FUSED_ROWS + 77, 64, seed=1).bfloat16()
    weight = drawn(49_152, 64, seed=2)
    weight[40_000] = weight[3] = weight[3] * 4
    hidden[:50] = (weight[3] * 0.3).bfloat16()
    hidden.requires_grad_()
    weight.requires_grad_()
    targets = torch.randint(49_152, (len(hidden),), generator=torch.Generator().manual_seed(1)).cuda()
    targets[:25], targets[25:50] = 3, 40_000

    total, correct = linear_cross_entropy(hidden, weight, targets, fused=True)

    exact = hidden.detach().float().requires_grad_()
    true = F.cross_entropy(exact @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(total, true, rtol=2e-3, atol=0.0)
    assert 25 <= correct < 50
    mine, theirs = torch.autograd.grad(total, (hidden, weight)), torch.autograd.grad(true, (exact, weight))
    assert max(distances(list(mine), list(theirs))) < 0.02


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.mem_get_info()[1] < 40 * GIB, reason="needs 40 GiB of GPU memory"
)
@pytest.mark.parametrize("kernel", ["loss", "activation", "norm", "rotary"])
def test_more_than_two_billion_numbers_are_reached(kernel: str) -> None:
    """The last row, past what 32 bits count, is what it is alone."""
    from engine import fused, loss

    columns = {"loss": 49_152, "activation": 4096, "norm": 512, "rotary": 512}[kernel]
    rows = 2**31 // columns + 1000
    numbers = torch.zeros(rows, columns, dtype=torch.bfloat16, device=CUDA)
    numbers[-1] = drawn(columns, seed=1)
    alone = numbers[-1:].clone()

    def made(x: Tensor) -> Tensor:
        if kernel == "loss":
            losses, hits = torch.empty(2, len(x), device=CUDA)
            targets = torch.full((len(x),), 7, device=CUDA)
            return torch.cat((loss._score_fused(x, targets, losses, hits, True)[-1].float(), losses[-1:], hits[-1:]))
        if kernel == "activation":
            matrix = drawn(8, columns // 2, seed=2)
            return fused.activate_linear(x, True, matrix.bfloat16(), matrix)[-1]
        if kernel == "norm":
            return fused.add_norm(x, x, torch.ones(columns, device=CUDA), 1e-6)[1][-1]
        angles = torch.zeros(1, 32, device=CUDA)
        gain = torch.ones(64, device=CUDA)
        q, *_ = fused.norm_rotate(x.view(-1, 1, 8, 64), gain, gain, angles.cos(), angles.sin(), 2, 1e-6)
        return q[-1].flatten()

    with torch.no_grad():
        found, wanted = made(numbers), made(alone)

    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2)


@hopper
@pytest.mark.parametrize(("recompute", "limit"), [(False, 13), (True, 8)])
def test_blueberry_nano_trains_in_the_memory_it_should(recompute: bool, limit: float) -> None:
    """A step of 8 rows of 2,048 tokens: recorded, clipped and taken."""
    preset = load_preset("blueberry-nano")
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with CUDA:
        model = Transformer(preset.model, torch.bfloat16)
    model.init_weights(1)
    model.attention, model.fused, model.recompute = choose_backend("auto", CUDA, torch.bfloat16), True, recompute
    optimizers = Optimizers(model, preset.optimizer, torch.bfloat16)
    optimizers.muon.fused = True
    gradients = Gradients(model, 8)
    batch = some_batch(preset.model, 8, seed=1)

    gradients.record(batch)
    for _ in range(2):
        loss, _ = gradients.of([batch])
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step(1.0, loss.isfinite() & norm.isfinite())

    peak = (torch.cuda.max_memory_allocated() - before) / GIB
    assert peak < limit, f"{peak:.2f} GiB"
    assert loss.isfinite()
