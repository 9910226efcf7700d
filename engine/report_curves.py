"""The curves of a report: all that was measured, averaged in as many pieces as a picture can show. No torch."""

from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlite_utils import Database

from engine import store

POINTS = 400
"""Pieces of a curve: about one for two pixels of a picture."""
ROWS = 100_000
"""Rows read at once."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Values over tokens seen; every value stands for a piece of the run."""

    tokens: Array
    values: Array


@dataclass(frozen=True)
class Curves:
    """What a training plot shows; None where nothing was measured."""

    train_loss: Curve | None
    val_loss: Curve | None
    accuracy: Curve | None
    perplexity: Curve | None
    rate: Curve | None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any((self.train_loss, self.val_loss, self.accuracy, self.perplexity, self.rate))


def read_curves(db: Database, run_id: str) -> Curves:
    """The curves of one run over the tokens that it has seen."""
    steps = _columns(db, "metrics", run_id, ("tokens", "train_loss", "learning_rate"))
    evals = _columns(db, "evals", run_id, ("tokens", "val_loss", "val_accuracy", "val_perplexity"))
    return Curves(
        train_loss=_curve(steps[0], steps[1]),
        val_loss=_curve(evals[0], evals[1]),
        accuracy=_curve(evals[0], evals[2]),
        perplexity=_curve(evals[0], evals[3]),
        rate=_curve(steps[0], steps[2]),
    )


def _columns(db: Database, table: str, run_id: str, names: tuple[str, ...]) -> list[Array]:
    """Columns of a run's current rows; NaN where nothing was measured."""
    pieces: list[list[Array]] = [[] for _ in names]
    last = 0
    while True:
        newest, texts = store.numbers_after(db, table, run_id, names, last, ROWS)
        if not newest:
            return [np.concatenate(piece) if piece else np.empty(0) for piece in pieces]
        last = newest
        for piece, text in zip(pieces, texts, strict=True):
            piece.append(np.array(orjson.loads(text), dtype=np.float64))  # null becomes NaN


def _curve(tokens: Array, values: Array) -> Curve | None:
    """The mean of each piece, from what is a number; None for fewer than two points."""
    there = np.isfinite(values)
    tokens, values = tokens[there], values[there]
    if len(values) < 2:
        return None
    if len(values) <= POINTS:
        return Curve(tokens, values)
    edges = np.linspace(0, len(values), POINTS + 1).astype(int)
    counts = np.diff(edges)
    return Curve(np.add.reduceat(tokens, edges[:-1]) / counts, np.add.reduceat(values, edges[:-1]) / counts)
