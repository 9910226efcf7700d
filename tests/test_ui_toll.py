"""ui/toll.py: what an answer costs the run that trains meanwhile."""

from typing import Any

import pytest
from sqlite_utils import Database
from ui_helpers import make_run

from engine import store
from ui.toll import Toll, with_toll


def steps(db: Database, run_id: str, first: int, speeds: list[float]) -> None:
    """Steps of a run from `first` on, made at these speeds."""
    for step, speed in enumerate(speeds, start=first):
        db["metrics"].insert(
            {
                "run_id": run_id,
                "attempt": 1,
                "step": step,
                "tokens": step,
                "train_loss": 5.0,
                "learning_rate": 0.1,
                "grad_norm": 1.0,
                "tokens_per_second": speed,
                "elapsed_seconds": float(step),
            }
        )


@pytest.fixture
def run(db: Database) -> dict[str, Any]:
    run_id = make_run(db)
    steps(db, run_id, 1, [100.0, 101.0, 99.0, 100.0])
    return store.get_run(db, run_id) | {"status": "running"}


def test_the_last_piece_tells_what_it_cost(db: Database, run: dict[str, Any]) -> None:
    toll = Toll(db, [run])
    steps(db, run["id"], 5, [60.0, 70.0, 80.0])

    assert with_toll({"text": "a", "finish": ""}, toll) == {"text": "a", "finish": ""}
    assert with_toll({"text": "ab", "finish": "length"}, toll)["training"] == {"while": 70.0, "alone": 100.0}


def test_of_too_few_steps_or_without_a_run_nothing_is_told(db: Database, run: dict[str, Any]) -> None:
    short = Toll(db, [run])
    steps(db, run["id"], 5, [60.0, 70.0])

    assert short.told() is None
    assert Toll(db, [run | {"status": "paused"}]).told() is None
    assert Toll(db, []).told() is None
