"""What a decode step is made of, as Triton kernels: norm, product, activation and residual in one, attention in one.

They say what engine/decode_plain.py says (its docstrings are theirs). Each token is computed by itself, in an order
that depends on neither the other tokens nor the length of the cache, so every batch gives a prompt the same words.
On a Hopper GPU or a later one each kernel starts while the one before it ends, and asks for its weights meanwhile.
"""

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

NAME = "Triton kernels"
INDEPENDENT = True
TILES = {False: (16, 16, 256, 4, 4), True: (64, 64, 64, 3, 4)}
"""Tokens, outputs and inputs of a tile, loads under way, and warps: for one token a row, and for prompts."""
WIDE = (16, 64, 128, 4, 4)
"""The same for a vocabulary's scores: more outputs than the GPU has places."""
KEYS = 64
"""Keys that attention takes at once."""


@triton.jit
def _fetch(at):
    """Ask for the memory at `at` without waiting for it."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; // $0", "=r,l", [at.to(tl.int64)], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit(do_not_specialize=["tokens"])
def _project(
    x, gain, weight, residual, out, tokens, eps, outputs: tl.constexpr, inputs: tl.constexpr, AFTER: tl.constexpr,
    NORM: tl.constexpr, ADD: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, STAGES: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(1) * M + tl.arange(0, M)
    output = tl.program_id(0) * N + tl.arange(0, N)
    here = (token < tokens)[:, None]
    there = (output < outputs)[None, :]
    a_row = x + token.to(tl.int64)[:, None] * inputs
    w_row = weight + output.to(tl.int64)[None, :] * inputs
    total = tl.zeros((M, N), tl.float32)
    second = tl.zeros((M, N), tl.float32)
    squares = tl.zeros((M,), tl.float32)
    if EARLY:
        line = weight + tl.minimum(output, outputs - 1).to(tl.int64)[:, None] * inputs
        for start in tl.static_range(0, inputs, K):
            ahead = tl.minimum(start + tl.arange(0, K // 64) * 64, inputs - 1)[None, :]  # 64 numbers are a cache line
            _fetch(line + ahead)
            if AFTER == "swiglu":
                _fetch(line + outputs * inputs + ahead)
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    for start in tl.range(0, inputs, K, num_stages=STAGES):
        column = start + tl.arange(0, K)
        known = column < inputs
        a = tl.load(a_row + column[None, :], mask=here & known[None, :], other=0.0)
        w = tl.load(w_row + column[:, None], mask=there & known[:, None], other=0.0)
        if NORM:
            wide = a.to(tl.float32)
            squares += tl.sum(wide * wide, axis=1)
            a = (wide * tl.load(gain + column, mask=known, other=0.0).to(tl.float32)[None, :]).to(w.dtype)
        total = tl.dot(a, w, total, input_precision="ieee")
        if AFTER == "swiglu":
            w = tl.load(w_row + outputs * inputs + column[:, None], mask=there & known[:, None], other=0.0)
            second = tl.dot(a, w, second, input_precision="ieee")
    if NORM:  # after the product: its inputs are then read once
        scale = tl.rsqrt(squares / inputs + eps)[:, None]
        total *= scale
        second *= scale
    if AFTER == "swiglu":
        total = total * tl.sigmoid(total) * second
    if AFTER == "relu2":
        total = tl.maximum(total, 0.0)
        total *= total
    place = token.to(tl.int64)[:, None] * outputs + output[None, :]
    if ADD:
        total += tl.load(residual + place, mask=here & there, other=0.0).to(tl.float32)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=here & there)


@triton.jit
def _turned(start, gain, row, cosine, sine, eps, HALF: tl.constexpr, P: tl.constexpr):
    """Heads [len(row), 2 HALF] from `start`, normalised and turned, as two halves [len(row), P]."""
    half = tl.arange(0, P)
    known = half < HALF
    at = start + row[:, None] * (2 * HALF) + half[None, :]
    first = tl.load(at, mask=known[None, :], other=0.0).to(tl.float32)
    second = tl.load(at + HALF, mask=known[None, :], other=0.0).to(tl.float32)
    squares = tl.sum(first * first, axis=1) + tl.sum(second * second, axis=1)
    scale = tl.rsqrt(squares / (2 * HALF) + eps)[:, None]
    first *= scale * tl.load(gain + half, mask=known, other=0.0).to(tl.float32)[None, :]
    second *= scale * tl.load(gain + HALF + half, mask=known, other=0.0).to(tl.float32)[None, :]
    turn, lean = cosine[None, :], sine[None, :]
    return first * turn - second * lean, second * turn + first * lean


@triton.jit(do_not_specialize=["length"])
def _attend(
    heads, q_gain, k_gain, cosines, sines, rows, positions, keys, values, out, length, eps, scale,
    KV: tl.constexpr, GROUP: tl.constexpr, HALF: tl.constexpr, G: tl.constexpr, P: tl.constexpr, D: tl.constexpr,
    BLOCK: tl.constexpr, WRITE: tl.constexpr, READ: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    if EARLY:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    token, kv = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row, position = tl.load(rows + token), tl.load(positions + token)
    size: tl.constexpr = 2 * HALF
    half, wide, member = tl.arange(0, P), tl.arange(0, D), tl.arange(0, G)
    cosine = tl.load(cosines + position * HALF + half, mask=half < HALF, other=0.0).to(tl.float32)
    sine = tl.load(sines + position * HALF + half, mask=half < HALF, other=0.0).to(tl.float32)
    mine = heads + token * ((GROUP + 2) * KV * size)
    one = tl.zeros((1,), tl.int32)
    k1, k2 = _turned(mine + (GROUP * KV + kv) * size, k_gain, one, cosine, sine, eps, HALF, P)
    k1, k2 = k1.to(keys.dtype.element_ty), k2.to(keys.dtype.element_ty)
    v = tl.load(mine + ((GROUP + 1) * KV + kv) * size + wide, mask=wide < size, other=0.0)
    cache = (row * KV + kv) * length * size
    if WRITE:
        at = keys + cache + position * size + half[None, :]
        tl.store(at, k1, mask=(half < HALF)[None, :])
        tl.store(at + HALF, k2, mask=(half < HALF)[None, :])
        tl.store(values + cache + position * size + wide, v, mask=wide < size)
    if READ:
        # Members beyond the group are the last one again: tiles have at least 16 lines.
        chosen = tl.minimum(member, GROUP - 1)
        q1, q2 = _turned(mine + kv * GROUP * size, q_gain, chosen, cosine, sine, eps, HALF, P)
        q1, q2 = q1.to(k1.dtype), q2.to(k1.dtype)
        # The token's own key comes from here, the others from the cache.
        own = tl.sum(q1.to(tl.float32) * k1.to(tl.float32), axis=1)
        best = (own + tl.sum(q2.to(tl.float32) * k2.to(tl.float32), axis=1)) * scale
        weight = tl.full((G,), 1.0, tl.float32)
        mixed = tl.zeros((G, D), tl.float32) + v.to(tl.float32)[None, :]
        for start in range(0, position, BLOCK):
            earlier = start + tl.arange(0, BLOCK)
            seen = earlier < position
            old = cache + earlier * size
            k = keys + old[None, :] + half[:, None]
            known = seen[None, :] & (half < HALF)[:, None]
            scores = tl.dot(q1, tl.load(k, mask=known, other=0.0), input_precision="ieee")
            scores = tl.dot(q2, tl.load(k + HALF, mask=known, other=0.0), scores, input_precision="ieee") * scale
            scores = tl.where(seen[None, :], scores, float("-inf"))
            higher = tl.maximum(best, tl.max(scores, axis=1))
            shrink = tl.exp(best - higher)
            part = tl.exp(scores - higher[:, None])
            said = values + old[:, None] + wide[None, :]
            said = tl.load(said, mask=seen[:, None] & (wide < size)[None, :], other=0.0)
            mixed = tl.dot(part.to(said.dtype), said, mixed * shrink[:, None], input_precision="ieee")
            weight = weight * shrink + tl.sum(part, axis=1)
            best = higher
        mixed /= weight[:, None]
        to = out + token * (GROUP * KV * size) + (kv * GROUP + member)[:, None] * size + wide[None, :]
        tl.store(to, mixed.to(out.dtype.element_ty), mask=(member < GROUP)[:, None] & (wide < size)[None, :])


@cache
def _early(device: torch.device) -> dict[str, Any]:
    """How kernels follow each other: overlapping from Hopper on (programmatic dependent launch)."""
    overlap = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
    return {"EARLY": True, "launch_pdl": True} if overlap else {"EARLY": False}


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
    """See engine.decode_plain.project; the scale of the norm comes after the product."""
    tokens, inputs = x.shape
    outputs = len(weight) // 2 if after == "swiglu" else len(weight)
    out = torch.empty(tokens, outputs, dtype=dtype or x.dtype, device=x.device)
    m, n, k, stages, warps = WIDE if outputs > 16_384 else TILES[prompt]
    grid = (triton.cdiv(outputs, n), triton.cdiv(tokens, m))
    _project[grid](
        x, x if gain is None else gain, weight, x if residual is None else residual, out, tokens, eps, outputs, inputs,
        AFTER=after, NORM=gain is not None, ADD=residual is not None, M=m, N=n, K=k, STAGES=stages,
        num_warps=warps, **_early(x.device),
    )  # fmt: skip
    return out


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
    """See engine.decode_plain.attend. A prompt's tokens see each other's keys: these are all written first."""
    keys, values = cache
    _, kv_heads, length, size = keys.shape
    tokens, group = len(heads), heads.shape[1] // kv_heads - 2
    out = torch.empty(tokens, group * kv_heads * size, dtype=heads.dtype, device=heads.device)
    for write, read in ((True, False), (False, True)) if prompt else ((True, True),):
        _attend[tokens, kv_heads](
            heads, *gains, *rotary, rows, positions, keys, values, out, length, eps, size**-0.5,
            KV=kv_heads, GROUP=group, HALF=size // 2, G=max(16, triton.next_power_of_2(group)),
            P=max(16, triton.next_power_of_2(size // 2)), D=max(16, triton.next_power_of_2(size)),
            BLOCK=KEYS, WRITE=write, READ=read, **_early(keys.device),
        )  # fmt: skip
    return out
