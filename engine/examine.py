"""A look at how a model learns, at intervals: gradients and updates of each group of weights, scores of the attention.

It changes nothing of the training and costs little: one step in fifty, a norm for each group, a sample of the weights
before and after the update, and one short text read without gradients.
"""

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from engine.config import RunConfig
from engine.diagnose import Group
from engine.model import Transformer, rotate
from engine.optim import Optimizers

SAMPLE = 65_536
"""Weights of a group whose update is measured: of a hundred million a copy would cost too much memory."""
LENGTH = 512
"""Tokens of the text whose attention scores are looked at."""
LOOKS = 20
"""At least so many looks are had in a run, however few steps it has."""


class Examination:
    """Looks at a training model every `train.examine` steps; `tell` gets the step, its groups and the scores."""

    def __init__(
        self,
        model: Transformer,
        optimizers: Optimizers,
        config: RunConfig,
        text: Tensor,
        tell: Callable[[int, dict[str, Group], list[float]], None],
    ) -> None:
        """`text`: tokens [1, length] on the model's device, the same at every look."""
        self.model, self.clip, self.tell = model, config.train.grad_clip, tell
        self.text = text[:, :LENGTH]
        self.groups: dict[str, list[nn.Parameter]] = dict(optimizers.muon.stacks)
        for name, parameter in optimizers.others.items():
            self.groups[group_of(name)] = [*self.groups.get(group_of(name), []), parameter]
        every = config.train.examine
        self.every = every and max(1, min(every, config.total_steps // LOOKS))

    def due(self, step: int) -> bool:
        """Whether the update that makes step `step` is looked at: at the powers of two, then at even intervals."""
        at_first = step < self.every and step & (step - 1) == 0
        return bool(self.every) and (at_first or step % self.every == 0)

    @contextlib.contextmanager
    @torch.no_grad()
    def of(self, step: int, grad_norm: Tensor) -> Iterator[None]:
        """Look at the update made inside, if that of `step` is due; `grad_norm` is what the gradients were before they
        were clipped."""
        if not self.due(step):
            yield
            return
        clipped = max(1.0, float(grad_norm) / self.clip)
        gradients = {role: clipped * length(parts) for role, parts in self.groups.items()}
        before = {role: sample(parts) for role, parts in self.groups.items()}
        yield
        groups = {}
        for role, parts in self.groups.items():
            size, moved = rms(before[role]), rms(sample(parts) - before[role])
            groups[role] = Group(gradients[role], size, moved / size if size else 0.0)
        self.tell(step, groups, self.largest_scores())

    @torch.no_grad()
    def largest_scores(self) -> list[float]:
        """The largest attention score of each layer, before the softmax, on the text."""
        heads: list[Tensor] = []
        norms = [part for name, part in self.model.named_modules() if name.endswith((".q_norm", ".k_norm"))]
        hooks = [norm.register_forward_hook(lambda module, inputs, output: heads.append(output)) for norm in norms]
        fused, self.model.fused = self.model.fused, False  # the plain model calls its modules one by one
        try:
            self.model(self.text)
        finally:
            self.model.fused = fused
            for hook in hooks:
                hook.remove()
        rotary = self.model.cosines[: self.text.shape[1], None, :], self.model.sines[: self.text.shape[1], None, :]
        found = []
        for queries, keys in zip(heads[::2], heads[1::2], strict=True):
            q, k = (rotate(part, rotary)[0].float().transpose(0, 1) for part in (queries, keys))
            k = k.repeat_interleave(len(q) // len(k), dim=0)
            scores = q @ k.mT / math.sqrt(q.shape[-1])
            there = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            found.append(float(scores.masked_fill(~there, -math.inf).max()))
        return found


def group_of(name: str) -> str:
    """The group of a parameter that AdamW moves."""
    return "embedding" if name == "embed_tokens.weight" else "router" if name.endswith("mlp.gate.weight") else "gains"


def length(parts: list[nn.Parameter]) -> float:
    """The Euclidean length of the gradients of several parameters together."""
    norms = torch._foreach_norm([part.grad for part in parts if part.grad is not None])
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def sample(parts: list[nn.Parameter]) -> Tensor:
    """Up to about SAMPLE numbers of a group in fp32, evenly chosen, always the same."""
    each = max(1, SAMPLE // len(parts))
    return torch.cat([part.flatten()[:: max(1, part.numel() // each)].float() for part in parts])


def rms(values: Tensor) -> float:
    """Root mean square."""
    return float(values.square().mean().sqrt())
