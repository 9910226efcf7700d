"""ui/forks.py and its routes: what there is to choose, what would run, hostile arguments."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import add_age, add_points, make_run

from engine import fork, launch, store
from engine.home import Home
from ui.fork_routes import make_forks
from ui.forks import Forks
from ui.reading import Reader
from ui.server import add_error_answers


@pytest.fixture
def client(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The routes of forks without the page around them."""
    monkeypatch.setattr(launch, "ensure_supervisor", lambda home: None)
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_forks(Forks(home, Reader(home, lambda home, db: None), fork)))
    with TestClient(app) as opened:
        yield opened


@pytest.fixture
def parent(home: Home, db: Database) -> str:
    """A stopped run with a checkpoint of step 20 and words of step 10."""
    run_id = make_run(db, "one")
    add_points(db, run_id, 1, 20)
    add_age(home, db, run_id, 10, full=False)
    add_age(home, db, run_id, 20)
    store.end_run(db, run_id, "stopped")
    return run_id


def ask(client: TestClient, **what: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/api/fork/check", params=what).json()
    return answer


def test_what_there_is_to_choose(client: TestClient, parent: str) -> None:
    answer = client.get("/api/fork", params={"run": parent}).json()

    assert answer["steps"] == [
        {"step": 10, "tokens": 10 * 4096, "exact": False},
        {"step": 20, "tokens": 20 * 4096, "exact": True},
    ]
    keys = [field["key"] for field in answer["fields"]]
    assert {"train.tokens", "optimizer.muon_lr", "data.dataset", "model.context"} <= set(keys) < set(answer["values"])
    assert not {"model.width", "train.batch_tokens", "data.tokenizer"} & set(keys)
    assert (answer["line"], answer["forks"]) == ([], [])
    published = client.get("/api/fork", params={"run": store.REFERENCE_ID}).json()
    assert published["steps"] == published["fields"] == []


def test_a_plan_is_told_and_a_mistake_is_named_at_its_field(client: TestClient, parent: str) -> None:
    plan = ask(client, run=parent)
    assert (plan["error"], plan["step"], plan["device"]) == ("", 20, "cpu")
    assert plan["notes"][0] == "Weights and optimizer go on exactly as they were in one at step 20."
    assert plan["seconds"] > 0 and plan["tokens"] == (plan["total_steps"] - 20) * 4096

    assert "only the bf16 weights" in ask(client, run=parent, step=10)["notes"][0]
    for what, key in (
        ({"name": "two words"}, "name"),
        ({"overrides": '{"train.tokens": 4096}'}, "train.tokens"),
        ({"overrides": '{"optimizer.muon_lr": "fast"}'}, "optimizer.muon_lr"),
        ({"overrides": '{"data.dataset": "../../etc"}'}, "data.dataset"),
        ({"overrides": '{"model.width": 64}'}, "model.width"),
    ):
        wrong = ask(client, run=parent, **what)
        assert wrong["error"].endswith(".") and wrong["key"] == key, wrong


def test_a_fork_is_started_and_both_know_of_each_other(client: TestClient, db: Database, parent: str) -> None:
    overrides = json.dumps({"optimizer.muon_lr": "0.005"})
    made = client.post("/api/fork", json={"run": parent, "step": 20, "name": "colder", "overrides": overrides}).json()

    run = store.get_run(db, made["run"])
    assert (run["name"], run["parent_run_id"], run["parent_step"], run["step"]) == ("colder", parent, 20, 20)
    assert client.get("/api/fork", params={"run": parent}).json()["forks"] == [
        {"id": run["id"], "name": "colder", "step": 20}
    ]
    child = client.get("/api/fork", params={"run": run["id"]}).json()
    assert child["line"] == [{"id": parent, "name": "one", "step": 20}]
    assert child["values"]["optimizer.muon_lr"] == 0.005
    again = client.post("/api/fork", json={"run": parent})
    assert again.status_code == 400 and "colder is preparing on cpu; stop it first" in again.json()["error"]


@pytest.mark.parametrize(
    "what",
    [
        {"run": 3},
        {"run": None},
        {"run": "one", "step": "20"},
        {"run": "one", "step": 20.5},
        {"run": "one", "step": True},
        {"run": "one", "step": -2},
        {"run": "one", "step": 10**30},
        {"run": "one", "name": ["x"]},
        {"run": "one", "name": "x" * 300},
        {"run": "one", "overrides": {"train.tokens": 1}},
        {"run": "one", "overrides": "[" * 500},
        {"run": "one", "overrides": '{"data.dataset": 3}'},
        {"run": "nobody"},
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    client: TestClient, db: Database, parent: str, what: dict[str, Any]
) -> None:
    answer = client.post("/api/fork", json=what)

    assert answer.status_code == 400 and answer.json()["error"].endswith((".", "them."))
    assert len(store.list_runs(db)) == 2
