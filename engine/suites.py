"""The prompt suites as files that people edit: read, checked, written whole, and never over somebody else's change."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from engine import config, store
from engine.config import ConfigError
from engine.prompts import PROMPTS, prompts_of, suites
from engine.store import Refused
from engine.sync import sync

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
"""What a file cannot be called where Windows has to read it."""
LARGEST = 200_000
"""Bytes of a suite that is edited in the page."""
PART = re.compile(r"\..*\.part")


class Gone(Refused):
    """The file is not there, or not any more."""


@dataclass(frozen=True)
class Suite:
    """A file of prompts as it is on the disk."""

    name: str
    text: str | None
    """None where it cannot be edited as text."""
    sha256: str
    """Of its bytes: who saves says by it which text was read."""
    prompts: int
    problem: str
    """Why no run can be asked it, in a sentence, or empty."""


def listed(folder: Path = PROMPTS) -> list[Suite]:
    """Every suite, by name."""
    found = []
    for name in suites(folder):
        with contextlib.suppress(Gone):  # since it was listed
            found.append(_suite(name, _content(name, folder)))
    return found


def read(name: str, folder: Path = PROMPTS) -> Suite:
    """One suite; raises Refused where there is none, or none that can be edited as text."""
    _must_exist(name, folder)
    found = _suite(name, _content(name, folder))
    if found.text is None:
        raise Refused(found.problem)
    return found


def check(name: str, text: str) -> list[str]:
    """The prompts that a suite of this text holds; raises Refused or ConfigError."""
    content = _bytes(text)
    if len(content) > LARGEST:
        raise Refused(f"A suite that is edited here has at most {LARGEST:,} bytes; this one has {len(content):,}.")
    return prompts_of(name, content)


def save(name: str, text: str, before: str, folder: Path = PROMPTS) -> Suite:
    """Write a suite whole and at once; `before` is the sha256 that was read, or "" for a suite that is new.

    Raises Refused where the file is another one by now, and ConfigError where a run could not be asked it.
    """
    if not before:
        check_name(name)
    check(name, text)
    with _alone(folder):
        _unchanged(name, before, folder)
        if not before and (same := [one for one in suites(folder) if one.casefold() == name.casefold()]):
            raise Refused(f"prompts/{same[0]}.txt is there already; choose another name.")
        try:
            _replace(folder / f"{name}.txt", _bytes(text))
        except OSError as error:
            raise Refused(f"prompts/{name}.txt could not be written: {error.strerror}.") from error
        return _suite(name, _content(name, folder))


def delete(name: str, before: str, folder: Path = PROMPTS) -> None:
    """Remove a suite; refused where a preset asks it, since its runs could not begin, or where it is another by now."""
    _must_exist(name, folder)
    if asking := presets_asking(name):
        who = f"The preset {asking[0]} asks" if len(asking) == 1 else f"The presets {', '.join(asking)} ask"
        raise Refused(f"{who} prompts/{name}.txt, so it stays; edit it instead.")
    with _alone(folder):
        _unchanged(name, before, folder)
        try:
            (folder / f"{name}.txt").unlink()
        except OSError as error:
            raise Refused(f"prompts/{name}.txt could not be removed: {error.strerror}.") from error


def check_name(name: str) -> None:
    """Raise Refused for what a new suite cannot be called."""
    if not NAME.fullmatch(name):
        raise Refused(
            f"The name {name[:70]!r} must have 1 to 64 letters, digits or . _ - and start with a letter or digit."
        )
    if name.casefold().endswith(".txt"):
        raise Refused(f"Leave out .txt: the file of a suite {name[:-4]} is prompts/{name[:-4]}.txt by itself.")
    if name.partition(".")[0].casefold() in RESERVED or name.endswith("."):
        raise Refused(f"No file can be called {name} on every system; choose another name.")


def presets_asking(name: str) -> list[str]:
    """The presets whose runs are asked a suite."""
    return [one for one in config.presets() if name in _names(config.load_preset(one).sample.suites)]


def runs_asking(db: Database, name: str) -> list[str]:
    """The names of runs that read a suite when they begin or go on: they wait, train, or can be resumed."""
    found = []
    for run in store.list_runs(db):
        if run["kind"] == "trained" and run["status"] in (*store.OPEN, *store.RESUMABLE):
            sample = json.loads(store.get_config(db, run["id"])).get("sample", {})
            if name in _names(sample.get("suites", "")):
                found.append(run["name"])
    return found


def _names(suites: str) -> list[str]:
    return [name.strip() for name in suites.split(",")]


def _must_exist(name: str, folder: Path) -> None:
    """Only what is in the folder can be meant: a name is never a path."""
    if name not in suites(folder):
        raise Refused(f"There is no prompt file prompts/{name[:80]}.txt.")


def _content(name: str, folder: Path) -> bytes:
    """What is in the file, of a large one a little more than may be edited; raises Refused, also where it has gone."""
    try:
        with (folder / f"{name}.txt").open("rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError:
        raise Gone(f"There is no prompt file prompts/{name[:80]}.txt.") from None
    except OSError as error:
        raise Refused(f"prompts/{name}.txt cannot be read: {error.strerror}.") from error


def _suite(name: str, content: bytes) -> Suite:
    digest, text = hashlib.sha256(content).hexdigest(), None
    if len(content) > LARGEST:
        problem = f"prompts/{name}.txt has more than {LARGEST:,} bytes; edit it with a program of your own."
        return Suite(name, None, digest, 0, problem)
    with contextlib.suppress(UnicodeDecodeError):  # what is wrong with it is said below
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    try:
        return Suite(name, text, digest, len(prompts_of(name, content)), "")
    except ConfigError as error:
        return Suite(name, text, digest, 0, str(error))


def _bytes(text: str) -> bytes:
    """A text as it is written: lines of one kind, the last one ended."""
    clean = text.replace("\r\n", "\n").replace("\r", "\n")
    return (clean if clean.endswith("\n") else clean + "\n").encode("utf-8", "surrogatepass")


def _unchanged(name: str, before: str, folder: Path) -> None:
    """Raise Refused unless the file is the one that was read, or there is none where none was."""
    now = _suite(name, _content(name, folder)).sha256 if name in suites(folder) else ""
    if now == before:
        return
    if not before:
        raise Refused(f"prompts/{name}.txt is there already; choose another name.")
    if not now:
        raise Refused(f"prompts/{name}.txt was removed since you opened it; save yours under a new name.")
    raise Refused(f"prompts/{name}.txt has changed since you opened it; nothing was written over it.")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time changes the folder, from whichever process; what a killed one left half written goes."""
    try:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Refused(f"The folder prompts/ cannot be used: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.iterdir():
            if PART.fullmatch(left.name):
                left.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, then take its place: whoever reads sees the old text or the new one."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
