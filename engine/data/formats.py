"""The kinds of files that texts are read from, each piece by piece, so that memory stays flat.

Every reader yields what it finds with the place after it; started from that place, it goes on with the next text.
"""

import csv
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from engine.store import Refused

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch, Schema
    from pyarrow.parquet import RowGroupMetaData

Place = list[int]
"""Where in a file, in numbers whose meaning is the format's own."""

BLOCK = 2**20
LONGEST_TEXT = 8 * 2**20
"""Bytes after which a text file without a form feed is cut, at the last line end before."""
LONGEST_LINE = 64 * 2**20
"""Bytes of one line in jsonl and csv; more is a file of another kind, or an attack."""
LONGEST_FIELD = 16 * 2**20
"""Characters of one field in csv, whose reader takes four bytes for each."""
ROWS, ROWS_BYTES = 256, 8 * 2**20
"""Taken at once from parquet and Arrow files: some 1 MB of web pages; of parquet files of books about so many bytes."""


class Found(NamedTuple):
    """One text, perhaps blank."""

    text: str | None
    after: Place
    share: float
    """Of the file, read so far."""


class File(Protocol):
    """A file that is open for reading, unpacked if it was packed."""

    name: str
    unpacked: str
    """ " of the unpacked text" where offsets are not those of the file itself."""

    def blocks(self, offset: int) -> Iterator[bytes]:
        """Its bytes from `offset` on, some at a time."""

    def share(self) -> float:
        """How much of it was read."""

    def whole(self) -> BinaryIO:
        """The same bytes as a file that can be read anywhere."""


def read_text(file: File, column: str, start: Place | None) -> Iterator[Found]:
    """Texts between form feeds; place: [byte offset]."""
    (offset,) = start or [0]
    for begin, raw, end in _pieces(file, b"\f", offset, LONGEST_TEXT, _before_the_cut):
        text = _decoded(file, begin, raw)
        yield Found(text.removeprefix("\ufeff") if begin == 0 else text, [end], file.share())


def read_jsonl(file: File, column: str, start: Place | None) -> Iterator[Found]:
    """One JSON object a line, with a text or null in `column`; place: [byte offset, lines before it]."""
    offset, number = start or [0, 0]
    for begin, raw, end in _lines(file, offset):
        number += 1
        line = _decoded(file, begin, raw)
        if line.strip():
            line = line.removeprefix("\ufeff") if begin == 0 else line
            text = _json_text(f"{file.name}, line {number}", line, column)
            yield Found(text, [end, number], file.share())


def read_csv(file: File, column: str, start: Place | None) -> Iterator[Found]:
    """A header, then rows with quoted line ends as they come; place: [byte offset, lines before it]."""
    csv.field_size_limit(LONGEST_FIELD)
    names = next(_rows(file, [0, 0]), ([], []))[0]
    names = [name.removeprefix("\ufeff") for name in names[:1]] + names[1:]
    if column not in names:
        raise _no_column(file.name, column, names)
    index, first = names.index(column), start is None
    for row, place in _rows(file, start or [0, 0]):
        if first or not row:  # the header, and empty lines
            first = False
            continue
        if len(row) != len(names):
            raise Refused(
                f"{file.name}, line {place[1]}: this row has {len(row)} and the header {len(names)} fields; texts with "
                "commas, quotes or line ends belong in double quotes."
            )
        yield Found(row[index], place, file.share())


def read_parquet(file: File, column: str, start: Place | None) -> Iterator[Found]:
    """The rows of one column; place: [row group, row in it]."""
    from pyarrow import parquet

    with parquet.ParquetFile(file.whole(), buffer_size=BLOCK, pre_buffer=False) as opened:
        text_column(file.name, opened.schema_arrow, column)
        group, skip = start or [0, 0]
        for number in range(group, opened.num_row_groups):
            about = opened.metadata.row_group(number)
            row, total, size = 0, max(1, about.num_rows), max(1, _column_bytes(about, column))
            rows = max(1, min(ROWS, ROWS_BYTES * total // size))
            for batch in opened.iter_batches(rows, row_groups=[number], columns=[column]):
                for text in _strings(file.name, batch.column(column), f"row group {number}, row {row}"):
                    row += 1
                    if row > skip:
                        yield Found(text, [number, row], (number + row / total) / opened.num_row_groups)
            skip = 0


def parquet_bytes(file: File, column: str) -> int:
    """Bytes of `column`, unpacked, as the file's own index gives them."""
    from pyarrow import parquet

    with parquet.ParquetFile(file.whole()) as opened:
        text_column(file.name, opened.schema_arrow, column)
        groups = map(opened.metadata.row_group, range(opened.metadata.num_row_groups))
        return sum(_column_bytes(group, column) for group in groups)


def _column_bytes(group: "RowGroupMetaData", column: str) -> int:
    """Bytes of one column in a row group, unpacked."""
    parts = map(group.column, range(group.num_columns))
    return sum(part.total_uncompressed_size for part in parts if part.path_in_schema == column)


def read_arrow(file: File, column: str, start: Place | None) -> Iterator[Found]:
    """What `datasets` saves on disk, a stream of record batches; place: [batch, row in it]."""
    from pyarrow import ipc

    first, skip = start or [0, 0]
    with ipc.open_stream(file.whole()) as opened:
        index = text_column(file.name, opened.schema, column)
        for number, batch in enumerate(opened):
            if number < first:
                continue
            yield from _batch(file, batch, index, number, skip if number == first else 0)


def _batch(file: File, batch: "RecordBatch", index: int, number: int, skip: int) -> Iterator[Found]:
    for begin in range(skip, batch.num_rows, ROWS):
        part = batch.column(index).slice(begin, ROWS)
        for row, text in enumerate(_strings(file.name, part, f"batch {number}, row {begin}"), start=begin + 1):
            yield Found(text, [number, row], file.share())


def text_column(name: str, schema: "Schema", column: str) -> int:
    """Where `column` is; raises Refused with the columns there are, or with what is in it instead of text."""
    from pyarrow import types

    if schema.names.count(column) != 1:
        raise _no_column(name, column, schema.names)
    kind = schema.field(column).type
    value = kind.value_type if types.is_dictionary(kind) else kind
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    if not any(holds(value) for holds in texts):
        raise Refused(f"{name}: the column {column!r} holds {kind}, not text; choose a column of strings.")
    return int(schema.get_field_index(column))


def _strings(name: str, values: "Array", place: str) -> "list[str | None]":
    """The values of an Arrow array, each looked at before Python touches it: a file's offsets can be false."""
    import pyarrow

    try:
        values.validate(full=True)
        return list(values.to_pylist())
    except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
        raise Refused(f"{name} is damaged: from {place} on it holds what is no UTF-8 text.") from error


def _pieces(
    file: File, separator: bytes, offset: int, most: int, cut: Callable[[File, int, bytes], int]
) -> Iterator[tuple[int, bytes, int]]:
    """What lies between separators: begin, bytes, and where the next one begins.

    Of one that is longer than `most` bytes, `cut` says how much to take; the same wherever the reading began.
    """
    begin, rest = offset, b""
    for block in file.blocks(offset):
        *pieces, rest = (rest + block).split(separator)
        for ended, piece in [*((True, piece) for piece in pieces), (False, rest)]:
            left = piece
            while len(left) > most:
                size = cut(file, begin, left)
                yield begin, left[:size], begin + size
                begin, left = begin + size, left[size:]
            if ended:
                yield begin, left, begin + len(left) + 1
                begin += len(left) + 1
            else:
                rest = left
    if rest:
        yield begin, rest, begin + len(rest)


def _lines(file: File, offset: int) -> Iterator[tuple[int, bytes, int]]:
    return _pieces(file, b"\n", offset, LONGEST_LINE, _too_long)


def _too_long(file: File, begin: int, line: bytes) -> int:
    size = f"{LONGEST_LINE >> 20} MB"
    raise Refused(f"{file.name}: the line at offset {begin:,}{file.unpacked} is longer than {size}; break it up.")


def _before_the_cut(file: File, begin: int, raw: bytes) -> int:
    """How many bytes to take of a text that is too long: up to a line end, else a blank, else a character's end."""
    for mark in (b"\n", b" "):
        if (found := raw.rfind(mark, 0, LONGEST_TEXT)) > 0:
            return found + 1
    size = LONGEST_TEXT
    while size > LONGEST_TEXT - 4 and raw[size] & 0xC0 == 0x80:
        size -= 1
    return size


def _decoded(file: File, begin: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(
            f"{file.name} is not UTF-8: byte {raw[error.start]:#04x} at offset {begin + error.start:,}{file.unpacked}; "
            "save it as UTF-8."
        ) from error


def _json_text(place: str, line: str, column: str) -> str | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{place}: this is not JSON.") from error
    if not isinstance(record, dict) or column not in record:
        raise _no_column(place, column, list(record) if isinstance(record, dict) else [])
    text = record[column]
    if not isinstance(text, str | None):
        raise Refused(f"{place}: {column} must be text, not {type(text).__name__}.")
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{place}: {column} holds half of a surrogate pair, which is no character.") from error
    return text


def _rows(file: File, start: Place) -> Iterator[tuple[list[str], Place]]:
    """Rows of csv, each with the place after it."""
    place = list(start)

    def lines() -> Iterator[str]:
        for begin, raw, end in _lines(file, start[0]):
            place[:] = [end, place[1] + 1]
            yield _decoded(file, begin, raw) + "\n"

    try:
        for row in csv.reader(lines(), strict=True):
            yield row, list(place)
    except csv.Error as error:
        raise Refused(f"{file.name}, line {place[1]}: this is not CSV ({error}).") from error


def _no_column(place: str, column: str, there: list[str]) -> Refused:
    listed = ", ".join(map(str, there))[:200] or "no columns"
    return Refused(f"{place}: there is no column {column!r}; there are: {listed}.")


Read = Callable[[File, str, Place | None], Iterator[Found]]
FORMATS: dict[str, Read] = {
    ".txt": read_text,
    ".md": read_text,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
