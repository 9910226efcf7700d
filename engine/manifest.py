"""Whether a checkpoint is what was saved: every file of it against its manifest of sizes and sha256. No torch."""

import hashlib
import json
from pathlib import Path

BLOCK = 1 << 20


class CorruptCheckpoint(RuntimeError):
    """A checkpoint that cannot be trusted; the message says which file and why."""


def verify(path: Path) -> None:
    """Check every file of a checkpoint against its manifest; raises CorruptCheckpoint."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        listed = [(name, int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest.items()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorruptCheckpoint(f"{path.name} has no readable manifest.json.") from error
    for name, size, digest in listed:
        try:
            same = (path / name).stat().st_size == size and sha256_of(path / name) == digest
        except OSError as error:
            raise CorruptCheckpoint(f"{path.name}/{name} cannot be read.") from error
        if not same:
            raise CorruptCheckpoint(f"{path.name}/{name}: hash mismatch, the file has changed since it was saved.")


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hexadecimal digits, read in pieces; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
