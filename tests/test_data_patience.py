"""A source that does not answer for a while: read on without a gap, told meanwhile, and stopped at once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from books import silent

from engine.data import Progress, Recipe, Source, Stopped, open_dataset, patience, prepare
from engine.data import prepare as preparing
from engine.data.files import Files
from engine.data.reader import Position, Text, Unreachable
from engine.data.sources import open_source
from engine.home import Home
from engine.store import Refused

TEXTS = [f"letter {number}: the boat waited for rain and for the {number}th gull" for number in range(60)]


class Shaky:
    """The files of a folder over a network that breaks before some of the texts; each break comes once."""

    def __init__(self, inside: Files, breaks: list[int]) -> None:
        self.inside, self.breaks, self.given = inside, breaks, 0
        self.bytes, self.licence = inside.bytes, ""
        self.done, self.describe, self.position = inside.done, inside.describe, inside.position

    def texts(self, start: Position | None = None) -> Iterator[Text]:
        return self._texts(self.inside.texts(start))

    def _texts(self, found: Iterator[Text]) -> Iterator[Text]:
        while True:
            if self.given in self.breaks:
                self.breaks.remove(self.given)
                raise Unreachable("The hub cannot be reached.")
            text = next(found, None)
            if text is None:
                return
            self.given += 1
            yield text


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    (tmp_path / "letters").mkdir()
    for part in range(3):
        (tmp_path / "letters" / f"{part}.txt").write_text("\f".join(TEXTS[20 * part : 20 * part + 20]))
    return tmp_path / "letters"


def shaky(folder: Path, *breaks: int) -> Shaky:
    found = open_source(Source(str(folder)))
    assert isinstance(found, Files)
    return Shaky(found, list(breaks))


def test_texts_have_no_gap_and_none_comes_twice(letters: Path) -> None:
    told: list[str] = []
    reader = shaky(letters, 0, 7, 7, 20, 59, 60)
    found = patience.texts(reader, None, threading.Event(), told.append, (0.0, 0.0))
    assert [text.text for text in found] == TEXTS
    assert told.count("") == 5 and "The hub does not answer, trying again in 0 s (2 of 2)" in told


def test_after_the_last_try_the_error_comes_and_a_later_attempt_goes_on(letters: Path) -> None:
    reader = shaky(letters, 30, 30, 30)
    found = patience.texts(reader, None, threading.Event(), lambda _: None, (0.0, 0.0))
    first: list[str] = []
    with pytest.raises(Unreachable):
        first.extend(text.text for text in found)
    again = shaky(letters)
    assert [text.text for text in again.texts(reader.position())] == TEXTS[30:]
    assert list(patience.PAUSES) == sorted(patience.PAUSES) and 55 < sum(patience.PAUSES) < 70


def test_other_errors_are_not_waited_for(letters: Path) -> None:
    (letters / "1.txt").write_bytes(b"\xff")
    found = patience.texts(open_source(Source(str(letters))), None, threading.Event(), pytest.fail)
    with pytest.raises(Refused, match=r"1\.txt is not UTF-8"):
        list(found)


def test_a_job_reads_on_and_says_why_it_waits(home: Home, letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, said = Recipe((Source(str(letters)),), "bpe:280"), list[str]()
    prepare(home, "calm", recipe, report=silent, stopped=lambda: False)
    monkeypatch.setattr(preparing_module(), "open_source", lambda *_: shaky(letters, 5, 41))
    monkeypatch.setattr(patience.texts, "__defaults__", ((0.5,),))
    prepare(home, "shaky", recipe, report=lambda now: said.append(now.message), stopped=lambda: False)
    assert "The hub does not answer, trying again in 0.5 s (1 of 1)" in said
    assert open_dataset(home, "shaky").train.tobytes() == open_dataset(home, "calm").train.tobytes()


def test_a_stop_is_heard_while_it_waits(home: Home, letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()

    def report(now: Progress) -> None:
        if now.message.startswith("The hub does not answer"):
            waits.set()

    monkeypatch.setattr(preparing_module(), "open_source", lambda *_: shaky(letters, 5))
    monkeypatch.setattr(patience.texts, "__defaults__", ((600.0,),))
    with pytest.raises(Stopped):
        prepare(home, "stopped", Recipe((Source(str(letters)),), "bpe:280"), report=report, stopped=waits.is_set)
    reading = [thread for thread in threading.enumerate() if thread.name.startswith("chunks")]
    for thread in reading:
        thread.join(5)
        assert not thread.is_alive(), "the thread that waits is told too"


def preparing_module() -> Any:
    """engine.data.prepare as a module; the package gives the function that name."""
    import sys

    assert callable(preparing)
    return sys.modules["engine.data.prepare"]
