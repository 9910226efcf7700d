"""Where documents come from: text files, JSON lines, folders of them. Reads, and changes nothing in a text."""

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

from engine.store import Refused

KINDS = (".txt", ".txt.xz", ".jsonl")
_WANTED = "give a .txt, .txt.xz or .jsonl file, or a folder of them"


def source_files(source: Path) -> list[Path]:
    """The readable files of a source, sorted by path; raises Refused when there are none."""
    if source.is_dir():
        inside = (path for path in source.rglob("*") if path.is_file())
        found = sorted(
            path
            for path in inside
            if path.name.endswith(KINDS) and not any(part.startswith(".") for part in path.relative_to(source).parts)
        )
        if not found:
            raise Refused(f"The folder {source.name} has no text; {_WANTED}.")
        return found
    if not source.is_file():
        raise Refused(f"There is no file or folder {source.name!r}; {_WANTED}.")
    if not source.name.endswith(KINDS):
        raise Refused(f"{source.name} is of a kind that cannot be read yet; {_WANTED}.")
    return [source]


def documents(source: Path, column: str = "text") -> Iterator[str]:
    """The documents of a file or folder, in order, without blank ones.

    In text files a form feed separates documents; in JSON lines each line is one, its text in `column`.
    Raises Refused with the file and the place for anything that is not text.
    """
    for path in source_files(source):
        texts = _json_lines(path, column) if path.name.endswith(".jsonl") else _decoded(path).split("\f")
        for text in texts:
            bare = text.strip("\r\n")
            if bare.strip():
                yield bare


def _decoded(path: Path) -> str:
    """A whole file as text."""
    try:
        raw = path.read_bytes()
        raw = lzma.decompress(raw) if path.name.endswith(".xz") else raw
    except (lzma.LZMAError, EOFError) as error:
        raise Refused(f"{path.name} is damaged: it is not a whole .xz file.") from error
    except OSError as error:
        raise Refused(f"{path.name} cannot be read: {error.strerror}.") from error
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        unpacked = " of the unpacked text" if path.name.endswith(".xz") else ""
        raise Refused(
            f"{path.name} is not UTF-8: byte {raw[error.start]:#04x} at offset {error.start:,}{unpacked}; "
            "save it as UTF-8."
        ) from error


def _json_lines(path: Path, column: str) -> Iterator[str]:
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Refused(f"{path.name}, line {number}: this is not JSON.") from error
        if not isinstance(record, dict) or column not in record:
            there = ", ".join(map(str, record)) if isinstance(record, dict) else "no columns"
            raise Refused(f"{path.name}, line {number}: there is no column {column!r}; there are: {there[:200]}.")
        text = record[column]
        if not isinstance(text, str):
            raise Refused(f"{path.name}, line {number}: {column} must be text, not {type(text).__name__}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Refused(
                f"{path.name}, line {number}: {column} holds half of a surrogate pair, which is no character."
            ) from error
        yield text
