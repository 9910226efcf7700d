"""ui/report_routes.py: the report as the page shows it, its picture and files, and the blocks that people write."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from report_runs import add_curves, seedling
from sqlite_utils import Database
from ui_helpers import add_points, make_run

from engine import store
from engine.home import Home
from ui.reading import Reader
from ui.report_routes import make_reports
from ui.server import add_error_answers


@pytest.fixture
def client(home: Home, db: Database) -> Iterator[TestClient]:
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_reports(Reader(home, lambda home, db: None)))
    with TestClient(app) as opened:
        yield opened


def shown(client: TestClient, run_id: str) -> Any:
    answer = client.get("/api/report", params={"run": run_id})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_report_leaves_out_what_was_not_measured(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    empty = shown(client, run_id)
    assert empty["kept"] == 0 and empty["interim"].startswith("Interim report: one is not at its end.")
    assert empty["summary"].endswith("How well it does on unseen text was not measured yet.")
    assert client.get("/api/report/plot", params={"run": run_id}).status_code == 400

    add_points(db, run_id, 1, 10)
    sections = {one["name"]: one for one in shown(client, run_id)["sections"]}

    rows = {row[0]: row[1] for row in sections["metrics"]["parts"][0]["rows"]}
    assert (rows["Validation loss"], rows["Bits per byte"]) == ("8.000", "2.5000")
    compared = {row[0]: row[1:] for row in sections["comparison"]["parts"][0]["rows"]}
    assert compared["Validation loss *"] == ["8.000", "3.194", "–"] and compared["Bits per byte"] == ["2.500", "–", "–"]
    assert compared["Perplexity *"][1] == "24.38"


@pytest.mark.parametrize(("kind", "words"), [("published", "published elsewhere"), ("imported", "came in a capsule")])
def test_a_run_of_elsewhere_has_no_report_and_every_route_says_why(
    client: TestClient, db: Database, kind: str, words: str
) -> None:
    run_id = make_run(db)
    db.conn.execute("UPDATE runs SET kind = ? WHERE id = ?", [kind, run_id])
    told = [client.get(f"/api/report{part}", params={"run": run_id}) for part in ("", "/plot", "/file")]
    told.append(client.post("/api/report/block", json={"run": run_id, "block": "title", "text": "Mine"}))

    assert {answer.status_code for answer in told} == {400}
    (sentence,) = {answer.json()["error"] for answer in told}
    assert words in sentence


def test_the_same_report_is_not_sent_twice(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    first = client.get("/api/report", params={"run": run_id})
    again = client.get("/api/report", params={"run": run_id}, headers={"if-none-match": first.headers["etag"]})

    assert (first.status_code, again.status_code) == (200, 304)


def test_a_picture_for_each_look_is_kept_until_the_run_goes_on(
    client: TestClient, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, drawn = make_run(db), list[str]()

    def plot(curves: Any, look: str) -> bytes:
        drawn.append(look)
        return b"picture"

    monkeypatch.setattr("ui.report_routes.plot", plot)
    for look in ("light", "dark", "light"):
        answer = client.get("/api/report/plot", params={"run": run_id, "look": look})
        assert answer.content == b"picture" and answer.headers["content-type"] == "image/png"
    store.update_state(db, run_id, step=11)
    client.get("/api/report/plot", params={"run": run_id})

    assert drawn == ["light", "dark", "light"]
    assert client.get("/api/report/plot", params={"run": run_id, "look": "pink"}).status_code == 400


def test_the_size_of_the_picture_is_told_before_it_comes(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    add_curves(db, run_id, 40)
    told = shown(client, run_id)["picture"]
    picture = client.get("/api/report/plot", params={"run": run_id}).content

    assert [told["width"], told["height"]] == [int.from_bytes(picture[at : at + 4], "big") for at in (16, 20)]


def test_files_to_keep(client: TestClient, home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = seedling(home, db, monkeypatch)["id"]

    def got(form: str) -> Any:
        answer = client.get("/api/report/file", params={"run": run_id, "form": form})
        assert answer.status_code == 200 and answer.headers["content-disposition"].startswith("attachment; filename=")
        return answer

    page = got("html")
    assert 'filename="seedling-1-report.html"' in page.headers["content-disposition"]
    assert page.text.startswith("<!doctype html>") and "data:image/png;base64," in page.text
    assert zipfile.ZipFile(BytesIO(got("zip").content)).namelist() == ["report.md", "training.png", "MODEL_CARD.md"]
    assert got("card").text.startswith("---\n")
    assert client.get("/api/report/file", params={"run": run_id, "form": "exe"}).status_code == 400


def test_a_published_run_is_refused_in_a_sentence(client: TestClient, db: Database) -> None:
    run = {"run": store.REFERENCE_ID}
    answers = [client.get(f"/api/report{path}", params=run) for path in ("", "/plot", "/file")]
    answers.append(client.post("/api/report/block", json=run | {"block": "title", "text": "x"}))

    assert {answer.status_code for answer in answers} == {400}
    assert all("published elsewhere" in answer.json()["error"] for answer in answers)


def test_blocks_are_written_and_stand_in_the_report(client: TestClient, db: Database) -> None:
    run_id = make_run(db)

    def write(block: str, text: Any, **more: Any) -> Any:
        return client.post("/api/report/block", json={"run": run_id, "block": block, "text": text} | more)

    assert write("title", " My **first** ", before="").json() == {"text": "My **first**"}
    assert write("learned", "It *talks*:\n- [here](https://example.com)").status_code == 200
    answer = shown(client, run_id)
    assert answer["title"] == "My **first**" and answer["blocks"]["title"] == ["My **first**", 120]
    learned = next(one for one in answer["sections"] if one["name"] == "learned")["parts"][0]["parts"]
    assert [span["kind"] for span in learned[0]["spans"]] == ["text", "em", "text"]
    assert learned[1]["points"][0][0] == {"text": "here", "kind": "link", "to": "https://example.com"}

    assert "another window" in write("title", "x", before="").json()["error"]
    for block, text in (("story", "x"), ("title", "x" * 121), ("title", 7), (None, "x"), ("learned", "x" * 30_000)):
        assert write(block, text).status_code == 400  # type: ignore[arg-type]
    assert client.post("/api/report/block", json={"run": "nothing", "block": "title", "text": "x"}).status_code == 400
