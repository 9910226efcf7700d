"""Packing a capsule: exhibits with all their settings, the runs that said them, and their weights where that is asked.

Equal content packed at the same moment gives equal bytes. Torch is needed only for weights that are left in a whole
checkpoint alone.
"""

import hashlib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from engine import capsule, store
from engine.capsule import Cover, cover_of
from engine.capsule_texts import texts
from engine.home import Home
from engine.phrases import size as spoken
from engine.space import reason
from engine.store import Refused, Row, Wanted
from engine.sync import sync

BLOCK = 1 << 20
AT_ONCE = 1000
"""Exhibits that are searched at once."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of every member: the manifest has the one that matters."""
Report = Callable[[int, int], None]
"""Hears how many of all bytes are packed."""


@dataclass(frozen=True)
class Source:
    """Weights that said an exhibit: where they lie, and their size."""

    run_id: str
    attempt: int
    step: int
    tokens: int
    bytes: int
    path: Path | None
    """None: only in the whole checkpoint of that step, in another number format."""


@dataclass(frozen=True)
class Plan:
    """What would be packed."""

    runs: tuple[Row, ...]
    kept: tuple[tuple[Row, Row], ...]
    samples: tuple[Row, ...]
    weights: dict[tuple[str, str], Source]
    """By run and sha256: what there is of the exhibits' weights. Two runs may have the same, for example at step 0."""
    words_only: int
    """Exhibits whose weights are gone."""

    @property
    def weights_bytes(self) -> int:
        """What the weights add to the file."""
        return sum({digest: source.bytes for (_, digest), source in self.weights.items()}.values())


def plan(
    home: Home, db: Database, runs: Sequence[Row], exhibits: Sequence[int] | None = None, samples: bool = False
) -> Plan:
    """What a capsule of these runs would hold, or of those of their exhibits that are given. Raises Refused.

    Runs of which nothing was kept are left out unless they are asked for with `samples`. The published run is in every
    home, so it is never packed.
    """
    own = [run for run in runs if run["kind"] != "published"]
    if runs and not own:
        raise Refused(f"Every home has {runs[0]['name']} and its exhibits already; pack a run of your own.")
    kept = store.kept_rows(db, [run["id"] for run in own], exhibits)
    exhibited = {row["id"] for row, _ in kept}
    said = [row for run in own if samples for row in store.said_rows(db, run["id"]) if row["id"] not in exhibited]
    there = {row["run_id"] for row, _ in kept} | {row["run_id"] for row in said}
    own = [run for run in own if run["id"] in there]
    if not own:
        raise Refused("There is no exhibit to pack; keep something that a run said first.")
    if len(own) > capsule.MOST_RUNS or max(len(kept), len(said)) > capsule.MOST_ROWS:
        raise Refused(f"A capsule holds {capsule.MOST_RUNS} runs and {capsule.MOST_ROWS:,} exhibits; pack fewer.")
    found: dict[tuple[str, str], Source | None] = {}
    for row, _ in kept:
        if (row["run_id"], row["weights_sha256"]) not in found:
            found[row["run_id"], row["weights_sha256"]] = weights_of(home, db, row)
    weights = {key: source for key, source in found.items() if source is not None}
    gone = sum((row["run_id"], row["weights_sha256"]) not in weights for row, _ in kept)
    return Plan(tuple(own), tuple(kept), tuple(said), weights, gone)


def matching(db: Database, wanted: Wanted) -> list[int] | None:
    """The exhibits that a search finds, by id; None where nothing is searched for, which is all."""
    if wanted == Wanted():
        return None
    found: list[int] = []
    page = 0
    while True:
        some, total = store.search_exhibits(db, wanted, page, size=AT_ONCE)
        found += [row["id"] for row in some]
        page += 1
        if not some or len(found) >= total:
            return found


def weights_of(home: Home, db: Database, sample: Row) -> Source | None:
    """The weights that said a sample, where they are still on the disk."""
    digest, folder = sample["weights_sha256"], home.run(sample["run_id"])
    whole = None
    for kind in ("sampling", "kept", "full"):
        for row in store.list_checkpoints(db, sample["run_id"], kind):
            path = folder / row["path"]
            if kind == "full":
                if (row["step"], row["attempt"]) == (sample["step"], sample["attempt"]) and path.is_dir():
                    whole = row
            elif digest and row["sha256"] == digest and path.is_file():
                return _source(row, path.stat().st_size, path)
    if whole is None or not digest:
        return None
    size = (folder / whole["path"] / "model.safetensors").stat().st_size
    return _source(whole, size // 2, None)  # fp32 there, bf16 here


def _source(row: Row, size: int, path: Path | None) -> Source:
    return Source(row["run_id"], row["attempt"], row["step"], row["tokens"], size, path)


def pack(
    home: Home,
    db: Database,
    out: Path,
    planned: Plan,
    *,
    weights: bool = False,
    title: str = "",
    sender: str = "",
    sealed_until: str | None = None,
    now: float | None = None,
    report: Report = lambda done, total: None,
) -> Cover:
    """Write what was planned to the new file `out`, whole or not at all; returns its cover. Raises Refused."""
    out = out.expanduser().absolute()
    if out.exists():
        raise Refused(f"{out.name} is there already; name a new file.")
    names = [run["name"] for run in planned.runs]
    title, sender = title.strip(), sender.strip()
    title = title or (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more")
    if len(title) > capsule.LONGEST_TITLE or len(sender) > capsule.LONGEST_SENDER:
        raise Refused(f"A title has {capsule.LONGEST_TITLE} characters at most, a sender {capsule.LONGEST_SENDER}.")
    manifest: dict[str, Any] = {
        "format": capsule.FORMAT,
        "version": capsule.VERSION,
        "title": title,
        "from": sender,
        "sealed_until": sealed_until,
        "exhibits": len(planned.kept),
        "samples": len(planned.samples),
        "runs": names,
    }
    carried = planned.weights if weights else {}
    members = texts(home, db, planned.runs, planned.kept, planned.samples, carried)
    for name, data in members.items():
        if len(data) > capsule.largest(name):
            most = spoken(capsule.largest(name))
            raise Refused(f"{name} would have {spoken(len(data))}, and {most} are the most; pack fewer.")
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
            sources = {digest: source for (_, digest), source in carried.items()}
            manifest["members"] = _fill(home, packed, members, sources, report)
            manifest |= {"id": capsule.identity(manifest), "created_at": time.time() if now is None else now}
            text = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
            packed.writestr(_member(capsule.MANIFEST, zipfile.ZIP_DEFLATED), text, compresslevel=6)
        sync(temporary)
        temporary.replace(out)
    except OSError as error:
        raise Refused(f"The capsule cannot be written: {reason(error)}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return cover_of(manifest, out.stat().st_size)


def _fill(
    home: Home, packed: zipfile.ZipFile, members: dict[str, bytes], weights: dict[str, Source], report: Report
) -> dict[str, dict[str, Any]]:
    """Put the members into the file; returns what the manifest says of them."""
    total = sum(map(len, members.values())) + sum(source.bytes for source in weights.values())
    entries, done = {}, 0
    for name, data in members.items():
        # What shrinks like a bomb is refused where it arrives: a run that said one word for ever is packed as it is.
        bomb = len(data) > capsule.MOST_RATIO * len(zlib.compress(data, 6))
        packed.writestr(_member(name, zipfile.ZIP_STORED if bomb else zipfile.ZIP_DEFLATED), data, compresslevel=6)
        entries[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        done += len(data)
        report(done, total)
    for digest, source in sorted(weights.items()):
        name, before = f"weights/{digest}.safetensors", done
        with packed.open(_member(name, zipfile.ZIP_STORED, source.bytes), "w") as file:
            for block in _checked(home, digest, source):
                file.write(block)
                done += len(block)
                report(done, total)
        entries[name] = {"bytes": done - before, "sha256": digest}
    return entries


def _checked(home: Home, digest: str, source: Source) -> Iterator[bytes]:
    """Weights in pieces; raises Refused where they are not what they were."""
    seen = hashlib.sha256()
    for block in _blocks(source.path) if source.path else _converted(home, source):
        seen.update(block)
        yield block
    if seen.hexdigest() != digest:
        raise Refused(f"The weights of step {source.step:,} have changed on disk since they said this.")


def _converted(home: Home, source: Source) -> Iterator[bytes]:
    """Weights that only a whole checkpoint has, as they spoke."""
    from safetensors.torch import save  # torch: only for these

    from engine.checkpoint import CorruptCheckpoint, load_sampling

    try:
        yield save(load_sampling(home.run(source.run_id), source.step)[0])
    except CorruptCheckpoint as error:
        raise Refused(f"The weights of step {source.step:,} cannot be packed: {error}") from error


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _member(name: str, how: int, size: int = 0) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, LONG_AGO)
    made.compress_type, made.create_system, made.external_attr, made.file_size = how, 3, 0o600 << 16, size
    return made
