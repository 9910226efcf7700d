"""What is said reaches the log, and a log that takes nothing ends nobody."""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.say import say


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output is a file on a disk without room."""
    with contextlib.suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as log:  # closing it fails, too
        monkeypatch.setattr(sys, "stdout", log)
        yield
        monkeypatch.undo()


def test_a_line_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(log, encoding="utf-8"))
    say("the loss falls")
    assert log.getvalue() == b"the loss falls\n"


def test_a_full_disk_does_not_matter(full_disk: None) -> None:
    for _ in range(3):
        say("the loss falls")


def test_a_character_that_the_log_lacks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(log, encoding="ascii"))
    say("home/\udcfcbung")
    say("the loss falls")
    assert log.getvalue() == b"the loss falls\n"
