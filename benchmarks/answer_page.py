"""How soon answers come, end and take turns: `python -m benchmarks.answer_page [--turns N] [--people N] [--json]`.

Trains a seedling for a moment in a temporary home, then asks it as the page does, through the generation worker on the
processor: the first token from a new worker, from a checkpoint that is not in memory, and from one that is; how long a
cancel takes, of an answer that is made and of one that waits; and many people who ask at the same time.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.options import tell, whole
from engine import launch, store
from engine.home import Home
from engine.talk import Talker

PROMPT = "Alice was beginning to"
MOMENT = {"train.tokens": 40_960, "eval.tokens": 4096, "eval.every": 10**6, "sample.every": 5, "sample.max_tokens": 1}
"""A run of seconds with weights of more than one age."""
GOALS = {"warm": 0.15, "cold": 2.0, "cancel": 0.3, "cancel_waiting": 0.3}
"""Seconds, from the issue of the playground; `cold` without the time that reading the weights takes."""
Pieces = Iterator[dict[str, Any]]


def first_token(pieces: Pieces) -> float:
    """Seconds until the first words are there; the answer is heard to its end."""
    began = time.perf_counter()
    next(pieces)
    seconds = time.perf_counter() - began
    for _ in pieces:
        pass
    return seconds


def cancelled(talker: Talker, run_id: str, busy: bool) -> float:
    """Seconds from a cancel to the end of the answer, made alone or waiting behind a long one."""
    other = talker.stream(run_id, None, PROMPT, max_tokens=8000)
    cancel = threading.Event()
    answer = talker.stream(run_id, None, PROMPT, max_tokens=8000, temperature=1.5, cancel=cancel)
    if busy:
        next(other)
        threading.Timer(0.2, cancel.set).start()
        began = time.perf_counter() + 0.2
    else:
        next(answer)
        cancel.set()
        began = time.perf_counter()
    for _ in answer:
        pass
    seconds = time.perf_counter() - began
    other.close()  # type: ignore[attr-defined]
    return seconds


def together(talker: Talker, run_id: str, people: int, tokens: int) -> dict[str, Any]:
    """So many people ask within a moment: how long the last one waits, and whether they are served in order."""
    ends: dict[int, tuple[float, int]] = {}

    def ask(number: int) -> None:
        last = list(talker.stream(run_id, None, PROMPT, max_tokens=tokens, seed=number))[-1]
        ends[number] = (time.perf_counter(), last["sample_id"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(people)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
        time.sleep(0.01)  # so that who came first is known
    for thread in threads:
        thread.join()
    kept = [ends[number][1] for number in range(people)]
    return {
        "people": people,
        "seconds": max(end for end, _ in ends.values()) - began,
        "first_seconds": ends[0][0] - began,
        "in_order": kept == sorted(kept),
    }


def measure(home: Home, turns: int, people: int) -> dict[str, Any]:
    """Everything, in one home."""
    run_id = launch.start_run(home, "seedling", "measured", MOMENT)
    ended = launch.wait_until_ended(home, run_id, 600)
    assert ended["status"] == "finished", ended["error"]
    db = store.connect(home.database)
    steps = [row["step"] for row in store.ages(db, run_id)]
    db.close()
    tell(f"a seedling of the ages {steps}; asking it")
    talker = Talker(home)

    def ask(step: int | None, seed: int) -> float:
        return first_token(talker.stream(run_id, step, PROMPT, max_tokens=8, seed=seed))

    try:
        started = ask(steps[0], 0)
        cold = [ask(step, 0) for step in steps[1:]]
        warm = [ask(steps[-1], seed) for seed in range(turns)]
        talker.close()
        talker = Talker(home)
        ask(None, 0)
        report = {
            "new_worker": started,
            "cold": max(cold),
            "warm": statistics.median(warm),
            "warm_worst": max(warm),
            "cancel": max(cancelled(talker, run_id, busy=False) for _ in range(turns)),
            "cancel_waiting": max(cancelled(talker, run_id, busy=True) for _ in range(max(turns // 4, 1))),
            "together": together(talker, run_id, people, 40),
        }
    finally:
        talker.close()
    return report


def main(argv: list[str] | None = None) -> int:
    """Print what was measured; 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.answer_page", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--turns", type=whole, default=20)
    parser.add_argument("--people", type=whole, default=20, help="how many ask at the same time (21 at most)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        launch.open_home(home)
        report = measure(home, given.turns, min(given.people, 21))
    if given.json:
        print(json.dumps(report))
        return 0
    for name, words in (
        ("new_worker", "first token of a new worker (Python and torch start)"),
        ("cold", "first token of a checkpoint that is read for it, worst"),
        ("warm", "first token of a checkpoint in memory, median"),
        ("warm_worst", "the same, worst"),
        ("cancel", "cancel of an answer that is made, worst"),
        ("cancel_waiting", "cancel of one that waits, worst"),
    ):
        goal = f"  (to reach: {GOALS[name] * 1000:,.0f} ms)" if name in GOALS else ""
        print(f"{words:<58} {report[name] * 1000:8,.0f} ms{goal}")
    crowd = report["together"]
    order = "in the order in which they asked" if crowd["in_order"] else "NOT in order"
    print(f"{crowd['people']} people at once: the last answer after {crowd['seconds']:.1f} s, {order}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
