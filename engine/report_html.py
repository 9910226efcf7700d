"""A report as one HTML file that needs nothing else: no script, its pictures in it, and all texts escaped."""

import base64
from collections.abc import Iterator
from html import escape as quoted
from pathlib import Path

from engine.report_document import Command, Document, Part, Picture, Room, Section, Sentence, Table, Written
from engine.report_words import Paragraph, Points, Span, clean

SHEET = "report.css"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MARK = (
    '<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><circle cx="16" cy="17" r="12"/>'
    '<path d="M16 11.5l1.6 2.7 3-.6-.6 3 2.7 1.6-2.7 1.6.6 3-3-.6L16 25l-1.6-2.8-3 .6.6-3-2.7-1.6 2.7-1.6-.6-3 3 .6z"/>'
    "</svg>"
)
LONG = 500
"""Characters of an answer that takes the width of the page."""
SIGNS = {
    "The Good": ("good", "M4 10.5l4 4 8-9"),
    "The Strange": ("strange", "M10 10c0-3 5-3 5 1s-7 6-10 2 1-10 6-9"),
    "The Hallucination": ("hallucination", "M2 10c4-6 12-6 16 0-4 6-12 6-16 0M10 8.2v3.6"),
}
OWN = ("own", "M5 10h10M10 5v10")


def html(document: Document, light: bytes, dark: bytes) -> str:
    """The whole report; `light` and `dark` are its training plot as PNG, b"" for none."""
    title = escaped(document.title)
    interim = f'<p class="interim">{escaped(document.interim)}</p>' if document.interim else ""
    sheet = Path(__file__).with_name(SHEET).read_text(encoding="utf-8")
    sections = "\n".join(_section(section, light, dark) for section in document.sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="content-security-policy" content="{POLICY}">
<title>{title}</title>
<style>
{sheet.strip()}
</style>
</head>
<body>
<main>
<header>
{MARK}
<h1>{title}</h1>
<p class="byline">{escaped(document.byline)}</p>
{interim}
<p class="summary">{escaped(document.summary)}</p>
</header>
{sections}
<footer>Made with Blueberry Studio.</footer>
</main>
</body>
</html>
"""


def _section(section: Section, light: bytes, dark: bytes) -> str:
    parts = "\n".join(text for part in section.parts for text in _part(part, light, dark))
    if not parts:
        return ""
    name = quoted(section.name)
    title = f'<h2 id="{name}-title">{escaped(section.title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">\n{title}\n{parts}\n</section>'


def _part(part: Part, light: bytes, dark: bytes) -> Iterator[str]:
    if isinstance(part, Sentence):
        yield f'<p class="note">{escaped(part.text)}</p>' if part.quiet else f"<p>{escaped(part.text)}</p>"
    elif isinstance(part, Written):
        yield from (written(one) for one in part.parts)
    elif isinstance(part, Table):
        yield _table(part)
    elif isinstance(part, Command):
        remark = f' <span class="note">{escaped(part.remark)}</span>' if part.remark else ""
        command = f"<pre><code>{escaped(part.command)}</code></pre>" if part.command else ""
        yield f'<div class="command"><p>{escaped(part.about)}{remark}</p>{command}</div>'
    elif isinstance(part, Picture):
        if light:
            yield (
                f'<figure><picture><source media="screen and (prefers-color-scheme: dark)" srcset="{_data(dark)}">'
                f'<img alt="{escaped(part.about)}" src="{_data(light)}"></picture></figure>'
            )
    else:
        yield _room(part)


def _room(room: Room) -> str:
    kind, path = SIGNS.get(room.category, OWN)
    sign = f'<svg viewBox="0 0 20 20" aria-hidden="true"><path d="{path}"/></svg>'
    cards = []
    for one in room.exhibits:
        note = f'<p class="note">{escaped(one.note)}</p>' if one.note else ""
        long = ' class="long"' if len(one.text) > LONG else ""
        settings = f"<br>{escaped(one.settings)}" if one.settings else ""
        said = f'<span class="prompt">{escaped(one.prompt)}</span>{escaped(one.text)}'
        cards.append(
            f'<article{long}><h4>{escaped(one.title)}</h4><p class="words">{said}</p>{note}'
            f'<p class="age">{escaped(one.age)}{settings}</p></article>'
        )
    more = f'<p class="note">{escaped(room.more)}</p>' if room.more else ""
    shelf = "\n".join(cards)
    title = f"<h3>{sign}{escaped(room.category)}</h3>"
    return f'<div class="room {kind}">{title}\n<div class="shelf">\n{shelf}\n</div>{more}</div>'


def _table(part: Table) -> str:
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in part.head)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    rows = "\n".join(
        f'<tr><th scope="row">{escaped(first)}</th>{"".join(f"<td>{escaped(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in part.rows
    )
    kind = "compared" if len(part.head) > 3 else "measured" if part.head else "facts"
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escaped(part.about)}"><table class="{kind}">{head}'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def written(part: Paragraph | Points) -> str:
    """What a person wrote, with the few marks that they may use."""
    if isinstance(part, Points):
        return "<ul>" + "".join(f"<li>{_line(point)}</li>" for point in part.points) + "</ul>"
    return f"<p>{_line(part.spans)}</p>"


def _line(spans: tuple[Span, ...]) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: Span) -> str:
    if span.kind == "break":
        return "<br>"
    if span.kind == "link":
        return f'<a href="{quoted(span.to)}" rel="noopener noreferrer">{escaped(span.text)}</a>'
    return escaped(span.text) if span.kind == "text" else f"<{span.kind}>{escaped(span.text)}</{span.kind}>"


def escaped(text: str) -> str:
    """A text as HTML that shows just that."""
    return quoted(clean(text))


def _data(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
