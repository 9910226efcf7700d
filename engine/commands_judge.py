"""What `judge` does and prints: measures of a run's answers, and what they look like."""

import argparse
import sys
from collections import Counter
from contextlib import closing

from sqlite_utils import Database

from engine import store
from engine.follow import print_json
from engine.home import Home
from engine.phrases import plain
from engine.proposals import PROPOSALS, reason


def words(judge: argparse.ArgumentParser) -> None:
    """The words of `judge` after the run."""
    judge.add_argument("--only", choices=PROPOSALS, help="list the answers that look like this")
    judge.add_argument(
        "--certainty", action="store_true", help="also ask the weights that said them how sure they were (slower)"
    )


def judge(given: argparse.Namespace) -> int:
    """Measure what a run has said, look it up in its training text, and say what it looks like."""
    from engine.judging import judge_all  # numpy and tokenizers: not for every command

    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        run = store.find_run(db, given.run)
        shown = sys.stderr.isatty() and not given.json

        def report(what: str, share: float) -> None:
            if shown:
                print(f"\r{what}: {share:4.0%} indexed", end="" if share < 1 else "\n", file=sys.stderr, flush=True)

        judge_all(home, run["id"], report)
        if given.certainty:
            _weigh(home, run["id"])
        found = [row | measured for row in _samples(db, run["id"]) if (measured := store.get_measures(db, row["id"]))]
    chosen = [row for row in found if given.only in (None, row["proposal"])]
    if given.json:
        return print_json(chosen)
    counts = Counter(row["proposal"] for row in found)
    for name in PROPOSALS:
        if counts[name]:
            print(f"{store.CATEGORIES[name]:18} {counts[name]:6,}")
    if counts[None]:
        print(f"{'nothing to say':18} {counts[None]:6,}")
    for row in chosen if given.only else ():
        print(f"\n#{row['id']}  step {row['step']:,}: {reason(row)}\n{plain(row['prompt'])}|{plain(row['text'])}")
    if found and all(row["text_sha256"] is None for row in found):
        print(f"The dataset {run['dataset']} is not here, so nothing was looked up in it.", file=sys.stderr)
    return 0


def _weigh(home: Home, run_id: str) -> None:
    from engine.certainty import weigh  # torch

    done, gone = weigh(home, run_id)
    print(f"{done:,} answers were weighed by the weights that said them.", file=sys.stderr)
    if gone:
        print(f"The weights of {gone:,} others are gone.", file=sys.stderr)


def _samples(db: Database, run_id: str) -> list[store.Row]:
    """Every current answer of a run."""
    found: list[store.Row] = []
    while page := store.list_samples(db, run_id, found[-1]["id"] if found else 0):
        found += page
    return found
