"""ui/growing.py and its routes through HTTP: ages, answers, one age, changes; a fork begins with its parent's words."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import add_answer, add_points, make_run

from engine import store
from engine.home import Home
from ui.columns import SeriesCache
from ui.growing_routes import make_growing
from ui.reading import Reader
from ui.server import add_error_answers


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """The routes without the page around them."""
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_growing(Reader(home, lambda home, db: None), SeriesCache()))
    with TestClient(app) as opened:
        yield opened


def grown(db: Database, name: str = "one", first: int = 0, last: int = 40) -> str:
    """A run with points and two answers at every tenth step."""
    run_id = make_run(db, name, device=f"cuda:{len(store.list_runs(db))}")
    add_points(db, run_id, max(first, 1), last - max(first, 1) + 1)
    for step in range(first, last + 1, 10):
        add_answer(db, run_id, f" {name} at {step}", step, "Once")
        add_answer(db, run_id, f" {name} then {step}", step, "Alice")
    return run_id


def overview(client: TestClient, run_id: str) -> Any:
    answer = client.get("/api/growing", params={"run": run_id})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_whole_life_of_a_run(client: TestClient, db: Database) -> None:
    run_id = grown(db)

    life = overview(client, run_id)

    assert [age["step"] for age in life["ages"]] == [0, 10, 20, 30, 40]
    assert "val_loss" not in life["ages"][0]
    assert life["ages"][1] == {"step": 10, "tokens": 40_960, "answers": 2, "val_loss": 8, "measured": 10}
    assert [(one["prompt"], one["text"], one["ages"]) for one in life["prompts"]] == [
        ("Once", " one at 40", 5),
        ("Alice", " one then 40", 5),
    ]
    assert life["curves"][0]["val"][0] == [40_960, 8] and len(life["curves"][0]["train"]) == 40
    assert life["past"] == []


def test_the_loss_known_then_may_be_older_than_the_words(client: TestClient, db: Database) -> None:
    run_id = grown(db)
    add_answer(db, run_id, " between", 45, "Once")

    age = overview(client, run_id)["ages"][-1]

    assert (age["step"], age["measured"]) == (45, 40)


def test_the_answers_around_an_age(client: TestClient, db: Database) -> None:
    run_id = grown(db)
    asked = {"run": run_id, "suite": "stories", "prompt": "Once", "first": 10, "last": 20}

    samples = client.get("/api/growing/answers", params=asked).json()["samples"]

    assert [(one["step"], one["text"]) for one in samples] == [(10, " one at 10"), (20, " one at 20")]
    assert {"id", "seed", "temperature", "weights_sha256", "exhibit"} <= set(samples[0])


def test_all_prompts_of_one_age(client: TestClient, db: Database) -> None:
    run_id = grown(db)

    samples = client.get("/api/growing/age", params={"run": run_id, "step": 30}).json()["samples"]
    missing = client.get("/api/growing/age", params={"run": run_id, "step": 31})

    assert [one["text"] for one in samples] == [" one at 30", " one then 30"]
    assert missing.status_code == 400 and "Step 31 is not an age" in missing.json()["error"]


def test_a_fork_begins_with_the_words_of_its_parent(client: TestClient, db: Database) -> None:
    parent = grown(db, "parent")
    child = grown(db, "child", first=30, last=50)
    with store.writing(db):
        place = {"step": 20, "tokens": 81_920, "path": "step_000020", "bytes": 1, "sha256": "0" * 64}
        store.make_fork(db, child, parent, place)

    life = overview(client, child)
    asked = {"run": child, "suite": "stories", "prompt": "Once"}
    texts = [one["text"] for one in client.get("/api/growing/answers", params=asked).json()["samples"]]
    young = client.get("/api/growing/age", params={"run": child, "step": 10}).json()["samples"]

    assert [(age["step"], age.get("of")) for age in life["ages"]] == [
        (0, parent),
        (10, parent),
        (20, parent),
        (30, None),
        (40, None),
        (50, None),
    ]
    assert life["past"] == [{"id": parent, "name": "parent", "step": 20}]
    assert [curve["run"] for curve in life["curves"]] == [parent, child]
    assert len(life["curves"][0]["train"]) == 20
    assert texts == [f" parent at {step}" for step in (0, 10, 20)] + [f" child at {step}" for step in (30, 40, 50)]
    assert [one["run_id"] for one in young] == [parent, parent]
    assert [(one["text"], one["ages"]) for one in life["prompts"]] == [(" child at 50", 6), (" child then 50", 6)]


def test_the_published_run_has_one_age(client: TestClient) -> None:
    life = overview(client, store.REFERENCE_ID)

    assert len(life["ages"]) == 1 and {one["suite"] for one in life["prompts"]} == {"published"}
    assert life["curves"][0]["train"] == [] and len(life["curves"][0]["val"]) > 10


def test_which_words_changed(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    before, after = add_answer(db, run_id, " the old boat slept"), add_answer(db, run_id, " the new boat slept on")

    found = client.get("/api/growing/changes", params={"before": before, "after": after}).json()

    assert found["before"] == [[True, " the"], [False, " old"], [True, " boat slept"]]
    assert found["after"] == [[True, " the"], [False, " new"], [True, " boat slept"], [False, " on"]]
    assert (found["stayed"], found["left"], found["came"], found["same"]) == (3, 1, 2, False)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", {"run": "nobody"}),
        ("/answers", {"run": "nobody", "suite": "a", "prompt": "b"}),
        ("/answers", {"run": "nobody", "suite": "a", "prompt": "b", "first": -1}),
        ("/age", {"run": "nobody", "step": 2**63}),
        ("/age", {"run": "nobody", "step": 1}),
        ("/changes", {"before": 1, "after": 10**9}),
        ("/changes", {"before": -1, "after": 1}),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(client: TestClient, path: str, asked: dict[str, Any]) -> None:
    answer = client.get(f"/api/growing{path}", params=asked)

    assert answer.status_code in (400, 422) and answer.json()["error"].endswith(".")
