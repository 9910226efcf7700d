"""How far the proposals of engine/proposals.py agree with a reader, beside the majority class; what a measure costs.

    python -m benchmarks.judging [--half held] [--copies 20] [--home DIR]

The labelled answers are in data/judging; they are looked up in the starter dataset of --home, which is made where it is
missing. The half `tune` is what the limits were chosen with. With --copies the cost alone is measured, in a text of so
many copies of the starter's, each in another order of its pieces of 64 tokens.
"""

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from engine import store
from engine.config import DEFAULT_PRESET, ConfigError, load_preset
from engine.data import Dataset, ensure_dataset, open_dataset
from engine.home import PROJECT, Home
from engine.judging import measure
from engine.ngrams import Index
from engine.ngrams_build import build
from engine.proposals import PROPOSALS
from engine.store import Row

LABELLED = PROJECT / "data" / "judging" / "outputs.jsonl"


def labelled(half: str) -> list[Row]:
    """The answers of one half, with what a reader called them."""
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["half"] == half]


def agreement(pairs: list[tuple[str, str | None]]) -> float:
    """Share of answers for which label and proposal are the same."""
    return sum(label == proposal for label, proposal in pairs) / len(pairs)


def kappa(pairs: list[tuple[str, str | None]]) -> float:
    """Cohen's kappa: agreement beyond what labels and proposals as frequent as these would reach by chance."""
    labels, proposals = Counter(label for label, _ in pairs), Counter(proposal for _, proposal in pairs)
    chance = sum(labels[name] * proposals[name] for name in labels) / len(pairs) ** 2
    return (agreement(pairs) - chance) / (1 - chance)


def majority(pairs: list[tuple[str, str | None]]) -> tuple[str, float]:
    """The label that most answers have, and how often it is right to say always that."""
    name, count = Counter(label for label, _ in pairs).most_common(1)[0]
    return name, count / len(pairs)


def confusion(pairs: list[tuple[str, str | None]]) -> list[str]:
    """A table: a row for each label, a column for each proposal."""
    counts = Counter(pairs)
    columns = [*PROPOSALS, None]
    lines = [f"{'reader':14}" + "".join(f"{name or 'none':>15}" for name in columns)]
    for label in PROPOSALS:
        lines.append(f"{label:14}" + "".join(f"{counts[label, name]:15}" for name in columns))
    return lines


def judged(rows: list[Row], index: Index) -> tuple[list[tuple[str, str | None]], list[float]]:
    """Label and proposal of each answer, and the seconds of a core that measuring it took."""
    pairs, seconds = [], []
    for row in rows:
        started = time.process_time()
        found = measure(row | {"id": 0}, row, index)
        seconds.append(time.process_time() - started)
        pairs.append((row["label"], found["proposal"]))
    return pairs, seconds


def larger(dataset: Dataset, home: Home, copies: int) -> Dataset:
    """A dataset of many copies of another one's training text, each in another order of its pieces."""
    folder, card = home.dataset("larger"), json.loads(json.dumps(dataset.card))
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "val.bin", "val.documents"):
        shutil.copy(dataset.folder / name, folder)
    dice, train = np.random.default_rng(1), np.asarray(dataset.train)
    parts = train[: len(train) // 64 * 64].reshape(-1, 64)
    text = np.concatenate([parts[dice.permutation(len(parts))].ravel() for _ in range(copies)])
    text.tofile(folder / "train.bin")
    (np.flatnonzero(text == dataset.separator) + 1).astype(np.uint64).tofile(folder / "train.documents")
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.iterdir()}
    card |= {"files": files, "train_documents": 0, "train_bytes": card["train_bytes"] * copies}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return open_dataset(home, "larger")


def cost(index: Index, half: str) -> None:
    """Print what the answers of a half cost, and one answer of thousands of words."""
    rows = labelled(half)
    whole = rows[0] | {"text": " ".join(row["text"] for row in rows[:80])}
    for name, some in (("an answer", rows), ("80 of them as one", [whole])):
        seconds = judged(some, index)[1]
        print(f"measuring {name}: median {1000 * statistics.median(seconds):.1f} ms, most {1000 * max(seconds):.1f} ms")


def main(argv: list[str] | None = None) -> int:
    """Print agreement, baseline, who is taken for what, and the cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging", description=__doc__.partition("\n")[0])
    parser.add_argument("--home", help="folder with the starter dataset (default: a new one that is removed again)")
    parser.add_argument("--half", choices=["tune", "held"], default="held")
    parser.add_argument("--copies", type=int, default=0, help="measure the cost with so many copies of the text")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        try:
            home = Home.at(given.home or folder)
            dataset = ensure_dataset(home, load_preset(DEFAULT_PRESET), lambda _: None, lambda: False)
            if given.copies:
                home = Home.at(Path(folder) / "larger")
                dataset = larger(dataset, home, given.copies)
            started = time.process_time()
            if not build(home, dataset):
                raise store.Refused("Another process makes the index of this home's starter dataset; wait for it.")
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            print(f"index of {len(dataset.train):,} tokens: {time.process_time() - started:.2f} s, {memory:.0f} MB")
        except (ConfigError, store.Refused, store.StoreError) as error:
            print(error, file=sys.stderr)
            return 1
        index = Index(dataset)
        print(f"{sum(index.manifest.files.values()):,} bytes beside {dataset.train.nbytes:,} of tokens")
        cost(index, given.half)
        if given.copies:
            return 0
        pairs, _ = judged(labelled(given.half), index)
    name, share = majority(pairs)
    print(f"half {given.half}: {len(pairs)} answers, agreement {agreement(pairs):.1%}, kappa {kappa(pairs):.2f}")
    print(f"always {name}: {share:.1%}")
    print("\n".join(confusion(pairs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
