"""A report as files in a folder: each whole or not at all, and nothing overwritten that a report did not write."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from engine.manifest import sha256_of
from engine.space import reason
from engine.store import Refused
from engine.sync import sync

OURS = ".blueberry-report.json"
"""Which files of a folder are a report's, with the sha256 of what may be in them."""


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, new or of an earlier report; raises Refused where one would overwrite other work."""
    folder = folder.expanduser().absolute()
    new = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    made = not folder.exists()
    try:
        if folder.exists() and not folder.is_dir():
            raise Refused(f"{folder} is a file; name a folder.")
        known = _known(folder)
        for name in files:
            _check(folder / name, known.get(name, []))
        folder.mkdir(parents=True, exist_ok=True)
        # What was there and what will be: a report that is cut short here is written anew by the next one.
        _note(folder, {**known, **{name: [*known.get(name, [])[-1:], digest] for name, digest in new.items()}})
        for name, content in files.items():
            _put(folder / name, content)
        sync(folder)
        _note(folder, {**known, **{name: [digest] for name, digest in new.items()}})
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only where nothing is in it
        raise Refused(f"The report could not be written to {folder}: {reason(error)}.") from error
    return [folder / name for name in files]


def _known(folder: Path) -> dict[str, list[str]]:
    """What earlier reports have written here."""
    try:
        told = json.loads((folder / OURS).read_text(encoding="utf-8"))
        return {str(name): [str(one) for one in digests] for name, digests in told["files"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Refused(f"{OURS} in {folder} is damaged; name another folder.") from error


def _check(path: Path, digests: list[str]) -> None:
    """Raise Refused where a file is not one of ours, or was changed since."""
    if not (path.exists() or path.is_symlink()):
        return
    if not digests:
        raise Refused(f"{path.name} in {path.parent} was not made by a report; name another folder, or move it away.")
    if path.is_symlink() or not path.is_file() or sha256_of(path) not in digests:
        raise Refused(f"{path.name} in {path.parent} was changed since; name another folder, or move it away.")


def _note(folder: Path, known: Mapping[str, list[str]]) -> None:
    _put(folder / OURS, (json.dumps({"files": known}, indent=1) + "\n").encode())


def _put(path: Path, content: bytes) -> None:
    """Write a file whole, or leave what was there."""
    temporary = path.with_name(f".{path.name.removeprefix('.')}.part")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
