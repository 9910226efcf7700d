"""How long a capsule takes: `python -m engine bench capsule [--exhibits N] [--steps N] [--json]`.

A home is made in a temporary folder: one run with a curve of N steps and N exhibits of some 300 characters. Its capsule
is packed without weights, looked at, and taken into another home.
"""

import argparse
import json
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from engine import capsule_pack, capsule_unpack, launch, store
from engine.config import load_preset
from engine.data import documents
from engine.home import PROJECT, Home

LENGTH = 300
"""Characters of an answer; 80 tokens of the seedling have about as many."""


def furnish(db: Database, exhibits: int, steps: int) -> str:
    """A finished run with a curve and exhibits; returns its id."""
    config = load_preset("seedling")
    run_id = store.create_run(db, config, "seedling", "kept", "cpu")
    novels = "\f".join(documents(PROJECT / "data" / "starter"))
    with store.writing(db):
        names = ("run_id", "attempt", "step", "tokens", "train_loss", "learning_rate", "elapsed_seconds")
        points = ((run_id, 1, step, step * 4096, 8 / step**0.1, 0.02, step / 5) for step in range(1, steps + 1))
        store.insert_many(db, "metrics", names, points)
        for number in range(exhibits):
            start = number * LENGTH % (len(novels) - LENGTH)
            sample = {
                "run_id": run_id,
                "attempt": 1,
                "step": number % steps,
                "tokens": number % steps * 4096,
                "prompt": "Once upon a time",
                "text": novels[start : start + LENGTH],
                "seed": number,
                "temperature": 0.8,
                "top_k": 0,
                "top_p": 0.95,
                "max_tokens": 80,
                "new_tokens": 80,
                "finish": "length",
                "weights_sha256": f"{number % 50:064x}",
                "dtype": "float32",
                "device": "cpu",
                "source": "periodic",
                "created_at": time.time(),
            }
            kept = {"category": "good", "title": f"Exhibit {number}", "note": "", "created_at": time.time()}
            kept |= {"tags": ["sea", "tea"][: number % 3], "pinned": None}
            store.add_words(db, run_id, [(sample, kept)])
    store.end_run(db, run_id, "finished")
    return run_id


def measure(exhibits: int, steps: int) -> dict[str, Any]:
    """Seconds of packing, looking and taking in, and the size of the file."""
    with tempfile.TemporaryDirectory() as folder:
        home, other, file = Home.at(f"{folder}/one"), Home.at(f"{folder}/two"), Path(folder) / "all.capsule"
        for one in (home, other):
            launch.open_home(one)
        with closing(store.connect(home.database)) as db:
            furnish(db, exhibits, steps)
            began = time.perf_counter()
            planned = capsule_pack.plan(home, db, store.list_runs(db))
            cover = capsule_pack.pack(home, db, file, planned)
            packed = time.perf_counter()
        capsule_unpack.look(other, file)
        looked = time.perf_counter()
        capsule_unpack.take(other, file)
        taken = time.perf_counter()
    return {
        "exhibits": cover.exhibits,
        "steps": steps,
        "bytes": cover.bytes,
        "pack_seconds": packed - began,
        "look_seconds": looked - packed,
        "take_seconds": taken - looked,
    }


def main(argv: list[str] | None = None) -> int:
    """Measure and print; returns 0."""
    parser = argparse.ArgumentParser(
        prog="python -m engine bench capsule", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--exhibits", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    found = measure(given.exhibits, given.steps)
    if given.json:
        print(json.dumps(found))
        return 0
    pack, look, take = (f"{found[f'{name}_seconds']:.2f} s" for name in ("pack", "look", "take"))
    print(
        f"{found['exhibits']:,} exhibits, a curve of {found['steps']:,} steps, {found['bytes'] / 1e3:,.0f} kB: packed "
        f"in {pack}, looked at in {look}, taken in in {take}."
    )
    return 0


if __name__ == "__main__":
    main()
