"""docs/RELIABILITY.md names tests that exist, and a test or the reason for none in every row."""

import re
from functools import cache

import pytest

from engine.home import PROJECT

DOCUMENT = (PROJECT / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", DOCUMENT)
HEADS = ("| #", "| fault |", "| input", "| threat |")
ROWS = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith(HEADS)]


@cache
def names_in(file: str) -> set[str]:
    path = PROJECT / "tests" / file
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M)) if path.exists() else set()


def test_every_test_that_is_named_exists() -> None:
    missing = sorted({f"{file}::{name}" for file, name in NAMED if name not in names_in(file)})

    assert len(NAMED) > 100
    assert not missing, missing


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_every_row_has_a_test_or_says_where_it_belongs(row: str) -> None:
    assert re.search(r"`[\w/]+\.py::test_\w+`", row) or "belongs to the issue" in row


def test_every_fault_has_a_row() -> None:
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", DOCUMENT, re.M)] == list(range(1, 35))
