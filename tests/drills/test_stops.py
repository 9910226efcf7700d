"""A real trainer is stopped whatever it is doing, saves where it is, and goes on from there."""

import time

import pytest
from helpers import end_trainers, wait_for
from sqlite_utils import Database
from support import new_run
from trainers import Server, alive
from training import checkpoints

from engine import launch, process, store
from engine.home import Home


@pytest.mark.parametrize("doing", ["training", "evaluating", "sampling", "saving", "paused"])
def test_a_stop_is_heard_while_it_is(
    home: Home, db: Database, server: Server, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    monkeypatch.setattr(launch, "start_supervisor", lambda _: None)
    run_id = new_run(home, db, train__tokens=10**6 * 256)
    run = server.start(home, db, run_id, home.path / "steps", linger=doing)
    try:
        wait_for(lambda: store.get_run(db, run_id)["step"] > 0, timeout=60)
        if doing == "paused":
            launch.pause_run(home, run_id)
        wait_for(lambda: doing in phase_and_status(db, run_id), every=0.001)
        asked = time.monotonic()
        launch.stop_run(home, run_id)
        wait_for(lambda: not alive(run), timeout=30)
        assert time.monotonic() - asked < 15
    finally:
        end_trainers(home)
    ended = store.get_run(db, run_id)
    assert (ended["status"], ended["error"]) == ("stopped", None)
    assert checkpoints(home, run_id)[-1] == ended["step"] > 0
    assert not process.is_held(home.run(run_id) / "lock")


def phase_and_status(db: Database, run_id: str) -> tuple[str, str]:
    run = store.get_run(db, run_id)
    return run["phase"], run["status"]


def test_stopped_before_its_first_step_it_is_just_stopped(
    home: Home, db: Database, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "start_supervisor", lambda _: None)
    run_id = new_run(home, db)
    run = server.start(home, db, run_id, home.path / "steps")
    wait_for(lambda: store.get_run(db, run_id)["attempt"], every=0.001)  # its handler of signals comes a little later
    launch.stop_run(home, run_id)
    wait_for(lambda: not alive(run), timeout=30)
    launch.reconcile(home, db)
    assert store.get_run(db, run_id)["status"] == "stopped"
