"""The hall of fame as one HTML file for others: no script, nothing fetched, every text escaped."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from math import exp, log
from pathlib import Path

from sqlite_utils import Database

from engine import store
from engine.phrases import age, loss
from engine.store import Row, Wanted

POINTS = 48
"""Of a curve in miniature."""
WIDTH, HEIGHT = 120.0, 40.0
AT_ONCE = 1000
"""Exhibits that are read at once."""
CHUNK = 100_000
"""Training losses that are read at once where a run was seldom evaluated."""
SIGNS = {
    "good": "M4 10.5l4 4 8-9",
    "strange": "M10 10c0-3 5-3 5 1s-7 6-10 2 1-10 6-9",
    "hallucination": "M2 10c4-6 12-6 16 0-4 6-12 6-16 0M10 8.2v3.6",
    "loop": "M15.5 7A6.5 6.5 0 1 0 16.4 11M16 3v4.2h-4.2",
    "memorised": "M10 5.5C8 4 5 3.8 2.5 4.3v11c2.5-.5 5.5-.3 7.5 1.2 2-1.5 5-1.7 7.5-1.2v-11C15 3.8 12 4 10 5.5v11",
}
OWN = "M5 10h10M10 5v10"
Point = tuple[float, float]

STYLE = Path(__file__).parent / "gallery.css"


def pages(db: Database, wanted: Wanted, sort: str = "newest", title: str = "Hall of fame") -> Iterator[str]:
    """The file in pieces: every exhibit that matches, the pinned first."""
    first, total = store.search_exhibits(db, wanted, 0, sort, AT_ONCE)
    yield _head(title, total)
    curves: dict[str, list[Point]] = {}
    page, shown = 0, first
    while shown:
        for one in shown:
            if one["run_id"] not in curves:
                curves[one["run_id"]] = curve(db, one["run_id"], one["run_kind"])
            yield _article(one, curves[one["run_id"]])
        page += 1
        shown = store.search_exhibits(db, wanted, page, sort, AT_ONCE)[0] if page * AT_ONCE < total else []
    yield (
        "</main>\n<footer>Made with Blueberry Studio: a small language model, trained from scratch, and what it said "
        "on the way. Age is the text that it had read when it spoke, in tokens.</footer>\n</body>\n</html>\n"
    )


def wanted_for(db: Database, run: str = "", category: str = "", tag: str = "", pinned: bool = False) -> Wanted:
    """The exhibits that a command line names; raises Refused where there is no such run."""
    wanted = Wanted(category=category, tag=tag, pinned=pinned)
    return replace(wanted, run_id=store.find_run(db, run)["id"]) if run else wanted


def _head(title: str, total: int) -> str:
    style = STYLE.read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    many = "1 exhibit" if total == 1 else f"{total:,} exhibits"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_escaped(title)}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{text(title)}</h1><p>{many}, as small language models said them while they grew up.</p></header>
<main>
"""


def text(value: str) -> str:
    """A text of anybody as HTML shows it: nothing in it is markup, and no sign of it turns the text around it."""
    return f"<bdi>{_escaped(value)}</bdi>"


def _escaped(value: str) -> str:
    return escape(value.encode("utf-8", "replace").decode().replace("\0", "\ufffd"))


def _article(one: Row, points: list[Point]) -> str:
    published = one["run_kind"] == "published"
    known = one["category"] if one["category"] in SIGNS else "own"
    name = store.CATEGORIES.get(one["category"]) or str(one["category"])
    sign = f'<svg viewBox="0 0 20 20" aria-hidden="true"><path d="{SIGNS.get(known, OWN)}"/></svg>'
    said = _continuation(one["prompt"], one["text"], published) if one["text"] else one["note"]
    note = f'<p class="note">{text(one["note"])}</p>' if one["note"] and one["text"] else ""
    tags = "".join(f"<li>{text(tag)}</li>" for tag in one["tags"])
    when = "published, December 2025" if published else age(one["tokens"])
    if not published and one["val_loss"] is not None:
        when += f", loss {loss(one['val_loss'])} when last measured"
    date = datetime.fromtimestamp(one["created_at"], UTC)
    kept = "" if published else f"<br>kept {date.day} {date:%B %Y}"
    return f"""<article{' class="pinned"' if one["place"] is not None else ""}>
<p class="mark {known}">{sign}{text(name)}</p>
<h2>{text(one["title"])}</h2>
<p class="words"><span class="prompt">{text(one["prompt"])}</span>{text(said)}</p>
{note}{f"<ul>{tags}</ul>" if tags else ""}
<div class="foot">{_miniature(points, one["tokens"])}<p><b>{text(one["run_name"])}</b><br>{when}{kept}</p></div>
</article>
"""


def _continuation(prompt: str, said: str, published: bool) -> str:
    """What was said after the prompt; a published excerpt may repeat it, and has lost the blank between."""
    if published and said.startswith(prompt):
        said = said[len(prompt) :]
    elif published and said[:1].isalnum():
        said = f" {said}"
    return said.rstrip()


def _miniature(points: list[Point], tokens: int) -> str:
    if len(points) < 2:
        return ""
    last, values = points[-1][0] or 1.0, [value for _, value in points]
    low, high = min(values), max(values)
    places = [
        (3 + (WIDTH - 6) * at / last, 5 + (HEIGHT - 10) * (1 - (value - low) / ((high - low) or 1.0)))
        for at, value in points
    ]
    near = min(range(len(points)), key=lambda index: abs(points[index][0] - tokens))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[near]
    return (
        f'<svg class="miniature" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="Loss over the run&#x27;s life, marked at {age(tokens)}">'
        f'<polyline points="{line}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4"/></svg>'
    )


def curve(db: Database, run_id: str, kind: str) -> list[Point]:
    """A run's loss over its tokens in up to POINTS points: on unseen text, or in training where that is short."""
    found = _numbers(db, "evals", run_id, "val_loss")
    if len(found) < POINTS // 4 and kind != "published":
        found = _numbers(db, "metrics", run_id, "train_loss")
    size = max(1, -(-len(found) // POINTS))
    groups = [found[at : at + size] for at in range(0, len(found), size)]
    # The geometric mean, so that one spike does not lift a whole group.
    return [(group[-1][0], exp(sum(log(value) for _, value in group) / len(group))) for group in groups]


def _numbers(db: Database, table: str, run_id: str, name: str) -> list[Point]:
    found: list[Point] = []
    cursor = 0
    while True:
        cursor, (tokens, values) = store.numbers_after(db, table, run_id, ("tokens", name), cursor, CHUNK)
        if not cursor:
            return found
        pairs = zip(json.loads(tokens), json.loads(values), strict=True)
        found += [(float(at), float(value)) for at, value in pairs if value is not None and value > 0]
