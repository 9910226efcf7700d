"""A mixture of experts in place of a block's feed-forward part: each token is sent to a few of several MLPs.

Sparsely gated as in Shazeer et al. 2017 and the Switch Transformer (Fedus et al. 2021), but no token is ever dropped.
Parameter names are near those of transformers' Qwen3Moe: `mlp.gate` is the router, `mlp.experts` the MLPs, stacked.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig

ROUTER = "mlp.gate.weight"
"""How the name of a router's weights ends: small, fp32, and no matrix that Muon should make orthogonal."""
SAME_ROUNDING = 8
"""Rows from which on torch's CPU products round every row the same way, whatever the number of rows: smaller groups are
padded, so that a prompt alone and in a batch gets one text (engine/generate.py)."""
Product = Callable[[Tensor, Tensor], Tensor]
"""x [rows, in] and a weight [out, in], or one for each group of rows [experts, out, in], to [rows, out]."""


class Routing(NamedTuple):
    """Where routers sent the tokens of a batch: [rows, experts] for one layer, [layers, rows, experts] for a model."""

    loads: Tensor
    """The share of a row's choices that each expert got; adds up to 1."""
    odds: Tensor
    """The probability that each expert had, averaged over the row's tokens; the part with a gradient."""

    def balance(self) -> Tensor:
        """Load-balancing loss: experts x sum(load x odds), 1 when all is even (Fedus et al. 2021, equation 4).

        Taken for each row and averaged over rows and layers, as DeepSeek-V2 does (2024, its code's `seq_aux`): a mean
        over rows is the same in whatever micro-batches they are computed, which a product of batch means is not.
        """
        return self.loads.shape[-1] * (self.loads * self.odds).sum(dim=-1).mean()


Fed = tuple[Tensor, Routing | None]
"""What a feed-forward part gives: its output, and where it sent the tokens if it had a choice."""


def of_all_layers(routings: list[Routing | None]) -> Routing | None:
    """The routing of a whole model, or None for a dense one."""
    some = [routing for routing in routings if routing is not None]
    return Routing(torch.stack([one.loads for one in some]), torch.stack([one.odds for one in some])) if some else None


class MixtureOfExperts(nn.Module):
    """`experts` MLPs of which a router chooses `experts_per_token` for each token, and adds them up by its gates.

    Shapes depend on the number of tokens alone and on a GPU nothing waits for the host, so that it can be compiled
    whole and captured in a CUDA graph.
    """

    __call__: Callable[..., Fed]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)

    def forward(self, x: Tensor) -> Fed:
        """x [rows, length, width] to the same shape."""
        gates, chosen, counts, routing = self.gate(x)
        copies, width = gates.shape[-1], x.shape[-1]
        # Tokens are put in the order of their experts. Both moves are gathers, and so are their gradients.
        order = chosen.flatten().argsort(stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
        tokens = move(x.reshape(-1, width), order // copies, back, copies)
        answers = move(self.experts(tokens, counts), back, order).view(*gates.shape, width)
        return (answers * gates.to(x.dtype).unsqueeze(-1)).sum(dim=-2), routing


class Router(nn.Module):
    """Chooses experts by a softmax over scores. All of it is fp32, whatever the precision of the model: a rounded score
    would send a token elsewhere (Fedus et al. 2021, section 2.4)."""

    __call__: Callable[..., tuple[Tensor, Tensor, Tensor, Routing]]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.chosen = config.experts_per_token
        self.weight = nn.Parameter(torch.empty(config.experts, config.width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Routing]:
        """Gates and numbers of the chosen experts [rows, length, experts_per_token], tokens that each got [experts]."""
        with torch.autocast(x.device.type, enabled=False):
            odds = F.linear(x.float(), self.weight.float()).softmax(dim=-1)
        gates, chosen = odds.topk(self.chosen, dim=-1)
        if self.chosen > 1:  # one gate alone would always be 1, and the router would learn nothing from the text
            gates = gates / gates.sum(dim=-1, keepdim=True)
        experts = torch.arange(odds.shape[-1], device=x.device)
        counts = (chosen.flatten(1)[..., None] == experts).sum(dim=1)
        loads = counts.float() / (x.shape[1] * self.chosen)
        return gates, chosen, counts.sum(dim=0), Routing(loads, odds.mean(dim=1))


class Linears(nn.Module):
    """The weights of one product for each expert [experts, out, in]."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))


class Experts(nn.Module):
    """The MLPs, with their weights stacked; each computes the tokens that were sent to it."""

    __call__: Callable[..., Tensor]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated = config.activation == "swiglu"
        if self.gated:
            self.gate_proj = Linears(config.experts, config.width, config.mlp_width)
        self.up_proj = Linears(config.experts, config.width, config.mlp_width)
        self.down_proj = Linears(config.experts, config.mlp_width, config.width)

    def forward(self, tokens: Tensor, counts: Tensor) -> Tensor:
        """tokens [n, width] in the order of their experts, counts [experts] of them, to [n, width].

        torch's grouped products are for bf16 on a GPU. From Hopper on nothing waits there; on older cards (compute
        capability below 9.0) torch itself runs a loop and asks the device for the counts, which no CUDA graph takes.
        """
        if tokens.is_cuda and tokens.dtype == torch.bfloat16:
            return self.grouped(tokens, counts)
        answers: Tensor = self.one_by_one(tokens, counts)
        return answers

    def grouped(self, tokens: Tensor, counts: Tensor) -> Tensor:
        """All experts in one operation for each product."""
        ends = counts.cumsum(dim=0).to(torch.int32)
        # On some GPUs an expert without tokens gets a gradient of leftovers (pytorch issue 172439); so it gets none.
        unused = (counts == 0)[:, None, None]

        def product(x: Tensor, weight: Tensor) -> Tensor:
            return F.grouped_mm(x, weight.to(x.dtype).masked_fill(unused, 0.0).mT, offs=ends)

        return self._mlp(tokens, product, *self._weights())

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def one_by_one(self, tokens: Tensor, counts: Tensor) -> Tensor:
        """One expert after the other: the plain path, whose loop needs the counts on the host and is never compiled."""
        stacks = [weight.to(tokens.dtype).unbind() for weight in self._weights()]
        answers = []
        for number, piece in enumerate(torch.split(tokens, counts.tolist())):
            if len(piece):
                padded = F.pad(piece, (0, 0, 0, max(0, SAME_ROUNDING - len(piece))))
                answer = self._mlp(padded, F.linear, *(stack[number] for stack in stacks))
                answers.append(answer[: len(piece)])
        return torch.cat(answers)

    def _weights(self) -> tuple[Tensor, ...]:
        gate = (self.gate_proj.weight,) if self.gated else ()
        return (self.up_proj.weight, self.down_proj.weight, *gate)

    @staticmethod
    def _mlp(x: Tensor, product: Product, up: Tensor, down: Tensor, gate: Tensor | None = None) -> Tensor:
        inner = product(x, up)
        inner = F.relu(inner).square() if gate is None else F.silu(product(x, gate)) * inner
        return product(inner, down)


def move(x: Tensor, index: Tensor, back: Tensor, copies: int = 1) -> Tensor:
    """x[index], where row i of x went to the rows back[copies * i] ... back[copies * (i + 1) - 1] of the result.

    Its gradient gathers and adds in a fixed order; torch's own would add with atomic operations in any order.
    """
    moved: Tensor = _Move.apply(x, index, back, copies)  # type: ignore[no-untyped-call]
    return moved


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor, copies: int) -> Tensor:
        ctx.save_for_backward(back)
        ctx.copies = copies
        return x[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (back,) = ctx.saved_tensors
        moved = gradients[0][back]
        return moved.view(-1, ctx.copies, moved.shape[-1]).sum(dim=1) if ctx.copies > 1 else moved, None, None, None
