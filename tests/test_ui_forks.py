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
from ui.columns import SeriesCache
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
    app.include_router(make_forks(Forks(home, Reader(home, lambda home, db: None), fork), SeriesCache()))
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
    waiting = client.post("/api/fork", json={"run": parent, "queue": True}).json()["run"]
    assert store.get_run(db, waiting)["status"] == "queued"


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


def test_the_past_of_a_fork_ends_where_it_was_left(client: TestClient, home: Home, db: Database, parent: str) -> None:
    add_points(db, parent, 21, 380)  # the parent went on
    child = fork.fork_run(home, parent, 20, "child")
    add_points(db, child, 21, 40)
    add_age(home, db, child, 50)
    store.end_run(db, child, "stopped")
    grandchild = fork.fork_run(home, child, 50, "grandchild")

    for axis, last in (("steps", (50, 20)), ("tokens", (50 * 4096, 20 * 4096)), ("time", (5, 2))):
        answer = client.get("/api/lineage", params={"run": grandchild, "x": axis}).json()
        assert [(one["name"], one["step"]) for one in answer["past"]] == [("child", 50), ("one", 20)]
        for one, end in zip(answer["past"], last, strict=True):
            assert set(one["m"]) == {"loss", "rate", "norm", "speed"} and "perplexity" in one["e"]
            for curve in (one["m"]["loss"], one["e"]["loss"]):
                assert unpacked(curve["x"])[-1] == pytest.approx(end) and len(unpacked(curve["x"])) == len(curve["y"])
        assert unpacked(answer["past"][0]["m"]["loss"]["x"])[0] > unpacked(answer["past"][1]["m"]["loss"]["x"])[-1]
    for run_id, axis in ((parent, "steps"), (grandchild, "date"), (grandchild, "<x>")):
        assert client.get("/api/lineage", params={"run": run_id, "x": axis}).json()["past"] == []


def test_a_long_past_is_thinned_and_one_with_gaps_is_read(client: TestClient, home: Home, db: Database) -> None:
    run_id = make_run(db, "long")
    add_points(db, run_id, 1, 9000)
    db.conn.execute("UPDATE metrics SET train_loss = NULL WHERE run_id = ? AND step < 500", [run_id])
    add_age(home, db, run_id, 9000)
    store.end_run(db, run_id, "stopped")
    child = fork.fork_run(home, run_id, 9000, overrides={"train.tokens": 10**8})

    (past,) = client.get("/api/lineage", params={"run": child, "x": "steps"}).json()["past"]
    curve = past["m"]["loss"]
    assert (
        300 <= len(curve["y"]) <= 400 and curve["y"][0] is None and curve["y"][-1] == pytest.approx(8 - 0.009, abs=1e-4)
    )
    assert len(client.get("/api/lineage", params={"run": child, "x": "steps"}).content) < 100_000


def unpacked(column: Any) -> list[float]:
    """What ui.series.pack gave, as numbers."""
    if isinstance(column, list):
        return column
    if "by" in column:
        return [column["from"] + at * column["by"] for at in range(column["n"])]
    return [column["from"] + sum(column["steps"][:at]) for at in range(len(column["steps"]) + 1)]
