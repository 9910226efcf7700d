"""ui/columns.py: what was measured, read once, column by column, and never mixed with what was superseded."""

import numpy as np
from sqlite_utils import Database
from ui_helpers import add_points, add_rows, make_run

from engine import store
from ui import columns
from ui.columns import SeriesCache


def metric(step: int, attempt: int = 1) -> tuple[str, store.Row]:
    return "metrics", {
        "run_id": store.REFERENCE_ID,
        "attempt": attempt,
        "step": step,
        "tokens": step * 10,
        "train_loss": 9 - step / 1000,
        "elapsed_seconds": step / 10,
    }


def test_the_cache_reads_only_what_is_new(db: Database) -> None:
    cache = SeriesCache()
    before = cache.metrics(db, store.REFERENCE_ID, 1).rows
    add_rows(db, [metric(step) for step in range(100, 110)])

    after = cache.metrics(db, store.REFERENCE_ID, 1)

    assert after.rows == before + 10
    assert after["step"][-1] == 109


def test_a_new_attempt_is_read_anew_without_superseded_rows(db: Database) -> None:
    cache = SeriesCache()
    add_rows(db, [metric(step) for step in range(70_000, 70_010)])
    first = cache.metrics(db, store.REFERENCE_ID, 1).rows
    store.supersede_after(db, store.REFERENCE_ID, 70_004)
    add_rows(db, [metric(70_005, attempt=2)])

    again = cache.metrics(db, store.REFERENCE_ID, 2)

    assert again.rows == first - 5 + 1
    assert again["step"][-1] == 70_005


def test_a_number_that_was_none_is_nan(db: Database) -> None:
    run_id = make_run(db)
    add_rows(db, [("metrics", {**metric(step)[1], "run_id": run_id}) for step in (1, 2, 3)])
    db.conn.execute("UPDATE metrics SET train_loss = NULL WHERE run_id = ? AND step = 2", [run_id])

    loss = SeriesCache().metrics(db, run_id, 1)["train_loss"]

    assert np.isnan(loss).tolist() == [False, True, False]


def test_places_are_exact_beyond_what_a_float32_can_count(db: Database) -> None:
    run_id = make_run(db)
    add_rows(db, [("metrics", {**metric(1)[1], "run_id": run_id, "tokens": 2**40 + 1})])

    assert SeriesCache().metrics(db, run_id, 1)["tokens"][0] == 2**40 + 1


def test_a_column_asked_for_later_has_the_rows_of_the_others(db: Database) -> None:
    run_id, cache = make_run(db), SeriesCache()
    add_points(db, run_id, 1, 30)
    cache.metrics(db, run_id, 1, ("tokens", "train_loss"))
    add_points(db, run_id, 31, 5)

    found = cache.metrics(db, run_id, 1, ("step", "grad_norm"))
    both = cache.metrics(db, run_id, 1)

    assert found["step"].tolist() == list(range(1, 36)) and len(found["grad_norm"]) == 35
    assert both["tokens"].tolist() == [step * 4096 for step in range(1, 36)]


def test_rows_superseded_behind_its_back_are_noticed(db: Database) -> None:
    run_id, cache = make_run(db), SeriesCache()
    add_points(db, run_id, 1, 30)
    cache.metrics(db, run_id, 1, ("train_loss",))
    store.supersede_after(db, run_id, 20)

    assert cache.metrics(db, run_id, 1, ("step", "train_loss")).rows == 20


def test_long_curves_are_read_in_parts(db: Database, monkeypatch: object) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 25)
    monkeypatch.setattr(columns, "CHUNK", 10)  # type: ignore[attr-defined]

    assert SeriesCache().metrics(db, run_id, 1)["step"].tolist() == list(range(1, 26))


def test_what_was_not_looked_at_for_long_is_let_go(db: Database) -> None:
    runs = [make_run(db, f"run-{number}", f"cuda:{number}") for number in range(4)]
    for run_id in runs:
        add_points(db, run_id, 1, 20)
    cache = SeriesCache(limit=20_000)
    for run_id in runs:
        cache.metrics(db, run_id, 1, ("train_loss",))

    assert 0 <= cache.room() < 20_000
    assert cache.metrics(db, runs[0], 1, ("train_loss",)).rows == 20
