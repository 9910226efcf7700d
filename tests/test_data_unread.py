"""Files that cannot be read are told together and may be left out; files of other kinds are counted."""

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
from books import never, silent

from engine.config import ConfigError
from engine.data import Recipe, Source, Stopped, open_dataset, prepare, preview
from engine.data import unread as unread_files
from engine.data.files import Files
from engine.data.sources import open_source
from engine.data.unread import Unreadable, can_be_left_out, other_kinds
from engine.home import Home
from engine.store import Refused
from ui import datasets

BAD = {
    "b.txt": (b"fine\ffine too\fno \xff", "b.txt is not UTF-8: byte 0xff at offset 17; save it as UTF-8."),
    "d.jsonl": (b'{"text": "one"}\nnothing\n', "d.jsonl, line 2: this is not JSON."),
    "e.txt.gz": (b"plain", "e.txt.gz is damaged: it is not a whole .gz file."),
    "f.parquet": (b"PAR1", "f.parquet is damaged: it is not a whole .parquet file."),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts, unreadable ones among them, and other files."""
    found = tmp_path / "letters"
    found.mkdir()
    for name in ("a.txt", "c.txt", "g.txt"):
        texts = [f"Letter {number} of {name}: the boat waited for rain." for number in range(20)]
        (found / name).write_text("\f".join(texts))
    for name, (raw, _) in BAD.items():
        (found / name).write_bytes(raw)
    for number in range(10):
        (found / f"{number}.PNG").write_bytes(b"x")
    (found / "report.pdf").write_bytes(b"x")
    (found / "LICENSE").write_text("not read, and not told")
    return found


def recipe(folder: Path, **settings: Any) -> Recipe:
    return Recipe((Source(str(folder)),), **{"tokenizer": "bpe:280"} | settings)


def test_all_bad_files_are_told_at_once_by_the_preview(folder: Path) -> None:
    (folder / "f.parquet").unlink()  # else it is told before anything is read
    told = preview.answer('{"recipe": ' + recipe(folder).to_json() + "}")
    assert told["offer"] == {"skip_unreadable": True}
    assert told["error"].splitlines() == [
        "3 of 6 files of letters cannot be read:",
        *(f"· {BAD[name][1]}" for name in ("b.txt", "d.jsonl", "e.txt.gz")),
        "Mend what is wrong, or leave unreadable files out (--skip-unreadable).",
    ]
    assert str(folder) not in told["error"]


def test_and_by_the_job(folder: Path, home: Home) -> None:
    (folder / "f.parquet").unlink()
    with pytest.raises(Unreadable) as raised:
        prepare(home, "letters", recipe(folder), report=silent, stopped=never)
    assert str(raised.value).startswith("3 of 6 files of letters cannot be read:\n· b.txt is not UTF-8")


def test_many_are_counted_and_what_was_not_looked_at_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(14):
        (folder / f"x{number:02}.txt").write_bytes(b"\xff")
    (folder / "f.parquet").unlink()
    with pytest.raises(Unreadable) as raised:
        list(open_source(Source(str(folder))).texts())
    lines = str(raised.value).splitlines()
    assert lines[0] == "17 of 20 files of letters cannot be read:" and lines[-2] == "· and 12 more." and len(lines) == 8
    monkeypatch.setattr("engine.data.files.SECONDS", 0.0)
    with pytest.raises(Unreadable, match=r"^At least 1 of 20 files of letters cannot be read:"):
        list(open_source(Source(str(folder))).texts())


def test_a_wrong_column_is_one_sentence_and_no_offer(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"text": "x"}\n')
    told = preview.answer('{"recipe": ' + Recipe((Source(str(tmp_path), column="body"),)).to_json() + "}")
    assert told == {"error": "a.jsonl, line 1: there is no column 'body'; there are: text."}


def test_left_out_files_are_in_the_card_and_on_the_sheet(folder: Path, home: Home) -> None:
    wanted = recipe(folder, skip_unreadable=True)
    prepare(home, "letters", wanted, report=silent, stopped=never)
    card = open_dataset(home, "letters").card
    entries = {entry["file"]: entry for entry in card["sources"]}
    assert {name: entry["unreadable"] for name, entry in entries.items() if "unreadable" in entry} == {
        name: why for name, (_, why) in BAD.items()
    }
    assert entries["b.txt"]["documents"] == 2, "what stands before the bad place stays"
    assert "sha256" in entries["a.txt"] and card["recipe"]["skip_unreadable"] is True
    assert card["other_kinds"] == {".png": 10, ".pdf": 1} and "--skip-unreadable" in card["command"]
    sheet = datasets.detail(home, "letters")
    assert sheet["unreadable"] == [why for _, why in BAD.values()]
    assert sheet["other_kinds"] == "11 files of other kinds were not read: .png 10, .pdf 1."


def test_the_same_files_give_the_same_shards_also_after_stops(
    folder: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe(folder, skip_unreadable=True)
    prepare(home, "once", wanted, report=silent, stopped=never)
    monkeypatch.setattr("engine.data.chunks.CHUNK_BYTES", 700)
    monkeypatch.setattr("engine.data.chunks.SMALLEST_CHUNK", 700)
    for name in ("whole", "parts"):
        looks = 0

        def stopped(name: str = name) -> bool:
            nonlocal looks
            looks += 1
            return name == "parts" and looks % 9 == 0

        while not home.dataset(name).exists():
            try:
                prepare(home, name, wanted, report=silent, stopped=stopped)
            except Stopped:
                continue
    whole, parts = (open_dataset(home, name) for name in ("whole", "parts"))
    assert whole.train.tobytes() == parts.train.tobytes() and whole.val.tobytes() == parts.val.tobytes()
    assert whole.card["sources"] == parts.card["sources"] == open_dataset(home, "once").card["sources"]


def test_a_preview_with_files_left_out_names_them(folder: Path) -> None:
    found = preview.preview(recipe(folder, skip_unreadable=True))
    assert found["unreadable"] == [BAD[name][1] for name in BAD]
    assert found["note"].startswith("11 files of other kinds were not read: .png 10, .pdf 1.")


def test_a_place_goes_on_after_what_was_left_out(folder: Path) -> None:
    reader = open_source(Source(str(folder)), skip_unreadable=True)
    texts, places = [], [reader.position()]
    for text in reader.texts():
        texts.append(text)
        places.append(reader.position())
    assert len(texts) == 63
    for number, place in enumerate(places):
        again = open_source(Source(str(folder)), skip_unreadable=True)
        assert list(again.texts(place)) == texts[number:]
    assert reader.describe({}, reader.position()) == again.describe({}, again.position())


def test_a_folder_of_nothing_but_unreadable_files_is_refused(folder: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "d.jsonl", "g.txt"):
        (folder / name).unlink()
    with pytest.raises(Refused, match=r"^2 of 2 files of letters cannot be read:") as raised:
        list(open_source(Source(str(folder)), skip_unreadable=True).texts())
    assert not isinstance(raised.value, Unreadable)


def test_more_than_a_thousand_are_another_mistake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.files.MOST", 2)
    with pytest.raises(Unreadable, match="At least 3 of 7 files"):
        list(open_source(Source(str(folder)), skip_unreadable=True).texts())
    assert unread_files.MOST == 1000


def test_what_is_wrong_with_the_machine_is_never_left_out(tmp_path: Path) -> None:
    def error(cause: BaseException | None) -> Refused:
        refused = Refused("a.txt cannot be read.")
        refused.__cause__ = cause
        return refused

    for number in (errno.ENOSPC, errno.EIO, errno.EMFILE):
        assert not can_be_left_out(error(OSError(number, os.strerror(number))))
    for cause in (None, ValueError(), EOFError(), OSError("damaged"), PermissionError(errno.EACCES, "no")):
        assert can_be_left_out(error(cause))
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    reader = open_source(Source(str(tmp_path)), skip_unreadable=True)
    assert isinstance(reader, Files)
    texts = reader.texts()
    next(texts)
    (tmp_path / "b.txt").write_text("written meanwhile")
    with pytest.raises(Refused, match="was written while the source was read"):
        next(texts)


def test_what_leads_out_of_the_folders_is_left_out_with_its_reason(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    reader = open_source(Source(str(folder)), [folder], skip_unreadable=True)
    assert "secret" not in [text.text for text in reader.texts()]
    (entry,) = [entry for entry in reader.describe({}) if entry["file"] == "link.txt"]
    assert "is outside the folders that may be read" in entry["unreadable"] and str(tmp_path) not in str(entry)


def test_kinds_are_told_by_number(tmp_path: Path) -> None:
    assert other_kinds({}) == ""
    assert other_kinds({".png": 1}) == "1 file of another kind was not read: .png 1."
    many = {f".{letter}": 2 for letter in "gfedcba"} | {".z": 3}
    assert other_kinds(many) == "17 files of other kinds were not read: .z 3, .a 2, .b 2, .c 2, .d 2, others 6."
    (tmp_path / "only.pdf").write_bytes(b"x")
    with pytest.raises(Refused, match=r"has no text; .* 1 file of another kind was not read: \.pdf 1\."):
        open_source(Source(str(tmp_path)))


def test_too_many_pieces_for_a_text_are_told_with_a_number_that_suits(tmp_path: Path) -> None:
    dice = random.Random(7)
    known = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(1500)]
    words = dice.choices(known, k=7000)
    texts = [" ".join(words[start : start + 100]) for start in range(0, len(words), 100)]
    (tmp_path / "small.txt").write_text("\f".join(texts))
    size = (tmp_path / "small.txt").stat().st_size
    assert 40_000 < size < 60_000
    told = preview.preview(recipe(tmp_path / "small.txt", tokenizer="bpe:2000"))
    suits = size // 10_000 * 100
    assert told["offer"] == {"tokenizer": f"bpe:{suits}"}
    assert (
        f"2,000 pieces are many for so little text: most come too seldom to be learned; {suits} would" in told["note"]
    )
    again = preview.preview(recipe(tmp_path / "small.txt", **told["offer"]))
    assert again["offer"] == {} and again["note"] == ""
    with pytest.raises(ConfigError, match=rf"too short for data.tokenizer = bpe:60000.* {suits} would suit it\."):
        preview.preview(recipe(tmp_path / "small.txt", tokenizer="bpe:60000"))
    answer = preview.answer('{"recipe": ' + recipe(tmp_path / "small.txt", tokenizer="bpe:60000").to_json() + "}")
    assert answer["offer"] == told["offer"]
