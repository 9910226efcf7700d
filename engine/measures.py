"""What can be measured about an answer: definitions, without a model and a database (docs/JUDGING.md).

All count whole words (engine/wording.py). A measure of an answer without words is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LONGEST_PHRASE = 100
"""Words of the longest phrase whose repetition is looked for."""
LONGEST_STUTTER, LEAST_STUTTER, STUTTERS = 60, 8, 3
"""Characters of the longest thing a stutter repeats, of the shortest stutter; how often it is said at least."""


@dataclass(frozen=True)
class Loop:
    """The longest stretch of an answer that is one phrase said again and again."""

    words: int
    """Covered by it, the first saying included; 0 where nothing is said twice in a row."""
    start: int
    """The word at which it begins."""
    phrase: int
    """Words of the phrase."""


def distinct(words: Sequence[str], length: int) -> float | None:
    """distinct-n (Li et al. 2016): different n-grams / n-grams, n = `length` words; None where there is none.

    "a b a b" has the 2-grams ab, ba, ab: 2 / 3.
    """
    grams = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    return len(set(grams)) / len(grams) if grams else None


def loop(words: Sequence[str]) -> Loop:
    """The longest stretch w[s..e) that repeats its own beginning: a period p <= LONGEST_PHRASE with
    w[i] = w[i + p] for all i in s..e-p-1, and e - s >= 2p, so that the phrase is said twice in full or more often.

    "so he ran and ran and ran away" has "ran and ran and ran", 5 words, with p = 2. Of equally long stretches that
    with the shortest phrase, then the first one.
    """
    best = Loop(0, 0, 0)
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    said = np.array([numbers[word] for word in words], np.int64)
    for phrase in range(1, min(LONGEST_PHRASE, len(said) // 2) + 1):
        start, run = _longest_run(said[phrase:] == said[:-phrase])
        if run >= phrase and run + phrase > best.words:
            best = Loop(run + phrase, start, phrase)
    return best


def stuck_share(text: str) -> float | None:
    """Characters in stutters / characters. A stutter is a stretch s..e of the text, capitals made small, with
    t[i] = t[i + p] for all i in s..e-p-1 and some p <= LONGEST_STUTTER, of at least LEAST_STUTTER characters, in which
    the p characters are said in full at least STUTTERS times; with or without words.

    "No, no, no, no." is "no, no, no, no" and a full stop: 14 / 15. None for an empty text.
    """
    if not text:
        return None
    signs = np.array([ord(sign) for sign in text.casefold()], np.int64)
    stuck = np.zeros(len(signs), np.bool_)
    for period in range(1, min(LONGEST_STUTTER, len(signs) // STUTTERS) + 1):
        same = signs[period:] == signs[:-period]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
        starts, lengths = edges[::2], edges[1::2] - edges[::2]
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            if length >= (STUTTERS - 1) * period and length + period >= LEAST_STUTTER:
                stuck[start : start + length + period] = True
    return float(stuck.mean())


def unknown_share(known: Sequence[bool]) -> float | None:
    """Words that the training text does not have / words; `known` says for each word whether it has it."""
    return sum(not one for one in known) / len(known) if known else None


def change(before: Sequence[str], now: Sequence[str]) -> float | None:
    """1 - 2 LCS / (n + m): LCS the longest common subsequence of the words of two answers, n and m their lengths.

    0 for the very same words in the same order, 1 for none in common; None where neither has a word.
    "the cat sat" and "the dog sat down" share "the sat": 1 - 2 x 2 / 7 = 3 / 7.
    """
    if not before and not now:
        return None
    return 1 - 2 * _common(before, now) / (len(before) + len(now))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the usual table at a time, as bits of one number (Hyyrö 2004).

    A zero at bit j of `row` says that the subsequence grows when the j-th word of `one` is added.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        matches = row & places.get(word, 0)
        row = (row + matches) | (row - matches)
        row &= every
    return len(one) - row.bit_count()


def _longest_run(same: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Where the longest run of True begins, and its length; the first of several."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return int(edges[2 * longest]), int(lengths[longest])
