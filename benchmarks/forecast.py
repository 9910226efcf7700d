"""How well the final loss is foretold from the first part of a run, beside "it stays as it is".

python -m benchmarks.forecast --home DIR [--make] [--share 0.3] [--json]

`--make` trains the sixteen small runs of RUNS first (the starter novels; sizes, lengths, rates and schedules differ),
one after the other; runs that DIR has already are kept. Then the validation loss at the end of each finished run is
forecast from what was known at `--share` of its tokens. Printed are the error in nats, whether the truth lay within the
band, and the error of the baseline, the newest validation loss at that moment. The priors in engine/forecast.py were
chosen with the runs named "tuned"; the others were looked at once, afterwards.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from engine import config, launch, store
from engine.forecast import forecast
from engine.home import Home
from engine.phrases import table
from engine.schedule import learning_rate_factor

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"model.layers": 2, "model.width": 96, "model.mlp_width": 256},
    "small": {"model.layers": 3, "model.width": 128, "model.mlp_width": 384},
    "middle": {"model.layers": 3, "model.width": 192, "model.mlp_width": 512},
    "seedling": {},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "long": {},
    "cosine": {"schedule.shape": "cosine", "schedule.warmup": 0.05, "schedule.decay": 0.95, "schedule.final": 0.1},
    "late": {"schedule.decay": 0.2},
    "constant": {"schedule.decay": 0.0},
}
RUNS: dict[str, tuple[str, str, int, float, bool]] = {
    "tiny-long": ("tiny", "long", 600_000, 0.02, True),
    "tiny-cosine": ("tiny", "cosine", 1_000_000, 0.02, False),
    "tiny-late": ("tiny", "late", 400_000, 0.03, True),
    "tiny-constant": ("tiny", "constant", 800_000, 0.015, False),
    "small-long": ("small", "long", 1_000_000, 0.02, False),
    "small-cosine": ("small", "cosine", 500_000, 0.03, True),
    "small-late": ("small", "late", 1_500_000, 0.02, False),
    "small-constant": ("small", "constant", 700_000, 0.02, True),
    "middle-long": ("middle", "long", 800_000, 0.015, True),
    "middle-cosine": ("middle", "cosine", 1_200_000, 0.02, False),
    "middle-late": ("middle", "late", 600_000, 0.02, True),
    "middle-constant": ("middle", "constant", 1_000_000, 0.01, False),
    "seedling-long": ("seedling", "long", 1_500_000, 0.02, False),
    "seedling-cosine": ("seedling", "cosine", 700_000, 0.02, True),
    "seedling-late": ("seedling", "late", 900_000, 0.015, False),
    "seedling-constant": ("seedling", "constant", 500_000, 0.02, True),
}
"""Size, schedule, tokens, Muon's rate, and whether the priors were chosen with it."""


def overrides(name: str, number: int) -> dict[str, Any]:
    """The settings of one of RUNS: evaluated forty times, hardly saved, never asked in between."""
    size, schedule, tokens, rate, _ = RUNS[name]
    steps = tokens // 4096
    common = {
        "train.tokens": tokens,
        "train.seed": 1000 + number,
        "optimizer.muon_lr": rate,
        "eval.every": max(1, steps // 40),
        "eval.tokens": 40_000,
        "sample.every": 10**6,
        "checkpoint.every": 10**6,
        "checkpoint.keep": 1,
        "sample.suites": "published",
        "sample.max_tokens": 1,
    }
    return common | SIZES[size] | SCHEDULES[schedule]


def make(home: Home) -> None:
    """Train what is not there yet."""
    launch.open_home(home)
    for number, name in enumerate(RUNS):
        with closing(store.connect(home.database)) as db:
            there = [run for run in store.list_runs(db) if run["name"] == name and run["status"] == "finished"]
        if there:
            continue
        launch.start_run(home, "seedling", name, overrides(name, number))
        ended = launch.wait_until_ended(home, name, timeout=3600)
        print(f"{name}: {ended['status']}, {ended['elapsed_seconds']:.0f} s", file=sys.stderr, flush=True)


def score(home: Home, share: float) -> Iterator[dict[str, Any]]:
    """One row for each finished run: truth, forecast and band, baseline, all in nats."""
    with closing(store.connect(home.database)) as db:
        for run in store.list_runs(db)[::-1]:
            if run["kind"] != "trained" or run["status"] != "finished":
                continue
            chosen = config.from_json(store.get_config(db, run["id"]))
            metrics = np.array(store.metrics_after(db, run["id"], 0), dtype=float).T
            evals = np.array(store.evals_after(db, run["id"], 0), dtype=float).T
            seen = share * run["total_steps"]
            early, known = metrics[1] <= seen, evals[1] <= seen
            rate = partial(learning_rate_factor, total_steps=run["total_steps"], schedule=chosen.schedule)
            found = forecast(
                rate, run["total_steps"], metrics[1][early], metrics[4][early], evals[1][known], evals[4][known]
            )
            truth = float(evals[4][-1])
            yield {
                "run": run["name"],
                "parameters": run["parameters"],
                "tokens": run["tokens"],
                "tuned": RUNS[run["name"]][4] if run["name"] in RUNS else False,
                "truth": truth,
                "forecast": found and float(found.loss[-1]),
                "low": found and float(found.low[-1]),
                "high": found and float(found.high[-1]),
                "last_value": float(evals[4][known][-1]),
            }


def show(rows: list[dict[str, Any]], share: float) -> None:
    """The table, and the means of those that the priors were chosen with and of the others."""
    said = [row for row in rows if row["forecast"] is not None]
    print(f"Final validation loss forecast from {share:.0%} of the tokens, nats; the band is meant to hold 80%")
    print(
        table(
            ("RUN", "PARAMETERS", "TOKENS", "TRUTH", "FORECAST", "BAND", "ERROR", "LAST VALUE", "ITS ERROR", "IN BAND"),
            [
                (
                    row["run"] + (" (tuned)" if row["tuned"] else ""),
                    f"{row['parameters']:,}",
                    f"{row['tokens']:,}",
                    f"{row['truth']:.3f}",
                    f"{row['forecast']:.3f}",
                    f"{row['low']:.3f} to {row['high']:.3f}",
                    f"{row['forecast'] - row['truth']:+.3f}",
                    f"{row['last_value']:.3f}",
                    f"{row['last_value'] - row['truth']:+.3f}",
                    "yes" if row["low"] <= row["truth"] <= row["high"] else "no",
                )
                for row in said
            ],
            right=("PARAMETERS", "TOKENS", "TRUTH", "FORECAST", "ERROR", "LAST VALUE", "ITS ERROR"),
        )
    )
    for words, part in (
        ("runs that the priors were chosen with", [row for row in said if row["tuned"]]),
        ("other runs", [row for row in said if not row["tuned"]]),
    ):
        if part:
            error = statistics.fmean(abs(row["forecast"] - row["truth"]) for row in part)
            baseline = statistics.fmean(abs(row["last_value"] - row["truth"]) for row in part)
            inside = sum(row["low"] <= row["truth"] <= row["high"] for row in part)
            print(
                f"{len(part)} {words}: mean error {error:.3f} nats (last value {baseline:.3f}, "
                f"ratio {error / baseline:.2f}), truth within the band in {inside} of {len(part)}"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; exit status 1 without a finished run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--make", action="store_true", help="train the runs that are not there first (half an hour)")
    parser.add_argument("--share", type=float, default=0.3, help="share of the tokens that is known")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    home = Home.at(given.home)
    if given.make:
        make(home)
    rows = list(score(home, given.share))
    if given.json:
        print(json.dumps(rows))
    elif rows:
        show(rows, given.share)
    else:
        print("There is no finished run here; --make trains some.", file=sys.stderr)
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
