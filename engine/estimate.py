"""What a run will need, before anything was measured. No torch."""

import os
from pathlib import Path

from engine.config import RunConfig

CPU_BF16, CPU_FP32 = 1.5e11, 6e10
"""Operations a second that training reaches on one core with and without bf16 instructions (docs/LOG.md)."""
GPU = 6e13
"""The same for one current GPU: an assumption between an RTX 3060 and a 4090."""

OVERHEAD = 550_000_000
"""torch, its libraries, the interpreter and buffers that do not grow with the model."""
PARAMETER = 20
"""Bytes a parameter: fp32 weight and gradient, moments, and copies made while they are updated."""
ACTIVATION = 4.2
"""Bytes of each of the 14 x width + 4 x mlp_width numbers that a layer keeps for a token until the backward pass."""
MIXTURE = 2.2
"""The same for width and mlp_width of each chosen expert, instead of 4 x mlp_width (fitted to four mixtures)."""
HEAD_ROWS = 4096
"""Tokens whose scores are in a GPU's memory at once (engine/loss.py)."""


def training_bytes(config: RunConfig, device: str = "cpu") -> int:
    """About how much memory training takes on `device`: an estimate, to be shown as one.

    On a CPU fitted to the peak resident size of seedling and sprout with 4,096 and 16,384 tokens in a forward pass
    (982, 2149, 2720 and 7210 MB), which it meets within 9%.
    """
    model = config.model
    tokens = (config.train.micro_batch or config.rows_per_step) * model.context
    fixed = OVERHEAD + PARAMETER * model.parameters
    if device != "cpu" and config.train.compile:
        scores = 2 * min(tokens, HEAD_ROWS) * model.vocab_size
        layers = 1 if config.train.recompute else model.layers
        return fixed + scores + 2 * tokens * (layers * _kept_on_gpu(config) + model.layers * model.width)
    return fixed + round(ACTIVATION * tokens * model.layers * (14 * model.width + _kept_by_mlp(config)))


def _kept_on_gpu(config: RunConfig) -> int:
    """16-bit numbers that a layer keeps for a token: what engine/fused.py saves for the backward pass."""
    model = config.model
    projected = (2 * model.heads + 3 * model.kv_heads) * model.head_size
    inner = (2 if model.activation == "swiglu" else 1) * model.mlp_width
    if model.experts > 1:  # in plain torch; also what is sent there and back
        inner = model.experts_per_token * (2 * inner + 3 * model.width)
    return 2 * model.width + projected + inner


def _kept_by_mlp(config: RunConfig) -> float:
    """The same on a CPU, in ACTIVATION bytes; with experts also what is sent there and back."""
    model = config.model
    if model.experts == 1:
        return 4 * model.mlp_width
    return MIXTURE * model.experts_per_token * (model.mlp_width + model.width)


def training_flops(device: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> float:
    """About how many operations a second training reaches on `device` of this machine."""
    if device != "cpu":
        return GPU
    try:
        flags = next(
            (line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("flags")), ""
        )
    except OSError:
        flags = ""
    bf16 = not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())
    return (CPU_BF16 if bf16 else CPU_FP32) * (os.cpu_count() or 1)
