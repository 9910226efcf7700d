"""A report as Markdown. What models and people wrote stays text: none of it is markup, or a way out of a fence."""

import re
from collections.abc import Iterator

from engine.report_document import Command, Document, Part, Picture, Room, Section, Sentence, Table, Written
from engine.report_words import Paragraph, Points, Span, clean

PICTURE = "training.png"
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~$!&]")
_LEADING = re.compile(r"^(\s*)([-+=]|\d+[.)](?=\s|$))", re.M)
"""What would begin a list, a rule or a heading at the start of a line."""
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|mailto|www)([:.])")
"""What some readers of Markdown make a link of by themselves."""


def markdown(document: Document, picture: str = PICTURE) -> str:
    """The whole report; `picture` is the file of its training plot, "" for none."""
    lines = [f"# {escaped(document.title)}", f"*{escaped(document.byline)}*"]
    lines += [f"> **{escaped(document.interim)}**"] if document.interim else []
    lines.append(escaped(document.summary))
    for section in document.sections:
        parts = list(_parts(section, picture))
        lines += [f"## {escaped(section.title)}", *parts] if parts else []
    return "\n\n".join(lines) + "\n"


def _parts(section: Section, picture: str) -> Iterator[str]:
    for part in section.parts:
        yield from part_of(part, picture)


def part_of(part: Part, picture: str = PICTURE) -> Iterator[str]:
    """The paragraphs of one part."""
    if isinstance(part, Sentence):
        yield escaped(part.text)
    elif isinstance(part, Written):
        yield from (written(one) for one in part.parts)
    elif isinstance(part, Table):
        yield table(part)
    elif isinstance(part, Command):
        yield f"**{escaped(part.about)}**" + (f" {escaped(part.remark)}" if part.remark else "")
        if part.command:
            yield fenced(part.command, "sh")
    elif isinstance(part, Picture):
        if picture:
            yield f"![{escaped(part.about)}]({picture})"
    else:
        yield from _room(part)


def _room(room: Room) -> Iterator[str]:
    yield f"### {escaped(room.category)}"
    for one in room.exhibits:
        yield f"#### {escaped(one.title)}"
        settings = f" Asked with {escaped(one.settings)}." if one.settings else ""
        yield f"{escaped(one.age[:1].upper() + one.age[1:])}.{settings}"
        if one.prompt:
            yield "It was asked to go on with:"
            yield fenced(one.prompt)
        if one.text:
            yield "It said:"
            yield fenced(one.text)
        if one.note:
            yield f"*{escaped(one.note)}*"
    if room.more:
        yield escaped(room.more)


def table(part: Table) -> str:
    """A table; every one needs a head, of blanks where it has none."""
    wide = max(map(len, part.rows))
    head = part.head or ("",) * wide
    rows = [head, ("---",) * wide, *part.rows]
    return "\n".join("| " + " | ".join(cell if cell == "---" else escaped(cell) for cell in row) + " |" for row in rows)


def fenced(text: str, kind: str = "text") -> str:
    """A text as it is, behind a fence that is longer than any in it."""
    inner = clean(text)
    longest = max((len(run) for run in re.findall(r"`+", inner)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{inner}\n{fence}"


def written(part: Paragraph | Points) -> str:
    """What a person wrote, with the few marks that they may use."""
    if isinstance(part, Points):
        return "\n".join(f"- {_line(point)}" for point in part.points)
    return _line(part.spans)


def _line(spans: tuple[Span, ...]) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: Span) -> str:
    if span.kind == "break":
        return "\\\n"
    if span.kind == "code":
        return f"`{clean(span.text)}`"  # no backtick is in it
    text = escaped(span.text)
    if span.kind == "link":
        return f"[{text}](<{span.to}>)"
    marks = {"strong": "**", "em": "*"}.get(span.kind, "")
    return f"{marks}{text}{marks}"


def escaped(text: str) -> str:
    """A text in one line as Markdown that shows just that."""
    inner = clean(text).replace("\n", " ").replace("\t", " ")
    inner = _SPECIAL.sub(lambda found: _NAMED.get(found[0], f"\\{found[0]}"), inner)
    inner = _ADDRESS.sub(r"\1\\\2", inner)
    return _LEADING.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", inner)


_NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
