"""What a recipe would give, before it is made: the same documents, drops and tokens as making it, within seconds."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from books import never, silent, write_books

from engine.config import ConfigError
from engine.data import open_dataset, prepare, preview
from engine.data.forecast import Sample, amounts, bytes_per_token, forecast
from engine.data.reader import Position, Text
from engine.data.recipe import Filters, Recipe, Source
from engine.home import PROJECT, Home
from engine.store import Refused


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return write_books(tmp_path / "books")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Six documents: one short, one of symbols, two equal."""
    words = " ".join(f"word{number}" for number in range(40))
    rows = [words, "short", words, "# * _ " * 30, f"{words} again", "Grüße, 你好: " + words]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return path


class Endless:
    """A reader without an end, which tells nothing of itself."""

    bytes: int | None = None
    licence = ""

    def __init__(self, share: float | None = None, text: str = "It was a bright cold day in April. ") -> None:
        self.share, self.text, self.given = share, text, 0

    def texts(self, start: Position | None = None) -> Iterator[Text]:
        while True:
            self.given += 1
            yield Text(f"{self.given} {self.text * 100}", "endless")

    def position(self) -> Position:
        return {}

    def done(self) -> float | None:
        return self.share and min(1.0, self.given * self.share)

    def describe(self, documents: Mapping[str, int]) -> list[dict[str, Any]]:
        return []


def of(*places: Path | str, **settings: Any) -> Recipe:
    return Recipe(tuple(Source(str(place)) for place in places), **settings)


def play(monkeypatch: pytest.MonkeyPatch, *readers: Endless) -> Recipe:
    """A recipe whose sources are these readers, in order."""
    waiting = iter(readers)
    monkeypatch.setattr(preview, "open_source", lambda *_: next(waiting))
    return of(*map(str, range(len(readers))))


# What is shown


def test_documents_are_shown_with_what_becomes_of_them(texts: Path) -> None:
    found = preview.preview(of(texts, filters=Filters(min_characters=20, max_symbol_share=0.1)))
    assert [(one["dropped"], one["duplicate"]) for one in found["documents"]] == [
        ("", False),
        ("too short", False),
        ("", True),
        ("too many symbols", False),
        ("", False),
        ("", False),
    ]
    assert found["dropped"] == {"too short": 1, "equal to an earlier one": 1, "too many symbols": 1}
    assert found["read"] == 6
    last = found["documents"][-1]
    assert last["text"].startswith("Grüße, 你好: word0 ")
    assert last["bytes"] == len(last["text"].encode())
    assert last["file"] == "texts.jsonl"


def test_duplicates_stay_where_they_are_wanted(texts: Path) -> None:
    found = preview.preview(of(texts, deduplicate=False))
    assert found["dropped"] == {}
    assert not any(one["duplicate"] for one in found["documents"])


def test_each_source_gets_its_part_of_what_is_shown(books: Path, texts: Path) -> None:
    found = preview.preview(of(books, texts), documents=6)
    assert [one["source"] for one in found["documents"]] == [0, 0, 0, 1, 1, 1]
    assert found["read"] == 96


def test_an_equal_document_of_another_source_is_one_too(texts: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(texts.read_bytes())
    found = preview.preview(of(texts, copy))
    assert found["dropped"] == {"equal to an earlier one": 7}


def test_a_long_document_is_cut_where_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("你好世界。" * 2000, encoding="utf-8")
    one = preview.preview(of(tmp_path / "long.txt"))["documents"][0]
    assert len(one["text"]) == preview.SHOWN
    assert one["bytes"] == 30_000


# What it comes to


@pytest.mark.parametrize("deduplicate", [True, False])
def test_what_was_read_whole_is_counted_exactly(texts: Path, books: Path, tmp_path: Path, deduplicate: bool) -> None:
    recipe = of(books, texts, filters=Filters(min_characters=20), deduplicate=deduplicate)
    found = preview.preview(recipe)
    home = Home.at(tmp_path / "home")
    prepare(home, "made", recipe, report=silent, stopped=never)
    card = open_dataset(home, "made").card
    estimate = found["estimate"]
    assert estimate["exact"]
    assert estimate["tokens"] == card["train_tokens"] + card["val_tokens"]
    assert estimate["documents"] == card["documents"]
    assert found["dropped"] == card["dropped"]
    assert found["bytes_per_token"] == pytest.approx(card["bytes"] / estimate["tokens"], abs=1e-3)
    assert estimate["bytes_on_disk"] == sum(file["bytes"] for file in card["files"].values())
    assert estimate["seconds"] >= 0
    assert found["note"] == ""


def test_the_starter_is_reckoned_from_its_beginning() -> None:
    found = preview.preview(of("starter"))
    estimate = found["estimate"]
    assert 20 < found["read"] < 739
    assert estimate["tokens"] == pytest.approx(1_930_000, rel=0.1)
    assert not estimate["exact"]


def test_a_vocabulary_is_learned_from_what_was_read(books: Path) -> None:
    found = preview.preview(of(books, tokenizer="bpe:300"))
    assert found["bytes_per_token"] > 2
    assert not found["estimate"]["exact"]
    assert found["note"] == ""
    with pytest.raises(ConfigError, match=r"too short for data.tokenizer = bpe:60000"):
        preview.preview(of(books, tokenizer="bpe:60000"))


def test_a_vocabulary_learned_from_a_beginning_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "BYTES", 50_000)
    recipe = replace(play(monkeypatch, Endless()), tokenizer="bpe:60000", tokens=10**6)
    found = preview.preview(recipe)
    assert "learned on these first texts alone" in found["note"]
    assert found["estimate"]["tokens"] == pytest.approx(10**6, rel=0.02)


def test_a_source_that_nobody_knows_the_size_of_needs_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "BYTES", 50_000)
    found = preview.preview(play(monkeypatch, Endless()))
    assert set(found["estimate"].values()) == {None, False}
    assert found["note"].startswith("Nobody knows how much text there is")
    budgeted = preview.preview(replace(play(monkeypatch, Endless()), tokens=10**9))
    assert budgeted["estimate"]["tokens"] == pytest.approx(10**9, rel=0.02)
    assert budgeted["estimate"]["bytes_on_disk"] == pytest.approx(2 * 10**9, rel=0.05)
    assert budgeted["estimate"]["seconds"] > 60
    assert budgeted["note"] == ""


def test_a_share_that_is_told_gives_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "BYTES", 50_000)
    found = preview.preview(play(monkeypatch, Endless(share=0.0001)))
    assert found["estimate"]["documents"] == pytest.approx(10_000, rel=0.02)


def test_a_budget_larger_than_the_text_is_told(books: Path) -> None:
    found = preview.preview(of(books, tokens=10**9))
    assert found["estimate"]["exact"]
    assert "less than the 1,000,000,000 asked for" in found["note"]


def test_bytes_that_a_tokenizer_lacks_are_told(tmp_path: Path) -> None:
    """SmolLM2's has no piece for eight bytes; a vocabulary of letters knows no others."""
    (tmp_path / "odd.txt").write_text("a\x04b\x06c " * 10, encoding="utf-8")
    assert preview.preview(of(tmp_path / "odd.txt"))["note"] == (
        "20 of 60 bytes have no piece in this tokenizer: they are lost or changed."
    )
    (tmp_path / "even.txt").write_text("naïve 你好 🫐 <|endoftext|>\t\r\n.", encoding="utf-8")
    assert preview.preview(of(tmp_path / "even.txt"))["note"] == ""


def test_filters_that_leave_nothing_are_told(books: Path) -> None:
    found = preview.preview(of(books, filters=Filters(min_characters=10**6)))
    assert found["note"] == ("Nothing is left of the texts that were read: choose milder filters, or another source.")
    assert found["estimate"]["tokens"] == 0
    assert found["bytes_per_token"] == 0


def test_slow_sources_are_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six sources that give a text every hundredth of a second."""

    class Slow(Endless):
        def texts(self, start: Position | None = None) -> Iterator[Text]:
            for text in super().texts(start):
                time.sleep(0.01)
                yield text

    monkeypatch.setattr(preview, "SECONDS_IN_ALL", 0.6)
    begun = time.monotonic()
    found = preview.preview(play(monkeypatch, *(Slow() for _ in range(6))))
    assert time.monotonic() - begun < 5
    assert 6 < found["read"] <= 72


# The arithmetic


def sample(total: int | None, kept: float = 1.0, density: float = 0.25) -> Sample:
    """A thousand documents of a thousand bytes, of a source of `total` bytes."""
    count = round(1000 * kept)
    return Sample(
        kept=["x"] * count,
        read=1000,
        bytes=10**6,
        kept_bytes=1000 * count,
        seconds=0.5,
        total=total,
        tokens=round(density * 1000 * count),
        encoded=1000 * count,
    )


def mixture(*weights: float, tokens: int = 0) -> Recipe:
    return Recipe(tuple(Source(str(place), weight=weight) for place, weight in enumerate(weights)), tokens=tokens)


def test_a_mixture_ends_with_the_first_source_that_has_no_more() -> None:
    assert amounts(mixture(0.7, 0.3), [sample(10**9), sample(3 * 10**6)]) == pytest.approx([7e6, 3e6])
    assert amounts(mixture(7, 3), [sample(None), sample(3 * 10**6)]) == pytest.approx([7e6, 3e6])


def test_a_budget_ends_a_mixture_of_endless_sources() -> None:
    parts = amounts(mixture(0.7, 0.3, tokens=10**9), [sample(None), sample(None, density=0.2)])
    assert parts[0] / parts[1] == pytest.approx(0.7 / 0.3)
    assert 0.25 * parts[0] + 0.2 * parts[1] == pytest.approx(10**9 / 0.99)


def test_without_weights_sources_follow_each_other_until_the_budget() -> None:
    samples = [sample(4 * 10**6), sample(10**9), sample(10**9)]
    parts = amounts(of("a", "b", "c", tokens=2 * 10**6), samples)
    assert parts[0] == 4 * 10**6
    assert sum(parts) == pytest.approx(8 * 10**6 / 0.97, rel=0.001)
    assert parts[2] == 0
    assert amounts(of("a", "b", "c"), samples) == [4 * 10**6, 10**9, 10**9]


def test_what_filters_drop_is_not_counted() -> None:
    whole = forecast(of("a"), [sample(10**9)], width=2, tokenizer_bytes=7, speed=10**6, learning=0)
    half = forecast(of("a"), [sample(10**9, kept=0.5)], width=2, tokenizer_bytes=7, speed=10**6, learning=0)
    assert whole == {
        "tokens": 250_000_000,
        "documents": 1_000_000,
        "bytes_on_disk": 508_000_007,
        "seconds": 750.0,
        "exact": False,
    }
    assert half["tokens"] == 125_000_000
    assert half["documents"] == 500_000
    assert half["seconds"] == 625.0, "all of it is read"


def test_bytes_per_token_of_a_mixture_follow_its_weights() -> None:
    assert bytes_per_token(of("a"), [sample(10**9)]) == 4
    assert bytes_per_token(mixture(1, 1), [sample(None), sample(None, density=0.5)]) == pytest.approx(
        1 / 0.375, abs=1e-3
    )
    assert bytes_per_token(of("a"), [Sample(total=0)]) == 0


# The process


def ask(question: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "engine.data.preview"],
        cwd=PROJECT,
        input=question if isinstance(question, str) else json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return dict(json.loads(done.stdout))


def test_a_question_on_stdin_is_answered_on_stdout(texts: Path) -> None:
    recipe = json.loads(of(texts).to_json())
    found = ask({"recipe": recipe, "roots": [str(texts.parent)], "documents": 3})
    assert set(found) == {
        *("documents", "read", "dropped", "bytes_per_token", "tokens_per_second", "estimate", "note"),
        *("unreadable", "offer"),
    }
    assert set(found["estimate"]) == {"tokens", "documents", "bytes_on_disk", "seconds", "exact"}
    assert len(found["documents"]) == 3
    assert found["read"] == 6


def test_what_cannot_be_made_is_a_sentence(texts: Path, tmp_path: Path) -> None:
    recipe = json.loads(of(texts).to_json())
    told = preview.answer(json.dumps({"recipe": recipe, "roots": [str(tmp_path / "other")]}))
    assert "outside the folders that may be read" in told["error"]
    for change, sentence in (
        ({"tokenizer": "nowhere.json"}, "The tokenizer nowhere.json is not there"),
        ({"tokenizer": "bpe:1"}, "must be bpe:SIZE with a whole number"),
        ({"separator": "</s>"}, "has no </s> piece to put between documents; it has <|endoftext|>"),
        ({"sources": []}, "A dataset needs a source"),
        ({"sources": [{"where": str(tmp_path / "none.txt")}]}, "none.txt"),
        ({"sources": [{"where": str(texts), "column": "body"}]}, "there is no column 'body'; there are: text"),
    ):
        told = preview.answer(json.dumps({"recipe": recipe | change}))
        assert set(told) == {"error"}
        assert sentence in told["error"]
        assert str(tmp_path) not in told["error"]


@pytest.mark.parametrize(
    "question",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        "{}",
        '{"recipe": 1}',
        '{"recipe": {"sources": 1}}',
        '{"recipe": {"sources": [{"where": "starter"}]}, "documents": 0}',
        '{"recipe": {"sources": [{"where": "starter"}]}, "documents": true}',
        '{"recipe": {"sources": [{"where": "starter"}]}, "documents": 1e99}',
        '{"recipe": {"sources": [{"where": "starter"}]}, "roots": "/"}',
        '{"recipe": {"sources": [{"where": "starter"}]}, "roots": [1]}',
        '{"recipe": {"sources": [{"where": "starter"}]}, "extra": 1}',
        '{"recipe": {"sources": [{"where": "a\\u0000b"}]}}',
    ],
)
def test_a_question_that_is_none_is_a_sentence(question: str) -> None:
    told = preview.answer(question)
    assert set(told) == {"error"}
    assert len(told["error"]) < 300
    assert "failed (" not in told["error"]


def test_whatever_goes_wrong_is_an_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for error, sentence in (
        (ZeroDivisionError("secret"), "The preview failed (ZeroDivisionError)."),
        (MemoryError(), "The first documents do not fit into memory; give files with shorter ones."),
        (Refused("No."), "No."),
    ):

        def broken(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(preview, "open_source", broken)
        assert preview.answer('{"recipe": {"sources": [{"where": "starter"}]}}') == {"error": sentence}
    assert "secret" in capsys.readouterr().err, "the trace is for the log"
