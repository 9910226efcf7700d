"""Taking a capsule into a home: all of it is checked, then all of it is taken, or nothing.

A capsule whose date is still to come is kept as the file that it is, and only its cover is in the database: so nothing
can show what is in it by accident. That is a promise and no lock: who has the file can unpack it.
"""

import os
import secrets
import shutil
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlite_utils import Database

from engine import capsule, launch, store, tokenizer
from engine.capsule import Cover
from engine.capsule_check import Told
from engine.capsule_content import TABLES, Content, Report, nobody, read
from engine.capsule_zip import Capsule, opened
from engine.home import Home
from engine.phrases import size as spoken
from engine.space import RESERVE, free_disk, reason
from engine.store import Refused, Row
from engine.sync import sync


@dataclass(frozen=True)
class Taken:
    """What became of a capsule."""

    cover: Cover
    state: str
    """`opened`, `sealed` (only its cover shows), `known` (it came before, nothing was changed), `new` (it may come)."""
    runs: tuple[tuple[str, str], ...] = ()
    """Id and name of the runs that came with it."""


def look(home: Home, path: Path, report: Report = nobody) -> Taken:
    """What taking a capsule in would do, all of which is in order: nothing is changed. Raises Refused."""
    launch.open_home(home)
    with opened(path) as packed, closing(store.connect(home.database)) as db:
        cover = packed.cover
        if (known := _known(db, cover.id)) is not None:
            return Taken(cover, "known", known)
        read(packed, columns(db), report)
        return Taken(cover, "sealed" if cover.is_sealed(time.time()) else "new")


def take(home: Home, path: Path, report: Report = nobody, now: float | None = None) -> Taken:
    """Take a capsule into a home, or only its cover while it is sealed; raises Refused, having changed nothing."""
    now = time.time() if now is None else now
    launch.open_home(home)
    with opened(path) as packed, closing(store.connect(home.database, durable=True)) as db:
        cover = packed.cover
        if (known := _known(db, cover.id)) is not None:
            return Taken(cover, "known", known)
        content = read(packed, columns(db), report)
        if cover.is_sealed(now):
            _put_aside(home, db, path, cover)
            return Taken(cover, "sealed")
        return Taken(cover, "opened", _put(home, db, packed, content))


def open_sealed(home: Home, capsule_id: str, now: float | None = None) -> Taken:
    """Open a capsule that has waited for its date; raises Refused before that."""
    now = time.time() if now is None else now
    with closing(store.connect(home.database, durable=True)) as db:
        row = store.get_capsule(db, capsule_id)
        if row["opened_at"] is not None:
            raise Refused(f"{row['title']} is open already.")
        path = sealed_path(home, row["id"])
        with opened(path) as packed:
            cover = packed.cover
            if cover.id != row["id"]:
                raise Refused(f"The file of {row['title']} in capsules/ has been changed.")
            if cover.is_sealed(now):
                raise Refused(f"{cover.title} is sealed until {cover.sealed_until}.")
            runs = _put(home, db, packed, read(packed, columns(db)))
        path.unlink(missing_ok=True)
        return Taken(cover, "opened", runs)


def remove(home: Home, capsule_id: str) -> None:
    """Forget a capsule, with its file where it is sealed; runs that came with it stay. Raises Refused."""
    with closing(store.connect(home.database)) as db:
        row = store.get_capsule(db, capsule_id)
        with store.writing(db):
            store.forget_capsule(db, row["id"])
    sealed_path(home, row["id"]).unlink(missing_ok=True)


def sealed_path(home: Home, capsule_id: str) -> Path:
    """Where a capsule lies until its date has come."""
    return home.capsules / f"{capsule_id}{capsule.SUFFIX}"


def columns(db: Database) -> dict[str, dict[str, str]]:
    """The columns that a capsule may fill, by table."""
    return {table: store.columns_of(db, table) for table in ("samples", *TABLES)}


def _known(db: Database, capsule_id: str) -> tuple[tuple[str, str], ...] | None:
    """The runs of a capsule that has come before and whose runs are here, or that waits; None for a new one."""
    for row in store.list_capsules(db):
        if row["id"] == capsule_id and (row["here"] or row["opened_at"] is None):
            return tuple((run["id"], run["name"]) for run in store.runs_of_capsule(db, capsule_id))
    return None


def _row(cover: Cover) -> Row:
    """A cover as a row of `capsules`."""
    told = asdict(cover)
    return told | {"runs": capsule.dumped(cover.runs).decode()}


def _put_aside(home: Home, db: Database, path: Path, cover: Cover) -> None:
    """Keep a sealed capsule as it is, and its cover in the database."""
    _check_room(home, cover.bytes)
    target = sealed_path(home, cover.id)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        home.capsules.mkdir(exist_ok=True)
        shutil.copyfile(path, temporary)
        sync(temporary)
        temporary.replace(target)
    except OSError as error:
        raise Refused(f"The capsule cannot be kept: {reason(error)}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    with store.writing(db):
        store.add_capsule(db, _row(cover))


def _put(home: Home, db: Database, packed: Capsule, content: Content) -> tuple[tuple[str, str], ...]:
    """Store what a capsule holds: files in folders of their own, then all rows in one transaction."""
    cover = packed.cover
    _check_room(home, sum(entry["bytes"] for entry in packed.entries.values()))
    stage, made = home.path / "checkpoints" / f".capsule-{os.getpid()}-{secrets.token_hex(5)}", list[Path]()
    try:
        stage.mkdir(parents=True)
        saved = {
            run: _write_files(stage / str(place), packed, told)
            for place, (run, told) in enumerate(content.told.items())
        }
        with store.writing(db):
            if _known(db, cover.id):  # somebody else was faster
                raise Refused(f"{cover.title} has just been taken in already.")
            store.add_capsule(db, _row(cover))
            store.capsule_opened(db, cover.id)
            ids = {run: _free_id(home, db, run) for run in content.told}
            pinned = list[tuple[int, int]]()
            for run, told in content.told.items():
                pinned += _add_rows(db, ids[run], run, told, content, saved[run], cover)
            store.pin_last(db, [exhibit for _, exhibit in sorted(pinned)])
            for place, run in enumerate(content.told):  # last: whatever ends this before leaves only the stage behind
                folder = home.run(ids[run])
                (stage / str(place)).rename(folder)
                made.append(folder)
    except BaseException as error:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise Refused(f"The capsule cannot be taken in: {reason(error)}.") from error
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return tuple((ids[run], told.row["name"]) for run, told in content.told.items())


def _free_id(home: Home, db: Database, wanted: str) -> str:
    """The id that a run has in its capsule, or a new one where that is taken."""
    return wanted if store.is_free(db, wanted) and not home.run(wanted).exists() else secrets.token_hex(5)


def _write_files(folder: Path, packed: Capsule, told: Told) -> list[Row]:
    """Tokenizer and weights of a run into its folder to be; returns the rows of its weights without the run's id."""
    (folder / "sampling").mkdir(parents=True)
    if told.tokenizer is not None:
        source = folder / "tokenizer.json"
        _write(source, packed, f"tokenizers/{told.tokenizer}.json")
        tokenizer.copy(source, source, told.end)
    rows, steps = list[Row](), set[int]()
    for place, entry in enumerate(told.weights, 1):
        step = entry["step"]
        first = step not in steps
        steps.add(step)
        name = f"step_{step:06d}.safetensors" if first else f"step_{step:06d}.attempt{place}.safetensors"
        size = _write(folder / "sampling" / name, packed, f"weights/{entry['sha256']}.safetensors")
        rows.append(
            {
                "attempt": 1 if first else place,
                "step": step,
                "tokens": entry["tokens"],
                "kind": "sampling" if first else "kept",
                "path": f"sampling/{name}",
                "bytes": size,
                "sha256": entry["sha256"],
            }
        )
    return rows


def _write(path: Path, packed: Capsule, name: str) -> int:
    """Unpack a member; returns its size."""
    size = 0
    with path.open("xb") as file:
        for block in packed.blocks(name):
            size += file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return size


def _add_rows(
    db: Database, run_id: str, name: str, told: Told, content: Content, saved: list[Row], cover: Cover
) -> list[tuple[int, int]]:
    """All rows of one run, within the caller's transaction; returns its pinned exhibits, as `store.add_words` does."""
    ended = told.state["ended_at"] or cover.created_at
    store.add_imported(db, told.row | {"id": run_id, "capsule_id": cover.id}, told.state | {"ended_at": ended})
    for table in TABLES:
        store.add_curve(db, table, run_id, content.curves.get((name, table), []))
    pinned = store.add_words(db, run_id, content.words[name])
    for row in saved:
        store.add_weights(db, row | {"run_id": run_id, "created_at": time.time()})
    whom = f" from {cover.sender}" if cover.sender else ""
    message = f"Came{whom} in the capsule {cover.title}, packed {_day(cover.created_at)}."
    store.add_event(db, run_id, "note", message, told.state["step"])
    return pinned


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _check_room(home: Home, needed: int) -> None:
    """Raise Refused where a capsule does not fit on the disk."""
    free = free_disk(home.path)
    if needed + RESERVE > free:
        raise Refused(f"The capsule needs {spoken(needed)} of disk, and {spoken(free)} are free.")
