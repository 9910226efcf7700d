"""From the request to stop to SIGKILL, rung by rung. What becomes of real processes: tests/test_supervisor.py."""

import signal
from typing import Any

import pytest
from sqlite_utils import Database

from engine import ladder as rungs
from engine import process, store
from engine.config import load_preset
from engine.ladder import GRACE, Ladder, patience


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Signals that were sent; nobody gets them."""
    numbers: list[int] = []
    monkeypatch.setattr(process, "send", lambda number, *_, **__: numbers.append(number) or True)
    return numbers


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time that the ladder sees."""

    def at(seconds: float) -> None:
        monkeypatch.setattr(rungs.time, "monotonic", lambda: seconds)

    at(0.0)
    return at


def stopping(db: Database, now: str = "", **state: Any) -> tuple[store.Row, store.Row]:
    """A run that was asked to stop, and the request."""
    run_id = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    store.give_command(db, run_id, "stop", now)
    store.update_state(db, run_id, status="stopping", **(process.identity() | state))
    command = store.last_command(db, run_id, ("stop",))
    assert command
    return store.get_run(db, run_id), command


def told(db: Database, run: store.Row) -> list[tuple[str, str]]:
    return [(event["kind"], event["message"]) for event in store.list_events(db, run["id"])]


@pytest.mark.parametrize(
    ("save_seconds", "phase", "seconds"),
    [
        (None, "training", GRACE),
        (2.0, "training", GRACE),
        (None, "saving", 3 * GRACE),  # the first save: nobody knows yet how long one takes
        (2.0, "evaluating", 3 * GRACE),
        (50.0, "training", 150.0),
    ],
)
def test_a_stop_has_the_time_of_three_saves_but_a_minute_at_least(
    save_seconds: float | None, phase: str, seconds: float
) -> None:
    assert patience({"save_seconds": save_seconds, "phase": phase}) == seconds


def test_every_rung_is_an_event(db: Database, sent: list[int], clock: Any) -> None:
    run, command = stopping(db, save_seconds=30.0)
    ladder = Ladder(since=0.0)
    for at, expected in (
        (0.5, []),
        (1.5, [signal.SIGTERM]),
        (89.0, [signal.SIGTERM]),
        (90.5, [signal.SIGTERM, signal.SIGKILL]),
        (95.0, [signal.SIGTERM, signal.SIGKILL]),
        (101.0, [signal.SIGTERM, signal.SIGKILL]),
        (200.0, [signal.SIGTERM, signal.SIGKILL]),
    ):
        clock(at)
        ladder.climb(db, run, command)
        assert sent == expected, at
    assert told(db, run) == [
        ("stop", "It has not answered yet and was told again (SIGTERM); it has 90 s to save and end."),
        ("kill", "It did not save and end within 90 s and was killed (SIGKILL); the last checkpoint counts."),
        (
            "kill",
            "SIGKILL has not ended it within 10 s: the system waits for a disk or a driver. "
            "If it stays so, restart the machine.",
        ),
    ]
    assert ladder.killed == told(db, run)[1][1]


def test_a_trainer_that_has_taken_the_request_is_not_told_twice(db: Database, sent: list[int], clock: Any) -> None:
    run, command = stopping(db)
    ladder = Ladder(since=0.0)
    clock(59.0)
    ladder.climb(db, run, command | {"taken_at": 1.0})
    assert not sent and not told(db, run)


def test_the_end_of_a_long_evaluation_does_not_end_the_patience(db: Database, sent: list[int], clock: Any) -> None:
    run, command = stopping(db, phase="evaluating")
    ladder = Ladder(since=0.0)
    for at, phase in ((100.0, "evaluating"), (101.0, "training"), (179.0, "saving")):
        clock(at)
        ladder.climb(db, run | {"phase": phase}, command | {"taken_at": 1.0})
    assert not sent


def test_at_once_means_five_seconds_from_then_on(db: Database, sent: list[int], clock: Any) -> None:
    run, command = stopping(db, "now")
    ladder = Ladder(since=0.0)
    for at in (30.0, 34.0):  # the ordinary request is older
        clock(at)
        ladder.climb(db, run, command | {"taken_at": 1.0})
    assert not sent
    clock(35.5)
    ladder.climb(db, run, command | {"taken_at": 1.0})
    assert sent == [signal.SIGKILL]
    assert told(db, run) == [("kill", "Ended at once by SIGKILL: it did not end by itself within 5 s.")]
