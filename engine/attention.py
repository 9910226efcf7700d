"""Causal attention: which positions see which, and the backends that compute it.

Every backend gives softmax(q k^T / sqrt(head_size)) v, where a position sees itself and those before it: all of them,
or the last `window`, or only those of its own document.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.config import ConfigError, ModelConfig

HALF = (torch.bfloat16, torch.float16)
FLASH_SIZE, CUDNN_SIZE = 256, 128
"""Largest heads, in channels, that flash attention and cuDNN take forward and backward."""
PLAIN_LENGTH = 512
"""Longest text for which the CPU's bf16 attention is written out."""

NAMES = {
    "sdpa": "torch SDPA",
    "cudnn": "cuDNN",
    "flash": "torch flash attention",
    "flash-attn": "flash-attn",
    "plain": "plain products",
    "varlen": "torch flash attention, of documents or windows",
    "masked": "torch SDPA with a mask",
}
"""What the page says about what computes."""


def attend(
    q: Tensor, k: Tensor, v: Tensor, backend: str = "sdpa", window: int = 0, bounds: Tensor | None = None
) -> Tensor:
    """Attention of q [rows, heads, length, head_size] to k and v [rows, kv_heads, length, head_size].

    `backend`: sdpa (torch chooses), cudnn, flash, flash-attn (the package) or plain. `window`: how many positions each
    one sees, itself included; 0 for all. `bounds`: see `document_bounds`.
    """
    if backend == "flash-attn":
        return _flash_attn(q, k, v, window, bounds)
    if window or bounds is not None:
        if backend != "plain" and _has_flash(q.device, q.dtype, q.shape[-1]):
            return _varlen(q, k, v, window, bounds)
        return _masked(q, k, v, visible(q.shape[0], q.shape[2], window, bounds, q.device))
    if backend == "plain":
        return _plain(q, k, v)
    if backend == "sdpa" and _written_out(q.device, q.dtype, q.shape[2]):
        return _plain(q, k, v)
    if backend == "sdpa":
        return _sdpa(q, k, v)
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION if backend == "cudnn" else SDPBackend.FLASH_ATTENTION):
        return _sdpa(q, k, v)


def choose_backend(wanted: str, device: torch.device, dtype: torch.dtype, head_size: int = 64) -> str:
    """The backend that `train.attention` = `wanted` means there; ConfigError with a sentence where it cannot be had."""
    largest = CUDNN_SIZE if wanted in ("auto", "cudnn") else FLASH_SIZE
    kernels = _has_flash(device, dtype, head_size, largest)
    if wanted == "auto":
        # cuDNN's kernels use what Hopper has over Ampere, torch's flash attention does not (docs/LOG.md: 1.3 times).
        return "cudnn" if kernels and torch.cuda.get_device_capability(device) >= (9, 0) else "sdpa"
    if wanted in ("cudnn", "flash", "flash-attn") and not kernels:
        if device.type != "cuda" or dtype not in HALF:
            raise ConfigError(f"train.attention = {wanted} needs a CUDA device and bf16 or fp16; choose auto or plain.")
        raise ConfigError(
            f"train.attention = {wanted} needs an Ampere GPU or a newer one, and heads of a multiple of 8 channels, "
            f"at most {largest} (model.width / model.heads = {head_size}); choose auto or plain."
        )
    if wanted == "flash-attn":
        try:
            import flash_attn  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"train.attention = flash-attn, but the package cannot be imported ({error}); "
                "install requirements-gpu.txt, or choose auto."
            ) from error
    return wanted


def in_use(backend: str, model: ModelConfig, documents: bool, device: torch.device, dtype: torch.dtype) -> str:
    """What `attend` computes with in training, as a key of NAMES."""
    if (documents or model.window) and backend != "flash-attn":
        return "varlen" if backend != "plain" and _has_flash(device, dtype, model.head_size) else "masked"
    return "plain" if backend == "sdpa" and _written_out(device, dtype, model.context) else backend


def document_bounds(inputs: npt.NDArray[np.int64], end: int, room: int = 0) -> Tensor:
    """Where documents begin in the tokens of `inputs` [rows, length], read row by row: int32 [documents + 1] at least.

    A row begins one, and so does what follows an `end`. The last bound is the number of tokens, and is repeated to fill
    `room` documents: those of no length cost nothing, and tensors of one size can be recorded.
    """
    starts = np.zeros(inputs.shape, bool)
    starts[:, 0] = True
    starts[:, 1:] = inputs[:, :-1] == end
    bounds = np.flatnonzero(starts)
    rest = max(1, room + 1 - len(bounds))
    return torch.from_numpy(np.append(bounds, np.full(rest, inputs.size)).astype(np.int32))


def visible(rows: int, length: int, window: int, bounds: Tensor | None, device: torch.device) -> Tensor:
    """What each position sees, as booleans [rows or 1, 1, length, length]."""
    position = torch.arange(length, device=device)
    back = position[:, None] - position[None, :]
    seen = (back >= 0) & (back < (window or length))
    if bounds is None:
        return seen[None, None]
    tokens = torch.arange(rows * length, device=device, dtype=bounds.dtype)
    document = torch.bucketize(tokens, bounds, right=True).view(rows, length)
    return (seen & (document[:, :, None] == document[:, None, :]))[:, None]


def _written_out(device: torch.device, dtype: torch.dtype, length: int) -> bool:
    """Whether plain products are faster than torch's kernel, which does not use the CPU's bf16 instructions: they are
    2.5 times as fast, forward and backward, at 16 x 256 with 4 heads (docs/LOG.md)."""
    return device.type == "cpu" and dtype == torch.bfloat16 and length <= PLAIN_LENGTH


def _has_flash(device: torch.device, dtype: torch.dtype, head_size: int, largest: int = FLASH_SIZE) -> bool:
    """Whether there are fast kernels for heads of that size, which `largest` limits."""
    if device.type != "cuda" or dtype not in HALF or head_size % 8 or head_size > largest:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _shared(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values for torch's SDPA: where flash attention cannot run, the next best takes no shared heads."""
    if not q.is_cuda or _has_flash(q.device, q.dtype, q.shape[-1]):
        return k, v
    groups = q.shape[1] // k.shape[1]
    return k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)


def _sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = _shared(q, k, v)
    mixed: Tensor = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return mixed


def _masked(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    k, v = _shared(q, k, v)
    mixed: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
    return mixed


def _plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    rows, heads, length, size = q.shape
    future = torch.full((length, length), -math.inf, dtype=q.dtype, device=q.device).triu(1)
    grouped = q.reshape(rows, k.shape[1], -1, size)
    scores = (grouped @ k.mT).view(rows, heads, length, length) * size**-0.5 + future
    weights = scores.softmax(dim=-1).view(rows, k.shape[1], -1, length)
    return torch.matmul(weights, v).view(rows, heads, length, size)


def _varlen(q: Tensor, k: Tensor, v: Tensor, window: int, bounds: Tensor | None) -> Tensor:
    """torch's flash attention over texts of different lengths that lie one after the other."""
    from torch.nn.attention import varlen

    # Some versions of torch take fewer heads of keys than of queries as they are, others want to be told.
    tell = "enable_gqa" in inspect.signature(varlen.varlen_attn).parameters
    varlen_attn: Callable[..., Any] = partial(varlen.varlen_attn, enable_gqa=True) if tell else varlen.varlen_attn
    rows, heads, length, size = q.shape
    if bounds is None:
        bounds = torch.arange(rows + 1, device=q.device, dtype=torch.int32) * length
    flat_q, flat_k, flat_v = (part.transpose(1, 2).reshape(rows * length, -1, size) for part in (q, k, v))
    seen = (window - 1 if window else -1, 0)
    mixed = varlen_attn(flat_q, flat_k, flat_v, bounds, bounds, length, length, window_size=seen)
    assert isinstance(mixed, Tensor), "asked for nothing else"
    return mixed.view(rows, length, heads, size).transpose(1, 2)


def _flash_attn(q: Tensor, k: Tensor, v: Tensor, window: int, bounds: Tensor | None) -> Tensor:
    """The flash-attn package (Dao 2023), which wants [rows, length, heads, head_size]."""
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    rows, heads, length, size = q.shape
    seen = (window - 1 if window else -1, 0)
    parts = [part.transpose(1, 2) for part in (q, k, v)]
    if bounds is None:
        mixed = flash_attn_func(*parts, causal=True, window_size=seen)
    else:
        flat = [part.reshape(rows * length, -1, size) for part in parts]
        mixed = flash_attn_varlen_func(*flat, bounds, bounds, length, length, causal=True, window_size=seen)
    return mixed.view(rows, length, heads, size).transpose(1, 2)  # type: ignore[no-any-return]
