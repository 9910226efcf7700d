"""ui/arena_routes.py through HTTP: a pair tells nothing, a vote counts once, then everything is told."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import store
from engine.home import Home
from ui.arena_routes import Pairs, make_arena
from ui.reading import Reader
from ui.server import add_error_answers


@pytest.fixture
def client(home: Home, db: Database) -> Iterator[TestClient]:
    """The routes for a run that answered one prompt at two ages."""
    run_id = make_run(db, "elder")
    for step, text in ((10, " young words"), (90, " old words")):
        add_answer(db, run_id, text, step, "A cat", weights_sha256=str(step))
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_arena(Reader(home, lambda home, db: None)))
    with TestClient(app) as opened:
        yield opened


def vote(client: TestClient, pair: Any, winner: Any) -> Any:
    return client.post("/api/arena/vote", json={"pair": pair, "winner": winner})


def test_a_vote_reveals_and_rates(client: TestClient) -> None:
    shown = client.get("/api/arena/pair").json()
    assert set(shown) == {"pair", "prompt", "left", "right"}, "nothing that tells the age"
    assert {shown["left"], shown["right"]} == {" young words", " old words"} and shown["prompt"] == "A cat"
    better = "left" if shown["left"] == " old words" else "right"
    worse = "right" if better == "left" else "left"

    told = vote(client, shown["pair"], better).json()

    assert (told[better]["step"], told[better]["run_name"]) == (90, "elder")
    assert (told[better]["rating"], told[better]["moved"]) == (1012, 12)
    assert (told[worse]["rating"], told[worse]["moved"]) == (988, -12)
    assert [(row["step"], row["rating"], row["votes"]) for row in told["table"]] == [(90, 1012, 1), (10, 988, 1)]
    assert client.get("/api/arena").json() == {"votes": 1, "table": told["table"]}


def test_a_pair_is_voted_on_once(client: TestClient) -> None:
    shown = client.get("/api/arena/pair").json()
    assert vote(client, shown["pair"], "tie").status_code == 200
    again = vote(client, shown["pair"], "tie")
    assert again.status_code == 400 and "voted on already" in again.json()["error"]
    assert client.get("/api/arena").json()["votes"] == 1


@pytest.mark.parametrize(
    ("pair", "winner"),
    [("nothing", "left"), (1, "left"), (None, "tie"), ("x" * 200, "tie"), ("a", "middle"), ("a", [])],
)
def test_votes_on_what_was_not_shown_are_refused(client: TestClient, pair: object, winner: object) -> None:
    answer = vote(client, pair, winner)

    assert answer.status_code == 400 and answer.json()["error"].endswith(".")
    assert client.get("/api/arena").json() == {"votes": 0, "table": []}


def test_a_wrong_winner_leaves_the_pair_open(client: TestClient) -> None:
    shown = client.get("/api/arena/pair").json()
    assert vote(client, shown["pair"], "both").status_code == 400
    assert vote(client, shown["pair"], "right").status_code == 200


def test_without_a_pair_that_is_told(client: TestClient) -> None:
    assert client.get("/api/arena/pair", params={"run": "nobody"}).json() == {"pair": None}


def test_the_oldest_of_too_many_open_pairs_is_forgotten() -> None:
    pairs = Pairs(most=2)
    names = [pairs.show(number, number + 1) for number in range(3)]

    with pytest.raises(store.Refused, match="too long ago"):
        pairs.take(names[0])
    assert pairs.take(names[2]) == (2, 3) and len(set(names)) == 3
