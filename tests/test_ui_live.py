"""ui/live.py: what a refresh says, and how little it is."""

import json
import time

import pytest
from sqlite_utils import Database
from ui_helpers import add_points, make_run

from engine import store
from engine.store import Refused
from ui import live
from ui.columns import SeriesCache
from ui.curves import Look, series


def ask(db: Database, shown: str, selected: str = "", events: int = 0) -> dict[str, object]:
    return live.live(db, store.list_runs(db), live.parse_shown(shown), "steps", selected, events)


def test_increments_are_what_is_after_the_cursors(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 30)
    whole = series(db, SeriesCache(), store.get_run(db, run_id), Look())
    add_points(db, run_id, 31, 3)

    news = ask(db, f"{run_id}:1:{whole['at'][0]}:{whole['at'][1]}", run_id)["runs"][run_id]  # type: ignore[index]

    assert news["m"]["x"] == {"from": 31, "by": 1, "n": 3}
    assert news["m"]["loss"] == pytest.approx([8 - 31e-6, 8 - 32e-6, 8 - 33e-6], rel=1e-6)
    assert "e" not in news


def test_nothing_new_is_nothing_but_the_state(db: Database) -> None:
    run_id = make_run(db)

    answer = ask(db, f"{run_id}:1:0:0", run_id)

    assert "runs" not in answer and "events" not in answer
    assert answer["now"] == {
        "status": "running",
        "phase": "training",
        "progress": 0.1235,
        "attempt": 1,
        "step": 10,
        "tokens": 40960,
        "loss": 7.1235,
        "speed": 12300,
        "eta": 99.9,
        "seconds": 0,
    }


def test_three_growing_runs_take_less_than_two_kilobytes(db: Database) -> None:
    ids = [make_run(db, f"run-{device[-1]}", device) for device in ("cpu", "cuda:0", "cuda:1")]
    for run_id in ids:
        add_points(db, run_id, 100_000, 10)

    answer = ask(db, ",".join(f"{run_id}:1:0:0" for run_id in ids), ids[0])

    assert len(json.dumps(answer, separators=(",", ":"))) < 2000
    assert len(answer["runs"]) == 3  # type: ignore[arg-type]


def test_a_resumed_run_must_be_read_anew(db: Database) -> None:
    run_id = make_run(db)
    store.update_state(db, run_id, attempt=2)

    assert ask(db, f"{run_id}:1:0:0")["runs"] == {run_id: {"again": True}}


def test_a_page_that_slept_for_long_reads_anew(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, live.INCREMENT + 1)

    assert ask(db, f"{run_id}:1:0:0")["runs"] == {run_id: {"again": True}}


def test_the_version_follows_names_statuses_and_attempts(db: Database) -> None:
    run_id = make_run(db)
    before = live.version(store.list_runs(db))

    store.update_state(db, run_id, tokens=50_000)
    assert live.version(store.list_runs(db)) == before
    store.end_run(db, run_id, "stopped")
    assert live.version(store.list_runs(db)) != before


def test_events_come_once(db: Database) -> None:
    run_id = make_run(db)
    store.add_event(db, run_id, "started", "It began.", 0)

    first = ask(db, "", run_id)["events"]

    assert [event["message"] for event in first] == ["It began."]  # type: ignore[attr-defined]
    assert "events" not in ask(db, "", run_id, first[-1]["id"])  # type: ignore[index]


@pytest.mark.parametrize(
    "text", ["x", "x:1:2", "x:a:b:c", "x:1:2:-3", ",".join(["x:1:2:3"] * 201), "x:1:2:" + "9" * 30]
)
def test_cursors_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        live.parse_shown(text)


def test_a_validation_says_how_old_it_is(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 30)
    newest = store.last_eval(db, run_id)
    assert newest is not None

    assert ask(db, "", run_id)["now"]["val_step"] == newest["step"] <= 30


def test_a_living_run_that_cannot_write_is_told(db: Database) -> None:
    run_id = make_run(db)
    store.update_state(db, run_id, heartbeat_at=time.time() - 30)
    assert 29 <= ask(db, "", run_id)["now"]["silent"] <= 32
    store.update_state(db, run_id, heartbeat_at=time.time())
    assert "silent" not in ask(db, "", run_id)["now"]
