"""What a trainer tells arrives, whatever holds the database up, and what people ask of it is heard."""

import functools
import threading
from collections.abc import Iterator

import pytest
from helpers import wait_for
from sqlite_utils import Database
from support import new_run

from engine import recorder as module
from engine import store
from engine.home import Home
from engine.recorder import Recorder


@pytest.fixture
def run_id(home: Home, db: Database) -> str:
    return new_run(home, db)


@pytest.fixture
def recorder(home: Home, run_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(module, "PERIOD", 0.02)
    made = Recorder(home.database, run_id, attempt=2)
    yield made
    made.close()


def measure(recorder: Recorder, *steps: int) -> None:
    for step in steps:
        recorder.add("metrics", step=step, tokens=step * 256, train_loss=2.0, elapsed_seconds=0.1 * step)


def steps_in(db: Database, run_id: str) -> list[int]:
    return [row[0] for row in db.execute("SELECT step FROM metrics WHERE run_id = ? ORDER BY id", [run_id])]


def test_rows_state_and_events_arrive(recorder: Recorder, db: Database, run_id: str) -> None:
    measure(recorder, 1, 2)
    recorder.add("evals", step=2, tokens=512, val_loss=1.5, elapsed_seconds=0.2)
    recorder.event("note", "something happened", 2)
    recorder.state(step=1, status="running", environment={"threads": 2})
    recorder.state(step=2)
    assert recorder.flush()

    assert steps_in(db, run_id) == [1, 2]
    assert [row["attempt"] for row in db["metrics"].rows_where("run_id = ?", [run_id])] == [2, 2]
    assert store.last_eval(db, run_id)["val_loss"] == 1.5  # type: ignore[index]
    assert [(event["kind"], event["message"], event["step"]) for event in store.list_events(db, run_id)] == [
        ("note", "something happened", 2)
    ]
    run = store.get_run(db, run_id)
    assert (run["step"], run["status"], run["environment"]) == (2, "running", {"threads": 2})


def test_rows_arrive_without_being_asked_for(recorder: Recorder, db: Database, run_id: str) -> None:
    measure(recorder, 1)

    wait_for(lambda: steps_in(db, run_id) == [1])


def test_the_heart_beats_while_nothing_happens(recorder: Recorder, db: Database, run_id: str) -> None:
    recorder.flush()
    before = store.get_run(db, run_id)["heartbeat_at"]

    wait_for(lambda: store.get_run(db, run_id)["heartbeat_at"] > before)


def test_closing_stores_what_is_left(home: Home, db: Database, run_id: str) -> None:
    recorder = Recorder(home.database, run_id, attempt=1)
    measure(recorder, *range(1, 501))

    assert recorder.close()

    assert steps_in(db, run_id) == list(range(1, 501))
    with pytest.raises(RuntimeError, match="has ended"):
        measure(recorder, 501)


@pytest.mark.parametrize("patience", [5.0, 0.01], ids=["the writer waits", "the writer gives up and tries again"])
def test_a_locked_database_delays_and_loses_nothing(
    home: Home,
    db: Database,
    run_id: str,
    patience: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.02)
    monkeypatch.setattr(store, "connect", functools.partial(store.connect, patience=patience))
    recorder = Recorder(home.database, run_id, attempt=1)
    recorder.flush()

    with store.writing(db):
        measure(recorder, 1, 2)  # returns at once, as training must
        recorder.state(step=2)
        assert not recorder.flush(timeout=0.15)
        measure(recorder, 3)
        recorder.state(step=3)
    assert recorder.flush()

    assert steps_in(db, run_id) == [1, 2, 3]
    assert store.get_run(db, run_id)["step"] == 3
    assert ("trying again" in capsys.readouterr().out) == (patience < 1)
    recorder.close()


def test_rows_beyond_the_capacity_are_dropped_and_the_older_ones_kept(
    recorder: Recorder, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CAPACITY", 3)
    recorder.flush()

    with store.writing(db):
        measure(recorder, 1, 2, 3, 4, 5)
    recorder.flush()

    assert steps_in(db, run_id) == [1, 2, 3]


def test_a_writer_that_died_is_not_taken_for_one_that_wrote(
    home: Home, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    recorder = Recorder(home.path / "missing.db", run_id, attempt=1)
    wait_for(lambda: not recorder._thread.is_alive())

    assert not recorder.flush()
    with pytest.raises(RuntimeError, match="has ended"):
        measure(recorder, 1)


def test_commands_set_flags_and_are_stamped(recorder: Recorder, db: Database, run_id: str) -> None:
    store.give_command(db, run_id, "pause")
    assert recorder.pause.wait(5)
    store.give_command(db, run_id, "sample")
    assert recorder.sample.wait(5)
    store.give_command(db, run_id, "unpause")
    wait_for(lambda: not recorder.pause.is_set())
    assert not recorder.stop.is_set()

    store.give_command(db, run_id, "stop")
    assert recorder.stop.wait(5) and not recorder.stop_now.is_set()
    store.give_command(db, run_id, "stop", "now")
    assert recorder.stop_now.wait(5)

    recorder.flush()
    assert all(row["taken_at"] and row["done_at"] for row in db["commands"].rows_where("kind != 'start'"))


def test_commands_of_other_runs_and_for_the_supervisor_are_left_alone(
    recorder: Recorder, db: Database, run_id: str
) -> None:
    store.give_command(db, store.REFERENCE_ID, "stop")
    store.give_command(db, run_id, "resume")

    recorder.flush()

    assert not recorder.stop.is_set()
    waiting = store.waiting_commands(db, ("start", "stop", "resume"))
    assert [row["kind"] for row in waiting] == ["start", "stop", "resume"]


def test_once_asked_to_stop_a_run_does_not_say_it_is_running(recorder: Recorder, db: Database, run_id: str) -> None:
    store.update_state(db, run_id, status="stopping")
    recorder.stop.set()

    recorder.state(status="running", phase="training")
    recorder.flush()

    assert (store.get_run(db, run_id)["status"], store.get_run(db, run_id)["phase"]) == ("stopping", "training")
