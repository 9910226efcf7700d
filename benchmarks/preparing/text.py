"""The text that every side of the benchmark reads: one JSON-lines file, made of a source as often as is needed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.data import documents
from engine.store import Refused


@dataclass(frozen=True)
class Text:
    """A JSON-lines file of documents, no two of them equal."""

    path: Path
    documents: int
    bytes: int
    copies: int
    """How often the source was read."""


def write(source: Path, wanted: int, path: Path) -> Text:
    """Write documents of `source` until they have `wanted` bytes; raises Refused where it has none.

    Where the source is too short it is read again, with the number of the copy in front of each document: equal ones
    would be dropped as duplicates.
    """
    count = size = 0
    with path.open("w", encoding="utf-8") as file:
        for copy, text in _endless(source):
            marked = f"({copy})\n{text}" if copy > 1 else text
            file.write(json.dumps({"text": marked}, ensure_ascii=False) + "\n")
            count, size = count + 1, size + len(marked.encode())
            if size >= wanted:
                break
    return Text(path, count, size, copy)


def read(path: Path) -> list[str]:
    """All documents of such a file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def _endless(source: Path) -> Iterator[tuple[int, str]]:
    copy = 0
    while True:
        copy += 1
        count = 0
        for text in documents(source):
            count += 1
            yield copy, text
        if not count:
            raise Refused(f"{source.name} has no text.")
