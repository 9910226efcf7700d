"""ui/exhibits.py through HTTP: exhibits found, opened, changed and taken out."""

import json
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import FakeLaunch, FakeTalker, add_answer, make_run

from engine import store
from engine.home import Home
from ui.actions import Actions
from ui.columns import SeriesCache
from ui.exhibits import make_exhibits
from ui.reading import Reader
from ui.server import add_error_answers


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """The routes of exhibits without the page around them."""
    reader = Reader(home, lambda home, db: None)
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_exhibits(reader, Actions(home, FakeLaunch(), FakeTalker(), reader), SeriesCache()))
    with TestClient(app) as opened:
        yield opened


def test_an_exhibit_is_kept_opened_changed_and_taken_out(client: TestClient, db: Database) -> None:
    sample = add_answer(db, make_run(db), " there was")

    kept = client.post("/api/keep", json={"sample": sample, "category": "good", "title": "Once"}).json()["exhibit"]
    assert client.get("/api/kept", params={"sample": sample}).json() == {"exhibit": kept}
    assert client.get("/api/kept", params={"sample": 10**9}).json() == {"exhibit": 0}
    anew = {"sample": sample, "category": "good", "title": "By somebody else", "anew": True}
    assert client.post("/api/keep", json=anew).json() == {"exhibit": kept, "already": True}
    assert client.get("/api/exhibit", params={"id": kept}).json()["exhibit"]["title"] == "Once"
    client.post("/api/keep", json={"sample": sample, "category": "haiku", "title": "Twice", "note": "n"})
    opened = client.get("/api/exhibit", params={"id": kept}).json()
    assert (opened["exhibit"]["title"], opened["exhibit"]["category"], opened["exhibit"]["note"]) == (
        "Twice",
        "haiku",
        "n",
    )
    assert "haiku" in client.get("/api/exhibits").json()["categories"]

    assert client.post("/api/remove", json={"exhibit": kept}).status_code == 200
    answer = client.get("/api/exhibit", params={"id": kept})
    assert answer.status_code == 400 and "may have been removed" in answer.json()["error"]
    assert store.get_sample(db, sample)["text"] == " there was"


def test_exhibits_are_limited_by_age(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    for step in (1, 100):
        store.keep(db, add_answer(db, run_id, "x", step), "good", f"At {step}")

    found = client.get("/api/exhibits", params={"run": run_id, "young": 5000, "old": 10**30}).json()

    assert [one["title"] for one in found["exhibits"]] == ["At 100"] and found["total"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("remove", {}),
        ("remove", {"exhibit": "x"}),
        ("remove", {"exhibit": 2**70}),
        ("remove", []),
        ("keep", {"sample": True}),
        ("keep", {"sample": 1, "category": 5, "title": "x"}),
        ("keep", {"sample": 10**9, "category": "good", "title": "x"}),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(client: TestClient, path: str, body: object) -> None:
    answer = client.post(f"/api/{path}", json=body)

    assert answer.status_code in (400, 422) and answer.json()["error"].endswith(".")


@pytest.mark.parametrize("number", [0, -1, 10**30])
def test_an_address_without_an_exhibit_is_told_so(client: TestClient, number: int) -> None:
    assert client.get("/api/exhibit", params={"id": number}).status_code == 400


def kept(db: Database, run_id: str, title: str) -> int:
    return store.keep(db, add_answer(db, run_id, title), "good", title)


def test_exhibits_are_pinned_moved_tagged_and_found_by_it(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    first, second = kept(db, run_id, "First"), kept(db, run_id, "Second")

    for one in (first, second):
        assert client.post("/api/pin", json={"exhibit": one, "pinned": True}).status_code == 200
    assert client.post("/api/place", json={"exhibit": second, "beside": first, "after": False}).status_code == 200
    found = client.get("/api/exhibits", params={"pinned": True}).json()
    assert [one["title"] for one in found["exhibits"]] == ["Second", "First"] and found["total"] == 2

    sample = store.get_exhibit(db, first)["sample_id"]
    what = {"sample": sample, "category": "good", "title": "First", "tags": ["Sea", "sky"]}
    assert client.post("/api/keep", json=what).status_code == 200
    found = client.get("/api/exhibits", params={"tag": "SEA"}).json()
    assert [one["tags"] for one in found["exhibits"]] == [["Sea", "sky"]]
    assert found["tags"] == [{"tag": "Sea", "exhibits": 1}, {"tag": "sky", "exhibits": 1}]
    asked = {"run": run_id, "other_than": second}
    assert client.get("/api/random-exhibit", params=asked).json() == {"exhibit": first}


def test_exhibits_are_sorted_and_limited_by_date(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    for title in ("Aa", "Bb"):
        kept(db, run_id, title)

    def titles(**asked: object) -> list[str]:
        found = client.get("/api/exhibits", params={"run": run_id, **asked}).json()  # type: ignore[dict-item]
        return [one["title"] for one in found["exhibits"]]

    assert titles(sort="title") == ["Aa", "Bb"] and titles(sort="newest") == ["Bb", "Aa"]
    assert titles(until=0) == [] and titles(since=1e300) == [] and len(titles(since=0, until="nan")) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("pin", {"exhibit": 1}),
        ("pin", {"exhibit": 10**9, "pinned": True}),
        ("pin", {"exhibit": True, "pinned": True}),
        ("place", {"exhibit": 1, "beside": 2, "after": "yes"}),
        ("place", {"exhibit": 10**9, "beside": 2, "after": True}),
        ("keep", {"sample": 1, "category": "good", "title": "x", "tags": "sea"}),
        ("keep", {"sample": 1, "category": "good", "title": "x", "tags": [1]}),
    ],
)
def test_pins_places_and_tags_that_make_no_sense_are_refused(client: TestClient, path: str, body: object) -> None:
    content = json.dumps(body)
    answer = client.post(f"/api/{path}", content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 400 and answer.json()["error"].endswith(".")
