"""The benchmark of answers measures what it says, with a worker whose models are fakes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from benchmarks.answer_page import cancelled, first_token, together
from engine import store
from engine.config import load_preset
from engine.home import Home
from engine.talk import Talker

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


@pytest.fixture
def run_id(db: Database) -> str:
    made = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    store.end_run(db, made, "finished")
    return made


@pytest.fixture
def talker(home: Home) -> Iterator[Talker]:
    made = Talker(home, worker=FAKE)
    yield made
    made.close()


def test_the_first_token_is_timed_and_the_answer_heard_to_its_end(talker: Talker, run_id: str, db: Database) -> None:
    seconds = first_token(talker.stream(run_id, None, "once", max_tokens=40))

    assert 0 < seconds < 60 and store.list_samples(db, run_id)[0]["finish"] == "length"


@pytest.mark.parametrize("busy", [False, True])
def test_a_cancel_is_timed_alone_and_behind_another(talker: Talker, run_id: str, busy: bool) -> None:
    assert -0.1 < cancelled(talker, run_id, busy) < 10


def test_people_who_ask_at_once_are_served_in_order(talker: Talker, run_id: str) -> None:
    report = together(talker, run_id, 5, 3)

    assert report["in_order"] and report["people"] == 5 and 0 < report["first_seconds"] <= report["seconds"]
