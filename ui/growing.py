"""How a run grew up, for the page: its ages, what it answered at each, its curve; a fork begins with its parents'."""

from typing import Any

import numpy as np
from sqlite_utils import Database

from engine import store
from engine.store import Refused, Row
from ui.columns import Array, SeriesCache
from ui.curves import SMOOTHING
from ui.series import number, numbers, smooth, thin

POINTS = 400
"""Of each curve at most: it is as wide as the page."""
Path = list[tuple[Row, int]]
"""The runs that led to a run, the eldest first and itself last, each with the step up to which it counts."""


def path_of(db: Database, run: Row) -> Path:
    """The way that a run has come."""
    return [*reversed(store.ancestors(db, run)), (run, store.LAST_STEP)]


def overview(db: Database, cache: SeriesCache, run: Row) -> dict[str, Any]:
    """Everything but the words: the ages with the loss known then, the prompts with their newest words, the curves."""
    path = path_of(db, run)
    ages: dict[int, dict[str, Any]] = {}
    prompts: dict[tuple[str, str], Row] = {}
    for row, last in path:
        found = store.ages_of_words(db, row["id"], last)
        for age, known in zip(found, _losses(db, cache, row, [age["step"] for age in found]), strict=True):
            ages[age["step"]] = age | known | ({} if row is run else {"of": row["id"]})
        for asked in store.prompts_asked(db, row["id"], last):
            key = (asked["suite"], asked["prompt"])
            earlier = prompts[key]["ages"] if key in prompts else 0
            prompts[key] = asked | {"ages": asked["ages"] + earlier}
    return {
        "run": run["id"],
        "attempt": run["attempt"],
        "said": store.newest_sample_id(db, run["id"]),
        "ages": [ages[step] for step in sorted(ages)],
        "prompts": list(prompts.values()),
        "curves": [_curve(db, cache, row, last) for row, last in path],
        "past": [{"id": row["id"], "name": row["name"], "step": last} for row, last in path[:-1]],
    }


def answers(db: Database, run: Row, suite: str, prompt: str, first: int, last: int) -> list[Row]:
    """What a run and those it comes from answered to one prompt between two steps, one answer a step."""
    found: dict[int, Row] = {}
    for row, end in path_of(db, run):
        found |= {one["step"]: one for one in store.answers(db, row["id"], suite, prompt, first, min(last, end))}
    return [found[step] for step in sorted(found)]


def answers_at(db: Database, run: Row, step: int) -> list[Row]:
    """What it answered to each prompt at one age, or those it comes from before it was born."""
    for row, end in reversed(path_of(db, run)):
        if step <= end and (found := store.answers_at(db, row["id"], step)):
            return list({(one["suite"], one["prompt"]): one for one in found}.values())
    raise Refused(f"Step {step:,} is not an age at which {run['name']} was asked its prompts.")


def _losses(db: Database, cache: SeriesCache, run: Row, steps: list[int]) -> list[dict[str, Any]]:
    """The validation loss known at each step and the step at which it was measured; nothing where there was none."""
    evals = cache.evals(db, run["id"], run["attempt"], ("step", "val_loss"))
    measured, losses = evals["step"], evals["val_loss"]
    found: list[dict[str, Any]] = []
    for at in np.searchsorted(measured, steps, side="right").tolist():
        loss = number(losses[at - 1], 5) if at else None
        found.append({} if loss is None else {"val_loss": loss, "measured": int(measured[at - 1])})
    return found


def _curve(db: Database, cache: SeriesCache, run: Row, last: int) -> dict[str, Any]:
    """Validation and smoothed training loss over tokens, up to step `last`."""
    evals = cache.evals(db, run["id"], run["attempt"], ("step", "tokens", "val_loss"))
    metrics = cache.metrics(db, run["id"], run["attempt"], ("step", "tokens", "train_loss"))
    told = int(np.searchsorted(evals["step"], last, side="right"))
    at = thin(evals["val_loss"][:told], POINTS)
    done = int(np.searchsorted(metrics["step"], last, side="right"))
    near, mean = smooth(metrics["train_loss"], slice(0, done), POINTS, SMOOTHING)
    return {
        "run": run["id"],
        "val": _pairs(evals["tokens"][at], evals["val_loss"][at]),
        "train": _pairs(metrics["tokens"][near], mean),
    }


def _pairs(x: Array, y: Array) -> list[list[float | int | None]]:
    fine = np.isfinite(y)
    return [[number(place, 12), loss] for place, loss in zip(x[fine].tolist(), numbers(y[fine], 5), strict=True)]
