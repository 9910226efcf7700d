"""Cross-entropy of a linear head, in pieces: the [tokens, vocabulary] scores are never all in memory."""

from typing import Any

import torch
from torch import Tensor

ROWS = 2048
"""Tokens scored at once; larger pieces were not faster on two cores, and this keeps a 49,152-wide head at 400 MB."""
FUSED_ROWS = 4096
"""The same for the kernel, which needs the scores once, in 16 bits; more brought 4% of 5 ms (docs/LOG.md)."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, fused: bool = False) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats of `softmax(hidden @ weight.T)` summed over tokens, and the number of right first guesses.

    hidden [tokens, width] in the compute precision, weight [vocabulary, width] in fp32, targets [tokens] int64.
    Both results are fp32 scalars on the device; only the first has a gradient. Log-sum-exp is taken in fp32, and the
    gradients are made while the scores are at hand, as in Apple's cut cross-entropy and Liger (chunked, not fused).
    `fused`: with the kernel of engine/kernels.py, which needs Triton.
    """
    results: tuple[Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, torch.is_grad_enabled(), fused
    )
    return results


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, learning: bool, fused: bool
    ) -> tuple[Tensor, Tensor]:
        head = weight.to(hidden.dtype)
        losses, hits = torch.empty(2, len(targets), dtype=torch.float32, device=hidden.device)
        d_hidden = torch.empty_like(hidden) if learning else None
        d_weight = torch.zeros_like(weight) if learning else None
        rows, score = (FUSED_ROWS, _score_fused) if fused else (ROWS, _score)
        for start in range(0, len(targets), rows):
            here = slice(start, start + rows)
            piece = hidden[here]
            slope = score(piece @ head.T, targets[here], losses[here], hits[here], learning)
            if d_hidden is not None and d_weight is not None:
                torch.mm(slope, head, out=d_hidden[here])
                add_fp32_product(d_weight, slope.T, piece)
        correct = hits.sum()
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.mark_non_differentiable(correct)
        return losses.sum(), correct

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        scale = gradients[0]
        return d_hidden * scale.to(d_hidden.dtype), d_weight * scale, None, None, None


def _score(scores: Tensor, targets: Tensor, losses: Tensor, hits: Tensor, learning: bool) -> Tensor:
    """Fill losses and hits of these rows; returns the gradient by their scores [rows, vocabulary]."""
    dtype, goal = scores.dtype, targets[:, None]
    scores = scores.float()
    wanted = scores.gather(1, goal)
    top, guess = scores.max(dim=1, keepdim=True)
    weights = scores.sub_(top).exp_()
    mass = weights.sum(dim=1, keepdim=True)
    losses.copy_((mass.log() + top - wanted)[:, 0])
    hits.copy_((guess == goal)[:, 0])
    if not learning:
        return weights
    return weights.div_(mass).scatter_add_(1, goal, torch.full_like(mass, -1.0)).to(dtype)


def _score_fused(scores: Tensor, targets: Tensor, losses: Tensor, hits: Tensor, learning: bool) -> Tensor:
    """The same in one kernel, with the gradient in place of the scores."""
    from engine.kernels import cross_entropy

    goals = targets.contiguous()
    cross_entropy[(len(goals),)](scores, goals, losses, hits, scores.shape[1], learning, BLOCK=4096, num_warps=8)
    return scores


def fp32_product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right, both [.., ..] in a compute precision, summed and kept in fp32."""
    if left.is_cuda and left.dtype != torch.float32:
        return torch.mm(left, right, out_dtype=torch.float32)
    return (left @ right).float()


def add_fp32_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total (fp32) += left @ right."""
    if left.is_cuda and left.dtype != torch.float32:
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    else:
        total += left @ right
