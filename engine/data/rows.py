"""Rows of tokens in a fixed shuffled order. The whole state is one number: how many rows were taken."""

import numpy as np
import numpy.typing as npt

from engine.config import ConfigError
from engine.data.shards import Tokens

Batch = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Inputs and targets, both int64 [rows, context]; a target is the token after its input."""


class Rows:
    """Endless training rows of `context` tokens: row r is always the same, so resuming needs only r.

    An epoch is every row once, in an order drawn from (seed, epoch); its rows start at an offset in [0, context)
    drawn with it, so that the borders between rows move from epoch to epoch.
    """

    def __init__(self, tokens: Tokens, context: int, seed: int) -> None:
        """`tokens` is 1-D; raises ConfigError when it has fewer than 2 x context + 1."""
        self.per_epoch = (len(tokens) - 1) // context - 1
        if self.per_epoch < 1:
            raise ConfigError(
                f"The dataset has {len(tokens):,} training tokens, but rows of {context} tokens "
                f"need at least {2 * context + 1:,}; choose a smaller context or more text."
            )
        self.tokens, self.context, self.seed = tokens, context, seed
        self._epoch = -1
        self._starts: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def epoch_of(self, row: int) -> int:
        """The epoch, from 0, that a row belongs to."""
        return row // self.per_epoch

    def batch(self, first_row: int, count: int) -> Batch:
        """Rows first_row to first_row + count - 1 of the endless sequence; may cross epochs."""
        starts = np.empty(count, np.int64)
        filled = 0
        while filled < count:
            epoch, within = divmod(first_row + filled, self.per_epoch)
            part = self._epoch_starts(epoch)[within : within + count - filled]
            starts[filled : filled + len(part)] = part
            filled += len(part)
        return _gather(self.tokens, starts, self.context)

    def _epoch_starts(self, epoch: int) -> npt.NDArray[np.int64]:
        """Where the rows of an epoch start, in its order; only the last asked epoch is remembered."""
        if epoch != self._epoch:
            dice = np.random.default_rng((self.seed, epoch))
            order = dice.permutation(self.per_epoch)
            self._starts = order * self.context + int(dice.integers(self.context))
            self._epoch = epoch
        return self._starts


def validation_rows(tokens: Tokens, context: int, max_tokens: int) -> Batch:
    """The fixed rows of every evaluation: about `max_tokens` targets, no token twice, spread evenly over the split.

    At least one row; raises ConfigError when the split has fewer than context + 1 tokens.
    """
    available = (len(tokens) - 1) // context
    if available < 1:
        raise ConfigError(
            f"The dataset has {len(tokens):,} validation tokens, but one row needs {context + 1:,}; "
            "choose a smaller context or more text."
        )
    wanted = max(1, min(available, max_tokens // context))
    return _gather(tokens, np.arange(wanted) * available // wanted * context, context)


def _gather(tokens: Tokens, starts: npt.NDArray[np.int64], context: int) -> Batch:
    inputs, targets = (np.empty((len(starts), context), np.int64) for _ in range(2))
    plain = np.asarray(tokens)  # slicing a memmap object costs more than copying the row
    for row, start in enumerate(starts.tolist()):
        inputs[row] = plain[start : start + context]
        targets[row] = plain[start + 1 : start + context + 1]
    return inputs, targets
