"""A budget stops a run as a person would, with a save; a raised one lets it go on. With a real supervisor."""

import time
from typing import Any

import pytest
from helpers import supervised, wait_for
from sqlite_utils import Database
from ui_helpers import make_run

from engine import launch, money, process, store
from engine.config import load_preset
from engine.endings import stop_command
from engine.home import Home
from engine.machine import HostState
from engine.metering import Metering
from engine.money import Price

FOREVER = ("--points", "1000000")
A_DOLLAR_A_SECOND = Price(per_hour=3600.0)


def reaches(db: Database, run_id: str, status: str) -> store.Row:
    def look() -> store.Row | None:
        run = store.get_run(db, run_id)
        return run if run["status"] == status else None

    return wait_for(look, timeout=30)


def events(db: Database, run_id: str, kind: str) -> list[str]:
    return [event["message"] for event in store.list_events(db, run_id) if event["kind"] == kind]


def test_a_run_saves_and_stops_at_its_budget_and_goes_on_when_it_is_raised(home: Home, db: Database) -> None:
    money.set_price(db, A_DOLLAR_A_SECOND)
    with supervised(home, *FOREVER):
        run_id = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
        reaches(db, run_id, "running")
        assert money.price_of(store.get_run(db, run_id)) == A_DOLLAR_A_SECOND, "taken over at the start"
        money.set_budget(db, run_id, 3)

        run = reaches(db, run_id, "stopped")
        wait_for(lambda: store.get_run(db, run_id)["metered_at"] is None)

        command = stop_command(db, run_id)
        assert command and command["taken_at"] and command["argument"] == "budget 3.0"
        assert money.stopped_for(run, command) and run["error"] is None
        assert events(db, run_id, "budget") == [
            "The budget of $3.00 is used up: it saves and stops. Raise the budget to go on."
        ]
        found = money.figures(store.get_run(db, run_id), time.time())
        assert found and 3 <= found["spent"] < 8
        assert events(db, run_id, "kill") == []

        with pytest.raises(store.Refused, match="used up; raise it"):
            launch.resume_run(home, run_id)
        money.set_budget(db, run_id, 1000)
        launch.resume_run(home, run_id)
        again = reaches(db, run_id, "running")
        assert again["attempt"] == 2 and again["process_seconds"] == pytest.approx(found["spent"], abs=0.5)
        rows = store.list_machine(db, run_id)
        assert rows and rows[0][store.MACHINE.index("memory_used")]


def paid(home: Home, db: Database, **changes: Any) -> tuple[str, Metering]:
    """A run that has cost a dollar of two, looked at by a supervisor's meter."""
    run_id = make_run(db)
    money.set_price(db, Price(per_hour=1.0), run_id)
    money.set_budget(db, run_id, 2)
    host = HostState(cores=1, memory_used=1, memory_total=2)
    state = {"process_seconds": 3600.0, "metered_at": time.time(), **process.identity()}
    store.update_state(db, run_id, **(state | changes))
    return run_id, Metering(home, tuple, lambda: host, every=0.0)


def test_a_budget_with_room_left_does_nothing(home: Home, db: Database) -> None:
    run_id, metering = paid(home, db)
    metering.look(db, store.get_run(db, run_id))
    assert stop_command(db, run_id) is None


def test_what_a_save_costs_is_kept_back(home: Home, db: Database) -> None:
    run_id, metering = paid(home, db, process_seconds=7100.0, save_seconds=120.0)
    metering.look(db, store.get_run(db, run_id))
    assert store.get_run(db, run_id)["status"] == "stopping"


def test_a_stop_is_given_once_and_not_to_a_run_that_stops_already(home: Home, db: Database) -> None:
    run_id, metering = paid(home, db, process_seconds=9000.0)
    run = store.get_run(db, run_id)
    for _ in range(3):
        metering.look(db, run)  # a row as it was read before
    assert len(events(db, run_id, "budget")) == 1
    assert len(store.waiting_commands(db, ("stop",))) == 1


def test_a_paused_run_of_a_rented_machine_is_stopped_too(home: Home, db: Database) -> None:
    run_id, metering = paid(home, db, process_seconds=9000.0, status="paused")
    metering.look(db, store.get_run(db, run_id))
    assert store.get_run(db, run_id)["status"] == "stopping"


def test_a_budget_that_cannot_be_watched_says_so_once(home: Home, db: Database) -> None:
    run_id, metering = paid(home, db)
    money.set_price(db, Price(per_kwh=0.3), run_id)  # nothing measures here, and nobody gave watts
    for _ in range(3):
        metering.look(db, store.get_run(db, run_id))
    assert events(db, run_id, "budget") == [
        "The budget of $2.00 is not watched, because what the run costs is not known."
    ]
    assert stop_command(db, run_id) is None
