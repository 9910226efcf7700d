"""ui/changes.py and its routes: what may change about a run, what that would do, hostile arguments."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import make_run

from engine import changing, launch, store
from engine.home import Home
from ui.changes import Changes
from ui.fork_routes import make_changes
from ui.reading import Reader
from ui.server import add_error_answers


@pytest.fixture
def client(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The routes of changes without the page around them."""
    monkeypatch.setattr(launch, "reconcile", lambda home, db: None)
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_changes(Changes(home, Reader(home, lambda home, db: None), changing)))
    with TestClient(app) as opened:
        yield opened


def test_present_values_and_what_was_changed(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    there = client.get("/api/changes", params={"run": run_id}).json()
    values = {field["key"]: field["value"] for field in there["fields"]}
    assert values == {
        "rate_factor": 1,
        "eval.every": 75,
        "sample.every": 100,
        "checkpoint.every": 200,
        "train.tokens": 3_000_000,
        "schedule.tokens": 3_000_000,
    }
    assert all(field["label"] and field["help"] and field["value"] == field["planned"] for field in there["fields"])
    assert there["changes"] == []

    asked = {"run": run_id, "changes": json.dumps({"rate_factor": "0.5", "train.tokens": "2M"})}
    answer = client.post("/api/changes", json=asked).json()
    assert answer["changes"] == {"rate_factor": 0.5, "train.tokens": 2_000_000}
    assert answer["notes"][0].startswith("Learning rate halved") and "It ends at step 489" in answer["notes"][1]
    there = client.get("/api/changes", params={"run": run_id}).json()
    assert [(one["key"], one["step"]) for one in there["changes"]] == [("rate_factor", None), ("train.tokens", None)]
    (first, _) = store.take_changes(db, run_id)
    store.date_change(db, first["id"], 12)
    there = client.get("/api/changes", params={"run": run_id}).json()
    assert [(one["key"], one["step"]) for one in there["changes"]] == [("rate_factor", 12), ("train.tokens", None)]
    values = {field["key"]: field["value"] for field in there["fields"]}
    assert (values["rate_factor"], values["train.tokens"]) == (0.5, 489 * 4096)
    published = client.get("/api/changes", params={"run": store.REFERENCE_ID}).json()
    assert published == {"run": store.REFERENCE_ID, "fields": [], "changes": []}


def test_a_mistake_is_named_at_its_field(client: TestClient, db: Database) -> None:
    run_id = make_run(db)

    def check(**changed: Any) -> dict[str, Any]:
        query = {
            "run": run_id,
            "changed": json.dumps({key.replace("__", "."): value for key, value in changed.items()}),
        }
        answer: dict[str, Any] = client.get("/api/changes/check", params=query).json()
        return answer

    assert check(eval__every="25") == {"error": "", "notes": ["Evaluates every 25 steps (was 75) from step 11 on."]}
    for key, value in (("rate_factor", "1000"), ("eval.every", "0"), ("train.tokens", "5"), ("schedule.tokens", "x")):
        answer = check(**{key.replace(".", "__"): value})
        assert answer["key"] == key and answer["error"].endswith("."), answer
    assert "cannot change while a run trains" in check(model__width=8)["error"]
    assert store.waiting_changes(db, run_id) == []


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"run": 3, "changes": "{}"},
        {"run": "one", "changes": "{}"},
        {"run": "one", "changes": {"rate_factor": 1}},
        {"run": "one", "changes": "[1]"},
        {"run": "one", "changes": '{"rate_factor": NaN}'},
        {"run": "one", "changes": '{"rate_factor": 1e999}'},
        {"run": "one", "changes": '{"rate_factor": true}'},
        {"run": "one", "changes": '{"rate_factor": [1]}'},
        {"run": "one", "changes": '{"eval.every": 1, "eval.every": 2}'},
        {"run": "one", "changes": '{"train.tokens": 1' + "0" * 400 + "}"},
        {"run": "one", "changes": '{"' + "x" * 300 + '": 1}'},
        {"run": "nobody", "changes": '{"rate_factor": 1}'},
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(client: TestClient, db: Database, what: dict[str, Any]) -> None:
    run_id = make_run(db)
    answer = client.post("/api/changes", json=what)

    assert answer.status_code == 400, answer.text
    assert len(answer.json()["error"]) < 400 and store.waiting_changes(db, run_id) == []
