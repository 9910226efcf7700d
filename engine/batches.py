"""Rows of tokens on their way to the device, in pieces that fit.

A GPU copies them by itself: while it works on one step, a thread reads the next one's rows into page-locked memory.
Elsewhere they are read when they are wanted, 65,536 tokens in 0.06 to 0.2 ms (docs/LOG.md). Both give the same batches.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attention import document_bounds
from engine.config import ConfigError
from engine.data import Batch as Arrays
from engine.data import Rows
from engine.device import Place, move, page_locked

DOCUMENT = 32
"""Bounds have room for one document in so many tokens, so that they have one size; more make them grow."""


@dataclass(frozen=True)
class Batch:
    """Some rows: inputs and targets [rows, length], and where documents begin, if that counts."""

    inputs: Tensor
    targets: Tensor
    bounds: Tensor | None = None

    def at(self, place: Place) -> "Batch":
        """The same on the model's device."""
        bounds = None if self.bounds is None else move(self.bounds, place)
        return Batch(move(self.inputs, place), move(self.targets, place), bounds)


def split(arrays: Arrays, rows: int, place: Place, end: int | None = None) -> Iterator[Batch]:
    """Inputs and targets, `rows` at a time, in the host's memory, where `place` can fetch them.

    `end` is the token that ends a document, where each is to be read alone.
    """
    inputs, targets = (page_locked(torch.from_numpy(part), place) for part in arrays)
    for first in range(0, len(inputs), rows):
        here = slice(first, first + rows)
        bounds = None
        if end is not None:
            piece = arrays[0][here]
            bounds = page_locked(document_bounds(piece, end, piece.size // DOCUMENT), place)
        yield Batch(inputs[here], targets[here], bounds)


class Feed:
    """Where the batches of steps come from."""

    def __init__(
        self,
        rows: Rows,
        place: Place,
        rows_per_step: int,
        micro_batch: int,
        end: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """`micro_batch`: rows of one forward pass. `end`: as in `split`.

        Of `world` processes that make each step together, number `rank` gets its own part of the step's rows.
        Raises ConfigError where they cannot be shared evenly.
        """
        if rows_per_step % world:
            raise ConfigError(
                f"train.batch_tokens gives {rows_per_step} rows in a step, which {world} devices cannot share evenly; "
                f"choose a multiple of {world * rows.context:,} tokens."
            )
        self.rows, self.place, self.micro_batch, self.end = rows, place, micro_batch, end
        self.rows_per_step, self.share = rows_per_step, rows_per_step // world
        self.first = rank * self.share
        self._ahead = Ahead(self._read, place) if place.device.type == "cuda" else None

    def step(self, step: int) -> Iterator[Batch]:
        """The micro-batches of optimizer step `step` (0-based), on the device.

        Raises Refused, in the thread that asks, where the text cannot be read.
        """
        for batch in (self._ahead.take if self._ahead else self._read)(step):
            yield batch.at(self.place)

    def close(self) -> None:
        """End the thread, if there is one."""
        if self._ahead:
            self._ahead.close()

    def _read(self, step: int) -> list[Batch]:
        arrays = self.rows.batch(step * self.rows_per_step + self.first, self.share)
        return list(split(arrays, self.micro_batch, self.place, self.end))


class Ahead:
    """Steps that a thread reads before they are asked for."""

    def __init__(self, read: Callable[[int], list[Batch]], place: Place) -> None:
        """`read` makes the batches of a step, for `place` to fetch."""
        self._read = read
        # Page-locking asks the thread's current device, which is the first one until somebody says otherwise.
        begin = (torch.cuda.set_device, (place.device,)) if place.device.type == "cuda" else (None, ())
        self._thread = ThreadPoolExecutor(1, "feed", *begin)
        self._next: tuple[int, Future[list[Batch]]] | None = None

    def take(self, step: int) -> list[Batch]:
        """The batches of `step`, read before unless another step was expected; those of the next are read from now on.

        Raises what reading them raised.
        """
        expected, future = self._next or (-1, None)
        if future is None or step != expected:
            future = self._thread.submit(self._read, step)
        batches = future.result()
        self._next = step + 1, self._thread.submit(self._read, step + 1)
        return batches

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)
