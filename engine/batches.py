"""Rows of tokens on their way to the device, in pieces that fit."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from engine.attention import document_bounds
from engine.data import Batch as Arrays
from engine.data import Rows
from engine.device import Place, move, to_device

DOCUMENT = 32
"""Bounds have room for one document in so many tokens, so that they have one size; more make them grow."""


@dataclass(frozen=True)
class Batch:
    """Some rows on the model's device: inputs and targets [rows, length], and where documents begin, if that counts."""

    inputs: Tensor
    targets: Tensor
    bounds: Tensor | None = None


def split(arrays: Arrays, rows: int, place: Place, end: int | None = None) -> Iterator[Batch]:
    """Inputs and targets, `rows` at a time; `end` is the token that ends a document, where each is to be read alone."""
    inputs, targets = to_device(arrays, place)
    for first in range(0, len(inputs), rows):
        here = slice(first, first + rows)
        bounds = None
        if end is not None:
            piece = arrays[0][here]
            bounds = move(document_bounds(piece, end, piece.size // DOCUMENT), place)
        yield Batch(inputs[here], targets[here], bounds)


@dataclass(frozen=True)
class Feed:
    """Where the batches of steps come from."""

    rows: Rows
    place: Place
    rows_per_step: int
    micro_batch: int
    """Rows of one forward pass."""
    end: int | None = None
    """The token that ends a document, where attention is to stay within one."""

    def step(self, step: int) -> Iterator[Batch]:
        """The micro-batches of optimizer step `step` (0-based)."""
        arrays = self.rows.batch(step * self.rows_per_step, self.rows_per_step)
        return split(arrays, self.micro_batch, self.place, self.end)
