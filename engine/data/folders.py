"""Which files of a folder are texts, and which of them may be read."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from engine.data.files import Files, Listed, Near, opened
from engine.data.formats import FORMATS, parquet_bytes
from engine.data.roots import allowed
from engine.data.unread import Bad, Changed, can_be_left_out, other_kinds, unreadable
from engine.store import Refused

PACKED = (".gz", ".zst", ".xz")
PLAIN = (".txt", ".md", ".jsonl", ".csv")
ABOUT = ("readme", "license", "licence", "sources")
"""Texts that speak of the others; in a folder they are left out."""
WANTED = "give a .txt, .md, .jsonl, .csv or .parquet file (or one of them as .gz, .zst or .xz), or a folder of them"


def kind_of(name: str) -> tuple[str, str] | None:
    """Format and packing by the endings of a file's name, for example (".jsonl", ".gz"); None if it is no text."""
    lower = name.casefold()
    packed = next((ending for ending in PACKED if lower.endswith(ending)), "")
    ending = Path(lower.removesuffix(packed)).suffix
    return (ending, packed) if ending in FORMATS else None


def open_path(
    path: Path,
    column: str,
    split: str = "train",
    roots: Sequence[Path] | None = None,
    licence: str = "",
    skip: bool = False,
) -> Files:
    """The texts of a file or folder, after a look at the columns of its parquet files. Raises Refused.

    `skip`: files that cannot be read are left out; engine/data/unread.py says which errors that means.
    """
    others = Counter[str]()
    found = source_files(path, split, roots, others)
    files, sizes, bad, unlisted = list[Listed](), list[int | None](), list[Bad](), list[Bad]()
    for file, name in found:
        listed = None
        try:
            listed = _listed(file, name, roots)
            size = _text_bytes(listed, column)
        except Refused as error:
            if not can_be_left_out(error):
                raise
            size = 0
            (unlisted if listed is None else bad).append(Bad(name, str(error)))
        if listed:
            files.append(listed)
            sizes.append(size)
    if (unlisted or bad) and (not skip or len(unlisted) + len(bad) == len(found)):
        raise unreadable(_name(path), [*unlisted, *bad], len(found), True)
    known = None if None in sizes else sum(size or 0 for size in sizes)
    near = Near(skip, unlisted, others)
    return Files(_name(path), files, column, size=known, licence=licence, near=near)


def _listed(path: Path, name: str, roots: Sequence[Path] | None) -> Listed:
    try:
        found = allowed(path, roots, name).stat()
    except OSError as error:
        raise Refused(f"{name} cannot be read: {error.strerror}.") from error
    # Of a million files, each byte counts: no Path and no stat is kept.
    again = partial(_again, str(path), roots, name, found.st_size, found.st_mtime_ns)
    return Listed(name, kind_of(path.name) or ("", ""), found.st_size, str(found.st_mtime_ns), again)


def _again(path: str, roots: Sequence[Path] | None, name: str, size: int, changed: int) -> BinaryIO:
    """Where links lead is looked at each time, and that the file is still the one that was listed."""
    raw = allowed(Path(path), roots, name).open("rb")
    now = os.fstat(raw.fileno())
    if (now.st_size, now.st_mtime_ns) != (size, changed):
        raw.close()
        raise Changed(f"{name} was written while the source was read; begin again when it is finished.")
    return raw


def _text_bytes(listed: Listed, column: str) -> int | None:
    kind, packed = listed.kind
    if kind == ".parquet" and not packed:
        with opened(listed) as file:
            return parquet_bytes(file, column)
    return listed.bytes if kind in PLAIN and not packed else None


def source_files(
    source: Path, split: str = "train", roots: Sequence[Path] | None = None, others: Counter[str] | None = None
) -> list[tuple[Path, str]]:
    """The files of a source that are texts, sorted by path, each with its name below the source.

    Hidden ones and README, LICENSE and SOURCES are left out; of a folder that `datasets` saved, its own files of one
    split. `others` counts those that are no texts, by ending. Raises Refused when there are no texts, or where `roots`
    do not allow it.
    """
    name = _name(source)
    real = allowed(source, roots, name)
    try:
        if real.is_dir():
            return _in_folder(source.expanduser(), name, split, roots, Counter() if others is None else others)
        there = real.is_file()
    except OSError as error:
        raise Refused(f"{name} cannot be read: {error.strerror}.") from error
    if not there:
        raise Refused(f"There is no file or folder {name!r}; {WANTED}.")
    if kind_of(source.name) is None:
        raise Refused(f"{name} is of a kind that cannot be read; {WANTED}.")
    return [(source, name)]


def _in_folder(
    folder: Path, name: str, split: str, roots: Sequence[Path] | None, others: Counter[str]
) -> list[tuple[Path, str]]:
    inside = folder / split if _saved_splits(folder, split, roots) else folder
    found = []
    for path in sorted(_visible(inside)):
        if path.name.casefold().split(".")[0] in ABOUT:
            continue
        if kind_of(path.name) is None:
            others[_shown(Path(path.suffix.casefold()[:12])) if path.suffix else "without an ending"] += 1
            continue
        if path.suffix == ".arrow" and path.name not in _saved(path.parent, roots):
            continue
        if path.is_file():
            found.append((path, _shown(path.relative_to(folder))))
    if not found:
        raise Refused(" ".join(filter(None, [f"The folder {name} has no text; {WANTED}.", other_kinds(others)])))
    return found


def _visible(folder: Path) -> Iterator[Path]:
    """Files below a folder, none of them hidden; links to folders are not followed. Raises OSError."""

    def refuse(error: OSError) -> None:
        raise error

    for inside, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(inside, name) for name in files if not name.startswith("."))


def _saved_splits(folder: Path, split: str, roots: Sequence[Path] | None) -> bool:
    """Whether `datasets` saved several splits here; raises Refused when `split` is none of them."""
    splits = _json(folder / "dataset_dict.json", roots).get("splits")
    if isinstance(splits, list) and split not in splits:
        there = ", ".join(map(str, splits))[:200]
        raise Refused(f"The folder {_name(folder)} has no split {split!r}; there are: {there}.")
    return isinstance(splits, list)


def _saved(folder: Path, roots: Sequence[Path] | None) -> set[str]:
    """Names of the Arrow files of a folder that `datasets` saved; beside them it puts others, which are copies."""
    files = _json(folder / "state.json", roots).get("_data_files")
    return {str(file.get("filename")) for file in files if isinstance(file, dict)} if isinstance(files, list) else set()


def _json(path: Path, roots: Sequence[Path] | None) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(allowed(path, roots, path.name).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{path.parent.name}/{path.name} is damaged: it is not what `datasets` writes.") from error
    return found if isinstance(found, dict) else {}


def _name(path: Path) -> str:
    """What a sentence calls a source."""
    return _shown(Path(path.name or path))


def _shown(path: Path) -> str:
    """The path as text that can be written anywhere, also where its bytes are no UTF-8."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
