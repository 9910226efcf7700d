"""Saves beside training: whole, in order, at most one at a time; a disk that is full costs a save and never a run."""

import contextlib
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for
from sqlite_utils import Database
from support import new_run
from training import LONG, assert_whole, attempt, checkpoints, in_between, steps, stop_at

from engine import saver as module
from engine import store
from engine.checkpoint import Snapshot, Written, verify, write_checkpoint
from engine.home import Home
from engine.saver import Saver

QUIET = {"sample__every": 10**9, "eval__every": 10**9}
Write = Callable[[Path, int, Snapshot, dict[str, Any]], Written]

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "PATIENCE_STOPPING", 0.05)


def full_at(
    monkeypatch: pytest.MonkeyPatch, *bad: int, error: Exception | None = None, times: int = 10**9
) -> list[int]:
    """Let saves of these steps find a full disk, so many times; returns the steps that were tried."""
    tried: list[int] = []

    def write(folder: Path, step: int, snapshot: Snapshot, state: dict[str, Any]) -> Written:
        tried.append(step)
        if step in bad and tried.count(step) <= times:
            raise error or OSError(errno.ENOSPC, "No space left on device", str(folder))
        return write_checkpoint(folder, step, snapshot, state)

    monkeypatch.setattr(module, "write_checkpoint", write)
    return tried


def unlisted(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let runs.db refuse the row of this checkpoint."""
    add = store.add_checkpoint

    def full(own: Database, run_id: str, **values: Any) -> None:
        if values["step"] == step:
            raise store.DatabaseError[0]("database or disk is full")
        add(own, run_id, **values)

    monkeypatch.setattr(store, "add_checkpoint", full)


def told(db: Database, run_id: str) -> list[tuple[str, int | None, str]]:
    """What happened, but for the small text being read again and again."""
    events = [event for event in store.list_events(db, run_id) if event["kind"] not in ("epoch", "health")]
    return [(event["kind"], event["step"], event["message"]) for event in events]


def rows(db: Database, run_id: str) -> list[int]:
    return [row["step"] for row in store.list_checkpoints(db, run_id, "full")]


def test_training_goes_on_while_a_save_is_written(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The save of step 8 is held until step 12 is made; the one of step 16 waits for it."""
    run_id, order = new_run(home, db, **QUIET | {"train__tokens": 24 * 256}), []
    twelve = threading.Event()

    def write(folder: Path, step: int, snapshot: Snapshot, state: dict[str, Any]) -> Written:
        assert step != 8 or twelve.wait(20)
        order.append((step, threading.current_thread() is threading.main_thread()))
        return write_checkpoint(folder, step, snapshot, state)

    monkeypatch.setattr(module, "write_checkpoint", write)
    check = Saver.check
    made = []

    def checked(self: Saver) -> None:
        check(self)
        made.append(1)
        if len(made) == 12:
            assert self.saved_step == 0
            twelve.set()

    monkeypatch.setattr(Saver, "check", checked)
    assert attempt(home, run_id) == 0

    assert order == [(8, False), (16, False), (24, True)]
    assert checkpoints(home, run_id) == rows(db, run_id) == [16, 24]
    (state,) = db["run_state"].rows_where("run_id = ?", [run_id])
    assert 0 < state["save_seconds"] < 20


def test_hidden_saves_hold_the_very_weights_of_their_step(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for free in (10**12, 0):
        monkeypatch.setattr(module, "free_memory", lambda free=free: free)
        run_id = new_run(home, db, **QUIET | {"train__tokens": 24 * 256, "checkpoint__keep": 9})
        assert attempt(home, run_id) == 0
        found.append(
            [
                (home.run(run_id) / f"step_{step:06d}" / name).read_bytes()
                for step in (8, 16, 24)
                for name in ("model.safetensors", "optimizer.safetensors")
            ]
        )

    assert found[0] == found[1]
    assert "Training waits while step 8 is saved" in capsys.readouterr().out


def test_a_full_disk_costs_a_save_and_is_told_until_it_is_over(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG)
    full_at(monkeypatch, 16, 24, 32)
    shown = []
    monkeypatch.setattr(Saver, "check", lambda self: shown.append(store.get_run(db, run_id)["message"]))

    assert attempt(home, run_id) == 0

    assert_whole(home, db, run_id)
    events = told(db, run_id)
    assert events == [
        ("skipped", 16, "Step 16 was not saved (the disk is full); training goes on and tries again."),
        ("note", 40, "Saving works again: step 40 is saved."),
    ]


def test_what_does_not_fit_is_not_even_begun(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, asked = new_run(home, db, **QUIET | {"train__tokens": 24 * 256}), []

    def free(_: Path) -> int:
        asked.append(1)
        return module.RESERVE if len(asked) == 1 else 10**12

    monkeypatch.setattr(module, "free_disk", free)
    tried = full_at(monkeypatch)
    assert attempt(home, run_id) == 0

    assert tried == [16, 24] and len(asked) == 3
    assert told(db, run_id)[0][:2] == ("skipped", 8)


def test_a_notice_stays_while_other_phases_come_and_go(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, shown = new_run(home, db, **LONG), set()
    full_at(monkeypatch, 8, 16, 24, 32, 40, 48)
    own = store.connect(home.database)

    def look(self: Saver) -> None:
        self.run.recorder.flush()
        shown.add((self.saved_step, store.get_run(own, run_id)["message"]))

    monkeypatch.setattr(Saver, "check", look)
    assert attempt(home, run_id) == 0
    own.close()

    assert (0, "Not saved since step 0: the disk is full") in shown
    assert store.get_run(db, run_id)["message"] == ""


def test_the_last_save_is_tried_again_and_then_told(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    run_id = new_run(home, db, **QUIET | {"train__tokens": 24 * 256})
    with monkeypatch.context() as breaking:
        tried = full_at(breaking, 24)
        assert attempt(home, run_id) == 1

    run = store.get_run(db, run_id)
    assert tried.count(24) > 2
    assert (run["status"], run["error"]) == (
        "failed",
        "Step 24 could not be saved (the disk is full); step 16 is the last one saved; free some space, then resume.",
    )
    assert sorted(path.name for path in home.run(run_id).glob("*step*")) == ["step_000008", "step_000016"]
    assert attempt(home, run_id) == 0
    assert steps(db, run_id) == list(range(1, 25)) and checkpoints(home, run_id) == rows(db, run_id) == [16, 24]


def test_the_last_save_waits_for_a_disk_that_is_full_for_a_moment(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **QUIET | {"train__tokens": 24 * 256})
    monkeypatch.setattr(module, "RETRY", 0.01)
    tried = full_at(monkeypatch, 24, times=3)

    assert attempt(home, run_id) == 0

    assert tried == [8, 16, 24, 24, 24, 24]
    assert store.get_run(db, run_id)["status"] == "finished"


def test_whoever_ends_at_once_does_not_wait_for_the_disk(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **QUIET | {"train__tokens": 24 * 256})
    full_at(monkeypatch, 11)
    stop_at(monkeypatch, 11)

    def now() -> None:
        own = store.connect(home.database)
        wait_for(lambda: "The last save waits" in store.get_run(own, run_id)["message"])
        store.give_command(own, run_id, "stop", "now")
        own.close()

    ending = in_between(now)
    assert attempt(home, run_id) == 0
    ending.join()

    run = store.get_run(db, run_id)
    assert (run["status"], run["error"]) == ("stopped", None)
    assert told(db, run_id)[-1] == (
        "skipped",
        11,
        "Ended by request. Step 11 could not be saved (the disk is full); step 8 is the last one saved; "
        "free some space, then resume.",
    )
    assert checkpoints(home, run_id) == [8]


def test_a_save_that_only_lacks_its_row_is_no_failure_of_a_stop(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    run_id = new_run(home, db, **QUIET | {"train__tokens": 24 * 256})
    with monkeypatch.context() as breaking:
        stop_at(breaking, 11)
        unlisted(breaking, 11)
        assert attempt(home, run_id) == 0

    assert store.get_run(db, run_id)["status"] == "stopped"
    assert "Step 11 is saved, but runs.db does not list it yet" in told(db, run_id)[-1][2]
    assert attempt(home, run_id) == 0
    assert checkpoints(home, run_id) == rows(db, run_id) == [16, 24]


def test_the_last_step_that_only_lacks_its_row_is_told_as_it_is(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    run_id = new_run(home, db, **QUIET | {"train__tokens": 24 * 256})
    with monkeypatch.context() as breaking:
        unlisted(breaking, 24)
        assert attempt(home, run_id) == 1

    assert store.get_run(db, run_id)["error"] == (
        "Step 24 is saved, but runs.db does not list it yet (runs.db: database or disk is full); resume, and it will."
    )
    assert attempt(home, run_id) == 0
    assert store.get_run(db, run_id)["status"] == "finished" and 24 in rows(db, run_id)


def test_a_database_that_is_away_for_a_moment_costs_no_save(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, save, away = new_run(home, db, **LONG), Saver.save, home.path / "away.db"

    def moved(self: Saver, step: int, elapsed_seconds: float) -> None:
        if step == 8:
            home.database.rename(away)
            threading.Timer(0.3, lambda: away.rename(home.database)).start()
        save(self, step, elapsed_seconds)

    monkeypatch.setattr(Saver, "save", moved)
    tried = full_at(monkeypatch)
    assert attempt(home, run_id) == 0

    assert_whole(home, db, run_id)
    assert tried[0] == 8


def test_an_index_that_is_away_is_a_reason_and_no_end(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, gone = new_run(home, db, **QUIET | {"train__tokens": 24 * 256, "checkpoint__keep": 9}), []
    connect = store.connect

    def missing(path: Path, **settings: Any) -> Database:
        if threading.current_thread().name.startswith("saver") and not gone:
            gone.append(1)
            raise store.StoreError("runs.db is not there.")
        return connect(path, **settings)

    monkeypatch.setattr(store, "connect", missing)
    assert attempt(home, run_id) == 0

    assert checkpoints(home, run_id) == rows(db, run_id) == [8, 16, 24]
    assert told(db, run_id)[0] == (
        "note",
        8,
        "Step 8 is saved, but runs.db does not list it yet (runs.db is not there); training goes on and tries again.",
    )


def test_training_never_waits_for_a_locked_database(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked from the save of step 8 until step 40 is made: answers and rows arrive late, two saves are left out."""
    run_id, save, check = new_run(home, db, **LONG), Saver.save, Saver.check
    locked, forty, made = threading.Event(), threading.Event(), []
    monkeypatch.setattr(module, "MOMENT", 0.01)

    def lock() -> None:
        own = store.connect(home.database)
        wait_for(lambda: made)
        with store.writing(own):
            locked.set()
            forty.wait(20)
        own.close()

    def saved(self: Saver, step: int, elapsed_seconds: float) -> None:
        if step == 8:
            made.append(step)
            locked.wait(20)
        save(self, step, elapsed_seconds)

    def checked(self: Saver) -> None:
        check(self)
        if made and len(made) < 32:
            made.append(0)
        elif made and not forty.is_set():
            assert self.saved_step == 0
            forty.set()
            self.wait()

    monkeypatch.setattr(Saver, "save", saved)
    monkeypatch.setattr(Saver, "check", checked)
    tried, locking = full_at(monkeypatch), in_between(lock)
    assert attempt(home, run_id) == 0
    locking.join()

    assert_whole(home, db, run_id)
    assert tried == [8, 40, 48, 56, 60]
    assert [event[:2] for event in told(db, run_id) if event[0] == "skipped"] == [("skipped", 16)]


def test_whoever_asks_to_stop_sees_that_a_save_is_waited_for(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor is patient with a run in this phase."""
    run_id, seen = new_run(home, db, **LONG), []

    def write(folder: Path, step: int, snapshot: Snapshot, state: dict[str, Any]) -> Written:
        if step == 8:
            with contextlib.closing(store.connect(home.database)) as own:
                wait_for(lambda: store.get_run(own, run_id)["step"] == 11, timeout=5)
                wait_for(lambda: store.get_run(own, run_id)["phase"] == "saving", timeout=5)
                seen.append(store.get_run(own, run_id)["status"])
        return write_checkpoint(folder, step, snapshot, state)

    monkeypatch.setattr(module, "write_checkpoint", write)
    stop_at(monkeypatch, 11)
    assert attempt(home, run_id) == 0

    assert seen == ["stopping"] and checkpoints(home, run_id) == [8, 11]


def test_an_unforeseen_error_of_the_thread_ends_the_run(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG)
    full_at(monkeypatch, 8, error=ZeroDivisionError("a mistake of ours"))

    assert attempt(home, run_id) == 1

    run = store.get_run(db, run_id)
    assert (run["status"], run["error"]) == ("failed", "ZeroDivisionError: a mistake of ours")
    assert run["step"] <= 16


def test_a_row_that_the_database_does_not_take_comes_with_the_next_save(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, refused = new_run(home, db, **QUIET | {"train__tokens": 24 * 256, "checkpoint__keep": 9}), []
    add = store.add_checkpoint

    def full(own: Database, run_id: str, **values: Any) -> None:
        if values["kind"] == "full" and not refused:
            refused.append(values["step"])
            raise store.DatabaseError[0]("database or disk is full")
        add(own, run_id, **values)

    monkeypatch.setattr(store, "add_checkpoint", full)
    assert attempt(home, run_id) == 0

    assert refused == [8]
    assert checkpoints(home, run_id) == rows(db, run_id) == [8, 16, 24]
    assert told(db, run_id)[0][2] == (
        "Step 8 is saved, but runs.db does not list it yet (runs.db: database or disk is full); "
        "training goes on and tries again."
    )


def test_a_checkpoint_without_a_row_and_a_row_without_a_checkpoint_are_put_right_at_the_next_start(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **QUIET | {"checkpoint__keep": 9})
    with monkeypatch.context() as stopping:
        stop_at(stopping, 18)
        attempt(home, run_id)
    before = store.list_checkpoints(db, run_id, "full")
    store.forget_checkpoint(db, run_id, 16, "full")
    gone = {key: value for key, value in before[0].items() if key not in ("id", "run_id", "created_at")}
    store.add_checkpoint(db, run_id, **gone | {"step": 12, "path": "step_000012"})

    def look(run: Any) -> str:
        return "stopped"

    attempt(home, run_id, work=look)

    after = store.list_checkpoints(db, run_id, "full")
    fields = ("step", "tokens", "path", "bytes", "sha256", "attempt")
    assert [[row[field] for field in fields] for row in after] == [[row[field] for field in fields] for row in before]


def test_what_an_exhibit_needs_outlives_every_retention(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompts are asked at every fifth step; exhibits of steps 10 and 16, the latter from a checkpoint alone."""
    run_id = new_run(
        home, db, **LONG | {"checkpoint__keep": 1, "checkpoint__keep_best": False, "checkpoint__keep_ages": 2}
    )
    with monkeypatch.context() as stopping:
        stop_at(stopping, 18)
        attempt(home, run_id)
    said = next(row for row in store.list_samples(db, run_id) if row["step"] == 10)
    asked = {key: value for key, value in said.items() if key != "id"} | {"source": "playground"}
    for sample in (said["id"], store.add_sample(db, asked | {"step": 18})):
        store.keep(db, sample, "good", "Kept")

    attempt(home, run_id)

    assert checkpoints(home, run_id) == rows(db, run_id) == [18, 60]
    ages = [row["step"] for row in store.list_checkpoints(db, run_id, "sampling")]
    assert ages == [10, 55, 60]
    assert sorted(path.stem for path in (home.run(run_id) / "sampling").iterdir()) == [
        f"step_{age:06d}" for age in ages
    ]
    for path in home.run(run_id).glob("step_*"):
        verify(path)


def test_the_best_and_the_round_ones_stay(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.evaluate import Validation

    run_id = new_run(home, db, **LONG | {"checkpoint__keep": 1, "checkpoint__keep_every": 24, "sample__every": 10**9})
    losses = iter(range(100))
    measure = Validation.measure

    def measured(self: Validation, model: Any) -> dict[str, float]:
        number = next(losses)
        return measure(self, model) | {"val_loss": 1.0 if number == 4 else 2.0}

    monkeypatch.setattr(Validation, "measure", measured)
    attempt(home, run_id)

    assert checkpoints(home, run_id) == rows(db, run_id) == [16, 24, 48, 60]
