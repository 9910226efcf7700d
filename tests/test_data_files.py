"""Every kind of file, whole and damaged, from its beginning and from every place in it."""

import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from engine.data import files, formats
from engine.data.reader import Text
from engine.data.recipe import Source
from engine.data.roots import data_roots
from engine.data.sources import documents, open_source
from engine.home import PROJECT, Home
from engine.store import Refused

TEXTS = [f'Zeile {number}: „ä“, "quoted",\n  two\tlines 🫐 ' + "x" * (number * 7 % 50) for number in range(40)]
BLANK = ["", " \n ", "\r\n"]
MIXED = [text for number, text in enumerate(TEXTS) for text in (text, BLANK[number % 3])]


def as_text(texts: list[str]) -> bytes:
    return "\f".join(texts).encode()


def as_jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)).encode()


def as_csv(texts: list[str]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([["id", "text"], *([number, text] for number, text in enumerate(texts))])
    return b"\xef\xbb\xbf" + file.getvalue().encode()


def as_parquet(texts: list[str], rows: int = 7, **options: Any) -> bytes:
    file = io.BytesIO()
    table = pa.table({"id": range(len(texts)), "nested": [{"text": "no"}] * len(texts), "text": texts})
    parquet.write_table(table, file, row_group_size=rows, **options)
    return file.getvalue()


def as_arrow(texts: list[str]) -> bytes:
    file = io.BytesIO()
    table = pa.table({"text": texts, "id": range(len(texts))})
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=7)
    return file.getvalue()


def zstd(raw: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(raw, asbytes=True)
    return packed


WRITERS = {"txt": as_text, "md": as_text, "jsonl": as_jsonl, "csv": as_csv, "parquet": as_parquet, "arrow": as_arrow}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def texts_of(path: Path, **options: Any) -> list[Text]:
    return list(open_source(Source(str(path), **options)).texts())


def sentence_of(path: Path, **options: Any) -> str:
    with pytest.raises(Refused) as raised:
        texts_of(path, **options)
    assert str(path.parent) not in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_gives_its_texts_and_goes_on_from_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, packing: str
) -> None:
    monkeypatch.setattr(files, "BLOCK", 61)  # texts and characters lie across blocks
    monkeypatch.setattr(formats, "ROWS", 3)
    path = tmp_path / f"a.{kind}{packing}"
    path.write_bytes(PACKERS[packing](WRITERS[kind](MIXED)))
    wanted = [Text(text, path.name) for text in TEXTS]

    reader, found, shares = open_source(Source(str(path))), [], []
    positions = [reader.position()]
    for text in reader.texts():
        found.append(text)
        positions.append(json.loads(json.dumps(reader.position())))
        shares.append(reader.done())

    positions.append(reader.position())
    assert reader.done() == 1
    assert found == wanted
    assert shares == sorted(shares) and 0 < shares[0] <= shares[-1] <= 1
    for number, position in enumerate(positions):
        again = open_source(Source(str(path)))
        texts = again.texts(position)
        assert again.position() == position
        assert list(texts) == wanted[number:]
        assert again.position() == reader.position()


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "arrow"])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), block=st.integers(1, 9))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_text_comes_back_as_it_was(kind: str, texts: list[str], block: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "BLOCK", block)
        path = Path(folder, f"a.{kind}")
        path.write_bytes(WRITERS[kind]([*texts, "end"]))
        kept = [text.strip("\r\n") for text in texts if text.strip()]
        assert [text.text for text in texts_of(path)] == [*kept, "end"]


def test_a_folder_is_read_in_order_of_paths_and_goes_on_from_every_place(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.jsonl.gz").write_bytes(gzip.compress(as_jsonl(TEXTS[:5])))
    (tmp_path / "b" / "1.PARQUET").write_bytes(as_parquet(TEXTS[5:9], rows=2))
    (tmp_path / "a.csv.zst").write_bytes(zstd(as_csv(TEXTS[9:12])))
    (tmp_path / "blank.txt").write_text(" \f\n\f ")
    (tmp_path / "nothing.md").write_text("")
    (tmp_path / "z.md").write_text("end")
    for left_out in ("README.md", "Licence.txt", "SOURCES.md", ".hidden.txt", "table.pdf", "state.json"):
        (tmp_path / left_out).write_text("not read")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "c.txt").write_text("not read")
    (tmp_path / "d.txt").mkdir()

    reader, found = open_source(Source(str(tmp_path))), []
    positions = [reader.position()]
    for text in reader.texts():
        found.append(text)
        positions.append(reader.position())
    positions.append(reader.position())

    assert [text.text for text in found] == [*TEXTS[9:12], *TEXTS[5:9], *TEXTS[:5], "end"]
    assert [text.file for text in found] == ["a.csv.zst"] * 3 + ["b/1.PARQUET"] * 4 + ["b/2.jsonl.gz"] * 5 + ["z.md"]
    for number, position in enumerate(positions):
        assert list(open_source(Source(str(tmp_path))).texts(position)) == found[number:]


def test_the_card_has_every_file_that_was_read(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(f"one\ftwo of {name}")
    reader = open_source(Source(str(tmp_path)))
    texts = reader.texts()
    assert reader.describe({}) == []
    for _ in range(3):
        next(texts)
    assert reader.describe({"a.txt": 2}) == [
        {
            "file": name,
            "bytes": 16,
            "sha256": hashlib.sha256((tmp_path / name).read_bytes()).hexdigest(),
            "documents": documents,
        }
        for name, documents in (("a.txt", 2), ("b.txt", 0))
    ]
    again = open_source(Source(str(tmp_path)))
    next(again.texts(reader.position()))
    assert again.describe({"a.txt": 2}) == reader.describe({"a.txt": 2})
    position = reader.position()
    list(texts)
    assert len(reader.describe({})) == 3
    assert reader.describe({}, position) == open_source(Source(str(tmp_path))).describe({}, position)
    assert len(reader.describe({}, position)) == 2
    texts.close()


def test_bytes_are_known_where_no_file_must_be_read_for_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 1000)
    assert open_source(Source(str(tmp_path))).bytes == 1000
    (tmp_path / "b.parquet").write_bytes(as_parquet(["y" * 999] * 3, use_dictionary=False, write_statistics=False))
    assert 1000 + 3 * 999 < (open_source(Source(str(tmp_path))).bytes or 0) < 1000 + 4 * 999
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"z"))
    assert open_source(Source(str(tmp_path))).bytes is None


def saved(folder: Path, parts: dict[str, list[str]]) -> None:
    """What `datasets` puts on the disk."""
    splits = {
        name: datasets.Dataset.from_dict({"id": range(len(texts)), "text": texts}) for name, texts in parts.items()
    }
    datasets.DatasetDict(splits).save_to_disk(folder, num_shards=dict.fromkeys(parts, 2))


def test_a_folder_that_datasets_saved_is_read_by_split(tmp_path: Path) -> None:
    datasets.disable_progress_bars()
    saved(tmp_path / "all", {"train": TEXTS, "test": ["other"] * 2})
    for copy in ("cache-0123.arrow", "tmp.arrow"):  # datasets leaves them where a saved folder was mapped
        shutil.copy(tmp_path / "all" / "test" / "data-00000-of-00002.arrow", tmp_path / "all" / "train" / copy)

    assert [text.text for text in texts_of(tmp_path / "all")] == TEXTS
    assert {text.file for text in texts_of(tmp_path / "all")} == {
        f"train/data-0000{number}-of-00002.arrow" for number in (0, 1)
    }
    assert [text.text for text in texts_of(tmp_path / "all", split="test")] == ["other"] * 2
    assert [text.text for text in texts_of(tmp_path / "all" / "test")] == ["other"] * 2
    assert sentence_of(tmp_path / "all", split="dev") == "The folder all has no split 'dev'; there are: train, test."
    assert "there is no column 'body'; there are: id, text." in sentence_of(tmp_path / "all", column="body")
    (tmp_path / "all" / "train" / "state.json").write_text("{")
    assert sentence_of(tmp_path / "all") == "train/state.json is damaged: it is not what `datasets` writes."


def test_long_texts_are_cut_at_a_line_end_wherever_reading_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "LONGEST_TEXT", 40)
    monkeypatch.setattr(files, "BLOCK", 7)
    lines = "".join(f"line {number} of it\n" for number in range(9))
    text = f"{lines}\f{'no end ' * 9}\f{'ü' * 50}\f{'a' * 40}\f{lines}"
    (tmp_path / "a.txt").write_text(text)

    reader = open_source(Source(str(tmp_path / "a.txt")))
    found, positions = [], [reader.position()]
    for one in reader.texts():
        found.append(one.text)
        positions.append(reader.position())

    assert all(len(one.encode()) <= 40 for one in found)
    assert "".join(found).replace("\n", "") == text.replace("\n", "").replace("\f", "")
    assert found[:2] == ["line 0 of it\nline 1 of it\nline 2 of it", "line 3 of it\nline 4 of it\nline 5 of it"]
    assert "ü" * 20 in found and "a" * 40 in found
    monkeypatch.setattr(files, "BLOCK", 1000)
    for number, position in enumerate(positions):
        again = open_source(Source(str(tmp_path / "a.txt"))).texts(position)
        assert [one.text for one in again] == found[number:]


# What is wrong with a file


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt.gz", gzip.compress(b"fine \xff"), "a.txt.gz is not UTF-8: byte 0xff at offset 5 of the unpacked text"),
        ("a.md.zst", zstd("caf\u00e9\f".encode() + b"ab\xe2\x82"), "byte 0xe2 at offset 8 of the unpacked text; save"),
        ("a.txt", "e\u0301\f\f".encode() * 999 + b"\xc0", "a.txt is not UTF-8: byte 0xc0 at offset 4,995; save it"),
        ("a.txt.gz", gzip.compress(os.urandom(999))[:-20], "a.txt.gz is damaged: it is not a whole .gz file."),
        ("a.txt.gz", b"plain", "a.txt.gz is damaged: it is not a whole .gz file."),
        ("a.txt.gz", gzip.compress(b"x" * 99)[:12] + b"\xff" * 20, "a.txt.gz is damaged"),
        ("a.txt.zst", zstd(b"whole" * 99)[:-5], "a.txt.zst is damaged: it is not a whole .zst file."),
        ("a.txt.zst", b"plain", "a.txt.zst is damaged"),
        ("a.txt.xz", b"", "a.txt.xz"),
        ("a.txt", b" \f\n", "a.txt has no text: whatever was read in it is blank."),
        ("a.txt", b"", "a.txt has no text"),
        ("a.jsonl", b'{"text": null}\n{"text": " "}', "a.jsonl has no text"),
        ("a.jsonl", b'{"text": "x"}\n' + b'{"text": "' + b"y" * 3000, "the line at offset 14 is longer than 0 MB"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "\xff"}'), "byte 0xff at offset 10 of the unpacked text"),
        ("a.csv", b"", "a.csv: there is no column 'text'; there are: no columns."),
        ("a.csv", b"id,body\n1,x", "a.csv: there is no column 'text'; there are: id, body."),
        ("a.csv", b"id,text\n1,x\n2,un,quoted\n", "a.csv, line 3: this row has 3 and the header 2 fields; texts with"),
        ("a.csv", b'id,text\n1,"never\nclosed\n', "a.csv, line 3: this is not CSV (unexpected end of data)."),
        ("a.csv", b'id,text\n1,"a" b\n', "a.csv, line 2: this is not CSV ("),
        ("a.csv", b"text\n" + b"x" * 3000, "a.csv: the line at offset 5 is longer than 0 MB"),
        ("a.parquet", b"", "a.parquet is damaged: it is not a whole .parquet file."),
        ("a.parquet", b"PAR1" * 9, "a.parquet is damaged"),
        ("a.parquet", as_parquet(TEXTS)[:-9], "a.parquet is damaged: it is not a whole .parquet file."),
        ("a.parquet.gz", gzip.compress(as_parquet(TEXTS)[:-9]), "a.parquet.gz is damaged"),
        ("a.parquet.gz", gzip.compress(as_parquet(TEXTS))[:-9], "a.parquet.gz is damaged"),
        ("a.parquet", as_parquet([]), "a.parquet has no text"),
        ("a.arrow", as_arrow(TEXTS)[:300], "a.arrow is damaged: it is not a whole .arrow file."),
        ("a.arrow", b"nothing of the kind", "a.arrow is damaged"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, sentence: str
) -> None:
    monkeypatch.setattr(formats, "LONGEST_LINE", 2000)
    (tmp_path / name).write_bytes(content)
    assert sentence in sentence_of(tmp_path / name)


@pytest.mark.parametrize("place", [0.05, 0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl.gz", "jsonl.xz", "jsonl.zst"])
def test_bytes_that_were_overwritten_give_texts_or_a_sentence(tmp_path: Path, kind: str, place: float) -> None:
    ending, _, packing = kind.partition(".")
    raw = bytearray(PACKERS[f".{packing}" if packing else ""](WRITERS[ending](MIXED)))
    begin = int(len(raw) * place)
    raw[begin : begin + 40] = bytes(255 - byte for byte in raw[begin : begin + 40])
    (tmp_path / f"a.{kind}").write_bytes(raw)
    try:
        texts_of(tmp_path / f"a.{kind}")
    except Refused as refused:
        assert f"a.{kind}" in str(refused)


def test_columns_that_hold_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(
        pa.table({"n": [1], "raw": [b"x"], "list": [["x"]], "large": pa.array(["ok"], pa.large_string())}), path
    )
    assert sentence_of(path) == "a.parquet: there is no column 'text'; there are: n, raw, list, large."
    assert (
        sentence_of(path, column="n") == "a.parquet: the column 'n' holds int64, not text; choose a column of strings."
    )
    assert "'raw' holds binary" in sentence_of(path, column="raw")
    assert "'list' holds list" in sentence_of(path, column="list")
    assert texts_of(path, column="large") == [Text("ok", "a.parquet")]
    parquet.write_table(pa.table({"text": pa.array(["a", None, "b", "a"]).dictionary_encode()}), path)
    assert [text.text for text in texts_of(path)] == ["a", "b", "a"]


def test_a_column_with_a_dot_in_its_name(tmp_path: Path) -> None:
    table = pa.table({"meta": [{"text": "no"}], "meta.text": ["yes"], "text": ["other"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [text.text for text in texts_of(tmp_path / "a.parquet", column="text")] == ["other"]
    assert [text.text for text in texts_of(tmp_path / "a.parquet", column="meta.text")] == ["yes"]
    parquet.write_table(table.select(["meta.text"]), tmp_path / "a.parquet")
    assert [text.text for text in texts_of(tmp_path / "a.parquet", column="meta.text")] == ["yes"]


def test_parquet_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"no \xff"], pa.binary())
    text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    parquet.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    assert sentence_of(tmp_path / "a.parquet") == (
        "a.parquet is damaged: from row group 0, row 0 on it holds what is no UTF-8 text."
    )


def test_a_source_that_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ftwo\fthree")
    reader = open_source(Source(str(tmp_path)))
    next(reader.texts())
    (tmp_path / "b.txt").write_text("another")
    with pytest.raises(Refused, match=f"{tmp_path.name} has changed since this dataset was begun"):
        next(open_source(Source(str(tmp_path))).texts(reader.position()))
    (tmp_path / "b.txt").unlink()
    assert [text.text for text in open_source(Source(str(tmp_path))).texts(reader.position())] == ["two", "three"]
    (tmp_path / "a.txt").write_text("one\ftwo")
    with pytest.raises(Refused, match=r"a.txt was written while the source was read"):
        next(reader.texts())


def test_a_file_without_permission_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x")
    reader = open_source(Source(str(tmp_path / "a.txt")))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(Refused, match=r"^a.txt cannot be read: Permission denied\.$"):
        next(reader.texts())


# Which folders may be read


def test_roots_hold_through_dots_links_and_time(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.txt").write_text(folder.name)
    secret = outside / "a.txt"
    roots = [inside]
    assert [text.text for text in open_source(Source(str(inside)), roots).texts()] == ["inside"]
    (inside / "b.txt").symlink_to("a.txt")
    assert len(list(open_source(Source(str(inside)), roots).texts())) == 2

    (inside / "link").symlink_to(outside)
    for path in (
        outside,
        secret,
        inside / ".." / "outside",
        inside / "link",
        inside / "link" / "a.txt",
        outside / "missing.txt",
        Path("/etc/passwd"),
        tmp_path,
    ):
        with pytest.raises(Refused, match="is outside the folders that may be read from here") as raised:
            open_source(Source(str(path)), roots)
        assert str(tmp_path) not in str(raised.value)
    assert len(list(open_source(Source(str(inside)), roots).texts())) == 2  # links to folders are not followed

    reader = open_source(Source(str(inside)), roots)
    (inside / "b.txt").unlink()
    (inside / "b.txt").symlink_to(secret)
    with pytest.raises(Refused, match=r"b.txt is outside"):
        list(reader.texts())
    with pytest.raises(Refused, match=r"b.txt is outside"):
        open_source(Source(str(inside)), roots)
    assert len(list(open_source(Source(str(inside))).texts())) == 2  # whoever may read everything


def test_a_source_without_a_name_has_one_in_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=r"^The folder \. has no text; give"):
        open_source(Source("."))


def test_a_saved_folder_cannot_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.txt").write_text("secret")
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "dataset_dict.json").write_text('{"splits": ["../secret"]}')
    with pytest.raises(Refused, match="is outside"):
        open_source(Source(str(folder), split="../secret"), [folder])
    (folder / "dataset_dict.json").unlink()
    (folder / "dataset_dict.json").symlink_to(tmp_path / "secret" / "a.txt")
    with pytest.raises(Refused, match=r"dataset_dict.json is outside"):
        open_source(Source(str(folder)), [folder])


@pytest.mark.parametrize("where", ["nul\0.txt", "~nobody-of-this-name/a.txt", "loop.txt", "x" * 5000])
def test_paths_that_lead_nowhere_are_a_sentence(tmp_path: Path, where: str) -> None:
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    with pytest.raises(Refused, match=r"leads nowhere|There is no file|cannot be read"):
        open_source(Source(where if where.startswith("~") else str(tmp_path / where)))


def test_the_page_reads_the_home_the_projects_data_and_what_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "way").symlink_to("more")
    monkeypatch.setenv("BLUEBERRY_DATA_ROOTS", f"{tmp_path / 'way'}{os.pathsep}")
    home = Home.at(tmp_path / "home")
    assert data_roots(home) == (home.path, PROJECT / "data", tmp_path / "more")
    monkeypatch.delenv("BLUEBERRY_DATA_ROOTS")
    assert data_roots(home) == (home.path, PROJECT / "data")


def test_a_name_that_is_no_utf8_can_be_written(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    assert texts_of(tmp_path) == [Text("x", "caf\ufffd.txt")]


def test_the_starter_is_a_source(tmp_path: Path) -> None:
    reader = open_source(Source("starter"), [tmp_path])
    novels = list(reader.texts())
    assert [text.text for text in novels] == list(documents(PROJECT / "data" / "starter"))
    assert len(novels) == 739
    assert novels[0].file == "alice_in_wonderland.txt.xz"
    assert reader.licence.startswith("public domain")
    assert len(reader.describe({})) == 8


def test_of_long_texts_in_parquet_few_are_taken_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, taken, strings = tmp_path / "a.parquet", list[int](), formats._strings
    path.write_bytes(as_parquet([f"{number} " * 999 for number in range(60)], rows=30, use_dictionary=False))

    def counted(name: str, values: "pa.Array", place: str) -> list[str | None]:
        taken.append(len(values))
        return strings(name, values, place)

    monkeypatch.setattr(formats, "_strings", counted)
    whole = texts_of(path)
    assert taken == [30, 30]
    taken.clear()
    monkeypatch.setattr(formats, "ROWS_BYTES", 9_000)
    assert texts_of(path) == whole and max(taken) <= 4 and sum(taken) == 60
