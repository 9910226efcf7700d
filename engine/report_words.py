"""The little Markdown that people may write into a report, read into plain parts: no part of it is ever markup.

A blank line begins a paragraph, lines that begin with "- " are a list; **bold**, *emphasis*, `code` and
[words](https://address). Everything else is text.
"""

import re
from dataclasses import dataclass
from typing import Literal

from engine.phrases import harmless

_KEPT = "\u200c\u200d"
"""Invisible, and part of Persian words and of emoji."""
_MARKED = re.compile(
    r"\*\*(?P<strong>[^*\n]+)\*\*|\*(?P<em>[^*\s](?:[^*\n]*[^*\s])?)\*|`(?P<code>[^`\n]+)`"
    r"|\[(?P<label>[^\[\]\n]+)\]\((?P<to>https?://[^\s()<>\"'\\]{1,500})\)"
)
Kind = Literal["text", "strong", "em", "code", "link", "break"]


@dataclass(frozen=True)
class Span:
    """A piece of a line: its words, what they are, and for a link where to."""

    text: str
    kind: Kind = "text"
    to: str = ""


@dataclass(frozen=True)
class Paragraph:
    """Spans one after the other."""

    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Points:
    """A list."""

    points: tuple[tuple[Span, ...], ...]


def parse(text: str) -> tuple[Paragraph | Points, ...]:
    """What a person wrote, part by part."""
    found: list[Paragraph | Points] = []
    for part in re.split(r"\n\s*\n", clean(text).strip()):
        lines = [line.strip() for line in part.splitlines() if line.strip()]
        while lines:
            points = bool(_point(lines[0]))
            many = next((at for at, line in enumerate(lines) if bool(_point(line)) is not points), len(lines))
            some, lines = lines[:many], lines[many:]
            if points:
                found.append(Points(tuple(_spans(_point(line)) for line in some)))
            else:
                found.append(Paragraph(_lines(some)))
    return tuple(found)


def clean(text: str) -> str:
    """A text of a model or a person without what is invisible and acts: control characters, turned directions."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(one if harmless(one) or one in "\n\t" or one in _KEPT else "\ufffd" for one in text)


def line(text: str) -> str:
    """The same in one line."""
    return " ".join(clean(text).split())


def _point(text: str) -> str:
    """What follows the dash of a line of a list, "" for any other line."""
    return text[2:].strip() if text.startswith(("- ", "* ")) else ""


def _lines(lines: list[str]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for text in lines:
        spans += [Span("", "break")] if spans else []
        spans += _spans(text)
    return tuple(spans)


def _spans(text: str) -> tuple[Span, ...]:
    spans, at = [], 0
    for found in _MARKED.finditer(text):
        if found.start() > at:
            spans.append(Span(text[at : found.start()]))
        if found["to"]:
            spans.append(Span(found["label"], "link", found["to"]))
        elif found["strong"]:
            spans.append(Span(found["strong"], "strong"))
        elif found["em"]:
            spans.append(Span(found["em"], "em"))
        else:
            spans.append(Span(found["code"], "code"))
        at = found.end()
    return (*spans, Span(text[at:])) if at < len(text) or not spans else tuple(spans)
