"""engine/gallery.py: the hall of fame as one file: whole, escaped, without anything that runs or is fetched."""

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlite_utils import Database
from ui_helpers import add_answer, add_points, make_run

from engine import gallery, store
from engine.__main__ import main
from engine.home import Home
from engine.store import Wanted

HOSTILE = (
    "<script>hurt()</script><img src=x onerror=hurt()>'\"></style></title>\u202e\u2066 \x00\ud800 &lt;b&gt; {{7*7}}"
)
PLAIN = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "article", "h1", "h2", "p", "b", "br",
    "span", "ul", "li", "div", "bdi", "svg", "path", "polyline", "circle",
}  # fmt: skip


class Reader(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def page(db: Database, **wanted: object) -> str:
    return "".join(gallery.pages(db, Wanted(**wanted)))  # type: ignore[arg-type]


def test_every_exhibit_is_there_with_its_curve_and_its_age(db: Database) -> None:
    run_id = make_run(db, "elder")
    add_points(db, run_id, 1, 200)
    sample = add_answer(db, run_id, " there was a cat.", 100)
    exhibit = store.keep(db, sample, "strange", "The cat", "purring", ["sea"])
    store.pin(db, exhibit)

    whole = page(db)
    seen = Reader(whole)

    text = "".join(seen.said)
    for words in (
        "Once upon a time there was a cat.",
        "The cat",
        "purring",
        "sea",
        "The Strange",
        "elder",
        "410 k tokens old",
    ):
        assert words in text
    assert seen.tags.count("article") == 4 and seen.tags.count("polyline") == 4
    assert whole.index("The cat") < whole.index("published, December 2025"), "the pinned first"
    assert "4 exhibits" in text and 'class="pinned"' in whole
    assert "".join(Reader(page(db, pinned=True)).said).count("The cat") == 1


def test_hostile_texts_are_only_texts(db: Database) -> None:
    run_id = make_run(db)
    for number in range(3):
        said = HOSTILE.replace("\ud800", "") + "x" * 10_000 * number
        store.keep(db, add_answer(db, run_id, said, prompt=said[:200]), "c", "t", "n")
    db.conn.execute("UPDATE runs SET name = ? WHERE id = ?", [HOSTILE[:40], run_id])
    db.conn.execute("UPDATE archive SET category = :t, title = :t, note = :t", {"t": HOSTILE.replace("\ud800", "")})

    whole = "".join(gallery.pages(db, Wanted(), title=HOSTILE)).encode()
    seen = Reader(whole.decode())

    assert set(seen.tags) <= PLAIN and seen.tags.count("style") == seen.tags.count("title") == 1
    assert not {name for name in seen.attributes if name.startswith("on") or name in ("src", "href", "style")}
    assert "<script>hurt()</script>" in "".join(seen.said) and b"\x00" not in whole


def test_the_title_of_the_page_has_no_markup(db: Database) -> None:
    titles = {name: "".join(gallery.pages(db, Wanted(), title=name)) for name in ("Mine & yours", "a\0b\ud800c")}
    assert [re.findall("<title>(.*?)</title>", whole) for whole in titles.values()] == [
        ["Mine &amp; yours"],
        ["a\ufffdb?c"],
    ]
    assert "<h1><bdi>Mine &amp; yours</bdi></h1>" in titles["Mine & yours"]


def test_only_a_published_excerpt_is_shown_without_its_prompt(db: Database) -> None:
    run_id = make_run(db)
    store.keep(db, add_answer(db, run_id, "hahaha", prompt="ha"), "loop", "Laughter")
    assert "<bdi>ha</bdi></span><bdi>hahaha</bdi>" in page(db)

    db.conn.execute("UPDATE runs SET kind = 'published' WHERE id = ?", [run_id])
    assert "<bdi>ha</bdi></span><bdi>haha</bdi>" in page(db)


def test_the_policy_lets_nothing_run_or_be_fetched(db: Database) -> None:
    whole = page(db)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', whole)
    style = re.search(r"<style>(.*?)</style>", whole, re.S)
    assert policy and style

    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1].startswith(f"default-src 'none'; style-src 'sha256-{digest}'") and "script" not in policy[1]
    assert "http" not in whole.replace("http-equiv", "") and "url(" not in whole and "@import" not in whole


def test_a_run_without_evaluations_has_the_curve_of_its_training(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 60)

    points = gallery.curve(db, run_id, "trained")

    assert 10 < len(points) <= gallery.POINTS and points[-1][0] == 60 * 4096 and 7.9 < points[0][1] < 8.1
    assert len(gallery.curve(db, store.REFERENCE_ID, "published")) > 10


def test_the_command_writes_what_is_asked_for(
    home: Home, db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = make_run(db, "elder")
    for category, tags in (("good", ["sea"]), ("haiku", [])):
        store.keep(db, add_answer(db, run_id, f" {category}"), category, f"A {category} one", "", tags)
    out, options = tmp_path / "hall.html", ["--home", str(home.path)]

    assert main(["gallery", "--out", str(out), "--run", "elder", "--title", "Mine", *options]) == 0
    assert f"{out}: 2 exhibits" in capsys.readouterr().out
    assert "A haiku one" in out.read_text(encoding="utf-8") and "Mine" in out.read_text(encoding="utf-8")
    assert main(["gallery", "--out", str(out), "--tag", "SEA", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["exhibits"] == 1 and told["bytes"] == out.stat().st_size
    assert "A haiku one" not in out.read_text(encoding="utf-8")

    assert main(["gallery", "--out", str(out), "--run", "nobody", *options]) == 1
    assert main(["gallery", "--out", str(tmp_path / "no" / "where.html"), *options]) == 1
    assert main(["gallery", "--out", str(tmp_path), *options]) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path != home.path) == ["hall.html"]
