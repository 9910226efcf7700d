"""A process that stands for the trainers of a home's runs: `python -m benchmarks.page.writer HOME RUNS RATE`.

The first RUNS runs of the home go on by RATE steps a second each, with an evaluation every hundred steps and a sample
every two hundred, until its standard input ends. Then they have stopped.
"""

import select
import sys
import time

import numpy as np
from sqlite_utils import Database

from benchmarks.page.homes import EVERY, SECONDS, TOKENS, Big, Curve, add_steps
from engine import process, store
from engine.home import Home

PAUSE = 0.1
"""Seconds between two looks at the clock."""


def begin(db: Database, curves: tuple[Curve, ...]) -> int:
    """Make this process the trainer of the runs; returns the last step that they all have."""
    steps = []
    for number, curve in enumerate(curves):
        steps.append(int(store.get_run(db, curve.id)["step"]))
        store.update_state(
            db,
            curve.id,
            status="running",
            phase="training",
            device=f"cuda:{number}",
            ended_at=None,
            heartbeat_at=time.time(),
            tokens_per_second=298_000.0,
            eta_seconds=1234.5,
            progress=0.5,
            **process.identity(),
        )
    return max(steps)


def go_on(db: Database, curves: tuple[Curve, ...], done: int, wanted: int) -> None:
    """Write the steps from `done` up to `wanted` of each run in one transaction, with all that a trainer writes."""
    with store.writing(db):
        add_steps(db, curves, done + 1, wanted - done)
        for curve in curves:
            if wanted // (2 * EVERY) > done // (2 * EVERY):
                store.add_sample(db, sample(curve, wanted))
            store.update_state(
                db,
                curve.id,
                step=wanted,
                tokens=wanted * TOKENS,
                train_loss=3.1 + np.sin(wanted) / 10,
                elapsed_seconds=wanted * SECONDS,
                heartbeat_at=time.time(),
            )


def sample(curve: Curve, step: int) -> store.Row:
    """An answer of a run."""
    return {
        "run_id": curve.id,
        "attempt": 1,
        "step": step,
        "tokens": step * TOKENS,
        "suite": "stories",
        "prompt": "Alice was",
        "text": f"beginning to get very tired, {step} times. " * 6,
        "seed": 7,
        "temperature": 0.8,
        "top_k": 0,
        "top_p": 0.95,
        "max_tokens": 80,
        "dtype": "float32",
        "device": "cpu",
        "source": "periodic",
        "created_at": time.time(),
    }


def grow(big: Big, runs: int, rate: float) -> None:
    """Write until standard input ends."""
    db = store.connect(big.home.database)
    curves = big.curves[:runs]
    first = done = begin(db, curves)
    started = time.monotonic()
    print("ready", flush=True)
    try:
        while not select.select([sys.stdin], [], [], PAUSE)[0]:
            wanted = first + int((time.monotonic() - started) * rate)
            if wanted > done:
                go_on(db, curves, done, wanted)
                done = wanted
    finally:
        for curve in curves:
            store.end_run(db, curve.id, "stopped")
        db.close()


if __name__ == "__main__":
    folder, count, speed = sys.argv[1:]
    grow(Big.at(Home.at(folder)), int(count), float(speed))
