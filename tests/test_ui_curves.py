"""ui/curves.py: whole curves, parts of them, their axes and their dates."""

import numpy as np
import pytest
from sqlite_utils import Database
from ui_helpers import add_points, add_rows, make_run

from engine import store
from engine.store import Refused
from ui.columns import SeriesCache
from ui.curves import Look, clock, dated, miniature, series


def test_a_whole_curve_is_equal_to_the_database(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 500)

    answer = series(db, SeriesCache(), store.get_run(db, run_id), Look(axis="tokens"))

    assert answer["whole"] and answer["rows"] == 500
    assert len(answer["m"]["loss"]["y"]) == 500 and "pairs" not in answer["m"]["loss"]
    assert len(answer["s"]["loss"]["y"]) == 500


def test_a_long_curve_is_thinned_and_zooming_brings_it_all_back(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 5000)
    run, cache = store.get_run(db, run_id), SeriesCache()

    far = series(db, cache, run, Look(points=1000))
    near = series(db, cache, run, Look(points=1000, low=100, high=200))

    assert not far["whole"] and len(far["m"]["loss"]["y"]) <= 1010 and far["m"]["loss"]["pairs"]
    assert len(far["m"]["norm"]["y"]) <= 410
    assert near["whole"] and len(near["m"]["loss"]["y"]) == 103


@pytest.mark.parametrize(("low", "high"), [(None, None), (1, 40_000), (30_000, 31_000), (31_400, 31_420)])
def test_a_spike_and_a_step_that_was_no_number_stay_at_every_zoom(
    db: Database, low: float | None, high: float | None
) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 40_000)
    db.conn.execute("UPDATE metrics SET train_loss = 50 WHERE run_id = ? AND step IN (30500, 31415)", [run_id])
    db.conn.execute("UPDATE metrics SET train_loss = NULL WHERE run_id = ? AND step IN (30600, 31417)", [run_id])
    cache, run = SeriesCache(), store.get_run(db, run_id)

    for smoothing in (0, 10):
        loss = series(db, cache, run, Look(low=low, high=high, points=400, smoothing=smoothing))["m"]["loss"]
        assert max(value for value in loss["y"] if value is not None) == 50
        assert loss.get("bad") or None in loss["y"]


def test_smoothing_is_the_same_near_and_far(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 2000)
    rng = np.random.default_rng(7)
    with store.writing(db):
        for step, loss in enumerate(rng.normal(5, 1, 2000).tolist(), 1):
            db.conn.execute("UPDATE metrics SET train_loss = ? WHERE run_id = ? AND step = ?", [loss, run_id, step])
    run, cache = store.get_run(db, run_id), SeriesCache()

    far = series(db, cache, run, Look(smoothing=5))["s"]["loss"]["y"]
    near = series(db, cache, run, Look(smoothing=5, low=501, high=600))["s"]["loss"]

    assert near["y"][1:-1] == far[500:600]
    assert series(db, cache, run, Look(smoothing=0))["s"] == {}


def test_only_the_curves_asked_for_come(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 50)

    answer = series(db, SeriesCache(), store.get_run(db, run_id), Look(curves=("norm",)))

    assert set(answer["m"]) == {"norm"} and answer["e"] == {}


def test_the_reference_has_no_training_curve(db: Database) -> None:
    run = store.get_run(db, store.REFERENCE_ID)

    answer = series(db, SeriesCache(), run, Look(axis="tokens"))

    assert set(answer["e"]) == {"loss", "accuracy", "perplexity"}
    assert "loss" not in answer["m"]
    assert answer["e"]["loss"]["y"][0] == pytest.approx(5.358695)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"axis": "epochs"}, "steps, tokens, time, date"),
        ({"curves": ("loss", "taste")}, "loss, rate, norm, speed, accuracy"),
        ({"smoothing": -1}, "0 to 50"),
        ({"smoothing": float("nan")}, "0 to 50"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(Refused, match=told):
        Look(**wrong)  # type: ignore[arg-type]


def test_the_miniature_is_small(db: Database) -> None:
    curve = miniature(db, SeriesCache(), store.get_run(db, store.REFERENCE_ID))

    assert 40 <= len(curve) <= 50
    assert curve[0][1] > curve[-1][1]  # type: ignore[operator]


def test_dates_know_of_pauses(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 100)  # step 100 after 10 seconds of work
    add_rows(
        db,
        [
            ("events", {"run_id": run_id, "step": 50, "kind": "paused", "message": "", "created_at": 1005.0}),
            ("events", {"run_id": run_id, "step": 51, "kind": "unpaused", "message": "", "created_at": 2005.0}),
        ],
    )
    store.update_state(db, run_id, started_at=1000.0, heartbeat_at=2010.0, elapsed_seconds=10.0)
    answer = series(db, SeriesCache(), store.get_run(db, run_id), Look(axis="date"))

    x = answer["m"]["loss"]["x"]
    dates = np.cumsum([x["from"], *x["steps"]])
    assert dates[48] == pytest.approx(1004.9, abs=0.2) and dates[99] == pytest.approx(2010, abs=0.2)
    assert (np.diff(dates) >= 0).all()


def test_a_run_without_any_date_has_no_curve_over_dates(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 100)
    store.update_state(db, run_id, started_at=None, heartbeat_at=None)
    run, cache = store.get_run(db, run_id), SeriesCache()

    assert clock(db, run, cache.metrics(db, run_id, 1)) is None
    assert series(db, cache, run, Look(axis="date"))["m"] == {}


def test_beyond_what_is_known_time_goes_on() -> None:
    moments = np.array([10.0, 20.0]), np.array([1000.0, 1100.0])

    assert dated(np.array([5.0, 10, 15, 20, 26]), moments).tolist() == [995, 1000, 1050, 1100, 1106]
