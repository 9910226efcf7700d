"""Is this machine and this home in order, and what is to be done where it is not? Nothing is mended by asking."""

import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from sqlite_utils import Database

from engine import gpu, store
from engine.children import Child
from engine.endings import is_lost
from engine.home import PROJECT, Home
from engine.manifest import CorruptCheckpoint, sha256_of, verify
from engine.phrases import size
from engine.volume import network_file_system

TIGHT, SHORT = 5_000_000_000, 1_000_000_000
"""Free bytes on the home's disk below which a warning and a problem are told: two saves of a 151 M model take 4 GB."""
PYTHON = ((3, 11), (3, 14))
"""The oldest Python that will do and the first that may not (pyproject.toml)."""
MANY = 3
"""How many names a sentence holds."""
UNUSABLE: tuple[type[Exception], ...] = (store.Refused, *store.UNUSABLE, OSError, ImportError)


@dataclass(frozen=True)
class Finding:
    """What one check found: all is well, or what is wrong and what to do."""

    name: str
    state: Literal["ok", "warning", "problem"]
    sentence: str


Check = Callable[[Home], Iterator[Finding]]


def examine(home: Home, hashes: bool = True) -> Iterator[Finding]:
    """Every check, one after the other; without `hashes`, what lies in checkpoints/ is not read through."""
    for name, check in CHECKS.items():
        if hashes or check is not check_weights:
            try:
                yield from check(home)
            except UNUSABLE as error:
                yield Finding(name, "problem", f"This could not be looked at: {error}.".replace("..", "."))


def check_versions(home: Home) -> Iterator[Finding]:
    """Python, and everything in requirements.txt."""
    from packaging.requirements import Requirement  # comes with most of them; if it does not, the sentence says so

    name, found = "versions", [f"Python {platform.python_version()}"]
    if not PYTHON[0] <= sys.version_info[:2] < PYTHON[1]:
        yield Finding(name, "problem", f"{found[0]} will not do: install 3.11, 3.12 or 3.13.")
    for line in (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or ((wanted := Requirement(text)).marker and not wanted.marker.evaluate()):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "problem", f"{wanted.name} is missing: pip install -r requirements.txt.")
            continue
        if wanted.specifier.contains(version, prereleases=True):
            found.append(f"{wanted.name} {version}")
        else:
            sentence = f"{wanted.name} {version} is not {wanted.specifier}: pip install -r requirements.txt."
            yield Finding(name, "warning", sentence)
    yield Finding(name, "ok", ", ".join(found))


def check_gpus(home: Home) -> Iterator[Finding]:
    """Driver, GPUs, and who holds their memory."""
    name, driver = "GPU", gpu.driver()
    if not driver:
        yield Finding(name, "ok", "No NVIDIA driver here: models train on the processor, or on an Apple GPU.")
        return
    with _opened(home) as db:
        found = gpu.look(store.open_runs(db) if db else ())
    for one in found:
        held = "".join(f"; {holder}" for holder in one.holders[:MANY])
        yield Finding(name, "ok", f"{one}, driver {driver}{held}")
    if not found:
        yield Finding(name, "warning", f"The driver {driver} shows no GPU: `nvidia-smi` may say why.")
    elif "+cpu" in metadata.version("torch"):
        yield Finding(name, "warning", "torch is the CPU build and cannot use the GPU: install the ordinary torch.")


def check_disk(home: Home) -> Iterator[Finding]:
    """Room for checkpoints."""
    free = shutil.disk_usage(home.path).free
    sentence = f"{size(free)} free for this home"
    if free < TIGHT:
        sentence += ": free some space, a run keeps several checkpoints."
    yield Finding("disk", "problem" if free < SHORT else "warning" if free < TIGHT else "ok", sentence)


def check_folder(home: Home) -> Iterator[Finding]:
    """Whether we can write to the home and others cannot, and whether it lies on a disk of this machine."""
    name, what = "home", home.path.stat()
    if kind := network_file_system(home.path):
        sentence = f"It lies on a network file system ({kind}), where SQLite's locks do not hold: move it to a disk of "
        yield Finding(name, "warning", f"{sentence}this machine.")
    places = [path for path in (home.path, home.database, home.path / "checkpoints") if path.exists()]
    closed = [path.name for path in places if not os.access(path, os.W_OK)]
    if closed:
        yield Finding(name, "problem", f"{_names(closed)} cannot be written: change the owner or the permissions.")
    elif what.st_mode & stat.S_IWOTH and not what.st_mode & stat.S_ISVTX:
        yield Finding(name, "warning", "Every user of this machine can change what is in it: chmod o-w.")
    else:
        yield Finding(name, "ok", f"{home.path} can be written")


def check_sqlite(home: Home) -> Iterator[Finding]:
    """A SQLite that does not lose rows."""
    wrong = store.soundness()
    yield Finding("SQLite", "warning" if wrong else "ok", wrong or store.sqlite_version())


def check_database(home: Home) -> Iterator[Finding]:
    """runs.db is whole and has our schema."""
    name = "runs.db"
    if not home.database.exists():
        if any((home.path / "checkpoints").glob("*")):
            yield Finding(name, "problem", "It is gone, but checkpoints/ is there: put it back from a backup.")
        else:
            yield Finding(name, "ok", "It will be made at the first start.")
        return
    with closing(store.connect(home.database)) as db:
        if wrong := store.complaints(db):
            sentence = f"It is damaged ({wrong[0]}): put a backup in its place; the checkpoints are not harmed."
            yield Finding(name, "problem", sentence)
        else:
            sentence = f"It is whole, with schema {store.schema_version(db)} and {len(store.list_runs(db))} runs."
            yield Finding(name, "ok", sentence)


def check_runs(home: Home) -> Iterator[Finding]:
    """No run looks alive that is not, and nothing half done fills the disk."""
    with _opened(home) as db:
        active = [run for run in store.open_runs(db) if run["status"] in store.ACTIVE] if db else []
        stale = [run["name"] for run in active if db and is_lost(home, db, run, watched=False)]
    if stale:
        yield Finding("runs", "warning", f"{_names(stale)}: no trainer any more; `python -m engine runs` ends it.")
    else:
        yield Finding("runs", "ok", f"{len(active)} on, each with its trainer" if active else "none is on")
    busy = {run["id"] for run in active}
    left = [path for path in (home.path / "checkpoints").glob("*/**/.step_*") if not busy & set(path.parts)]
    if left:
        names = _names([str(path.relative_to(home.path)) for path in left])
        yield Finding("runs", "warning", f"Interrupted work has left {_taken(left)}: delete {names}.")


def check_datasets(home: Home) -> Iterator[Finding]:
    """No dataset job looks alive that is not, and what is half made is known."""
    name, folder = "datasets", home.path / "datasets"
    with _opened(home) as db:
        jobs = {job["name"]: job["status"] for job in store.list_jobs(db)} if db else {}
        lost = [job["name"] for job in store.open_jobs(db) if job["pid"] and not Child(job).alive()] if db else []
        busy = bool(db and store.open_runs(db))
    if lost:
        yield Finding(name, "warning", f"{_names(lost)}: no process any more; `python -m engine datasets` sees to it.")
    else:
        ready = sum(1 for card in folder.glob("[!.]*/card.json"))
        yield Finding(name, "ok", f"{ready} ready" if ready else "none yet")
    half = {path: jobs.get(path.name.removeprefix(".making-")) for path in sorted(folder.glob(".making-*"))}
    early = [path for path, status in half.items() if status in store.RESUMABLE_JOBS]
    if early:
        names = _names([path.name.removeprefix(".making-") for path in early])
        sentence = (
            f"{names}: half made, {_taken(early)}; `python -m engine prepare NAME` goes on, --discard removes it."
        )
        yield Finding(name, "warning", sentence)
    left = [path for path, status in half.items() if status not in (*store.OPEN_JOBS, *store.RESUMABLE_JOBS)]
    left = [] if busy else left + sorted(folder.glob(".deleted-*"))  # a run may be making its own
    if left:
        names = _names([str(path.relative_to(home.path)) for path in left])
        yield Finding(name, "warning", f"Interrupted work has left {_taken(left)}: delete {names}.")


def check_weights(home: Home) -> Iterator[Finding]:
    """Every checkpoint and all kept weights are what was saved."""
    name, good, bad = "weights", 0, 0
    kept = _kept(home)
    offered = {home.run(run_id) / row["path"] for run_id, row in kept}
    for folder in sorted((home.path / "checkpoints").glob("*/step_*")):
        try:
            verify(folder)
            good += 1
        except CorruptCheckpoint as error:
            bad += folder.exists()
            if folder in offered:
                yield Finding(name, "problem", f"{folder.parent.name}: {error} Resume uses an earlier one; delete it.")
            elif folder.exists():  # else a run has let go of it meanwhile
                sentence = f"{folder.parent.name}: {error} It was being removed, or nothing is known of it: delete it."
                yield Finding(name, "warning", sentence)
    for run_id, row in kept:
        path, what = home.run(run_id) / row["path"], f"{run_id}: the weights of step {row['step']:,}"
        if not path.exists():
            bad += 1
            yield Finding(name, "warning", f"{what} are gone, so their words cannot be said again.")
        elif path.is_file() and sha256_of(path) != row["sha256"]:
            bad += 1
            yield Finding(name, "problem", f"{what} have changed since they were kept: put back a copy.")
        else:
            good += path.is_file()
    if not bad:
        yield Finding(name, "ok", f"{good} checkpoints and kept weights are what was saved." if good else "none yet")


def _kept(home: Home) -> list[tuple[str, store.Row]]:
    """What the database says lies on the disk, by run."""
    with _opened(home) as db:
        runs = store.list_runs(db) if db else []
        kinds = ("full", "sampling", "kept")
        return [
            (run["id"], row)
            for run in runs
            if db
            for kind in kinds
            for row in store.list_checkpoints(db, run["id"], kind)
        ]


@contextmanager
def _opened(home: Home) -> Iterator[Database | None]:
    """runs.db, or nothing where it is missing or cannot be used, which `check_database` tells."""
    try:
        db = store.connect(home.database)
    except UNUSABLE:
        yield None
        return
    with closing(db):
        yield db


def _taken(paths: list[Path]) -> str:
    """What files and folders take together."""
    return size(sum(file.stat().st_size for path in paths for file in (path.rglob("*") if path.is_dir() else [path])))


def _names(names: list[str]) -> str:
    more = len(names) - MANY
    return ", ".join(names[:MANY]) + (f" and {more} more" if more > 0 else "")


CHECKS: dict[str, Check] = {
    "versions": check_versions,
    "GPU": check_gpus,
    "disk": check_disk,
    "home": check_folder,
    "SQLite": check_sqlite,
    "runs.db": check_database,
    "runs": check_runs,
    "datasets": check_datasets,
    "weights": check_weights,
}
