"""The text around a place of a shard, as words and as tokens: with it a run is followed to both of its ends."""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from engine.data.shards import Tokens
from engine.ngrams_tokens import BORDER, Spelling
from engine.wording import Word, words

MOST_IN_A_TOKEN = 3
"""Words that may begin in one token."""


@dataclass(frozen=True)
class Region:
    """The text around a place within its document."""

    text: str
    words: list[Word]
    """Without those that go on outside."""
    lead: int
    """Bytes of the text before the place."""
    first: int
    """The token that was read first."""
    skipped: int
    """Bytes of its document's end before the text."""
    last: int
    """The token after the last one that was read."""
    begins: bool
    """Whether the document begins with the text."""
    ends: bool
    """Whether it ends with it."""

    @classmethod
    def read(cls, spelling: Spelling, train: Tokens, place: int, length: int) -> "Region":
        """`length` tokens on each side of a place."""
        first, last = max(place - length, 0), min(place + length, len(train))
        before, after = spelling.text(train[first:place]), spelling.text(train[place:last])
        lead, tail = before.rpartition(BORDER)[2], after.partition(BORDER)[0]
        begins, ends = BORDER in before or first == 0, BORDER in after or last == len(train)
        text = (lead + tail).decode("utf-8", "surrogateescape")
        found = words(text)
        if found and not begins and found[0].start == 0:
            del found[0]
        if found and not ends and found[-1].end == len(text):
            del found[-1]
        return cls(text, found, len(lead), first, len(before) - len(lead), last, begins, ends)

    def place_of(self, text: str) -> int | None:
        """Which word begins in the token at the place, if it is this one."""
        behind = (at for at, word in enumerate(self.words) if self._byte(word.start) >= self.lead)
        return next((at for at in islice(behind, MOST_IN_A_TOKEN) if self.words[at].text == text), None)

    def tokens(self, start: int, end: int, spelling: Spelling, train: Tokens) -> tuple[int, int]:
        """The tokens that the characters from `start` to `end` lie in."""
        borders = np.cumsum(spelling.lengths[train[self.first : self.last].astype(np.int64)])
        first = int(np.searchsorted(borders, self.skipped + self._byte(start), side="right"))
        last = int(np.searchsorted(borders, self.skipped + self._byte(end), side="left"))
        return self.first + first, self.first + last + 1

    def _byte(self, character: int) -> int:
        if self.text.isascii():
            return character
        return len(self.text[:character].encode("utf-8", "surrogateescape"))
