"""Loss and gradients of one optimizer step, in micro-batches; on a GPU the pass is recorded once and replayed.

Recorded as a CUDA graph a pass costs the host one launch. Launched one by one, its thousand kernels of some tens of
microseconds would keep the GPU waiting for Python (docs/LOG.md: 77 ms instead of 50 for blueberry-nano).
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from engine.batches import Batch
from engine.model import Transformer

WARM_UP = 2
"""Passes before the recording: kernels are compiled and libraries choose theirs in the first ones."""


class Gradients:
    """Computes the gradients of a step from its micro-batches, each of the same shape."""

    def __init__(
        self,
        model: Transformer,
        rows_per_step: int,
        balance_loss: float = 0.0,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
    ) -> None:
        """`balance_loss`: weight of the loss that balances experts; `scale` is the gradient scaler's."""
        self.model, self.rows_per_step, self.balance_loss, self.scale = model, rows_per_step, balance_loss, scale
        self._graph: torch.cuda.CUDAGraph | None = None
        self._slopes: list[Tensor] = []
        self._overwrites = False
        self._static: Batch | None = None
        self._result: Tensor | None = None

    @property
    def recorded(self) -> bool:
        """Whether a pass has been recorded."""
        return self._graph is not None

    def of(self, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
        """Leave the gradients of a step's loss in the parameters.

        The loss is the mean over the targets of all batches, in nats; returned with the experts' balance loss (0 in a
        dense model), both on the device.
        """
        if self._graph is None:
            self.model.zero_grad()
        elif not self._overwrites:
            torch._foreach_zero_(self._slopes)  # their memory belongs to the recorded pass
        total = torch.zeros(2, device=self.model.embed_tokens.weight.device)
        for number, batch in enumerate(batches):
            if self._recorded(batch):
                total += self._replayed(batch)
            else:
                if number == 0 and self._overwrites:  # only the recorded pass does
                    torch._foreach_zero_(self._slopes)
                total += self._pass(batch)
        loss, balance = total.unbind()
        return loss, balance

    def record(self, batch: Batch) -> None:
        """Record the pass for batches of this shape on a GPU; raises what torch raises where that does not work."""
        self.forget()
        self._static = Batch(
            batch.inputs.clone(), batch.targets.clone(), None if batch.bounds is None else batch.bounds.clone()
        )
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._pass(self._static)
        torch.cuda.current_stream().wait_stream(side)
        # Alone in its step, a pass writes its gradients; else it adds them to those of the passes before.
        self._overwrites = len(batch.inputs) == self.rows_per_step
        if self._overwrites:
            self.model.zero_grad()
        # Only this thread's calls may break a recording: others read the clock and the memory of the device.
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        # The outer context puts the stream back where a recording breaks off.
        with torch.cuda.stream(stream), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._result = self._pass(self._static)
        self._slopes = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        self._graph = graph

    def forget(self) -> None:
        """Let go of a recorded pass and its memory."""
        self._graph = self._static = self._result = None
        self._slopes, self._overwrites = [], False
        self.model.zero_grad()

    def _recorded(self, batch: Batch) -> bool:
        """Whether the recorded pass takes a batch of this shape."""
        if self._static is None or self._graph is None:
            return False
        there = self._static.bounds
        same_bounds = batch.bounds is there or (
            batch.bounds is not None and there is not None and batch.bounds.shape == there.shape
        )
        return batch.inputs.shape == self._static.inputs.shape and same_bounds

    def _replayed(self, batch: Batch) -> Tensor:
        assert self._graph is not None and self._static is not None and self._result is not None
        self._static.inputs.copy_(batch.inputs)
        self._static.targets.copy_(batch.targets)
        if self._static.bounds is not None and batch.bounds is not None:
            self._static.bounds.copy_(batch.bounds)
        self._graph.replay()
        return self._result

    def _pass(self, batch: Batch) -> Tensor:
        """Forward and backward; this batch's share of the step's loss and balance [2]."""
        loss, _, routing = self.model.loss(batch.inputs, batch.targets, batch.bounds)
        share = len(batch.inputs) / self.rows_per_step
        loss = loss * (share / batch.targets.numel())
        # A mean over rows, of which these are some; a dense model has nothing to balance.
        balance = routing.balance() * share if routing else torch.zeros_like(loss)
        torch.autograd.backward(self.scale(loss + self.balance_loss * balance))
        return torch.stack((loss, balance)).detach()
