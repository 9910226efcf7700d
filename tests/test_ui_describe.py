"""ui/describe.py: what a preset will take on this machine."""

from typing import Any

import pytest
from sqlite_utils import Database
from ui_helpers import make_run

from engine import config, store
from ui import describe


def told(db: Database, run_id: str, **values: Any) -> tuple[float, bool]:
    db.conn.execute("UPDATE runs SET parameters = ? WHERE id = ?", [values["parameters"], run_id])
    store.update_state(db, run_id, tokens_per_second=10_000.0)
    return describe.machine_flops("cpu", store.list_runs(db), {run_id: store.get_config(db, run_id)})


def test_a_seedling_takes_minutes_on_two_cores_with_bf16_and_a_gigabyte() -> None:
    plan = describe.plan(config.load_preset("seedling"), 2 * 1.5e11, "cpu")

    assert 150 < plan["seconds"] < 330
    assert 0.8e9 < plan["memory"] < 1.2e9


def test_a_tiny_run_does_not_tell_how_fast_the_machine_is(db: Database) -> None:
    run_id = make_run(db)
    flops = config.load_preset("seedling").model.flops_per_token

    assert told(db, run_id, parameters=400_000)[1] is False
    assert told(db, run_id, parameters=3_410_048) == (pytest.approx(10_000 * flops), True)
