"""The documents of a recipe, read in order, filtered and without equals, in chunks that fit into memory."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from engine.data import patience
from engine.data.filters import dropped
from engine.data.recipe import Recipe
from engine.data.seen import Seen
from engine.data.sources import Reader, Text
from engine.data.split import Document

CHUNK_BYTES, SMALLEST_CHUNK = 12_000_000, 256_000
"""Of text in a chunk. The most is some five seconds of work, which is what a stop or a kill costs."""
MOST_DOCUMENTS = 100_000
"""In a chunk: where texts are a few letters long, what is kept of each takes more memory than the text."""
LONGEST = 1_000_000
"""Characters of a document; a longer text becomes several. Encoding takes about a hundred bytes for each."""
DUPLICATE = "equal to an earlier one"
WAIT = 0.2
"""Seconds between two looks at a chunk that is being read."""


@dataclass(frozen=True)
class Place:
    """How far the sources were read, and what became of their documents."""

    positions: list[dict[str, Any] | None]
    """Of each source, where its reader goes on; None at its beginning."""
    taken: list[int]
    """Bytes of text kept of each source."""
    ended: list[bool]
    number: int = 0
    """Documents read so far."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Documents left out, by reason."""

    @classmethod
    def beginning(cls, sources: int) -> "Place":
        """Before the first document of so many sources."""
        return cls([None] * sources, [0] * sources, [False] * sources)


@dataclass(frozen=True)
class Chunk:
    """Some documents that follow each other, and where reading goes on after them."""

    documents: list[Document]
    after: Place
    last: bool
    read: list[float | None]
    """Share of each source that was read by then, where that is known."""


class Chunks:
    """Reads on from a place until all is read, or `halt` is set by another thread.

    Sources with weights are interleaved so that their shares of the bytes hold at any moment, and end together with
    the first that has no more. Without weights they follow each other.
    """

    def __init__(self, recipe: Recipe, readers: Sequence[Reader], seen: Seen | None, start: Place) -> None:
        """`seen`: the documents before `start`, where equal ones are to be left out."""
        self.recipe, self.readers, self.seen, self.halt = recipe, readers, seen, Event()
        self.positions, self.taken, self.ended = list(start.positions), list(start.taken), list(start.ended)
        self.number, self.dropped = start.number, Counter(start.dropped)
        # A small budget shall not read a large source: five bytes are about a token.
        wanted = 5 * recipe.tokens if recipe.tokens else CHUNK_BYTES
        self.limit = min(CHUNK_BYTES, max(SMALLEST_CHUNK, wanted))
        self.trouble = ""
        """Why there are no new documents just now, where it is known."""
        self.streams = [
            patience.texts(reader, position, self.halt, self._tell)
            for reader, position in zip(readers, start.positions, strict=True)
        ]

    def __iter__(self) -> Iterator[Chunk]:
        last = False
        while not last:
            documents: list[Document] = []
            size = 0
            while not last and size < self.limit and len(documents) < MOST_DOCUMENTS:
                found = self._next()
                documents += found
                size += sum(document.bytes for document in found)
                last = not found
            if self.halt.is_set():
                return
            yield Chunk(documents, self._place(), last, [reader.done() for reader in self.readers])

    def _tell(self, trouble: str) -> None:
        self.trouble = trouble

    def _next(self) -> list[Document]:
        """What stays of the next text of which something stays; nothing at the end of everything."""
        while not self.halt.is_set() and (turn := self._turn()) is not None:
            text = next(self.streams[turn], None)
            if text is None:
                self.ended[turn] = True
                continue
            why = dropped(text.text, self.recipe.filters)
            if why:
                self.number += 1
                self.dropped[why] += 1
                continue
            if kept := [part for part in self._parts(text, turn) if self._is_new(part)]:
                return kept
        return []

    def _parts(self, text: Text, turn: int) -> Iterator[Document]:
        """The text as documents: one, or several where it is so long that its tokens would fill the memory."""
        start, whole = 0, text.text
        while start < len(whole):
            end = start + LONGEST
            if end < len(whole):
                cuts = (whole.rfind(blank, start + LONGEST // 2, end) + 1 for blank in "\n ")
                end = next((cut for cut in cuts if cut), end)
            yield Document.of(text.file, whole[start:end], turn)
            start = end

    def _is_new(self, document: Document) -> bool:
        """Whether it is unlike all before; counts it either way."""
        self.number += 1
        if self.seen is not None and not self.seen.is_new(document.digest[:16], self.number):
            self.dropped[DUPLICATE] += 1
            return False
        self.taken[document.source] += document.bytes
        return True

    def _turn(self) -> int | None:
        """The source that the next document comes from."""
        if self.recipe.mixed:
            shares = [taken / source.weight for taken, source in zip(self.taken, self.recipe.sources, strict=True)]
            return None if any(self.ended) else shares.index(min(shares))
        return self.ended.index(False) if False in self.ended else None

    def _place(self) -> Place:
        positions: list[dict[str, Any] | None] = [reader.position() for reader in self.readers]
        return Place(positions, list(self.taken), list(self.ended), self.number, dict(sorted(self.dropped.items())))


def what_ended(recipe: Recipe, chunk: Chunk, enough: bool) -> str:
    """What ended a mixture with this chunk, and how much of the other sources was used; "" for other recipes."""
    if not recipe.mixed:
        return ""
    titles = [f"“{source.title}”" for source in recipe.sources]
    over = [] if enough else [title for title, ended in zip(titles, chunk.after.ended, strict=True) if ended]
    used = " and ".join(
        f"of {title} {'a part' if read is None else _percent(read)}"
        for title, read in zip(titles, chunk.read, strict=True)
        if title not in over
    )
    why = f"{' and '.join(over)} was read to its end" if over else f"the {recipe.tokens:,} tokens are reached"
    return f"Ended because {why}; {used} was used." if used else f"Ended because {why}."


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 or not share else "less than 1%"


def read_ahead(chunks: Chunks, waiting: Callable[[], None]) -> Generator[Chunk, None, None]:
    """The chunks, each read in a thread while the one before is used; `waiting` is called while one is waited for."""
    pool, coming = ThreadPoolExecutor(1, "chunks"), iter(chunks)
    try:
        future = pool.submit(next, coming, None)
        while True:
            while not wait([future], WAIT).done:
                waiting()
            if (chunk := future.result()) is None:
                return
            future = pool.submit(next, coming, None)
            yield chunk
    finally:
        chunks.halt.set()
        # A source that waits for its network is not waited for; nothing that it still brings is used.
        pool.shutdown(wait=False, cancel_futures=True)
