"""Reads hub sources (JSON on stdin: a list of cases) in a process of its own: the hub's address is read at import."""

import json
import sys
import time
from collections.abc import Iterator
from threading import Event
from typing import Any

from engine.config import ConfigError
from engine.data import hub, patience
from engine.data.reader import Position, Text
from engine.data.recipe import Source
from engine.data.sources import open_source
from engine.store import Refused


def read(words: str) -> dict[str, Any]:
    """All that a reader says of a source, and whether it goes on rightly from every place."""
    begun, found = time.monotonic(), list[Text]()
    try:
        source = Source.parse(words)
        reader = open_source(source)
        shares, positions = [], [reader.position()]
        for text in reader.texts():
            found.append(text)
            shares.append(reader.done())
            positions.append(json.loads(json.dumps(reader.position())))
        positions.append(reader.position())
        resumed = [list(rest(source, position)) for position in positions]
    except (Refused, ConfigError) as error:
        seconds = time.monotonic() - begun
        return {"error": str(error), "kind": type(error).__name__, "given": len(found), "seconds": seconds}
    return {
        "texts": [text.text for text in found],
        "files": [text.file for text in found],
        "shares": shares,
        "resumes": resumed == [found[number:] for number in range(len(positions))],
        "licence": reader.licence,
        "bytes": reader.bytes,
        "card": reader.describe({"a": 2, "b": 1}),
    }


def rest(source: Source, position: Position) -> Iterator[Text]:
    """The texts after a position."""
    reader = open_source(source)
    texts = reader.texts(position)
    assert reader.position() == position
    return texts


def read_after_a_push(before: str, after: str) -> list[str]:
    """Begun at one commit, gone on with when another is the newest."""
    reader = open_source(Source.parse(before))
    begun = [next(reader.texts()).text]
    position: Position = reader.position()
    return begun + [text.text for text in open_source(Source.parse(after)).texts(position)]


def read_patiently(words: str, pauses: list[float]) -> dict[str, Any]:
    """The texts of a source that breaks off in between, what was said meanwhile, and the error at the end."""
    told, found = list[str](), list[str]()
    try:
        reader = open_source(Source.parse(words))
        for text in patience.texts(reader, None, Event(), told.append, tuple(pauses)):
            found.append(text.text)
    except Refused as error:
        return {"texts": found, "told": told, "error": str(error)}
    return {"texts": found, "told": told, "error": ""}


if __name__ == "__main__":
    cases = json.load(sys.stdin)
    hub.PATIENCE = cases.get("patience", hub.PATIENCE)
    answers = {words: read(words) for words in cases["read"]}
    pushed = [read_after_a_push(*pair) for pair in cases.get("pushed", [])]
    patient = {words: read_patiently(words, pauses) for words, pauses in cases.get("patient", {}).items()}
    json.dump({"read": answers, "pushed": pushed, "patient": patient, "torch": "torch" in sys.modules}, sys.stdout)
