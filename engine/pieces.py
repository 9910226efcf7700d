"""Which piece of a tokenizer covers which part of a text: what the tokenizer view shows."""

from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

from engine.config import ConfigError
from engine.store import Refused
from engine.tokenizer import spellings


@dataclass(frozen=True)
class Piece:
    """One token, or a part of the text that became none."""

    id: int | None
    """None where the tokenizer has no piece for this part of the text: it is lost, or implied, like a blank."""
    token: str
    """As the vocabulary spells it, for example Ġthe or ▁the; "" where there is none."""
    text: str
    """The characters it covers; for parts of one character their bytes, like "E4 BD"; "" where it covers nothing."""
    start: int
    end: int
    """UTF-8 bytes of the whole text that it covers, from `start` up to, not including, `end`."""
    whole: bool
    """Whether it begins and ends between two characters."""


def pieces(tokenizer: Tokenizer, text: str) -> list[Piece]:
    """The tokens of a text in order, with what each covers; no part of the text is left out.

    Where a tokenizer rewrites a text (lower case, other forms of a letter), a piece covers what it was made from, and
    pieces of one character that cannot be told apart each cover all of it. Raises ConfigError for what is no text.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("The text holds half of a surrogate pair, which is no character.") from error
    encoding = tokenizer.encode(text, add_special_tokens=False)
    spans = _by_bytes(tokenizer, encoding, raw)
    if spans is None:
        spans = _by_characters(encoding, text)
    return list(_with_gaps(encoding, spans, raw))


Span = tuple[int, int]


def _by_bytes(tokenizer: Tokenizer, encoding: Encoding, raw: bytes) -> list[Span] | None:
    """Exact spans, where the tokens spell the text one after the other; bytes without a piece may lie between."""
    try:
        spelled = spellings(tokenizer)
    except Refused:
        return None
    known = {spelling for spelling in spelled.values() if len(spelling) == 1}
    spans, place = [], 0
    for order, number in enumerate(encoding.ids):
        spelling = spelled[number]
        if not spelling:  # a special piece: it stands for what the vocabulary cannot spell
            return None
        if order == 0 and not raw.startswith(spelling):
            spelling = spelling.removeprefix(b" ")  # many tokenizers put a blank before the first word
        while not raw.startswith(spelling, place):
            if place >= len(raw) or raw[place : place + 1] in known:
                return None
            place += 1
        spans.append((place, place + len(spelling)))
        place += len(spelling)
    return spans


def _by_characters(encoding: Encoding, text: str) -> list[Span]:
    """Spans from the offsets that the library gives in characters; tokens within one character share its bytes."""
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode()))
    spans: list[Span] = []
    for token, (begin, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        if token.strip("▁Ġ") == "" and text[begin:end].strip():
            end = begin  # a blank that the tokenizer put before a word
        start, stop, covered = places[begin], places[end], spans[-1][1] if spans else 0
        spans.append((covered, stop) if start < covered < stop else (start, stop))
    return spans


def _with_gaps(encoding: Encoding, spans: list[Span], raw: bytes) -> Iterator[Piece]:
    """A piece for each token, and one without a token for each part of the text between them."""
    place = 0
    for number, token, (start, end) in zip(encoding.ids, encoding.tokens, spans, strict=True):
        if start > place:
            yield _piece(None, "", place, start, raw)
        yield _piece(number, token, start, end, raw)
        place = max(place, end)
    if place < len(raw):
        yield _piece(None, "", place, len(raw), raw)


def _piece(number: int | None, token: str, start: int, end: int, raw: bytes) -> Piece:
    whole = not any(raw[place : place + 1] and raw[place] & 0xC0 == 0x80 for place in (start, end))
    part = raw[start:end]
    return Piece(number, token, part.decode() if whole else part.hex(" ").upper(), start, end, whole)
