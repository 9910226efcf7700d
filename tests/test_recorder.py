"""What a trainer tells arrives, whatever holds the database up, and what people ask of it is heard."""

import contextlib
import functools
import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import wait_for
from sqlite_utils import Database
from support import FullDisk, new_run

from engine import recorder as module
from engine import store
from engine.home import Home
from engine.outage import PATIENCE
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
    assert ("cannot be written now (database is locked)" in capsys.readouterr().out) == (patience < 1)
    recorder.close()


def test_training_goes_on_while_another_program_holds_the_lock(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short form of the drill with 10 s in test_recorder_drills.py."""
    monkeypatch.setattr(module, "PERIOD", 0.02)
    monkeypatch.setattr(module, "WORTH_AN_EVENT", 0.1)
    monkeypatch.setattr(store, "connect", functools.partial(store.connect, patience=0.01))
    recorder = Recorder(home.database, run_id, attempt=1)
    recorder.flush()
    longest, step, until = 0.0, 0, time.monotonic() + 0.5

    with store.writing(db):
        while time.monotonic() < until:
            before, step = time.monotonic(), step + 1
            measure(recorder, step)
            longest = max(longest, time.monotonic() - before)
            time.sleep(0.001)
    assert recorder.close()

    assert longest < 0.2 and steps_in(db, run_id) == list(range(1, step + 1))
    told = store.list_events(db, run_id)[0]["message"]
    assert told.startswith("runs.db could not be written for ") and told.endswith("no row is missing.")


@pytest.mark.parametrize("waiting", [100, 30_000])
def test_a_full_disk_delays_and_loses_nothing(
    home: Home, db: Database, run_id: str, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = threading.Event()
    monkeypatch.setattr(module, "PERIOD", 0.02)
    monkeypatch.setattr(store, "writing", functools.partial(on_a_disk, room, store.writing))
    recorder = Recorder(home.database, run_id, attempt=1)

    measure(recorder, *range(1, waiting + 1))
    assert not recorder.flush(timeout=0.2)
    assert steps_in(db, run_id) == []
    room.set()
    assert recorder.close()

    assert steps_in(db, run_id) == list(range(1, waiting + 1))
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@contextlib.contextmanager
def on_a_disk(room: threading.Event, writing: Any, db: Database) -> Iterator[Database]:
    """A transaction in a database that cannot grow until there is `room`."""
    db.conn.execute(f"PRAGMA max_page_count = {10**6 if room.is_set() else 1}").fetchall()
    with writing(db):
        yield db


def test_a_log_on_the_full_disk_does_not_end_the_writer(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)
    monkeypatch.setattr(store, "connect", functools.partial(store.connect, patience=0.001))
    recorder = Recorder(home.database, run_id, attempt=1)
    recorder.flush()

    with store.writing(db), contextlib.redirect_stdout(FullDisk()):
        measure(recorder, 1)
        assert not recorder.flush(timeout=0.1)
    assert recorder.close()

    assert steps_in(db, run_id) == [1]


def test_the_log_speaks_of_an_outage_once_and_of_its_end(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.005)
    monkeypatch.setattr(store, "connect", functools.partial(store.connect, patience=0.001))
    recorder = Recorder(home.database, run_id, attempt=1)
    recorder.flush()

    with store.writing(db):
        measure(recorder, 1)
        assert not recorder.flush(timeout=0.3)
    recorder.close()

    assert [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        "runs.db cannot be written now",
        "runs.db could not be written for 0 s",
    ]


def test_a_row_that_the_database_refuses_is_put_aside_and_the_rest_goes_on(
    recorder: Recorder, db: Database, run_id: str
) -> None:
    measure(recorder, 1)
    recorder.add("metrics", step="two", tokens=512, train_loss=math.inf, elapsed_seconds=0.2)
    recorder.add("samples", step=2, tokens=512, prompt="a\ud800", text="b", source="periodic", created_at=0.0)
    recorder.add("metrics", step=2, colour="blue")
    measure(recorder, 3)
    recorder.state(step=3, status=None)
    assert recorder.flush()
    assert recorder.flush()  # the event about it is written with the next rows

    assert steps_in(db, run_id) == [1, 3]
    kept = [json.loads(line) for line in recorder.rejected.read_text().splitlines()]
    assert [(line["table"], line["row"]["step"]) for line in kept] == [
        ("metrics", "two"),
        ("samples", 2),
        ("metrics", 2),
        ("run_state", 3),
    ]
    assert kept[0]["row"]["tokens"] == 512 and "cannot store TEXT" in kept[0]["reason"]
    told = store.list_events(db, run_id)
    assert [event["kind"] for event in told] == ["note"]
    assert "cannot store TEXT" in told[0]["message"] and "rejected.jsonl" in told[0]["message"]
    assert str(recorder.rejected.parent) not in told[0]["message"]
    assert store.get_run(db, run_id)["heartbeat_at"]


def test_many_refused_rows_are_told_a_few_times(recorder: Recorder, db: Database, run_id: str) -> None:
    for _ in range(25):
        recorder.add("metrics", step="two", tokens=512, elapsed_seconds=0.2)
        assert recorder.flush()
    recorder.flush()

    assert [event["message"].split()[4] for event in store.list_events(db, run_id)] == ["1", "10"]
    assert len(recorder.rejected.read_text().splitlines()) == 25


def test_what_is_told_about_the_last_write_is_stored_too(home: Home, db: Database, run_id: str) -> None:
    recorder = Recorder(home.database, run_id, attempt=1)
    recorder.add("metrics", step="two", tokens=512, elapsed_seconds=0.2)

    assert recorder.close()

    assert "rejected.jsonl" in store.list_events(db, run_id)[0]["message"]


def test_rows_that_can_be_stored_nowhere_are_counted(recorder: Recorder, db: Database, run_id: str) -> None:
    recorder.rejected.mkdir(parents=True)  # a folder where the file should be

    recorder.add("metrics", step="two", tokens=512, elapsed_seconds=0.2)
    recorder.flush()
    recorder.flush()

    assert [event["message"] for event in store.list_events(db, run_id)] == [
        "runs.db refused rows; 1 rows could not be kept and are missing."
    ]


def test_rows_beyond_the_capacity_are_counted_told_and_the_older_ones_kept(
    recorder: Recorder,
    db: Database,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "CAPACITY", 3)
    recorder.flush()

    with store.writing(db):
        measure(recorder, 1, 2, 3, 4, 5)
    recorder.flush()
    recorder.flush()

    assert steps_in(db, run_id) == [1, 2, 3]
    assert store.list_events(db, run_id)[0]["message"].endswith("2 rows could not be kept and are missing.")
    assert capsys.readouterr().out.count("is lost") == 1


def test_a_deleted_database_is_noticed_and_one_that_is_back_gets_the_rows(
    recorder: Recorder, home: Home, db: Database, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(recorder, 1)
    recorder.flush()
    away = home.path / "away.db"
    home.database.rename(away)

    measure(recorder, 2)
    assert not recorder.flush(timeout=0.2)
    assert not home.database.exists()
    assert "runs.db is not there any more" in capsys.readouterr().out

    away.rename(home.database)
    assert recorder.flush()
    assert steps_in(db, run_id) == [1, 2]


def test_a_new_database_without_the_run_gets_no_rows(
    recorder: Recorder, home: Home, db: Database, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.flush()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    home.database.unlink()
    store.migrate(home.database)

    measure(recorder, 1)
    assert not recorder.flush(timeout=0.2)
    wait_for(lambda: "There is no run" in capsys.readouterr().out)
    assert not recorder.close(timeout=0.1)

    assert [json.loads(line)["row"]["step"] for line in recorder.rejected.read_text().splitlines()] == [1]


def test_a_log_that_a_reader_lets_grow_is_told_once(
    recorder: Recorder, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOG_LIMIT", 100_000)
    recorder.flush()
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM metrics").fetchall()
    for first in range(0, 4000, 1000):
        measure(recorder, *range(first, first + 1000))
        recorder.flush()
    db.execute("COMMIT")
    recorder.flush()

    told = [event["message"] for event in store.list_events(db, run_id)]
    assert len(told) == 1 and "long transaction" in told[0]


def test_a_writer_that_died_is_not_taken_for_one_that_wrote(
    home: Home, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(Recorder, "_obey", lambda *_: {}["a mistake of ours"])
    recorder = Recorder(home.database, run_id, attempt=1)
    assert not recorder.flush()

    with pytest.raises(RuntimeError, match="has ended"):
        measure(recorder, 1)


def test_commands_set_flags_and_are_stamped(recorder: Recorder, db: Database, run_id: str) -> None:
    store.give_command(db, run_id, "pause")
    assert recorder.pause.wait(5)
    store.give_command(db, run_id, "sample")
    assert recorder.sample.wait(5)
    wishes = recorder.wishes()
    assert wishes and not recorder.sample.is_set()
    recorder.flush()
    assert [row["done_at"] for row in db["commands"].rows_where("kind = 'sample'")] == [None]
    recorder.granted(wishes, "asked at step 3")
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


def test_a_status_that_waits_to_be_written_does_not_undo_a_stop(
    recorder: Recorder, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.update_state(db, run_id, status="paused")
    recorder.flush()
    with store.writing(db):  # as `stop_run` does it, while the loop leaves its pause
        recorder.state(status="running", message="")
        store.update_state(db, run_id, status="stopping")
    recorder.flush()

    assert store.get_run(db, run_id)["status"] == "stopping"


def test_rows_that_the_writer_may_still_store_are_not_put_aside(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is free again after the time to wait for it, while the writer still waits in a statement."""
    recorder = Recorder(home.database, run_id, attempt=1)
    recorder.flush()
    joined = threading.Thread.join

    with contextlib.ExitStack() as locked:
        locked.enter_context(store.writing(db))
        measure(recorder, 1)
        assert not recorder.flush(timeout=0.1)

        def join(self: threading.Thread, timeout: float | None = None) -> None:
            if self.name == "recorder":
                locked.close()
            joined(self, timeout)

        monkeypatch.setattr(threading.Thread, "join", join)
        assert recorder.close(timeout=0.1)

    assert steps_in(db, run_id) == [1] and not recorder.rejected.exists()


def test_rows_are_waited_for_longer_than_the_end_of_the_run() -> None:
    assert module.CLOSING > PATIENCE


def test_a_row_of_weights_replaces_the_one_of_their_step(recorder: Recorder, db: Database, run_id: str) -> None:
    row = {"step": 2, "tokens": 512, "kind": "sampling", "path": "p", "bytes": 1, "created_at": 1.0}
    for digest in ("old", "new"):
        recorder.add("checkpoints", **row, sha256=digest)
        recorder.flush()

    assert [found["sha256"] for found in store.list_checkpoints(db, run_id)] == ["new"]


def test_once_asked_to_stop_a_run_does_not_say_it_is_running(recorder: Recorder, db: Database, run_id: str) -> None:
    store.update_state(db, run_id, status="stopping")
    recorder.stop.set()

    recorder.state(status="running", phase="training")
    recorder.flush()

    assert (store.get_run(db, run_id)["status"], store.get_run(db, run_id)["phase"]) == ("stopping", "training")
