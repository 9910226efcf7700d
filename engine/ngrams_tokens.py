"""Tokens of a shard as bytes of text and as hashed words: what the index of a training text is made of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine import tokenizer as pieces
from engine.data.shards import Dataset, Tokens
from engine.wording import Hashes, Places, hashes_in, mixed

WINDOW = 4
"""Words of a phrase that the index knows the places of."""
BORDER = b"\x00"
"""Between two documents: no part of a word."""


class Spelling:
    """The bytes that each token of a dataset stands for."""

    def __init__(self, dataset: Dataset) -> None:
        """Raises Refused where the vocabulary's pieces are not parts of a text."""
        self.end: int | None = dataset.card.get("separator_id")
        spelled = pieces.spellings(pieces.load(dataset.tokenizer_path, None))
        self.pieces = [spelled.get(number, b"") for number in range(dataset.vocab_size)]
        if self.end is not None:
            self.pieces[self.end] = BORDER
        self.lengths = np.array([len(piece) for piece in self.pieces], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.all = np.frombuffer(b"".join(self.pieces) + BORDER, np.uint8)

    def text(self, tokens: Tokens) -> bytes:
        """A few tokens as bytes."""
        return b"".join([self.pieces[token] for token in tokens.tolist()])

    def words(self, tokens: Tokens) -> "Spelled":
        """The words of many tokens."""
        numbers = tokens.astype(np.int64)
        lengths = self.lengths[numbers]
        begins = np.cumsum(lengths) - lengths
        raw = self.all[np.arange(int(lengths.sum())) + np.repeat(self.offsets[numbers] - begins, lengths)]
        hashes, places = hashes_in(raw)
        at = np.repeat(np.arange(len(numbers)), lengths)[places]
        borders = np.zeros(len(numbers), np.int64) if self.end is None else np.cumsum(numbers == self.end)
        return Spelled(hashes, at, borders[at])


@dataclass(frozen=True)
class Spelled:
    """The words of a stretch of tokens: a number for each, the token it begins in, and the document, counted from 0."""

    hashes: Hashes
    tokens: Places
    documents: Places

    def grams(self) -> tuple[Hashes, npt.NDArray[np.bool_]]:
        """A number for the phrase that begins at each word but the last ones, and whether it is within a document."""
        return grams(self.hashes), self.documents[WINDOW - 1 :] == self.documents[: len(self.documents) - WINDOW + 1]


def grams(words: Hashes) -> Hashes:
    """A number for each WINDOW words in a row."""
    count = max(len(words) - WINDOW + 1, 0)
    result = np.zeros(count, np.uint64)
    for offset in range(WINDOW):
        result = mixed(result + words[offset : offset + count])
    return result
