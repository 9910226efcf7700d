"""ui/said_routes.py through HTTP: everything that was said, and older samples read into its search."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from helpers import wait_for
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import store
from engine.home import Home
from ui.reading import Reader
from ui.said_routes import Indexing, make_said
from ui.server import add_error_answers


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """The route without the page around it."""
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_said(Reader(home, lambda home, db: None)))
    with TestClient(app) as opened:
        yield opened


def test_what_was_said_is_found_and_turned_by_pages(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    ids = [add_answer(db, run_id, f" a whale {number}", 1 + number) for number in range(60)]
    store.keep(db, ids[-1], "good", "Whale")

    first = client.get("/api/said", params={"q": "whale", "run": run_id}).json()
    assert (first["total"], first["more"], first["newer"], first["older"], first["unread"]) == (
        60,
        False,
        False,
        True,
        False,
    )
    assert [one["id"] for one in first["samples"]] == ids[:9:-1] and first["samples"][0]["exhibit"]
    second = client.get("/api/said", params={"q": "whale", "before": ids[10]}).json()
    assert [one["id"] for one in second["samples"]] == ids[9::-1] and second["newer"] and not second["older"]
    assert client.get("/api/said", params={"q": "whale", "after": ids[9]}).json()["samples"] == first["samples"]
    young = client.get("/api/said", params={"q": "whale", "old": 8192, "since": 0}).json()
    assert [one["id"] for one in young["samples"]] == ids[1::-1]


@pytest.mark.parametrize("asked", [{"q": ":-)"}, {"before": "x"}, {"before": -1}, {"after": 2**63}, {"since": "soon"}])
def test_what_makes_no_sense_is_refused_in_a_sentence(client: TestClient, asked: dict[str, str]) -> None:
    answer = client.get("/api/said", params=asked)

    assert answer.status_code in (400, 422) and answer.json()["error"].endswith(".")


def test_older_samples_are_read_in_while_the_page_is_open(home: Home, db: Database) -> None:
    last = add_answer(db, make_run(db), " a whale")
    db.conn.execute("INSERT INTO sample_words (sample_words) VALUES ('delete-all')")
    db.conn.execute("UPDATE sample_index SET unread = ?", [last])

    Indexing(home).start()

    wait_for(lambda: not store.search_samples(db, store.Wanted()).unread)
    assert store.search_samples(db, store.Wanted(query="whale")).total == 1
