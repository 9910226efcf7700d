"""Loss and gradients of one optimizer step, in micro-batches; on a GPU the pass is recorded once and replayed.

Recorded as a CUDA graph a pass costs the host one launch. Launched one by one, its thousand kernels of some tens of
microseconds would keep the GPU waiting for Python (docs/LOG.md: 77 ms instead of 50 for blueberry-nano).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.model import Transformer

WARM_UP = 2
"""Passes before the recording: kernels are compiled and libraries choose theirs in the first ones."""


@dataclass(frozen=True)
class Batch:
    """Some rows on the model's device: inputs and targets [rows, length], and where documents begin, if that counts."""

    inputs: Tensor
    targets: Tensor
    bounds: Tensor | None = None


class Gradients:
    """Computes what a step needs from its micro-batches, each of the same shape."""

    def __init__(self, model: Transformer, scale: Callable[[Tensor], Tensor], batch_tokens: int) -> None:
        """`scale` is the gradient scaler's; the loss that is backpropagated is a mean over `batch_tokens`."""
        self.model, self.scale, self.batch_tokens = model, scale, batch_tokens
        self._graph: torch.cuda.CUDAGraph | None = None

    def of(self, batches: list[Batch]) -> Tensor:
        """Leave the gradients of all batches in the parameters; returns the summed loss in nats, on the device."""
        if self._graph is None:
            self.model.zero_grad()
            return torch.stack([self._pass(batch) for batch in batches]).sum()
        torch._foreach_zero_(self._slopes)
        total = torch.zeros_like(self._loss)
        for batch in batches:
            self._copy(batch)
            self._graph.replay()
            total += self._loss
        return total

    def record(self, batch: Batch) -> None:
        """Record the pass for batches of this shape; raises what torch raises where that does not work."""
        self._static = Batch(
            *(None if part is None else part.clone() for part in (batch.inputs, batch.targets, batch.bounds))
        )  # type: ignore[arg-type]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._pass(self._static)
        torch.cuda.current_stream().wait_stream(side)
        self._slopes = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._loss = self._pass(self._static)
        self._graph = graph

    def _pass(self, batch: Batch) -> Tensor:
        loss, *_ = self.model.loss(batch.inputs, batch.targets, batch.bounds)
        torch.autograd.backward(self.scale(loss / self.batch_tokens))
        return loss.detach()

    def _copy(self, batch: Batch) -> None:
        self._static.inputs.copy_(batch.inputs)
        self._static.targets.copy_(batch.targets)
        if self._static.bounds is not None and batch.bounds is not None:
            self._static.bounds.copy_(batch.bounds)
