"""Whether a checkpoint is what was saved: every file of it against its manifest of sizes and sha256. No torch."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.sync import sync

BLOCK = 1 << 20


class CorruptCheckpoint(RuntimeError):
    """A checkpoint that cannot be trusted; the message says which file and why."""


def verify(path: Path) -> None:
    """Check every file of a checkpoint against its manifest; raises CorruptCheckpoint."""
    for name, entry in read_manifest(path).items():
        try:
            same = (path / name).stat().st_size == entry["bytes"] and sha256_of(path / name) == entry["sha256"]
        except OSError as error:
            raise CorruptCheckpoint(f"{path.name}/{name} cannot be read.") from error
        if not same:
            raise CorruptCheckpoint(f"{path.name}/{name}: hash mismatch, the file has changed since it was saved.")


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of every file of a checkpoint, as they were saved; raises CorruptCheckpoint."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        return {
            name: {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])} for name, entry in manifest.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorruptCheckpoint(f"{path.name} has no readable manifest.json.") from error


def write_manifest(path: Path, listed: Mapping[str, Any], texts: Mapping[str, bytes]) -> None:
    """Write small files into the folder of a checkpoint, and its manifest; `listed`: entries of what lies there."""
    entries = {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in texts.items()}
    manifest = (json.dumps(dict(listed) | entries, indent=1) + "\n").encode()
    for name, text in {**texts, "manifest.json": manifest}.items():
        (path / name).write_bytes(text)
        sync(path / name)
    sync(path)


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hexadecimal digits, read in pieces; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
