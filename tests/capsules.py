"""What the tests of capsules share: a finished run with exhibits, and capsules that somebody tampered with."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from engine import capsule, capsule_pack, store
from engine.home import Home

Members = dict[str, bytes]


def packed(home: Home, out: Path, runs: list[str] | None = None, **options: Any) -> capsule.Cover:
    """A capsule of these runs, or of all."""
    with closing(store.connect(home.database)) as db:
        chosen = [store.find_run(db, run) for run in runs or []] or store.list_runs(db)
        planned = capsule_pack.plan(home, db, chosen, samples=options.pop("samples", False))
        return capsule_pack.pack(home, db, out, planned, **options)


TAGS = ("to show", "Haiku")


def keep_all(db: Database, run_id: str) -> list[int]:
    """Every answer of a run as an exhibit, every third with tags; three of them stand in front."""
    kept = [
        store.keep(db, row["id"], ("good", "strange")[place % 2], f"Exhibit {place}", "a note", TAGS[: 2 - place % 3])
        for place, row in enumerate(store.list_samples(db, run_id))
    ]
    for exhibit in (kept[7], kept[2], kept[5]):
        store.pin(db, exhibit)
    return kept


def rewritten(source: Path, out: Path, change: Callable[[Members], None], honest: bool = True) -> Path:
    """A capsule with other members; where it is `honest`, its manifest and hashes are as they should be for them."""
    with zipfile.ZipFile(source) as read:
        members = {name: read.read(name) for name in read.namelist()}
    change(members)
    manifest = json.loads(members.pop(capsule.MANIFEST))
    if honest:
        manifest["members"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()
        }
        manifest["id"] = capsule.identity(manifest)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in members.items():
            written.writestr(name, data)
        written.writestr(capsule.MANIFEST, json.dumps(manifest))
    return out


def edited(source: Path, out: Path, name: str, change: Callable[[Any], Any]) -> Path:
    """A capsule one of whose JSON members was changed, manifest and hashes with it."""

    def edit(members: Members) -> None:
        data = members[name]
        if name.endswith(".jsonl"):
            lines = [json.loads(line) for line in data.splitlines()]
            lines[0] = change(lines[0])
            members[name] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        else:
            members[name] = json.dumps(change(json.loads(data))).encode()

    return rewritten(source, out, edit)


def everything(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that a capsule may touch, to see that nothing has changed."""
    with closing(store.connect(home.database)) as db:
        tables = ("runs", "run_state", "metrics", "evals", "samples", "archive", "checkpoints", "events", "capsules")
        return {table: db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in tables}


def files(home: Home) -> list[str]:
    """All files of a home but its database."""
    found = (path.relative_to(home.path).as_posix() for path in home.path.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith("runs.db"))


def free_weights(home: Home, run_id: str) -> None:
    """Remove all weights of a run, as a person may."""
    with closing(store.connect(home.database)) as db:
        for kind in ("", "kept"):
            for row in store.list_checkpoints(db, run_id, kind):
                store.forget_checkpoint(db, run_id, row["step"], row["kind"])
                path = home.run(run_id) / row["path"]
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
