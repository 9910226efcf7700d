"""A block's forward and backward passes in few, large steps, for training on a GPU.

The same numbers as engine/model.py up to rounding, with less memory traffic and less kept for the backward pass: what
an elementwise kernel can make again is not stored, and a weight's gradient leaves its product in fp32. All matrices
are cast to the compute precision once a pass, one role at a time. Each function below is one node of autograd; it
needs Triton and is tested against the plain form (tests/test_fused.py, without a GPU in Triton's interpreter).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engine import kernels
from engine.attention import attend
from engine.loss import fp32_product

if TYPE_CHECKING:
    from engine.experts import Routing
    from engine.model import Sight, Transformer

PROGRAMS = 528
"""Programs of a kernel that sums over tokens: four for each of a large GPU's 132 multiprocessors."""


class _AddNormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, delta: Tensor | None, gain: Tensor, eps: float, weight: Tensor, *matrices: Tensor
    ) -> tuple[Tensor, Tensor]:
        total, normed, rstd = _add_norm(x, delta, gain, eps)
        ctx.save_for_backward(total, gain, rstd, weight)
        ctx.added, ctx.sizes = delta is not None, [matrix.shape[0] for matrix in matrices]
        return total, F.linear(normed, weight)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        d_total, d_out = slopes
        total, gain, rstd, weight = ctx.saved_tensors
        dx, normed, d_gain = _add_norm_backward(total, gain, rstd, d_out @ weight, d_total)
        d_weight = fp32_product(d_out.flatten(0, -2).mT, normed.flatten(0, -2))
        return dx, dx if ctx.added else None, d_gain, None, None, *torch.split(d_weight, ctx.sizes)


def add_norm_linear(
    x: Tensor, delta: Tensor | None, gain: Tensor, eps: float, weight: Tensor, *matrices: Tensor
) -> tuple[Tensor, Tensor]:
    """`total = x + delta` and `norm(total) @ weight.T`; x [..., width], or no delta: total is x.

    `weight` [out, width] holds `matrices` (fp32, which get the gradient) one below the other, in the format of x.
    """
    results: tuple[Tensor, Tensor] = _AddNormLinear.apply(  # type: ignore[no-untyped-call]
        x, delta, gain, eps, weight, *matrices
    )
    return results


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor, gain: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        total, normed, rstd = _add_norm(x, delta, gain, eps)
        ctx.save_for_backward(total, gain, rstd)
        return total, normed

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        d_total, d_normed = slopes
        total, gain, rstd = ctx.saved_tensors
        dx, _, d_gain = _add_norm_backward(total, gain, rstd, d_normed, d_total)
        return dx, dx, d_gain, None


def add_norm(x: Tensor, delta: Tensor, gain: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`total = x + delta` and `norm(total)`, both [..., width]."""
    results: tuple[Tensor, Tensor] = _AddNorm.apply(x, delta, gain, eps)  # type: ignore[no-untyped-call]
    return results


class _NormRotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, q_gain: Tensor, k_gain: Tensor, cosines: Tensor, sines: Tensor, kv_heads: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, length, everything, size = qkv.shape
        heads = everything - 2 * kv_heads
        turned = qkv.new_empty(rows, length, heads + kv_heads, size)
        pairs, tile = rows * length * (heads + kv_heads), 64
        kernels.norm_rotate_forward[(triton.cdiv(pairs, tile),)](
            qkv, q_gain, k_gain, cosines, sines, turned, pairs, length, eps,
            heads, kv_heads, size // 2, triton.next_power_of_2(size // 2), tile,
        )  # fmt: skip
        ctx.save_for_backward(qkv, q_gain, k_gain, cosines, sines)
        ctx.kv_heads, ctx.eps = kv_heads, eps
        q, k = torch.split(turned, [heads, kv_heads], dim=2)
        return q.transpose(1, 2), k.transpose(1, 2), qkv[:, :, heads + kv_heads :].transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        qkv, q_gain, k_gain, cosines, sines = ctx.saved_tensors
        rows, length, everything, size = qkv.shape
        heads, tile = everything - 2 * ctx.kv_heads, 64
        d_qkv, d_gains = torch.empty_like(qkv), []
        for start, count, gain, slope in ((0, heads, q_gain, slopes[0]), (heads, ctx.kv_heads, k_gain, slopes[1])):
            slope = slope if slope.stride(-1) == 1 else slope.contiguous()
            pairs = rows * length * count
            shares = torch.empty(PROGRAMS, size, dtype=torch.float32, device=qkv.device)
            kernels.norm_rotate_backward[(PROGRAMS,)](
                qkv[:, :, start:], gain, cosines, sines, slope, d_qkv[:, :, start:], shares,
                pairs, length, ctx.eps, everything * size, *(slope.stride(axis) for axis in (0, 2, 1)),
                count, size // 2, triton.next_power_of_2(size // 2), _turns(pairs, tile), tile,
            )  # fmt: skip
            d_gains.append(_sum_of_rows(shares))
        d_qkv[:, :, heads + ctx.kv_heads :] = slopes[2].transpose(1, 2)
        return d_qkv, *d_gains, None, None, None, None


def norm_rotate(
    qkv: Tensor, q_gain: Tensor, k_gain: Tensor, cosines: Tensor, sines: Tensor, kv_heads: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Split qkv [rows, length, heads + 2 kv_heads, head_size]; QK-norm and rotary positions for queries and keys.

    cosines and sines are [context, head_size / 2] in any format; results are [rows, their heads, length, head_size].
    """
    results: tuple[Tensor, Tensor, Tensor] = _NormRotate.apply(  # type: ignore[no-untyped-call]
        qkv, q_gain, k_gain, cosines, sines, kv_heads, eps
    )
    return results


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope,), (x, weight) = slopes, ctx.saved_tensors
        return slope @ weight, None, fp32_product(slope.flatten(0, -2).mT, x.flatten(0, -2))


def linear(x: Tensor, weight: Tensor, matrix: Tensor) -> Tensor:
    """`x @ weight.T`, where `weight` is the fp32 `matrix` in the format of x."""
    result: Tensor = _Linear.apply(x, weight, matrix)  # type: ignore[no-untyped-call]
    return result


class _ActivateLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, up: Tensor, gated: bool, weight: Tensor, matrix: Tensor) -> Tensor:
        hidden = up.new_empty(*up.shape[:-1], weight.shape[1])
        kernels.activate_forward[_activation_grid(hidden)](up, hidden, hidden.shape[-1], gated, ACTIVATION_BLOCK)
        ctx.save_for_backward(up, weight)
        ctx.gated = gated
        return F.linear(hidden, weight)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope,), (up, weight) = slopes, ctx.saved_tensors
        d_hidden, d_up = slope @ weight, torch.empty_like(up)
        hidden = torch.empty_like(d_hidden)
        kernels.activate_backward[_activation_grid(hidden)](
            up, d_hidden, d_up, hidden, hidden.shape[-1], ctx.gated, ACTIVATION_BLOCK
        )
        return d_up, None, None, fp32_product(slope.flatten(0, -2).mT, hidden.flatten(0, -2))


def activate_linear(up: Tensor, gated: bool, weight: Tensor, matrix: Tensor) -> Tensor:
    """`(silu(gate) * up) @ weight.T` of [..., gate then up], or `relu(up)^2 @ weight.T`; `matrix` as in `linear`."""
    result: Tensor = _ActivateLinear.apply(up, gated, weight, matrix)  # type: ignore[no-untyped-call]
    return result


ACTIVATION_BLOCK = 1024


def _activation_grid(hidden: Tensor) -> tuple[int, int]:
    return hidden.numel() // hidden.shape[-1], triton.cdiv(hidden.shape[-1], ACTIVATION_BLOCK)


def _add_norm(x: Tensor, delta: Tensor | None, gain: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """x + delta, its norm, and one over its root mean square, fp32 [rows]."""
    x = x.contiguous()
    rows, width = x.numel() // x.shape[-1], x.shape[-1]
    total, normed = x if delta is None else torch.empty_like(x), torch.empty_like(x)
    rstd = torch.empty(rows, dtype=torch.float32, device=x.device)
    block, tile = _tile(width)
    kernels.add_norm_forward[(triton.cdiv(rows, tile),)](
        x, x if delta is None else delta.contiguous(), gain, total, normed, rstd, rows, width, eps,
        delta is not None, tile, block,
    )  # fmt: skip
    return total, normed, rstd


def _add_norm_backward(
    total: Tensor, gain: Tensor, rstd: Tensor, d_normed: Tensor, d_total: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of both summands, the norm once more, and the gain's gradient."""
    width = total.shape[-1]
    dx, normed = torch.empty_like(total), torch.empty_like(total)
    d_gain = torch.empty(PROGRAMS, width, dtype=torch.float32, device=total.device)
    block, tile = _tile(width)
    kernels.add_norm_backward[(PROGRAMS,)](
        total, gain, rstd, d_normed.contiguous(), d_total.contiguous(), dx, normed, d_gain,
        len(rstd), width, _turns(len(rstd), tile), tile, block,
    )  # fmt: skip
    return dx, normed, _sum_of_rows(d_gain)


def _sum_of_rows(shares: Tensor) -> Tensor:
    """Sum over the programs; a product, which spreads so few columns better than torch's sum."""
    return shares.new_ones(1, len(shares)).mm(shares)[0]


def _turns(rows: int, tile: int) -> int:
    """Tiles that each of PROGRAMS programs takes."""
    return -(-rows // (tile * PROGRAMS))


def _tile(width: int) -> tuple[int, int]:
    """Channels (a power of two) and rows that one program holds in registers: about 4,096 numbers."""
    block = triton.next_power_of_2(width)
    return block, max(1, 4096 // block)


@dataclass(frozen=True)
class Weights:
    """The dense matrices of all blocks in the compute precision, one role after the other: [layers, out, in]."""

    qkv: Tensor
    o: Tensor
    up: Tensor | None
    """Gate, where there is one, and up; None in a model with experts."""
    down: Tensor | None

    @classmethod
    @torch.no_grad()
    def cast(cls, stacks: dict[str, Tensor], dtype: torch.dtype) -> "Weights":
        """Cast the fp32 stacks of a model (`Transformer.stacks`)."""
        attention = [stacks[f"self_attn.{name}_proj"] for name in ("q", "k", "v")]
        up = [stacks[role] for role in ("mlp.gate_proj", "mlp.up_proj") if role in stacks]
        down = stacks.get("mlp.down_proj")
        return cls(
            qkv=_cast(attention, dtype),
            o=stacks["self_attn.o_proj"].to(dtype),
            up=_cast(up, dtype) if up else None,
            down=None if down is None else down.to(dtype),
        )


def hidden_states(model: "Transformer", x: Tensor, sight: "Sight") -> "tuple[Tensor, list[Routing | None]]":
    """The blocks and the last norm over embedded tokens x [rows, length, width]; where each block sent its tokens."""
    weights = Weights.cast(model.stacks(), x.dtype)
    delta: Tensor | None = None
    routings = []
    for number, block in enumerate(model.layers):
        arguments = (model, block, weights, number, x, delta, sight)
        if model.recompute and torch.is_grad_enabled():
            # A block throws no dice, and their state cannot be read while a CUDA graph is recorded.
            x, delta, routing = checkpoint(_block, *arguments, use_reentrant=False, preserve_rng_state=False)
        else:
            x, delta, routing = _block(*arguments)
        routings.append(routing)
    assert delta is not None, "a model has at least one block"
    return add_norm(x, delta, model.norm.weight, model.norm.eps)[1], routings


def _block(
    model: "Transformer", block: Any, weights: Weights, number: int, x: Tensor, delta: Tensor | None, sight: "Sight"
) -> "tuple[Tensor, Tensor, Routing | None]":
    """One block: the residual stream, what is still to be added to it, and where it sent the tokens."""
    attention, mlp, eps = block.self_attn, block.mlp, model.config.norm_eps
    projections = (attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
    x, qkv = add_norm_linear(x, delta, block.input_layernorm.weight, eps, weights.qkv[number], *projections)
    qkv = qkv.view(*qkv.shape[:2], -1, attention.head_size)
    gains = attention.q_norm.weight, attention.k_norm.weight
    q, k, v = norm_rotate(qkv, *gains, model.cosines, model.sines, attention.kv_heads, eps)
    mixed = attend(q, k, v, sight.backend, sight.window, sight.bounds).transpose(1, 2).flatten(2)
    delta = linear(mixed, weights.o[number], attention.o_proj.weight)
    gain = block.post_attention_layernorm.weight
    if weights.up is None or weights.down is None:
        x, normed = add_norm(x, delta, gain, eps)
        return x, *mlp(normed)
    matrices = (mlp.gate_proj.weight, mlp.up_proj.weight) if mlp.gated else (mlp.up_proj.weight,)
    x, up = add_norm_linear(x, delta, gain, eps, weights.up[number], *matrices)
    return x, activate_linear(up, mlp.gated, weights.down[number], mlp.down_proj.weight), None


def _cast(stacks: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Stacks [layers, .., in] one below the other, in `dtype`."""
    layers, _, inputs = stacks[0].shape
    heights = [stack.shape[1] for stack in stacks]
    whole = torch.empty(layers, sum(heights), inputs, dtype=dtype, device=stacks[0].device)
    for part, stack in zip(torch.split(whole, heights, dim=1), stacks, strict=True):
        part.copy_(stack)
    return whole
