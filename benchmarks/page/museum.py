"""A home with a great many exhibits and samples, made in minutes and kept for the next time where a folder is given."""

import json
import lzma
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from benchmarks.options import tell
from engine import config, launch, store
from engine.home import PROJECT, Home

RUNS = 20
STEPS, TOKENS = 20_000, 4096
"""Of each run, and tokens a step."""
EVALS = 200
WORDS = 60
"""Of an answer."""
CHUNK = 10_000
MONTH = 30 * 86_400.0
"""Between the beginnings of two runs, and how long each of them trains."""
BEGAN = 1_704_067_200.0
PROMPTS = ("Once upon a time", "The captain of the ship", "It was a dark night", "She opened the door", "In the end")
CATEGORIES = (*store.CATEGORIES, "Haiku", "Lighthouse logic")
TAGS = ("sea", "tea", "loops", "favourite", "to show", "first words", "names", "numbers")
MADE = "made.json"
"""Written last."""
SAMPLE = (
    "run_id", "attempt", "step", "tokens", "suite", "prompt", "text", "seed", "temperature", "top_k", "top_p",
    "max_tokens", "new_tokens", "finish", "weights_sha256", "dtype", "device", "source", "created_at",
)  # fmt: skip

MEASURES = (
    "sample_id", "words", "loop_words", "loop_phrase", "loop_share", "copied_words", "unknown_share", "change",
    "self_perplexity", "proposal", "version", "made_at",
)  # fmt: skip
RARE = 0.0005
"""The share of answers that look memorised."""


def vocabulary() -> list[str]:
    """Every word of the starter novels, as often as it is there, so that some are as frequent as in any text."""
    texts = (lzma.decompress(path.read_bytes()).decode() for path in sorted((PROJECT / "data/starter").glob("*.xz")))
    return " ".join(texts).split()


def museum(folder: Path, exhibits: int, samples: int) -> tuple[Home, dict[str, Any]]:
    """The home in `folder`, made where it is not there yet, and how long each part of that took."""
    home = Home.at(folder / f"{exhibits}-of-{samples}")
    made = home.path / MADE
    if not made.exists():
        made.write_text(json.dumps(_fill(home, exhibits, samples)), encoding="utf-8")
    return home, json.loads(made.read_text(encoding="utf-8"))


def _fill(home: Home, exhibits: int, samples: int) -> dict[str, float]:
    launch.open_home(home)
    db = store.connect(home.database)
    dice, words = random.Random(1), vocabulary()
    runs = [_run(db, number) for number in range(RUNS)]
    begun = time.perf_counter()
    for first in range(0, samples, CHUNK):
        with store.writing(db):
            rows = _answers(dice, words, runs, first, min(CHUNK, samples - first), samples)
            store.insert_many(db, "samples", SAMPLE, rows)
        tell(f"{first + CHUNK:,} of {samples:,} samples")
    said = time.perf_counter() - begun
    newest = store.newest_sample_id(db, runs[-1])
    begun = time.perf_counter()
    for first in range(newest - samples + 1, newest + 1, CHUNK):
        with store.writing(db):
            ids = range(first, min(first + CHUNK, newest + 1))
            store.insert_many(db, "measures", MEASURES, (measured(dice, sample) for sample in ids))
    weighed = time.perf_counter() - begun
    begun = time.perf_counter()
    for number, sample in enumerate(dice.sample(range(newest - samples + 1, newest + 1), exhibits)):
        title = " ".join(dice.choices(words, k=4))
        tags = dice.sample(TAGS, number % 4)
        exhibit = store.keep(db, sample, CATEGORIES[number % len(CATEGORIES)], title, "A note." * (number % 3), tags)
        if number % (exhibits // 10 or 1) == 0:
            store.pin(db, exhibit)
    kept = time.perf_counter() - begun
    db.close()
    return {"samples_seconds": said, "measures_seconds": weighed, "exhibits_seconds": kept}


def _run(db: Database, number: int) -> str:
    """A run that has finished, with its evaluations."""
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", f"run-{number}", f"cuda:{number}")
    store.drop_commands(db, run_id, ("start",), "a benchmark")
    rows = (
        (run_id, 1, step, step * TOKENS, 3 + 6 / (1 + step / 500), 0.4, 20.0, 1.2, step / 10)
        for step in range(STEPS // EVALS, STEPS + 1, STEPS // EVALS)
    )
    names = ("run_id", "attempt", "step", "tokens", "val_loss", "val_accuracy", "val_perplexity", "val_bits_per_byte")
    with store.writing(db):
        store.insert_many(db, "evals", (*names, "elapsed_seconds"), rows)
    store.update_state(db, run_id, attempt=1, step=STEPS, tokens=STEPS * TOKENS, val_loss=3.1, started_at=BEGAN)
    store.end_run(db, run_id, "finished")
    return run_id


def _answers(
    dice: random.Random, words: list[str], runs: list[str], first: int, count: int, samples: int
) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of SAMPLE: a run after the other, every age asked the same prompts."""
    for number in range(first, first + count):
        share = number * RUNS / samples
        run, part = int(share), share % 1
        step = int(part * STEPS)
        text = f" {' '.join(dice.choices(words, k=WORDS))}"
        yield (
            runs[run], 1, step, step * TOKENS, "stories", PROMPTS[number % len(PROMPTS)], text, 7, 0.8, 0, 0.95, 80, 80,
            "length", f"{run:032x}{step:032x}", "float32", "cpu", "periodic", BEGAN + (run + part) * MONTH,
        )  # fmt: skip


def measured(dice: random.Random, sample: int) -> tuple[Any, ...]:
    """A row in the order of MEASURES."""
    proposal = dice.choice(("good", "strange", "strange", "hallucination", "loop"))
    return (
        sample, WORDS, 1, 1, dice.random() ** 2, int(dice.expovariate(0.4)), dice.random() ** 3, dice.random(),
        dice.lognormvariate(3, 1), "memorised" if dice.random() < RARE else proposal, 1, BEGAN,
    )  # fmt: skip
