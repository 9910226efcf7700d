"""Capsules through HTTP: packed and fetched, brought, looked at and taken in, sealed, and exhibits asked again."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from capsules import files, packed
from fastapi import FastAPI
from fastapi.testclient import TestClient
from helpers import wait_for
from sqlite_utils import Database
from ui_helpers import add_answer, add_points, make_run

from engine import capsule_unpack, launch, store
from engine.home import Home
from ui.capsule_jobs import Jobs
from ui.capsule_routes import make_capsules
from ui.guard import Guard
from ui.reading import Reader
from ui.server import add_error_answers

LIMIT = 90.0
"""Seconds for a process of its own on a busy machine."""


def served(home: Home) -> Iterator[TestClient]:
    """The routes of capsules without the page around them."""
    jobs, app = Jobs(home), FastAPI()
    add_error_answers(app)
    app.include_router(make_capsules(Reader(home, lambda home, db: None), jobs))
    app.add_middleware(Guard, hosts=("testserver",))
    with TestClient(app) as opened:
        yield opened
    jobs.close()


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """Those of the home in which something was kept."""
    yield from served(home)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    """An empty home."""
    other = Home.at(tmp_path / "other")
    launch.open_home(other)
    return other


@pytest.fixture
def there(elsewhere: Home) -> Iterator[TestClient]:
    """The routes of another home."""
    yield from served(elsewhere)


@pytest.fixture
def run_id(db: Database) -> str:
    """A finished run with three exhibits whose weights are gone."""
    run_id = make_run(db, "elder")
    add_points(db, run_id, 1, 20)
    for place, title in enumerate(("A cat", "A dog", "A hare")):
        store.keep(db, add_answer(db, run_id, f" was {title}", 10 + place), "good", title, "a note")
    store.end_run(db, run_id, "finished")
    return run_id


def ended(client: TestClient, answer: Any) -> dict[str, Any]:
    """How the job ended that this answer began."""
    assert answer.status_code == 200, answer.text
    job = answer.json()["job"]

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get("/api/capsule/job", params={"job": job}).json()
        return None if found["state"] == "running" else found | {"job": job}

    return wait_for(look, LIMIT)


def sentence(answer: Any) -> str:
    """Why a request was refused."""
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


def test_a_capsule_is_packed_fetched_brought_and_taken_in(
    client: TestClient, home: Home, run_id: str, there: TestClient, elsewhere: Home
) -> None:
    planned = client.post("/api/capsule/plan", json={"run": run_id}).json()
    assert planned == {"runs": ["elder"], "exhibits": 3, "weights": 0, "words_only": 3}
    wanted = {"run": run_id, "title": "For <b>you</b>", "sender": "Ada"}
    made = ended(client, client.post("/api/capsule/export", params={"q": "hare"}, json=wanted))
    assert made["state"] == "done" and made["result"]["exhibits"] == 1
    fetched = client.get("/api/capsule/file", params={"job": made["job"]})
    assert fetched.content[:2] == b"PK"
    assert 'filename="For--b-you--b.capsule"' in fetched.headers["content-disposition"]
    assert files(home) == [] and not home.capsules.exists()
    assert client.get("/api/capsule/file", params={"job": made["job"]}).status_code == 400

    shown = ended(there, there.post("/api/capsule/upload", content=fetched.content))
    assert (shown["result"]["state"], shown["result"]["cover"]["sender"]) == ("new", "Ada")
    assert there.get("/api/capsules").json() == {"capsules": []}
    taken = ended(there, there.post("/api/capsule/take", json={"job": shown["job"]}))
    assert taken["result"]["runs"] == [{"id": run_id, "name": "elder"}]
    there.post("/api/capsule/cancel", json={"job": shown["job"]})
    listed = there.get("/api/capsules").json()["capsules"]
    assert [one["title"] for one in listed] == ["For <b>you</b>"] and listed[0]["here"][0]["id"] == run_id
    assert files(elsewhere) == []
    again = ended(there, there.post("/api/capsule/upload", content=fetched.content))
    assert again["result"]["state"] == "known"


def test_a_sheet_that_is_shut_meanwhile_takes_no_file_away(home: Home) -> None:
    waits = "import sys, time, pathlib; pathlib.Path(sys.argv[-1]).read_bytes(); time.sleep(600)"
    jobs = Jobs(home, [sys.executable, "-c", waits])
    file = jobs.new_file()
    file.write_bytes(b"x")
    shown, taken = jobs.start("show", [str(file)], file), jobs.start("import", [str(file)], reads=file)

    jobs.cancel(shown)
    assert file.exists(), "it is still read"
    jobs.cancel(taken)
    assert files(home) == []


def test_a_sealed_capsule_is_kept_shut(client: TestClient, run_id: str, there: TestClient, elsewhere: Home) -> None:
    made = ended(client, client.post("/api/capsule/export", json={"run": run_id, "seal": "2090-01-01"}))
    content = client.get("/api/capsule/file", params={"job": made["job"]}).content
    shown = ended(there, there.post("/api/capsule/upload", content=content))
    assert ended(there, there.post("/api/capsule/take", json={"job": shown["job"]}))["result"]["state"] == "sealed"

    one = there.get("/api/capsules").json()["capsules"][0]
    assert (one["sealed_until"], one["opened_at"], one["here"]) == ("2090-01-01", None, [])
    with closing(store.connect(elsewhere.database)) as db:
        assert store.search_archive(db, "hare")[1] == 0
    refused = ended(there, there.post("/api/capsule/open", json={"capsule": one["id"]}))
    assert (refused["state"], refused["error"]) == ("failed", "elder is sealed until 2090-01-01.")
    assert there.post("/api/capsule/forget", json={"capsule": one["id"]}).status_code == 200
    assert there.get("/api/capsules").json() == {"capsules": []}


def test_what_is_no_capsule_is_refused_and_removed(there: TestClient, elsewhere: Home) -> None:
    shown = ended(there, there.post("/api/capsule/upload", content=b"no zip at all"))
    assert shown["state"] == "failed" and "only a part of one" in shown["error"]
    assert str(elsewhere.path) not in shown["error"]
    assert "bring it again" in sentence(there.post("/api/capsule/take", json={"job": shown["job"]}))
    there.post("/api/capsule/cancel", json={"job": shown["job"]})
    assert files(elsewhere) == []


def test_an_upload_has_an_end(there: TestClient, elsewhere: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.guard.UPLOAD_LIMIT", 1000)
    assert there.post("/api/capsule/upload", content=b"x" * 1001).status_code == 413
    assert there.post("/api/capsule/upload", content=iter([b"x" * 600] * 2)).status_code == 413
    assert files(elsewhere) == []


def test_packing_is_cancelled_and_leaves_nothing(client: TestClient, home: Home, run_id: str) -> None:
    job = client.post("/api/capsule/export", json={"run": run_id}).json()["job"]
    assert client.post("/api/capsule/cancel", json={"job": job}).status_code == 200
    assert files(home) == []
    assert "not known any more" in sentence(client.get("/api/capsule/job", params={"job": job}))


def test_what_a_page_that_was_killed_has_left_is_swept(home: Home) -> None:
    home.capsules.mkdir()
    (home.capsules / ".way-0123.capsule").write_bytes(b"x")
    Jobs(home)
    assert files(home) == []


def test_an_exhibit_whose_weights_are_gone_is_words_only(client: TestClient, db: Database, run_id: str) -> None:
    exhibit = store.exhibits_of(db, run_id)[0]["id"]
    found = ended(client, client.post("/api/replay", json={"exhibit": exhibit}))
    assert found["result"][0]["state"] == "words only"
    assert "There is no exhibit 99" in sentence(client.post("/api/replay", json={"exhibit": 99}))


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ({"run": "nobody"}, "no run"),
        ({"run": 7}, "must be text"),
        ({"seal": "soon"}, "must be a day"),
        ({"title": "x" * 201}, "200 at most"),
        ({"run": store.REFERENCE_ID}, "Every home has"),
    ],
)
def test_what_cannot_be_packed_is_said(client: TestClient, run_id: str, what: dict[str, Any], problem: str) -> None:
    assert problem in sentence(client.post("/api/capsule/export", json=what))


@pytest.mark.parametrize(
    ("wanted", "exhibits"),
    [({"q": "hare"}, 1), ({"tag": "sea"}, 1), ({"pinned": "true"}, 1), ({"until": "1"}, 0), ({"measured": "loop"}, 0)],
    ids=str,
)
def test_what_the_gallery_shows_is_packed(
    client: TestClient, home: Home, run_id: str, wanted: dict[str, str], exhibits: int
) -> None:
    with closing(store.connect(home.database)) as db:
        one = store.search_exhibits(db, store.Wanted(query="hare", run_id=run_id))[0][0]
        store.keep(db, one["sample_id"], "good", "A hare", "a note", ["Sea"])
        store.pin(db, one["id"])
    for params, body in ((wanted | {"run": run_id}, {}), (wanted, {"run": run_id})):
        planned = client.post("/api/capsule/plan", params=params, json=body)
        if exhibits:
            assert planned.json()["exhibits"] == exhibits
            made = ended(client, client.post("/api/capsule/export", params=params, json=body))
            assert made["result"]["exhibits"] == exhibits
        else:
            assert "no exhibit to pack" in sentence(planned)


def test_the_home_of_a_capsule_that_came_lists_it_as_imported(
    home: Home, elsewhere: Home, run_id: str, tmp_path: Path
) -> None:
    packed(home, tmp_path / "one.capsule")
    capsule_unpack.take(elsewhere, tmp_path / "one.capsule")
    for wish in (launch.resume_run,):
        with pytest.raises(store.Refused, match="was trained elsewhere"):
            wish(elsewhere, run_id)
