"""How far the proposals of engine/proposals.py agree with a reader, beside the majority class; what a measure costs.

    python -m benchmarks.judging [--half held] [--home DIR]

The labelled answers are in data/judging; they are looked up in the starter dataset of --home, which is made where it is
missing. The half `tune` is what the limits were chosen with.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter

from engine import store
from engine.config import DEFAULT_PRESET, ConfigError, load_preset
from engine.data import ensure_dataset
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
    """Label and proposal of each answer, and the seconds that measuring it took."""
    pairs, seconds = [], []
    for row in rows:
        started = time.perf_counter()
        found = measure(row | {"id": 0}, row, index)
        seconds.append(time.perf_counter() - started)
        pairs.append((row["label"], found["proposal"]))
    return pairs, seconds


def main(argv: list[str] | None = None) -> int:
    """Print agreement, baseline, who is taken for what, and the cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging", description=__doc__.partition("\n")[0])
    parser.add_argument("--home", help="folder with the starter dataset (default: a new one that is removed again)")
    parser.add_argument("--half", choices=["tune", "held"], default="held")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        try:
            home = Home.at(given.home or folder)
            dataset = ensure_dataset(home, load_preset(DEFAULT_PRESET), lambda _: None, lambda: False)
            started = time.perf_counter()
            if not build(home, dataset):
                raise store.Refused("Another process makes the index of this home's starter dataset; wait for it.")
            print(f"index of {len(dataset.train):,} tokens: {time.perf_counter() - started:.2f} s")
        except (ConfigError, store.Refused, store.StoreError) as error:
            print(error, file=sys.stderr)
            return 1
        index = Index(dataset)
        print(f"{sum(index.manifest.files.values()):,} bytes beside {dataset.train.nbytes:,} of tokens")
        pairs, seconds = judged(labelled(given.half), index)
    name, share = majority(pairs)
    print(f"half {given.half}: {len(pairs)} answers, agreement {agreement(pairs):.1%}, kappa {kappa(pairs):.2f}")
    print(f"always {name}: {share:.1%}")
    print("\n".join(confusion(pairs)))
    print(f"measuring an answer: median {1000 * statistics.median(seconds):.1f} ms, most {1000 * max(seconds):.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
