"""The container of a capsule, which a stranger may have made: read by the names in its manifest only, never beyond
caps, and not one byte of it believed before its hash is right. Everything that is wrong raises Refused.
"""

import contextlib
import hashlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from engine import capsule
from engine.capsule import Cover, parsed
from engine.capsule_check import checked_manifest
from engine.phrases import size as spoken
from engine.store import Refused

BLOCK = 1 << 20
LARGEST_INDEX = 2 * capsule.MB
"""Bytes of a zip's list of members; 4,096 of the longest names we know take half of it."""
TAIL = 66_000
"""Bytes at the end of a zip in which that list is announced."""
BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error, ValueError, RuntimeError)


class Capsule:
    """An opened capsule whose names, sizes and manifest are sound; what is in it may not be."""

    def __init__(self, path: Path, packed: zipfile.ZipFile) -> None:
        self.path, self.packed = path, packed
        self.members = _members(path, packed)
        self.manifest = _manifest(self)
        self.entries: dict[str, dict[str, Any]] = self.manifest["members"]

    @property
    def cover(self) -> Cover:
        """What may be seen from outside."""
        return capsule.cover_of(self.manifest, self.path.stat().st_size)

    def blocks(self, name: str) -> Generator[bytes, None, None]:
        """A member in pieces; its hash is known to be right once the last one is read."""
        entry, digest, size = self.entries[name], hashlib.sha256(), 0
        with self._reading(name), self.packed.open(self.members[name]) as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
                yield block
        if size != entry["bytes"] or digest.hexdigest() != entry["sha256"]:
            raise Refused(f"{name} is not what the capsule says it is: its sha256 differs. It was changed or damaged.")

    def text(self, name: str) -> bytes:
        """A whole member."""
        return b"".join(self.blocks(name))

    def json(self, name: str) -> Any:
        """A member that is JSON."""
        return parsed(self.text(name), name)

    def lines(self, name: str) -> Iterator[Any]:
        """A member that is JSON line by line; none where it is not there."""
        if name not in self.entries:
            return
        lines = self.text(name).splitlines()
        if len(lines) > capsule.MOST_ROWS:
            raise Refused(f"{name} has {len(lines):,} lines; a capsule has {capsule.MOST_ROWS:,} at most.")
        for number, line in enumerate(lines, 1):
            if len(line) > capsule.LONGEST_LINE:
                raise Refused(f"Line {number:,} of {name} is longer than {spoken(capsule.LONGEST_LINE)}.")
            yield parsed(line, f"line {number:,} of {name}")

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except Refused:
            raise
        except (*BROKEN, OSError) as error:
            raise Refused(f"{name} in the capsule is damaged and cannot be read.") from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Capsule]:
    """A capsule to read from; raises Refused where its outside is not in order."""
    path = path.expanduser()
    try:
        if not path.is_file():
            raise Refused(f"There is no file {path.name[:80]!r}.")
        _check_index(path)
        packed = zipfile.ZipFile(path)
    except Refused:
        raise
    except OSError as error:
        raise Refused(f"{path.name[:80]!r} cannot be read: {error.strerror}.") from error
    except BROKEN as error:
        raise Refused(f"{path.name[:80]!r} is no capsule, or only a part of one.") from error
    with packed:
        yield Capsule(path, packed)


def _check_index(path: Path) -> None:
    """Raise Refused where the list of members is larger than any capsule's, before anything reads it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        tail = file.read(TAIL)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise Refused(f"{path.name[:80]!r} is no capsule, or only a part of one.")
    index = [struct.unpack_from("<I", tail, at + 12)[0]]
    wide = tail.rfind(b"PK\6\6", 0, at)
    if wide >= 0 and wide + 48 <= len(tail):
        index.append(struct.unpack_from("<Q", tail, wide + 40)[0])
    if max(index) > LARGEST_INDEX:
        raise Refused(f"{path.name[:80]!r} has more members than any capsule.")


def _members(path: Path, packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name, all of them of kinds that a capsule has; raises Refused."""
    listed = packed.infolist()
    if len(listed) > capsule.MOST_MEMBERS:
        raise Refused(f"The capsule has {len(listed):,} members; {capsule.MOST_MEMBERS:,} are the most.")
    found: dict[str, zipfile.ZipInfo] = {}
    for one in listed:
        name = one.orig_filename  # as it is in the file: zipfile itself cuts a name at a NUL
        shown = repr(name[:80])
        if not capsule.largest(name):
            raise Refused(f"The capsule has a member {shown}, which no capsule has.")
        if name in found:
            raise Refused(f"The capsule has {shown} twice.")
        kind = stat.S_IFMT(one.external_attr >> 16)
        if one.flag_bits & 0x1:
            raise Refused(f"{shown} in the capsule is encrypted.")
        if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused(f"{shown} in the capsule is packed in a way that capsules are not.")
        if kind not in (0, stat.S_IFREG):
            raise Refused(f"{shown} in the capsule is a link or a folder, not a file.")
        if one.file_size > capsule.largest(name):
            raise Refused(
                f"{shown} in the capsule has {spoken(one.file_size)}; {spoken(capsule.largest(name))} is all."
            )
        if one.file_size > capsule.MOST_RATIO * one.compress_size + capsule.MB:
            raise Refused(f"{shown} in the capsule would grow {capsule.MOST_RATIO} times and more; that is no text.")
        found[name] = one
    if sum(one.compress_size for one in listed) > path.stat().st_size:
        raise Refused("The members of the capsule lie upon each other.")
    return found


def _manifest(of: Capsule) -> dict[str, Any]:
    """The manifest, checked field by field against what is there; raises Refused."""
    if capsule.MANIFEST not in of.members:
        raise Refused(f"{of.path.name[:80]!r} is a zip, but no capsule: it has no manifest.json.")
    try:
        text = of.packed.read(of.members[capsule.MANIFEST])
    except (*BROKEN, OSError) as error:
        raise Refused("manifest.json in the capsule is damaged and cannot be read.") from error
    sizes = {name: one.file_size for name, one in of.members.items() if name != capsule.MANIFEST}
    return checked_manifest(parsed(text, capsule.MANIFEST), sizes)
