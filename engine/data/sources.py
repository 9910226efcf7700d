"""Where documents come from: the starter novels, files and folders, the hub. Reads, and changes nothing in a text."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.data.folders import open_path
from engine.data.folders import source_files as listed_files
from engine.data.hub import open_hub
from engine.data.reader import Position as Position
from engine.data.reader import Reader as Reader
from engine.data.reader import Text as Text
from engine.data.recipe import STARTER, Source
from engine.home import PROJECT

NOVELS = PROJECT / "data" / "starter"
NOVELS_LICENCE = "public domain; data/starter/SOURCES.md names every source"


def open_source(source: Source, roots: Sequence[Path] | None = None, skip_unreadable: bool = False) -> Reader:
    """A reader of the source, after what can be checked at once: files, links, columns of parquet files, the hub.

    `roots` are the folders that may be read, links included (engine/data/roots.py); None is whatever the user can
    read. `skip_unreadable`: of files and folders of this machine, what cannot be read is left out.
    Raises Refused or ConfigError.
    """
    if source.where == STARTER:
        return open_path(NOVELS, source.column, licence=NOVELS_LICENCE)
    if source.hub:
        return open_hub(source)
    return open_path(Path(source.where), source.column, source.split, roots, skip=skip_unreadable)


def documents(path: Path, column: str = "text") -> Iterator[str]:
    """The texts of a file or folder. Raises Refused with the file and the place for anything that is not text."""
    for text in open_path(path, column).texts():
        yield text.text


def source_files(source: Path) -> list[Path]:
    """The readable files of a source, sorted by path; raises Refused when there are none."""
    return [path for path, _ in listed_files(source)]
