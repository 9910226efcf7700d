"""Talking to a real run while it trains: it answers, and learns what it would have learned without a word."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import wait_for
from sqlite_utils import Database
from support import new_run
from training import LONG, attempt, final_weights, in_between

from engine import overheard, store
from engine.current import CurrentWeights
from engine.home import Home
from engine.live import FILE
from engine.store import Refused

pytestmark = pytest.mark.usefixtures("alone")
SELDOM = LONG | {"sample__every": 10**9, "eval__every": 10**9}


def listening(home: Home, run_id: str) -> store.Row:
    """The run's row once it takes questions."""
    db = store.connect(home.database)
    try:
        wait_for(lambda: (home.run(run_id) / FILE).exists() and store.get_run(db, run_id)["status"] == "running")
        return store.get_run(db, run_id)
    finally:
        db.close()


def talk(home: Home, run_id: str, **settings: Any) -> tuple[list[dict[str, Any]], str]:
    """What is heard, and the sentence that ended it where it was refused."""
    heard: list[dict[str, Any]] = []
    try:
        for message in overheard.stream(home, listening(home, run_id), "Alice was", **settings):
            heard.append(message)
    except Refused as refusal:
        return heard, str(refusal)
    return heard, ""


def trained_with(home: Home, db: Database, talking: Callable[[str], None], **changes: Any) -> str:
    """A finished run to which somebody talks meanwhile."""
    run_id = new_run(home, db, **SELDOM | changes)
    thread = in_between(lambda: talking(run_id))
    assert attempt(home, run_id) == 0
    thread.join(20)
    assert not thread.is_alive() and store.get_run(db, run_id)["status"] == "finished"
    return run_id


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_it_answers_between_steps_and_ends_with_the_same_weights(home: Home, db: Database, ema: float) -> None:
    """Fault 22 again: no word of it reaches what it learns."""
    changes = {"optimizer__ema": ema, "train__tokens": 240 * 256}
    quiet, said, threads = new_run(home, db, **SELDOM | changes), [], torch.get_num_threads()
    attempt(home, quiet)

    def chat(run_id: str) -> None:
        for seed in range(8):
            said.append(talk(home, run_id, max_tokens=4, seed=seed))

    talked = trained_with(home, db, chat, **changes)

    answers = [heard for heard, _ in said if heard and heard[-1]["finish"]]
    assert answers and torch.get_num_threads() == threads
    assert (home.run(talked) / "step_000240" / "model.safetensors").read_bytes() == (
        home.run(quiet) / "step_000240" / "model.safetensors"
    ).read_bytes()
    rows = {row["id"]: row for row in store.list_samples(db, talked) if row["source"] == "live"}
    assert len(rows) == len(answers)
    for heard in answers:
        row = rows[heard[-1]["sample_id"]]
        assert (row["text"], row["step"], row["new_tokens"]) == (
            heard[-1]["text"],
            heard[-1]["step"],
            heard[-1]["new_tokens"],
        )
        assert (row["weights_sha256"], row["dtype"], row["device"]) == (None, "float32", "cpu")
        assert row["prompt"] == "Alice was" and row["tokens"] == row["step"] * 256 and row["suite"] == ""
    assert any(heard[-1]["training"] for heard in answers)
    assert not (home.run(talked) / FILE).exists()


def test_a_long_answer_is_spread_over_steps_of_one_age(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.speaking.SHARE", 0.0)  # one token a step
    said: list[Any] = []

    run_id = trained_with(home, db, lambda run_id: said.append(talk(home, run_id, max_tokens=20)))

    heard, refusal = said[0]
    assert refusal or heard[-1]["finish"]
    if not refusal:
        (row,) = [row for row in store.list_samples(db, run_id) if row["source"] == "live"]
        assert row["step"] < store.get_run(db, run_id)["step"] and {one["step"] for one in heard} == {row["step"]}


def test_a_cancel_is_heard_however_long_a_step_takes(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, first = threading.Event(), threading.Event()
    begin = CurrentWeights.begin

    def slow(self: CurrentWeights, *given: Any) -> Any:
        for row in begin(self, *given):
            yield row
            first.set()
            waits.wait(10)

    monkeypatch.setattr(CurrentWeights, "begin", slow)
    took: list[float] = []

    def chat(run_id: str) -> None:
        cancel = threading.Event()
        stream = overheard.stream(home, listening(home, run_id), "Alice", max_tokens=60, cancel=cancel)
        next(stream)
        first.wait(10)
        began = time.monotonic()
        cancel.set()
        (last,) = list(stream)
        took.append(time.monotonic() - began)
        assert last["finish"] == "cancelled"
        waits.set()

    trained_with(home, db, chat)

    assert took[0] < 2


def test_whoever_listens_when_it_holds_still_or_ends_is_told(home: Home, db: Database) -> None:
    said: list[str] = []

    def chat(run_id: str) -> None:
        own, run = store.connect(home.database), listening(home, run_id)
        store.give_command(own, run_id, "pause")
        wait_for(lambda: store.get_run(own, run_id)["status"] == "paused")
        with pytest.raises(Refused, match="It holds still"):
            list(overheard.stream(home, run, "Alice", max_tokens=60))
        with pytest.raises(Refused, match="tiny is paused, so there is nobody to talk to"):
            list(overheard.stream(home, store.get_run(own, run_id), "Alice"))
        store.give_command(own, run_id, "unpause")
        own.close()
        said.append("paused")

    run_id = trained_with(home, db, chat, train__tokens=2000 * 256)

    assert said == ["paused"]
    with pytest.raises(Refused, match="tiny does not listen yet"):
        list(overheard.stream(home, store.get_run(db, run_id) | {"status": "running"}, "Alice"))


def test_what_goes_wrong_with_an_answer_costs_that_answer_alone(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: CurrentWeights, *given: Any) -> Any:
        raise MemoryError("no room")
        yield

    monkeypatch.setattr(CurrentWeights, "begin", broken)
    said: list[Any] = []

    run_id = trained_with(home, db, lambda run_id: said.append(talk(home, run_id)), train__tokens=300 * 256)

    assert "could not answer (there was not enough memory); training goes on" in said[0][1]
    (told,) = [event for event in store.list_events(db, run_id) if "A question to the run" in event["message"]]
    assert told["kind"] == "note"


def test_a_prompt_longer_than_it_can_see_is_a_sentence(home: Home, db: Database) -> None:
    said: list[str] = []

    def chat(run_id: str) -> None:
        with pytest.raises(Refused, match="this model sees 64 at once") as refusal:
            list(overheard.stream(home, listening(home, run_id), "Alice " * 200))
        said.append(str(refusal.value))

    run_id = trained_with(home, db, chat, train__tokens=300 * 256)

    assert said and not [event for event in store.list_events(db, run_id) if "A question" in event["message"]]


def test_where_no_door_can_be_opened_it_trains_all_the_same(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = new_run(home, db, **SELDOM)
    attempt(home, quiet)

    def closed(*_: Any, **__: Any) -> Any:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr("engine.live.socket.create_server", closed)
    run_id = new_run(home, db, **SELDOM)
    assert attempt(home, run_id) == 0

    assert final_weights(home, run_id) == final_weights(home, quiet)
    assert any("cannot be talked to while it trains" in event["message"] for event in store.list_events(db, run_id))
