"""Rows of tokens in a fixed shuffled order. The whole state is one number: how many rows were taken."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from engine.config import ConfigError
from engine.data.shards import Tokens, check_length, place_of
from engine.store import Refused

ANY = 2**32
"""A vocabulary that no token is beyond."""
EPOCH = "epoch"
"""The kind of event that tells that the text is read again."""

Batch = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Inputs and targets, both int64 [rows, context]; a target is the token after its input."""


class Rows:
    """Endless training rows of `context` tokens: row r is always the same, so resuming needs only r.

    An epoch is every row once, in an order drawn from (seed, epoch); its rows start at an offset in [0, context)
    drawn with it, so that the borders between rows move from epoch to epoch.
    """

    def __init__(self, tokens: Tokens, context: int, seed: int, vocab_size: int = ANY) -> None:
        """`tokens` is 1-D, each below `vocab_size`; raises ConfigError when there are fewer than 2 x context + 1."""
        self.per_epoch = (len(tokens) - 1) // context - 1
        if self.per_epoch < 1:
            raise ConfigError(
                f"The dataset has {len(tokens):,} training tokens, but rows of {context} tokens "
                f"need at least {2 * context + 1:,}; choose a smaller context or more text."
            )
        self.tokens, self.context, self.seed, self.vocab_size = tokens, context, seed, vocab_size
        self.first = 0
        """The row with which this text begins: what was taken before it came from another one (a fork's parent)."""
        self._epoch = -1
        self._starts: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def epoch_of(self, row: int) -> int:
        """The epoch, from 0, that a row belongs to."""
        return max(0, row - self.first) // self.per_epoch

    def batch(self, first_row: int, count: int) -> Batch:
        """Rows first_row to first_row + count - 1 of the endless sequence; may cross epochs.

        Raises Refused, with file and place, where they cannot be read or hold what is no token.
        """
        starts = np.empty(count, np.int64)
        filled = 0
        while filled < count:
            epoch, within = divmod(first_row - self.first + filled, self.per_epoch)
            part = self._epoch_starts(epoch)[within : within + count - filled]
            starts[filled : filled + len(part)] = part
            filled += len(part)
        return _gather(self.tokens, starts, self.context, self.vocab_size)

    def _epoch_starts(self, epoch: int) -> npt.NDArray[np.int64]:
        """Where the rows of an epoch start, in its order; only the last asked epoch is remembered."""
        if epoch != self._epoch:
            dice = np.random.default_rng((self.seed, epoch))
            order = dice.permutation(self.per_epoch)
            self._starts = order * self.context + int(dice.integers(self.context))
            self._epoch = epoch
        return self._starts


class Epochs:
    """Tells when a run has read its whole text and begins anew: what it has seen before teaches it less."""

    def __init__(self, rows: Rows, rows_per_step: int, tell: Callable[[str, str, int], None], told: int = 0) -> None:
        """`tell` takes kind, sentence and step. `told`: the last step that an earlier attempt told about."""
        self.rows, self.rows_per_step, self.tell, self.told = rows, rows_per_step, tell, told

    def look(self, step: int) -> None:
        """Note that step number `step`, from 1, was made."""
        before, now = (self.rows.epoch_of(max(0, done * self.rows_per_step - 1)) for done in (step - 1, step))
        worth_telling = [times for times in range(before + 1, now + 1) if not int(str(times)[1:] or 0)]
        if worth_telling and step > self.told:  # after 1 to 9, 10, 20 ..., 100, 200 ... times
            times = "once" if now == 1 else f"{now:,} times"
            size = self.rows.per_epoch * self.rows.context
            self.tell(EPOCH, f"The whole text ({size:,} tokens) was read {times}; from here on it comes again.", step)


def validation_rows(tokens: Tokens, context: int, max_tokens: int, vocab_size: int = ANY) -> Batch:
    """The fixed rows of every evaluation: about `max_tokens` targets, no token twice, spread evenly over the split.

    At least one row; raises ConfigError when the split has fewer than context + 1 tokens, and Refused as `Rows.batch`.
    """
    available = (len(tokens) - 1) // context
    if available < 1:
        raise ConfigError(
            f"The dataset has {len(tokens):,} validation tokens, but one row needs {context + 1:,}; "
            "choose a smaller context or more text."
        )
    wanted = max(1, min(available, max_tokens // context))
    return _gather(tokens, np.arange(wanted) * available // wanted * context, context, vocab_size)


def _gather(tokens: Tokens, starts: npt.NDArray[np.int64], context: int, vocab_size: int) -> Batch:
    check_length(tokens)
    taken = sliding_window_view(np.asarray(tokens), context + 1)[starts]
    if taken.max() >= vocab_size:  # it would crash the model, on a GPU in words that nobody understands
        row, column = np.argwhere(taken >= vocab_size)[0]
        raise Refused(
            f"{place_of(tokens)} is damaged: its token {starts[row] + column:,} is {taken[row, column]:,}, but the "
            f"vocabulary has {vocab_size:,} pieces; delete the dataset so that it is prepared again."
        )
    return taken[:, :-1].astype(np.int64), taken[:, 1:].astype(np.int64)
