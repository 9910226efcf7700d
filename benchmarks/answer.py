"""What an answer costs a run that trains on the same processor: `python -m benchmarks.answer [--preset P] [--json]`.

Starts a run in a temporary home, asks it for 100 tokens through the generation worker (a cold worker, then a warm one),
and prints how long the answers took and the run's speed before, during and after.
"""

import argparse
import json
import statistics
import tempfile
import time
from typing import Any

from sqlite_utils import Database

from engine import launch, store
from engine.home import Home
from engine.talk import Talker

WARM_UP, WINDOW = 8.0, 15.0
"""Seconds of training left out, and seconds of it that count as before and as after."""


def speed(db: Database, run_id: str, since: float, until: float) -> float:
    """Tokens a second of a run between two moments of its elapsed seconds, evaluations and samples included."""
    rows = [(row[3], row[2]) for row in store.metrics_after(db, run_id, 0) if since <= float(row[3] or 0) <= until]
    (first_at, first), (last_at, last) = rows[0], rows[-1]
    return (float(last or 0) - float(first or 0)) / (float(last_at or 0) - float(first_at or 0))


def elapsed(db: Database, run_id: str) -> float:
    """The elapsed seconds of a run's newest metrics."""
    return float(store.metrics_after(db, run_id, 0)[-1][3] or 0)


def measure(home: Home, preset: str) -> dict[str, Any]:
    """Run, ask, and report; the run is stopped at the end."""
    run_id = launch.start_run(home, preset, overrides={"eval.every": 10**6, "sample.every": 10**6})
    db = store.connect(home.database)
    talker = Talker(home)
    try:
        while not store.metrics_after(db, run_id, 0):
            time.sleep(0.2)
        time.sleep(WARM_UP)
        start = elapsed(db, run_id)
        time.sleep(WINDOW)
        asked = elapsed(db, run_id)
        seconds, texts = [], []
        for _ in range(4):
            at = time.perf_counter()
            pieces = list(talker.stream(run_id, 0, "Alice was beginning to", max_tokens=100, seed=7))
            seconds.append(time.perf_counter() - at)
            texts.append((pieces[-1]["new_tokens"], pieces[-1]["finish"], pieces[-1]["text"]))
        time.sleep(1.5)
        answered = elapsed(db, run_id)
        time.sleep(WINDOW)
        end = elapsed(db, run_id)
    finally:
        talker.close()
        launch.stop_run(home, run_id, now=True)
        launch.wait_until_ended(home, run_id, 60)
    return {
        "preset": preset,
        "cold_seconds": seconds[0],
        "warm_seconds": statistics.median(seconds[1:]),
        "new_tokens": texts[0][0],
        "finish": texts[0][1],
        "same_text": len(set(texts)) == 1,
        "tokens_per_second_before": speed(db, run_id, start, asked),
        "tokens_per_second_during": speed(db, run_id, asked, answered),
        "tokens_per_second_after": speed(db, run_id, answered, end),
    }


def main(argv: list[str] | None = None) -> int:
    """Print what was measured and return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answer", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--preset", default="seedling")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        launch.open_home(home)
        report = measure(home, given.preset)
    if given.json:
        print(json.dumps(report))
    else:
        print(
            f"{report['new_tokens']} tokens ({report['finish']}): {report['cold_seconds']:.1f} s with a cold worker, "
            f"{report['warm_seconds']:.1f} s with a warm one; the same text each time: {report['same_text']}"
        )
        print(
            "the run's tok/s before, during, after: "
            + ", ".join(f"{report[f'tokens_per_second_{when}']:,.0f}" for when in ("before", "during", "after"))
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
