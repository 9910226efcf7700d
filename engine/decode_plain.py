"""What a decode step is made of, in plain torch: for a GPU without Triton, and as what engine/decode_triton.py equals.

Texts are packed: x is [tokens, width], and each token has a row of the cache and a position in its text.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model import rotate

NAME = "plain torch"
INDEPENDENT = False
"""Whether a token's rounding is the same whatever comes with it; torch chooses its products by their shape."""
QUERIES = 64
"""Tokens whose keys are gathered at once: what a long prompt takes in memory."""


def project(
    x: Tensor,
    weight: Tensor,
    *,
    gain: Tensor | None = None,
    eps: float = 0.0,
    after: str = "",
    residual: Tensor | None = None,
    dtype: torch.dtype | None = None,
    prompt: bool = False,
) -> Tensor:
    """x [tokens, inputs] times weight [outputs, inputs], and what stands around that product in a block.

    `gain`: RMSNorm before it. `after`: "swiglu" (the first half of the outputs gates the second) or "relu2".
    `residual` is added. `dtype`: of the result, x's by default. `prompt`: many tokens at once are to be expected.
    """
    y = F.linear(x if gain is None else F.rms_norm(x, x.shape[-1:], gain, eps), weight)
    if after == "swiglu":
        gate, up = y.chunk(2, dim=-1)
        y = F.silu(gate) * up
    elif after == "relu2":
        y = F.relu(y).square()
    y = y if residual is None else residual + y
    return y if dtype is None else y.to(dtype)


def attend(
    heads: Tensor,
    gains: tuple[Tensor, Tensor],
    rotary: tuple[Tensor, Tensor],
    rows: Tensor,
    positions: Tensor,
    cache: tuple[Tensor, Tensor],
    eps: float,
    prompt: bool = False,
) -> Tensor:
    """Mix values [tokens, heads * head_size]; the new keys and values are written into the cache.

    heads [tokens, heads + 2 kv_heads, head_size]: queries, keys, values as they were projected; gains: RMSNorm of
    queries and keys; rotary: cosines and sines [context, head_size / 2]; cache: keys and values
    [rows, kv_heads, length, head_size]; rows, positions [tokens]: where each token stands.
    """
    keys, values = cache
    kv_heads, length, size = keys.shape[1:]
    q, k, v = heads.tensor_split((heads.shape[1] - 2 * kv_heads, heads.shape[1] - kv_heads), dim=1)
    turn = rotary[0][positions][:, None], rotary[1][positions][:, None]
    q, k = (rotate(F.rms_norm(part, (size,), gain, eps), turn) for part, gain in zip((q, k), gains, strict=True))
    keys[rows, :, positions] = k
    values[rows, :, positions] = v
    future = torch.arange(length, device=keys.device) > positions[:, None]
    mixed = []
    for start in range(0, len(heads), QUERIES):
        part = slice(start, start + QUERIES)
        grouped = q[part].view(-1, kv_heads, q.shape[1] // kv_heads, size)
        scores = (grouped @ keys[rows[part]].mT).float() * size**-0.5
        weights = scores.masked_fill(future[part, None, None], -math.inf).softmax(dim=-1).to(values.dtype)
        mixed.append((weights @ values[rows[part]]).flatten(1))
    return torch.cat(mixed)
