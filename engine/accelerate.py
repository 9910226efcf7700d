"""Makes a model fast where it is: attention, fused kernels, a micro-batch that fits, and a recorded pass.

Each of them falls back to what always works, and the fallback is told. Nothing here changes what is computed.
"""

from collections.abc import Callable

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
TOLERANCE = 0.1
"""How far the fused kernels' gradient may lie from the plain model's, as a share of it; rounding moves it by some
hundredths. Not the loss: a new model's blocks add nothing to it."""

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
    whole = config.train.micro_batch or config.rows_per_step
    if place.device.type != "cuda":
        return whole
    documents = config.train.documents
    if config.train.compile:
        use_fused_kernels(model, optimizers, tell)
    sizes = [whole] if config.train.micro_batch else divisors(config.rows_per_step)
    if len(sizes) > 1:
        sizes = fitting(
            sizes,
            peak_bytes(gradients, some_batch(model, 1, documents)),
            peak_bytes(gradients, some_batch(model, 2, documents)),
            free_bytes(place.device),
        )
    # Below Hopper, torch's grouped products wait for the host (engine/experts.py).
    waits = config.model.experts > 1 and torch.cuda.get_device_capability(place.device) < (9, 0)
    if not config.train.compile or waits:
        return sizes[0]
    for rows in sizes:
        try:
            gradients.record(some_batch(model, rows, documents))
        except Exception as error:
            gradients.forget()
            torch.cuda.empty_cache()
            if "out of memory" not in str(error):
                tell(f"The pass could not be recorded ({first_line(error)}); training goes on without that, slower.")
                return rows
            if rows == sizes[-1]:
                raise
        else:
            return rows
    raise AssertionError("the last size is returned or raised")


def use_fused_kernels(model: Transformer, optimizers: Optimizers, tell: Tell) -> None:
    """Compile the kernels of engine/fused.py and use them, if their gradients are those of the plain model."""
    batch = some_batch(model, 1, documents=False)
    plain = gradient(model, batch)
    model.fused = optimizers.muon.fused = True
    try:
        length, off = (
            lengths(plain),
            lengths([one - other for one, other in zip(plain, gradient(model, batch), strict=True)]),
        )
        problem = "" if off <= TOLERANCE * length else f"their gradients are {off / length:.0%} off"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a compiler on somebody's machine raises
        problem = first_line(error)
    model.zero_grad()
    if problem:
        model.fused = optimizers.muon.fused = False
        tell(f"The fused kernels cannot be used here ({problem}); training goes on without them, slower.")


def gradient(model: Transformer, batch: Batch) -> list[Tensor]:
    """The gradient by each parameter of the batch's loss, in sixteenths of its sum: neither tiny nor large in fp16."""
    model.zero_grad()
    torch.autograd.backward(model.loss(batch.inputs, batch.targets)[0] / 16)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def lengths(tensors: list[Tensor]) -> float:
    """The length of all of them as one vector."""
    return float(torch.stack(torch._foreach_norm(tensors)).norm())


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
