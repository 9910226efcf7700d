"""Homes in every state the page has a face for, written straight into the database: for docs/screens.py and tests."""

import atexit
import math
import random
import subprocess
import sys
import time
from typing import Any

from sqlite_utils import Database

from engine import config, process, store
from engine.data.recipe import KNOWN, Recipe, Source
from engine.home import Home

STEPS = 733
BATCH = 4096
LONG_NAME = "the-quick-brown-fox-jumps-over-the-lazy-dog-and-then-does-it-agn"
STORY = (
    "there was a little boat that had never seen the sea. It asked the gulls what the sea was like, and the gulls "
    "said that it was like the sky, only louder. So the boat waited for rain, and looked up. "
)
BABBLE = "the \ufffd of , and was a to the in he the , of not the and the it ."
TEXTS = {
    "Once upon a time": STORY,
    "The old house on the hill": "was not empty; it was only waiting for somebody to say good morning to it.",
    "كان يا ما كان": "في قديم الزمان قاربٌ صغير لم يرَ البحر قط، فسأل النوارس عنه فقالت: إنه يشبه السماء.",
    "🌊 The sea said": "hello 👋🏽, and the boat 🚣‍♀️ answered in flags 🏴‍☠️🇫🇷, because it knew no other words 🤷.",
    "A word without end": "Donaudampfschifffahrtsgesellschaftskapitän" * 4,
    "My dear sister,": STORY * 11,
}
ENDS: dict[str, str | None] = {
    "stopped": None,
    "finished": None,
    "failed": "The trainer ended with exit status 1; its last words: ValueError: the shard shards/val-00000.bin of "
    "dataset starter-novels has 1,024 tokens, 2,048 are needed for one row.",
    "crashed": "The computer was restarted or switched off while this run was on.",
    "diverged": "The loss became infinite at step 183; try half of optimizer.muon_lr.",
}
ENDS_MORE = {
    "out-of-memory": "The GPU ran out of memory with 32 rows in one forward pass; choose train.micro_batch = 16.",
    "disk-full": "The disk is full; free some space, then resume. The last checkpoint is whole.",
    "no-gpu": "train.device = cuda: no CUDA device; choose cpu.",
    "hub-unreachable": "The hub does not answer, and roneneldan/TinyStories is not in its cache: connect to the "
    "internet, or choose data.source = starter.",
}
JOBS: dict[str, tuple[str, str | None]] = {
    "smollm-1b": ("running", None),
    "old-web": ("stopped", None),
    "parts": ("failed", "part-00017.parquet is damaged or cut off: its end cannot be read; get the file again."),
    "letters": ("crashed", "The computer was restarted or switched off while this dataset was being made."),
}
LIVE: dict[str, dict[str, Any]] = {
    "preparing": {
        "status": "preparing",
        "phase": "data",
        "message": "Learning a vocabulary of 4,096 pieces",
        "progress": 0.4,
    },
    "compiling": {"status": "compiling", "phase": "starting", "message": "Getting the kernels ready for this GPU"},
    "running": {"status": "running", "phase": "training", "progress": 0.55, "eta_seconds": 74},
    "evaluating": {
        "status": "running",
        "phase": "evaluating",
        "progress": 0.55,
        "eta_seconds": 74,
        "message": "Reading text it has never seen",
    },
    "sampling": {
        "status": "running",
        "phase": "sampling",
        "progress": 0.55,
        "eta_seconds": 74,
        "message": "Answering the prompts",
    },
    "paused": {"status": "paused", "phase": "training", "progress": 0.55, "message": "Holding still"},
    "stopping": {"status": "stopping", "phase": "saving", "progress": 0.55, "message": "Saving the last step"},
    "silent": {"status": "running", "phase": "training", "progress": 0.55},
}


def stand_in() -> subprocess.Popen[bytes]:
    """A process that plays the trainer of one live run and ends with us: a stop in these homes signals it for real."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, start_new_session=True
    )

    def end() -> None:
        child.kill()
        child.communicate()

    atexit.register(end)
    return child


def fill(home: Home, *, runs: int = 50, exhibits: int = 120, live: bool = True) -> dict[str, str]:
    """Write a run for every state, `live` ones too, finished ones up to `runs`, and exhibits; returns ids by state."""
    db = store.connect(home.database)
    try:
        made = {"history": ""}
        for number in range(max(0, runs - len(ENDS) - len(ENDS_MORE) - len(LIVE) - 2)):
            made["history"] = ended(db, f"seedling-{number + 1}", "finished", None, number)
        made["long-name"] = ended(db, LONG_NAME, "finished", None, 1)
        for status, error in ENDS.items():
            made[status] = ended(db, f"{status}-run", status, error, 2)
        for name, error in ENDS_MORE.items():
            made[name] = ended(db, name, "failed", error, 3)
        keep_exhibits(db, made["finished"], exhibits)
        for number, (name, values) in enumerate(LIVE.items() if live else ()):
            made[name] = alive(db, name, values, f"cuda:{number}")
        if live:
            add_jobs(db)
        return made
    finally:
        db.close()


def add_jobs(db: Database) -> None:
    """Datasets that are being made, or are not: one at work as long as this process lives, one of each early end."""
    now, half = time.time(), {"progress": 0.41, "documents": 512_345, "tokens": 412_345_678, "bytes": 1_900_000_000}
    for name, (status, error) in JOBS.items():
        recipe = KNOWN["smollm-1b"] if name == "smollm-1b" else Recipe((Source(f"texts/{name}.jsonl"),))
        with store.writing(db):
            job = store.create_job(db, name, recipe.to_json(), None, recipe.tokens or None)
            left_out = {"equal to an earlier one": 1204, "too short": 88}
            store.update_job(db, job, **half, dropped=left_out, attempt=1, started_at=now - 700)
        if status != "running":
            store.end_job(db, job, status, error)
            continue
        at_work = {"status": status, "stage": "encoding", "message": "Turning text into tokens", "eta_seconds": 960.0}
        who = process.identity(stand_in().pid)
        store.update_job(db, job, **at_work, **who, tokens_per_second=612_345.0, heartbeat_at=now + 86_400)


def one_run(home: Home) -> str:
    """Write one finished run and nothing else; returns its id."""
    db = store.connect(home.database)
    try:
        return ended(db, "seedling-1", "finished", None, 0)
    finally:
        db.close()


def ended(db: Database, name: str, status: str, error: str | None, seed: int) -> str:
    """A run that has ended, with its curves and its words."""
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", name, "cpu")
    db.conn.execute("UPDATE commands SET taken_at = created_at, done_at = created_at WHERE run_id = ?", [run_id])
    steps = STEPS if status == "finished" else STEPS // 2
    add_history(db, run_id, steps, seed)
    add_words(db, run_id, steps)
    store.end_run(db, run_id, status, error)
    store.add_event(db, run_id, status, error or f"{status.capitalize()} after {steps} steps.", steps)
    return run_id


def alive(db: Database, name: str, values: dict[str, Any], device: str) -> str:
    """A run that is on as long as this process lives."""
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", f"{name}-run", device)
    db.conn.execute("UPDATE commands SET taken_at = created_at, done_at = created_at WHERE run_id = ?", [run_id])
    if values["status"] not in ("preparing", "compiling"):
        add_history(db, run_id, 400, 5)
        add_words(db, run_id, 400)
    now = time.time()
    # Of tomorrow: a prepared run must not look as if it had fallen silent, but for the one that has.
    heard = now - 40 if name == "silent" else now + 86_400
    state = {"message": "", "heartbeat_at": heard, "started_at": now} | values
    store.update_state(db, run_id, **state, **process.identity(stand_in().pid))
    store.add_event(db, run_id, "started", "Training on this machine in bf16.", 0)
    return run_id


def add_history(db: Database, run_id: str, steps: int, seed: int) -> None:
    """Curves that fall the way a seedling's do."""
    dice = random.Random(seed)
    loss = 0.0
    with store.writing(db):
        for step in range(1, steps + 1):
            loss = 3.7 + 4.6 * math.exp(-step / 110) + 0.06 * dice.gauss(0, 1)
            shared = {
                "run_id": run_id,
                "attempt": 1,
                "step": step,
                "tokens": step * BATCH,
                "elapsed_seconds": step * 0.45,
            }
            measured = {"train_loss": loss, "learning_rate": 0.02 * min(1, 2 - 2 * step / STEPS)}
            speeds = {"grad_norm": 0.5 + dice.random() / 5, "tokens_per_second": 9000 + 300 * dice.random()}
            store.insert(db, "metrics", shared | measured | speeds)
            if step % 20 == 0:
                val = loss + 0.05
                scores = {"val_accuracy": 0.06 + 0.22 * (1 - math.exp(-step / 180)), "val_bits_per_byte": val / 2.2}
                store.insert(db, "evals", shared | scores | {"val_loss": val, "val_perplexity": math.exp(val)})
    state = {"phase": "training", "step": steps, "tokens": steps * BATCH, "train_loss": loss, "val_loss": loss + 0.05}
    more = {"attempt": 1, "status": "running", "elapsed_seconds": steps * 0.45, "tokens_per_second": 9120.0}
    store.update_state(
        db, run_id, message="", environment={"device_name": "AMD EPYC", "precision": "fp32"}, **state, **more
    )


def add_words(db: Database, run_id: str, steps: int) -> None:
    """Each prompt's answers at four ages, from noise to words."""
    for age in range(4):
        step = steps * age // 3
        weights = {"path": f"sampling/step_{step:06d}.safetensors", "bytes": 6_822_000, "sha256": "0" * 64}
        store.add_checkpoint(db, run_id, attempt=1, step=step, tokens=step * BATCH, kind="sampling", **weights)
        if age in (1, 3):
            store.add_checkpoint(db, run_id, attempt=1, step=step, tokens=step * BATCH, kind="full", **weights)
        for prompt, text in TEXTS.items():
            said = text if age == 3 else BABBLE[: 12 * (age + 1)]
            add_sample(db, run_id, prompt, f" {said}", step)


def add_sample(db: Database, run_id: str, prompt: str, text: str, step: int, source: str = "periodic") -> int:
    """One stored answer; returns its id."""
    asked = {"seed": 7, "temperature": 0.8, "top_k": 0, "top_p": 0.95, "max_tokens": 80, "new_tokens": 40}
    where = {"run_id": run_id, "attempt": 1, "step": step, "tokens": step * BATCH, "suite": "stories"}
    said = {"prompt": prompt, "text": text, "finish": "length", "source": source, "created_at": time.time()}
    return store.add_sample(db, asked | where | said)


def keep_exhibits(db: Database, run_id: str, count: int) -> None:
    """Exhibits of every category, one of them of the user's own, with notes here and there."""
    samples = [row for row in store.list_samples(db, run_id) if row["step"] == STEPS]
    categories = [*store.CATEGORIES, "Lighthouse logic"]
    for number in range(count):
        like = samples[number % len(samples)]
        sample = add_sample(db, run_id, like["prompt"], like["text"], (number * 7) % STEPS, source="playground")
        note = "It has read no poem about boats." if number % 5 == 0 else ""
        title, tags = f"What the boat said, part {count - number}", ("boats", "favourite", "Uncle Silas")[: number % 4]
        exhibit = store.keep(db, sample, categories[number % 4], title, note, tags)
        if number in (3, 5):
            store.pin(db, exhibit)
