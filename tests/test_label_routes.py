"""ui/label_routes.py: names, tags and notes from the page, runs that are put away, deleted, or started again."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import config, store
from engine.__main__ import parser
from engine.home import Home
from engine.snapshot import snapshot
from ui import live
from ui.label_routes import make_labels
from ui.reading import Reader
from ui.server import add_error_answers

JSON = {"content-type": "application/json"}


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """The routes of labels without the page around them."""
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_labels(Reader(home, lambda home, db: None)))
    with TestClient(app) as opened:
        yield opened


@pytest.fixture
def run(db: Database) -> str:
    """A run that has ended."""
    run_id = make_run(db)
    store.end_run(db, run_id, "stopped")
    return run_id


def post(client: TestClient, what: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/run/{what}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(client: TestClient, what: str, **body: Any) -> str:
    answer = client.post(f"/api/run/{what}", json=body)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


def test_every_label_reaches_the_run_and_every_page(client: TestClient, db: Database, run: str) -> None:
    versions = [live.version(store.list_runs(db))]
    for what, body in (
        ("rename", {"name": " better "}),
        ("tags", {"add": ["fast", "wide"]}),
        ("notes", {"notes": "first try\r\n"}),
        ("put-away", {"away": True}),
    ):
        post(client, what, run=run, **body)
        versions.append(live.version(store.list_runs(db)))

    row = store.get_run(db, run)
    assert (row["name"], row["tags"], row["notes"]) == ("better", ["fast", "wide"], "first try")
    assert row["put_away_at"] is not None
    assert len(set(versions)) == 5  # by this an open page knows that it has to read the list again
    assert post(client, "tags", run=run, add=["new"], remove=["FAST"]) == {"tags": ["wide", "new"]}
    post(client, "put-away", run=run, away=False)
    assert store.get_run(db, run)["put_away_at"] is None


def test_wrong_arguments_are_a_sentence(client: TestClient, db: Database, run: str) -> None:
    assert "1 to 64 letters" in refused(client, "rename", run=run, name="<b>")
    assert refused(client, "rename", run=run, name=7) == "name must be text."
    assert "at most" in refused(client, "rename", run=run, name="x" * 201)
    assert refused(client, "tags", run=run, add="fast") == "add must be a list of up to 20 tags."
    assert "list" in refused(client, "tags", run=run, add=["a"] * 21)
    assert "plain text" in refused(client, "tags", run=run, add=["a\x1b"])
    assert "4,000" in refused(client, "notes", run=run, notes="x" * 4001)
    assert "control" in refused(client, "notes", run=run, notes="\x07")
    assert refused(client, "put-away", run=run, away=1) == "away must be true or false."
    assert refused(client, "delete", run=run) == "exhibits must be true or false."
    for what, more in (("notes", {"notes": ""}), ("put-away", {"away": True}), ("delete", {"exhibits": True})):
        for nobody in ("nobody", "\ud800", "", "one"):  # no names here: a page says which run it means
            answer = client.post(f"/api/run/{what}", content=_json({"run": nobody} | more), headers=JSON)
            assert answer.status_code == 400 and "no run" in answer.json()["error"]
    assert store.get_run(db, run)["tags"] == []


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def test_nothing_changes_by_a_link(client: TestClient, run: str) -> None:
    for what in ("rename", "tags", "notes", "put-away", "delete"):
        assert client.get(f"/api/run/{what}", params={"run": run}).status_code == 405


def test_a_run_is_deleted_after_its_price_was_told(client: TestClient, home: Home, db: Database, run: str) -> None:
    for number in range(7):
        store.keep(db, add_answer(db, run, f" {number}"), "good", f"Exhibit {number}")
    home.run(run).mkdir(parents=True)
    home.log(run).write_bytes(b"x" * 1000)

    frees = client.get("/api/run/frees", params={"run": run}).json()
    assert (frees["bytes"], frees["exhibits_count"], len(frees["exhibits"])) == (1000, 7, 5)
    assert frees["rows"]["samples"] == 7 and frees["refusal"] == "" and frees["children_count"] == 0
    assert "7 exhibits" in refused(client, "delete", run=run, exhibits=False)

    assert post(client, "delete", run=run, exhibits=True) == {"bytes": 1000}
    assert "no run" in refused(client, "delete", run=run, exhibits=True)
    assert "stop it first" in refused(client, "delete", run=make_run(db), exhibits=True)
    assert "published" in refused(client, "delete", run=store.REFERENCE_ID, exhibits=True)


def test_the_command_of_a_run_makes_the_same_settings(client: TestClient, db: Database) -> None:
    changes = {"train.tokens": 1_000_000, "optimizer.muon_lr": 1e-5, "train.documents": True, "data.dataset": "my-text"}
    changed = config.load_preset("seedling", changes)
    run_id = store.create_run(db, changed, "seedling", "mine", "cpu")

    found = client.get("/api/run/settings", params={"run": run_id}).json()

    assert found["command"].startswith("python -m engine start --preset seedling --name mine --set ")
    assert set(found["changed"]) <= set(changes) and found["remark"] == ""
    given = parser().parse_args(shlex.split(found["command"])[3:])
    assert config.load_preset(given.preset, config.parse_overrides(given.set)) == changed
    assert found["settings"]["train.tokens"] == 1_000_000 and config.from_json(str(_text(found["config"]))) == changed


def _text(value: Any) -> str:
    return _json(value).decode()


def test_a_run_of_a_preset_that_is_gone_can_be_started_again(db: Database) -> None:
    run_id = store.create_run(db, config.load_preset("sprout", {"train.tokens": 1_000_448}), "gone", "mine", "cpu")

    found = snapshot(db, store.get_run(db, run_id))

    assert "The preset gone is not there any more" in found["remark"]
    given = parser().parse_args(shlex.split(found["command"])[3:])
    again = config.settings(config.load_preset(given.preset, config.parse_overrides(given.set)))
    assert given.preset == config.DEFAULT_PRESET
    assert {key for key, value in again.items() if value != found["settings"][key]} <= {"title"}


def test_what_the_command_line_cannot_say_is_told(db: Database) -> None:
    run_id = store.create_run(db, config.load_preset("seedling", {"data.dataset": "2024"}), "seedling", "mine", "cpu")

    assert "cannot say every setting" in snapshot(db, store.get_run(db, run_id))["remark"]


def test_the_published_run_has_figures_and_no_command(client: TestClient) -> None:
    found = client.get("/api/run/settings", params={"run": store.REFERENCE_ID}).json()

    assert found["command"] == "" and found["config"]["layers"] and "Published" in found["remark"]
    assert client.get("/api/run/settings", params={"run": "nobody"}).status_code == 400
