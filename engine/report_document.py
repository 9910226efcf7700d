"""What a report is made of, whatever it is written as: sections of sentences, tables, commands, exhibits, a picture.

engine/report_sections.py makes it of the facts, engine/report_markdown.py and report_html.py write it, the page draws
it. All texts in it are plain: whoever writes it makes them harmless.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from engine.report_words import Paragraph, Points


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A paragraph of ours; a quiet one is a note."""

    text: str
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a person wrote."""

    parts: tuple[Paragraph | Points, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells; the first cell of each names it. Without a head, a list of facts."""

    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ()
    about: str = ""
    """For who cannot see it."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to type, with what it is for."""

    about: str
    command: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The training plot."""

    about: str


@dataclass(frozen=True, kw_only=True)
class Room:
    """The exhibits of one category."""

    category: str
    exhibits: tuple["Kept", ...]
    more: str = ""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One exhibit."""

    id: int
    title: str
    prompt: str
    text: str
    note: str
    age: str
    settings: str


Part = Sentence | Written | Table | Command | Picture | Room


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report under its own title; `block` is what a person may write at its place."""

    name: str
    title: str
    parts: tuple[Part, ...] = ()
    block: str = ""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report."""

    title: str
    byline: str
    interim: str
    """Says that the run is not at its end; "" where it is."""
    summary: str
    sections: tuple[Section, ...]

    def as_json(self) -> dict[str, Any]:
        """For the page; each part says what it is."""
        sections = []
        for section in self.sections:
            parts = [{"kind": type(part).__name__.lower(), **asdict(part)} for part in section.parts]
            sections.append({"name": section.name, "title": section.title, "block": section.block, "parts": parts})
        return {
            "title": self.title,
            "byline": self.byline,
            "interim": self.interim,
            "summary": self.summary,
            "sections": sections,
        }


def told(rows: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The rows whose second cell says something."""
    return tuple(row for row in rows if row[1])
