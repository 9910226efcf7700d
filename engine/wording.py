"""Which words a text is made of: one rule for answers and training texts, in characters here, in bytes for many.

A word is letters and digits without a gap; an apostrophe within it is part of it. Everything from U+00C0 on counts as a
letter but the signs of General Punctuation, CJK punctuation and the specials. A to Z are made small, nothing else is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

LETTERS = "0-9A-Za-z\u00c0-\u1fff\u2070-\u2fff\u3040-\ud7ff\ue000-\uffef\U00010000-\U0010ffff"
_WORD = re.compile(f"[{LETTERS}]+(?:['’][{LETTERS}]+)*")
_SMALL = {**{capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}, ord("’"): ord("'")}
LONGEST = 4096
"""Bytes of a word that tell it from others."""

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Word:
    """A word of a text: as it is compared, and the characters from `start` up to, not including, `end`."""

    text: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """The words of a text, in order."""
    return [Word(found[0].translate(_SMALL), found.start(), found.end()) for found in _WORD.finditer(text)]


def said(prompt: str, text: str, finish: str) -> list[Word]:
    """The whole words of an answer: not one that began in the prompt, nor one that was cut off at the end."""
    found = words(text)
    if found and found[0].start == 0 and _WORD.fullmatch(prompt[-1:]):
        del found[0]
    if found and finish != "end" and found[-1].end == len(text):
        del found[-1]
    return found


def hashes_in(raw: Bytes) -> tuple[Hashes, Places]:
    """For each word of a text in UTF-8 a number that stands for it, and the byte at which it begins."""
    spread, letter, kept = _signs(raw)
    places = np.flatnonzero(kept)
    small, inside = _table()[0][spread[places]], letter[places]
    before = np.concatenate([[False], inside[:-1]])
    first = np.flatnonzero(inside & ~before)
    if not len(first):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    marks = np.flatnonzero(inside)
    rank = np.cumsum(inside) - 1
    begins = rank[first]
    lengths = np.diff(np.append(begins, len(marks)))
    within = np.arange(len(marks)) - np.repeat(begins, lengths)
    _, values, powers = _table()
    sums = np.add.reduceat(values[small[marks]] * powers[np.minimum(within, LONGEST - 1)], begins)
    return mixed(sums), places[first]


def hashes_of(texts: Sequence[str]) -> Hashes:
    """The same for words as `words` gives them."""
    raw = np.frombuffer(" ".join(texts).encode("utf-8", "replace"), np.uint8)
    return hashes_in(raw)[0]


def mixed(numbers: Hashes) -> Hashes:
    """Numbers spread over all 64 bits (the last steps of splitmix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _signs(raw: Bytes) -> tuple[Bytes, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The bytes with every apostrophe as `'`, which of them are parts of words, and which are left to look at."""
    text = np.concatenate([raw, np.zeros(3, np.uint8)])
    letter = (text >= 0x80) | _table_of_ascii()[text]
    kept = np.ones(len(text), np.bool_)
    two = np.flatnonzero(text == 0xC2)  # U+0080 to U+00BF
    letter[two] = letter[two + 1] = False
    three = np.flatnonzero((text == 0xE2) | (text == 0xE3) | (text == 0xEF))
    lead, middle, last = text[three], text[three + 1], text[three + 2]
    sign = (lead == 0xE2) & ((middle == 0x80) | (middle == 0x81) & (last < 0xB0))  # U+2000 to U+206F
    sign |= (lead == 0xE3) & (middle == 0x80)  # U+3000 to U+303F
    sign |= (lead == 0xEF) & (middle == 0xBF) & (last >= 0xB0)  # U+FFF0 to U+FFFF
    curly = three[(lead == 0xE2) & (middle == 0x80) & (last == 0x99)]
    for offset in range(3):
        letter[three[sign] + offset] = False
    straight = np.flatnonzero(text == 0x27)
    for place, width in ((straight, 1), (curly, 3)):
        within = place[(place > 0) & letter[place - 1] & letter[place + width]]
        text[within] = 0x27
        for offset in range(1, width):
            kept[within + offset] = False
        letter[within] = True
    kept[len(raw) :] = False
    return text, letter, kept


@cache
def _table_of_ascii() -> npt.NDArray[np.bool_]:
    """Which bytes are digits or letters of ASCII."""
    return np.array([chr(byte).isalnum() and byte < 0x80 for byte in range(256)])


@cache
def _table() -> tuple[Bytes, Hashes, Hashes]:
    """Small letters for capitals; a random number for each byte, and an odd one for each place in a word."""
    small = np.arange(256, dtype=np.uint8)
    small[ord("A") : ord("Z") + 1] += 32
    numbers = mixed(np.arange(1, 257 + LONGEST, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return small, numbers[:256], numbers[256:] | np.uint64(1)
