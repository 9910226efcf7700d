"""Which documents are left out: by length, by symbols, by repetition. The rules are the same for every script.

They follow Gopher's (Rae et al. 2021, arXiv:2112.11446, table A1 and "Repetition Removal"), which RefinedWeb (Penedo et
al. 2023, arXiv:2306.01116) and FineWeb use too, but count characters where those count words: Chinese, Japanese or Thai
do not part words with blanks.
"""

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from engine.data.recipe import Filters

SHORT, LONG, SYMBOLS, REPETITION = "too short", "too long", "too many symbols", "repeats itself"
PHRASE = 32
"""Characters of a phrase: about six English words; on the starter novels 99 of 100 chapters repeat less than 4%."""
WINDOW = 2**16
"""Characters in which a phrase is looked for again; work and memory stay flat whatever a document's length."""
_MARKUP = "#*@\\_{}"
"""Of Unicode's punctuation what code and markup are made of; prose does without."""
_CLASSES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn"
_FACTOR = 0x9E3779B97F4A7C15
"""Odd, so that it can be undone modulo 2^64; the golden ratio, as in Fibonacci hashing (Knuth, volume 3, 6.4)."""

_Numbers = npt.NDArray[np.uint64]


def dropped(text: str, filters: Filters) -> str:
    """Why a document is left out, as one of this module's reasons; "" for one that stays."""
    if len(text) < filters.min_characters:
        return SHORT
    if filters.max_characters and len(text) > filters.max_characters:
        return LONG
    if filters.max_symbol_share and symbol_share(text) > filters.max_symbol_share:
        return SYMBOLS
    if filters.max_repetition and repetition(text) > filters.max_repetition:
        return REPETITION
    return ""


def symbol_share(text: str) -> float:
    """Share of the characters that are no letter, mark, digit, blank or usual punctuation of any script.

    So symbols are Unicode's classes S (currency, arithmetic, arrows, emoji, U+FFFD for damaged characters) and C
    (control characters, but not line ends, tabs and the invisible joiners of many scripts), and # * @ \\ _ { }.
    The starter novels have at most 0.2% in a chapter, this project's own source files 3 to 5%.
    """
    if not text:
        return 0.0
    return int(np.count_nonzero(_is_symbol()[_codes(text)])) / len(text)


def repetition(text: str) -> float:
    """Share of the characters that the document has said before: as whole lines or as phrases, whichever is more.

    A line counts without the blanks around it when an earlier one is equal. A character counts as part of a phrase when
    it lies in some PHRASE characters that stood before within the same WINDOW; so words that go on and on count too.
    """
    if not text:
        return 0.0
    return max(_repeated_lines(text), _repeated_phrases(_codes(text))) / len(text)


def _repeated_lines(text: str) -> int:
    """Characters in lines that are equal to an earlier one."""
    lines = [line.strip() for line in text.splitlines()]
    return sum(map(len, lines)) - sum(map(len, set(lines)))


def _repeated_phrases(codes: npt.NDArray[np.uint32]) -> int:
    """Characters in phrases that stood before."""
    return sum(_repeated_in_window(codes[start : start + WINDOW]) for start in range(0, len(codes), WINDOW))


def _repeated_in_window(codes: npt.NDArray[np.uint32]) -> int:
    """Every phrase gets a number, its Karp-Rabin fingerprint; equal ones meet in a table of first places."""
    count = len(codes) - PHRASE + 1
    if count < 2:
        return 0
    powers, inverses = _powers()
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    numbers = (sums[PHRASE:] - sums[:-PHRASE]) * inverses[:count]
    bits = (2 * count).bit_length()  # two to four slots for each number
    slots = (numbers >> np.uint64(64 - bits)).astype(np.int64)
    places, first = np.arange(count, dtype=np.int32), np.empty(1 << bits, np.int32)
    first[slots[::-1]] = places[::-1]  # of places with the same slot the last written stays: the first in the text
    earlier = first[slots]
    again = np.flatnonzero(earlier < places)
    again = again[numbers[earlier[again]] == numbers[again]]
    return int(np.minimum(np.diff(again), PHRASE).sum()) + PHRASE if len(again) else 0


def _codes(text: str) -> npt.NDArray[np.uint32]:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@cache
def _powers() -> tuple[_Numbers, _Numbers]:
    """Powers of _FACTOR and of its inverse modulo 2^64, uint64 [WINDOW] each."""
    return _series(_FACTOR), _series(pow(_FACTOR, -1, 2**64))


def _series(factor: int) -> _Numbers:
    factors = np.full(WINDOW, factor, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


@cache
def _is_symbol() -> npt.NDArray[np.bool_]:
    """Whether a code point is a symbol, bool [0x110000]; a tenth of a second once."""
    usual = {name: name[0] in "LMNPZ" or name == "Cf" for name in _CLASSES.split()}
    text = np.fromiter(map(usual.__getitem__, map(unicodedata.category, map(chr, range(0x110000)))), np.bool_, 0x110000)
    text[list(map(ord, "\t\n\v\f\r\x85"))] = True
    text[list(map(ord, _MARKUP))] = False
    return ~text
