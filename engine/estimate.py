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
ACTIVATION, ACTIVATION_COMPILED = 4.2, 1.4
"""Bytes of each of the 14 x width + 4 x mlp_width numbers that a layer keeps for a token until the backward pass; a
compiled model keeps bf16 and computes some again (fitted to blueberry-nano's 13.1 GiB on a GPU, docs/LOG.md)."""
MIXTURE = 2.2
"""The same for width and mlp_width of each chosen expert, instead of 4 x mlp_width (fitted to four mixtures on a CPU,
docs/LOG.md; compiled on a GPU it is an assumption)."""


def training_bytes(config: RunConfig) -> int:
    """About how much memory training takes: an estimate, to be shown as one.

    Fitted to the peak resident size of seedling and sprout with 4,096 and 16,384 tokens in a forward pass on a CPU
    (982, 2149, 2720 and 7210 MB), which it meets within 9%.
    """
    model = config.model
    tokens = (config.train.micro_batch or config.rows_per_step) * model.context
    bytes_kept = ACTIVATION_COMPILED if config.train.compile else ACTIVATION
    kept = model.layers * (14 * model.width + _kept_by_mlp(config))
    return OVERHEAD + PARAMETER * model.parameters + round(bytes_kept * tokens * kept)


def _kept_by_mlp(config: RunConfig) -> float:
    """Numbers that a layer's feed-forward part keeps for a token; with experts also what is sent there and back."""
    model = config.model
    if model.experts == 1:
        return 4 * model.mlp_width
    each = 4 * model.mlp_width + 3 * model.width if config.train.compile else MIXTURE * (model.mlp_width + model.width)
    return model.experts_per_token * each


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
