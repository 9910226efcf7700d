"""Homes with runs of many points, made in seconds and kept for the next time where a folder is given."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from engine import config, launch, store
from engine.home import Home

TOKENS, SECONDS = 4096, 0.1
"""Of one step."""
EVERY = 100
"""Steps between two evaluations."""
CHUNK = 50_000
"""Steps written at once."""
SPIKE = 50.0
"""The loss of one step of each run."""
MADE = "made.json"
"""Written last."""
METRICS = (
    "run_id",
    "attempt",
    "step",
    "tokens",
    "elapsed_seconds",
    "train_loss",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
)
EVALS = (
    "run_id",
    "attempt",
    "step",
    "tokens",
    "elapsed_seconds",
    "val_loss",
    "val_accuracy",
    "val_perplexity",
    "val_bits_per_byte",
)
Values = list[float | None]


@dataclass(frozen=True)
class Curve:
    """One run, with the step that has the spike and the one whose loss was no number."""

    id: str
    name: str
    spike: int
    broken: int


@dataclass(frozen=True)
class Big:
    """A home and its runs, which all had `points` steps when it was made."""

    home: Home
    curves: tuple[Curve, ...]
    points: int

    @property
    def ids(self) -> tuple[str, ...]:
        """The runs' ids."""
        return tuple(curve.id for curve in self.curves)

    @classmethod
    def at(cls, home: Home) -> "Big":
        """A home that `big_home` has made."""
        made = json.loads((home.path / MADE).read_text(encoding="utf-8"))
        return cls(home, tuple(Curve(**curve) for curve in made["curves"]), made["points"])


def big_home(folder: Path, runs: int, points: int, together: bool) -> Big:
    """The home of `runs` runs of `points` points in `folder`, made where it is not there yet.

    `together`: the runs trained at the same time, so that their rows lie between each other's.
    """
    home = Home.at(folder / f"{runs}x{points}")
    made = home.path / MADE
    if not made.exists():
        curves = [asdict(curve) for curve in fill(home, runs, points, together)]
        made.write_text(json.dumps({"points": points, "curves": curves}), encoding="utf-8")
    return Big.at(home)


def fill(home: Home, runs: int, points: int, together: bool) -> tuple[Curve, ...]:
    """Write the runs; they have stopped."""
    launch.open_home(home)
    db = store.connect(home.database)
    curves = tuple(new_run(db, number, points) for number in range(runs))
    with store.writing(db):
        for group in [curves] if together else [(curve,) for curve in curves]:
            for first in range(1, points + 1, CHUNK):
                add_steps(db, group, first, min(CHUNK, points + 1 - first))
    db.close()
    return curves


def new_run(db: Database, number: int, points: int) -> Curve:
    """A run that has stopped after `points` steps; its spike and its hole are beside those of the others."""
    name = f"run-{number}"
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", name, f"cuda:{number}")
    store.drop_commands(db, run_id, ("start",), "a benchmark")
    store.update_state(
        db, run_id, attempt=1, step=points, tokens=points * TOKENS, train_loss=3.1, val_loss=3.2, started_at=time.time()
    )
    store.end_run(db, run_id, "stopped")
    spike = int(points * 0.31) + 7 * number
    return Curve(run_id, name, spike, spike + 50)


def add_steps(db: Database, curves: tuple[Curve, ...], first: int, count: int) -> None:
    """`count` steps of each run from `first` on, step by step, inside a transaction of the caller's."""
    steps = np.arange(first, first + count)
    losses = [losses_of(curve, steps) for curve in curves]
    store.insert_many(db, "metrics", METRICS, metrics(curves, steps, losses))
    store.insert_many(db, "evals", EVALS, evals(curves, steps[steps % EVERY == 0]))


def metrics(curves: tuple[Curve, ...], steps: NDArray[np.int64], losses: list[Values]) -> Iterator[tuple[object, ...]]:
    """Rows in the order of METRICS."""
    shiver = tremble(steps)
    columns = (
        steps.tolist(),
        (steps * TOKENS).tolist(),
        (steps * SECONDS).tolist(),
        (0.02 * (1 - steps / 1e8)).tolist(),
        (0.3 + shiver / 10).tolist(),
        (298_000 + 1000 * shiver).tolist(),
    )
    for at, (step, tokens, seconds, rate, norm, speed) in enumerate(zip(*columns, strict=True)):
        for curve, loss in zip(curves, losses, strict=True):
            yield curve.id, 1, step, tokens, seconds, loss[at], rate, norm, speed


def evals(curves: tuple[Curve, ...], steps: NDArray[np.int64]) -> Iterator[tuple[object, ...]]:
    """Rows in the order of EVALS."""
    loss = 3.1 + 5 / (1 + steps / 1000)
    columns = (steps.tolist(), loss.tolist(), np.exp(loss).tolist(), (loss / 2.6).tolist())
    for step, value, perplexity, bits in zip(*columns, strict=True):
        for curve in curves:
            yield curve.id, 1, step, step * TOKENS, step * SECONDS, value, 0.4, perplexity, bits


def losses_of(curve: Curve, steps: NDArray[np.int64]) -> Values:
    """A loss that falls and trembles, with the run's spike and its step without a number."""
    values: Values = (3 + 5 / (1 + steps / 1000) + 0.2 * tremble(steps)).tolist()
    for step, value in ((curve.spike, SPIKE), (curve.broken, None)):
        if steps[0] <= step <= steps[-1]:
            values[step - int(steps[0])] = value
    return values


def tremble(steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Something between 0 and 1 that looks like chance."""
    return (steps * 7919 % 1000) / 1000
