"""What every source of texts can do, wherever the texts come from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.store import Refused

Position = dict[str, Any]
"""Where a reader goes on, as plain JSON; only the reader that gave it understands it."""


class Unreachable(Refused):
    """A source far away does not answer now; it may in a moment."""


@dataclass(frozen=True, slots=True)
class Text:
    """One document, and the file that it came from."""

    text: str
    file: str
    """Path below the source; of a hub dataset the path in its repository, or its split."""


class Reader(Protocol):
    """The texts of one source, always in the same order."""

    bytes: int | None
    """Of text in it, as far as that is known without reading it; of jsonl and csv the size of the files."""
    licence: str
    """As the source states it, "" where it does not."""

    def texts(self, start: Position | None = None) -> Iterator[Text]:
        """All texts, or those after `start`; blank ones are left out, and line ends around a text.

        Raises Refused with the file and the place for what cannot be read, for a source without any text, and for
        one that is not the source any more in which `start` was a place. What the other methods say counts from
        `start` as soon as this is called.
        """

    def position(self) -> Position:
        """Where to go on after the last text that `texts` gave."""

    def done(self) -> float | None:
        """Share of the source that was read so far, 0 to 1; None where that is not known."""

    def describe(self, documents: Mapping[str, int], position: Position | None = None) -> list[dict[str, Any]]:
        """For the card, what lies before `position` (None: what was read so far).

        `documents` says how many of each file were kept.
        """


def bare(text: str | None) -> str:
    """The text without line ends around it; "" for a blank one."""
    stripped = (text or "").strip("\r\n")
    return stripped if stripped.strip() else ""
