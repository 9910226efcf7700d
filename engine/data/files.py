"""Texts from files and folders: one after the other, unpacked as they are read, from any place on."""

import contextlib
import functools
import gzip
import hashlib
import io
import itertools
import lzma
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from engine.data.formats import BLOCK, FORMATS
from engine.data.reader import Position, Text, bare
from engine.data.unread import MOST, SECONDS, Bad, can_be_left_out, unreadable
from engine.store import Refused


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a source."""

    name: str
    """Path below the source, for people."""
    kind: tuple[str, str]
    bytes: int
    changed: str
    """Another one for another content, as far as that can be told without reading."""
    open: Callable[[], BinaryIO]
    guard: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    """Turns what only this place of files raises into Refused; around opening and reading."""


@dataclass(frozen=True)
class Near:
    """What only files of this machine have."""

    skip: bool = False
    """Whether what cannot be read is left out; the whole texts before a bad place in a file stay."""
    unlisted: Sequence[Bad] = ()
    """Those that could not even be looked at."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Files that are no texts, by their endings."""


class Opened:
    """A file that is being read."""

    def __init__(self, listed: Listed, raw: BinaryIO) -> None:
        self.name = listed.name
        self.packed = listed.kind[1]
        self.unpacked = " of the unpacked text" if self.packed else ""
        self._raw = raw
        self._size = max(1, listed.bytes)
        self._temporary = contextlib.ExitStack()
        self._kept: list[object] = []  # streams of pyarrow close what they read from when they are dropped

    def blocks(self, offset: int) -> Iterator[bytes]:
        """Its bytes from `offset` on, unpacked."""
        self._raw.seek(0 if self.packed else offset)
        left = offset if self.packed else 0
        stream = self._stream()
        while block := stream.read(BLOCK):
            if len(block) > left:
                yield block[left:]
            left = max(0, left - len(block))

    def _stream(self) -> BinaryIO:
        if self.packed == ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=self._raw))
        if self.packed == ".xz":
            return cast(BinaryIO, lzma.LZMAFile(self._raw))
        if self.packed == ".zst":
            from pyarrow import CompressedInputStream

            stream = CompressedInputStream(self._raw, "zstd")
            self._kept.append(stream)
            return cast(BinaryIO, stream)
        return self._raw

    def share(self) -> float:
        """How much of it was read, packed or not."""
        return min(1.0, self._raw.tell() / self._size)

    def whole(self) -> BinaryIO:
        """A file that can be read anywhere; a packed one is unpacked into a temporary file, which has no name."""
        if not self.packed:
            return self._raw
        unpacked = self._temporary.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed by `close`
        self._raw.seek(0)
        shutil.copyfileobj(self._stream(), unpacked, BLOCK)
        unpacked.seek(0)
        return unpacked

    def close(self) -> None:
        """Give back what unpacking took; the file itself belongs to whoever opened it."""
        self._temporary.close()


class Files:
    """The texts of a list of files, one file after the other."""

    def __init__(
        self,
        source: str,
        files: Sequence[Listed],
        column: str,
        *,
        size: int | None = None,
        licence: str = "",
        near: "Near | None" = None,
    ) -> None:
        """`source` is its name in sentences, `size` the bytes of text in all files where that is known.

        `near`: of files of this machine, of which unreadable ones are looked for together, and may be left out.
        """
        self.near = near or Near()
        self.looks = near is not None
        """Whether unreadable files may be looked for: not where that means to download them."""
        self._unread: list[Bad] = []
        self.bytes = size
        self.licence = licence
        self._source = source
        self._files = files
        self._ends = [0, *itertools.accumulate(listed.bytes for listed in files)]
        self._column = column
        self._index = 0
        self._opened = 0
        self._place: list[int] | None = None
        self._share = 0.0
        self._given = 0

    def texts(self, start: Position | None = None) -> Iterator[Text]:
        """All texts, or those after `start`."""
        self._index, self._place, self._given, self._share, self._unread = 0, None, 0, 0.0, []
        if start is not None:
            if start["files"] != self._fingerprint:
                raise Refused(
                    f"{self._source} has changed since this dataset was begun: files were added, removed or written; "
                    "put them back, or discard what is made so far and begin again."
                )
            self._index, self._place, self._given = start["file"], start["place"], start["texts"]
            self._unread = _unread(start)
        self._opened = _begun(start) if start is not None else 0
        return self._texts()

    def _texts(self) -> Iterator[Text]:
        for index, listed in enumerate(self._files[self._index :], start=self._index):
            self._opened = index + 1
            try:
                with opened(listed) as file:
                    for found in FORMATS[listed.kind[0]](file, self._column, self._place):
                        self._place, self._share = found.after, found.share
                        if kept := bare(found.text):
                            self._given += 1
                            yield Text(kept, listed.name)
            except Refused as error:
                if not self.looks or not can_be_left_out(error):
                    raise
                self._leave_out(index, error)
            self._share, self._place, self._index = 0.0, None, index + 1
        if not self._given:
            if left_out := [*self.near.unlisted, *self._unread]:
                raise unreadable(self._source, left_out, len(self._files) + len(self.near.unlisted), True)
            raise Refused(f"{self._source} has no text: whatever was read in it is blank.")

    def _leave_out(self, index: int, error: Refused) -> None:
        """Note that a file could be read no further than this; raises Unreadable where none may be left out."""
        bad, files = Bad(self._files[index].name, str(error)), len(self._files)
        if not self.near.skip:
            others, whole = self.bad_files(SECONDS, index + 1)
            raise self.refusal([bad, *others], whole) from error
        self._unread = [*self._unread, bad]  # positions of before keep theirs
        if len(self._unread) > MOST:
            raise unreadable(self._source, self._unread, files, False) from error

    def bad_files(self, seconds: float, first: int = 0) -> tuple[list[Bad], bool]:
        """The unreadable files from number `first` on, looked for so long; and whether all were looked at."""
        bad, until = list[Bad](), time.monotonic() + seconds
        for listed in self._files[first:]:
            try:
                with opened(listed) as file:
                    for _ in FORMATS[listed.kind[0]](file, self._column, None):
                        if time.monotonic() > until:
                            return bad, False
            except Refused as error:
                bad.append(Bad(listed.name, str(error)))
            if time.monotonic() > until:
                return bad, listed is self._files[-1]
        return bad, True

    def refusal(self, bad: Sequence[Bad], whole: bool) -> Refused:
        """The error that tells of these; `whole`: there are no others."""
        return unreadable(self._source, bad, len(self._files), whole)

    def position(self) -> Position:
        """The file, the place in it, and what the files were, so that others are not taken for them."""
        place = {"files": self._fingerprint, "file": self._index, "place": self._place, "texts": self._given}
        return place | ({"unread": [list(bad) for bad in self._unread]} if self._unread else {})

    def done(self) -> float | None:
        """By bytes on disk."""
        index = self._index  # another thread may be reading on
        before, after = self._ends[index], self._ends[min(index + 1, len(self._files))]
        return (before + self._share * (after - before)) / self._ends[-1] if self._ends[-1] else None

    def describe(self, documents: Mapping[str, int], position: Position | None = None) -> list[dict[str, Any]]:
        """Every file that was read before `position`, with the sha256 of its bytes as they lie on the disk."""
        described: list[dict[str, Any]] = [{"file": bad.name, "unreadable": bad.why} for bad in self.near.unlisted]
        unread = dict(self._unread if position is None else _unread(position))
        for listed in self._files[: self._opened if position is None else _begun(position)]:
            if listed.name in unread:
                kept = documents.get(listed.name, 0)
                entry = {"file": listed.name, "bytes": listed.bytes, "documents": kept}
                described.append(entry | {"unreadable": unread[listed.name]})
                continue
            with _sentences(listed), listed.open() as file:
                digest = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
            described.append(
                {
                    "file": listed.name,
                    "bytes": listed.bytes,
                    "sha256": digest,
                    "documents": documents.get(listed.name, 0),
                }
            )
        return described

    @functools.cached_property
    def _fingerprint(self) -> str:
        said = "".join(f"{listed.name}\0{listed.bytes}\0{listed.changed}\n" for listed in self._files)
        return hashlib.sha256(said.encode()).hexdigest()


def _unread(position: Position) -> list[Bad]:
    """The files that were left out before a position."""
    return [Bad(*bad) for bad in position.get("unread", ())]


def _begun(position: Position) -> int:
    """How many files were read at a position, the last perhaps in part."""
    return int(position["file"]) + (position["place"] is not None)


@contextlib.contextmanager
def opened(listed: Listed) -> Iterator[Opened]:
    """The file, open until the end; what the libraries raise meanwhile becomes Refused."""
    with _sentences(listed), listed.guard(), listed.open() as raw:
        file = Opened(listed, raw)
        try:
            yield file
        finally:
            file.close()


@contextlib.contextmanager
def _sentences(listed: Listed) -> Iterator[None]:
    """What the libraries raise, in words that name the file."""
    try:
        yield
    except (lzma.LZMAError, EOFError, zlib.error) as error:
        raise _damaged(listed) from error
    except OSError as error:
        if error.errno is None:  # pyarrow and gzip raise it for what a file holds
            raise _damaged(listed) from error
        raise Refused(f"{listed.name} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        if type(error).__module__.startswith("pyarrow"):
            raise _damaged(listed) from error
        raise


def _damaged(listed: Listed) -> Refused:
    ending = listed.kind[1] or listed.kind[0]
    return Refused(f"{listed.name} is damaged: it is not a whole {ending} file.")
