"""Reading on when a source far away does not answer for a while."""

from collections.abc import Callable, Iterator
from threading import Event

from engine.data.reader import Position, Reader, Text, Unreachable

PAUSES = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each new try: together a minute, in which most breaks of a network end."""


def texts(
    reader: Reader, start: Position | None, halt: Event, tell: Callable[[str], None], pauses: tuple[float, ...] = PAUSES
) -> Iterator[Text]:
    """The reader's texts after `start`, without a gap where it could not be reached in between.

    `tell` gets a sentence before each pause, and "" when it is over. Ends early when `halt` is set. Raises Unreachable
    when no try after a text has reached it.
    """
    return _texts(reader, reader.texts(start), halt, tell, pauses)


def _texts(
    reader: Reader, found: Iterator[Text], halt: Event, tell: Callable[[str], None], pauses: tuple[float, ...]
) -> Iterator[Text]:
    tries = 0
    while True:
        try:
            text = next(found, None)
        except Unreachable:
            if tries == len(pauses):
                raise
            place, pause, tries = reader.position(), pauses[tries], tries + 1
            tell(f"The hub does not answer, trying again in {pause:g} s ({tries} of {len(pauses)})")
            if halt.wait(pause):
                return
            found = reader.texts(place)
            continue
        if tries:
            tries = 0
            tell("")
        if text is None:
            return
        yield text
