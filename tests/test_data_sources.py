"""Documents from files and folders."""

import lzma
from pathlib import Path

import pytest

from engine.data import documents
from engine.store import Refused


def test_form_feeds_part_text_files_and_folders_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("\ufeffone\n\n\f\n \n\ftwo — ends \n".encode())
    (tmp_path / "c.txt.xz").write_bytes(lzma.compress(b"three\ffour"))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "lines.jsonl").write_text('{"text": "zero\\nhalf", "id": 1}\n\n{"text": ""}\n{"text": "z"}')
    (tmp_path / "readme.md").write_text("not read")
    (tmp_path / ".hidden.txt").write_text("not read")
    assert list(documents(tmp_path)) == ["zero\nhalf", "z", "one", "two — ends ", "three", "four"]
    assert list(documents(tmp_path / "b.txt")) == ["one", "two — ends "]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"fine \xff no", "a.txt is not UTF-8: byte 0xff at offset 5; save it as UTF-8."),
        ("a.txt.xz", lzma.compress(b"fi\xe9"), "a.txt.xz is not UTF-8: byte 0xe9 at offset 2 of the unpacked text"),
        ("a.txt.xz", lzma.compress(b"whole" * 99)[:-20], "a.txt.xz is damaged: it is not a whole .xz file."),
        ("a.txt.xz", b"plain text", "a.txt.xz is damaged"),
        ("a.jsonl", b'{"text": "x"}\n{"text": ', "a.jsonl, line 2: this is not JSON."),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: this is not JSON."),
        ("a.jsonl", b'{"body": "x", "id": 3}', "a.jsonl, line 1: there is no column 'text'; there are: body, id."),
        ("a.jsonl", b'["x"]', "there is no column 'text'; there are: no columns."),
        ("a.jsonl", b'{"text": 5}', "line 1: text must be text, not int."),
        ("a.jsonl", b'{"text": "\\ud800"}', "line 1: text holds half of a surrogate pair"),
        ("a.pdf", b"x", "a.pdf is of a kind that cannot be read; give a .txt, .md, .jsonl, .csv or .parquet file"),
    ],
)
def test_what_is_not_text_is_named_with_its_place(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused) as raised:
        list(documents(tmp_path / name))
    assert sentence in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_a_source_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="There is no file or folder 'nowhere'"):
        list(documents(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="The folder empty has no text"):
        list(documents(tmp_path / "empty"))
