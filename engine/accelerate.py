"""Makes a model fast where it is: attention, fused kernels, a micro-batch that fits, and a recorded pass.

Each of them falls back to what always works, and the fallback is told. Nothing here changes what is computed.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from engine.attention import choose_backend, document_bounds
from engine.batches import DOCUMENT, Batch
from engine.config import RunConfig
from engine.device import Place
from engine.gradients import Gradients
from engine.model import Transformer
from engine.optim import Optimizers

MARGIN = 0.1
"""Share of the free memory that a micro-batch leaves: for evaluation, samples, and what else uses the GPU."""
TOLERANCE = 0.25
"""How far a gradient of the fused kernels may lie from the plain one, as a share of it: in bf16 rounding moves single
ones by up to a tenth (docs/LOG.md). Of one block drawn anew, because those of a new model are zero."""

Tell = Callable[[str], None]
"""Takes a sentence for the run's events."""


def accelerate(
    model: Transformer, optimizers: Optimizers, gradients: Gradients, config: RunConfig, place: Place, tell: Tell
) -> int:
    """Get ready for training on `place`; returns the rows of a micro-batch.

    Raises ConfigError where the config asks for an attention backend that cannot be had.
    """
    model.attention = choose_backend(config.train.attention, place.device, place.dtype, config.model.head_size)
    model.recompute = config.train.recompute
    if place.device.type != "cuda":
        return config.train.micro_batch or config.rows_per_step
    batch_of = partial(some_batch, model, documents=config.train.documents)
    if config.train.compile:
        use_fused_kernels(model, optimizers, tell)
    sizes = [config.train.micro_batch] if config.train.micro_batch else divisors(config.rows_per_step)
    if len(sizes) > 1:
        sizes = measured(sizes, gradients, batch_of, free_bytes(place.device) - still_to_come(optimizers))
    if not config.train.compile:
        return sizes[0]
    if config.model.experts > 1 and not (place.dtype == torch.bfloat16 and is_hopper(place.device)):
        tell("The pass is not recorded: on this GPU or in this precision experts ask the host for their counts.")
        return sizes[0]
    return record_what_fits(gradients, sizes, batch_of, tell)


def record_what_fits(gradients: Gradients, sizes: list[int], batch_of: Callable[[int], Batch], tell: Tell) -> int:
    """Record the pass with the first of `sizes` that memory allows, and return it; raises where none does."""
    for rows in sizes:
        try:
            gradients.record(batch_of(rows))
        except Exception as error:  # whatever a driver or a library raises while it is recorded
            gradients.forget()
            if "out of memory" not in str(error):
                tell(f"The pass could not be recorded ({first_line(error)}); training goes on without that, slower.")
                return rows
            if rows == sizes[-1]:
                raise
            torch.cuda.empty_cache()
        else:
            return rows
    raise AssertionError("the last size is returned or raised")


def use_fused_kernels(model: Transformer, optimizers: Optimizers, tell: Tell) -> None:
    """Compile the kernels of engine/fused.py and use them, if their gradients are those of the plain model."""
    with model.embed_tokens.weight.device:
        probe = Transformer(replace(model.config, layers=1, init="normal"), model.compute_dtype)
    probe.init_weights(seed=0)
    probe.attention = model.attention
    batch = some_batch(probe, 1, documents=False)
    plain = gradient(probe, batch)
    probe.fused = True
    try:
        worst = max(map(distance, gradient(probe, batch), plain))
        problem = "" if worst <= TOLERANCE else f"a gradient is {worst:.0%} off"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a compiler on somebody's machine raises
        problem = first_line(error)
    if problem:
        tell(f"The fused kernels cannot be used here ({problem}); training goes on without them, slower.")
    model.fused = optimizers.muon.fused = not problem


def gradient(model: Transformer, batch: Batch) -> list[Tensor]:
    """The gradient by each parameter of the batch's loss, in sixteenths of its sum: neither tiny nor large in fp16."""
    model.zero_grad()
    torch.autograd.backward(model.loss(batch.inputs, batch.targets)[0] / 16)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def distance(found: Tensor, true: Tensor) -> float:
    """How far apart they are, as a share of the true one's length."""
    return float((found - true).norm() / true.norm().clamp(min=1e-20))


def some_batch(model: Transformer, rows: int, documents: bool) -> Batch:
    """Rows of any tokens, of the model's context, on its device: only the shape of them counts."""
    device, length = model.embed_tokens.weight.device, model.config.context
    dice = torch.Generator().manual_seed(0)
    inputs = torch.randint(model.config.vocab_size, (rows, length), generator=dice).to(device)
    bounds = document_bounds(inputs.cpu().numpy(), -1, inputs.numel() // DOCUMENT).to(device) if documents else None
    return Batch(inputs, inputs, bounds)


def divisors(whole: int) -> list[int]:
    """What `whole` can be divided by, largest first."""
    return [part for part in range(whole, 0, -1) if whole % part == 0]


def fitting(sizes: list[int], one: int, two: int, free: int) -> list[int]:
    """Those of `sizes`, largest first, that fit into `free` bytes with a margin, or else the smallest.

    `one` and `two`: bytes that one and two rows need; each further row takes the difference.
    """
    room = free * (1 - MARGIN)
    return [rows for rows in sizes if one + (rows - 1) * max(two - one, 0) <= room] or sizes[-1:]


def measured(sizes: list[int], gradients: Gradients, batch_of: Callable[[int], Batch], free: int) -> list[int]:
    """Those of `sizes` that fit into `free` bytes by what one and two rows take."""
    one = peak_bytes(gradients, batch_of(1))
    try:
        two = peak_bytes(gradients, batch_of(2))
    except torch.OutOfMemoryError:
        gradients.forget()
        return sizes[-1:]
    return fitting(sizes, one, two, free)


def still_to_come(optimizers: Optimizers) -> int:
    """Bytes of the first update: AdamW's averages, and what Muon makes of the largest stack on the way."""
    averages = 2 * sum(parameter.nbytes for parameter in optimizers.others.values())
    return averages + 3 * max((weights.nbytes for weights in optimizers.muon.weights.values()), default=0)


def is_hopper(device: torch.device) -> bool:
    """Whether torch's grouped products there wait for nothing (engine/experts.py)."""
    return torch.cuda.get_device_capability(device) >= (9, 0)


def peak_bytes(gradients: Gradients, batch: Batch) -> int:
    """Bytes that a pass over `batch` takes at most, beside what was there before it."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    gradients.of(iter([batch]))
    peak = torch.cuda.max_memory_allocated()
    gradients.forget()
    return peak - before


def free_bytes(device: torch.device) -> int:
    """What this process can still take of the GPU's memory."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def first_line(error: Exception) -> str:
    """An error in a line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
