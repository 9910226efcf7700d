"""ui/records.py and its routes: marks, logs without paths, comparisons, datasets."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import FakeLaunch, FakeTalker, add_points, make_run

from engine import store
from engine.home import PROJECT, Home
from ui import records
from ui.actions import Actions
from ui.columns import SeriesCache
from ui.reading import Reader
from ui.record_routes import make_records
from ui.server import add_error_answers


@pytest.fixture
def launch() -> FakeLaunch:
    """What the routes ask of runs."""
    return FakeLaunch()


@pytest.fixture
def client(home: Home, launch: FakeLaunch) -> Iterator[TestClient]:
    """The routes of records without the page around them."""
    reader = Reader(home, lambda home, db: None)
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_records(reader, Actions(home, launch, FakeTalker(), reader), SeriesCache()))
    with TestClient(app) as opened:
        yield opened


def save(db: Database, run_id: str, step: int) -> None:
    values = {"step": step, "tokens": step * 4096, "kind": "full", "path": f"step_{step:06}", "bytes": 1, "sha256": ""}
    store.add_checkpoint(db, run_id, attempt=1, **values)


def test_saves_and_resumes_are_marked_where_they_were(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 20)
    save(db, run_id, 10)
    save(db, run_id, 90)  # its metrics are not there yet
    store.add_event(db, run_id, "resumed", "Attempt 2 goes on from step 10", 10)

    def marks(axis: str) -> list[tuple[str, float]]:
        found = client.get("/api/marks", params={"run": run_id, "x": axis}).json()["marks"]
        return [(mark["kind"], mark["x"]) for mark in found]

    assert marks("steps") == [("saved", 10), ("resumed", 10)]
    assert marks("tokens") == [("saved", 40960), ("resumed", 40960)]
    assert marks("time") == [("saved", 1), ("resumed", 1)]
    store.add_event(
        db, run_id, "epoch", "The whole text (4,096 tokens) was read once; from here on it comes again.", 12
    )
    assert marks("steps")[2:] == [("text read again", 12)]
    assert client.get("/api/marks", params={"run": run_id, "x": "z"}).status_code == 400
    assert client.get("/api/marks", params={"run": store.REFERENCE_ID}).json()["marks"] == []


def test_the_end_of_the_log_has_no_path_of_this_machine(client: TestClient, home: Home, db: Database) -> None:
    run_id = make_run(db)
    assert client.get("/api/log", params={"run": run_id}).json() == {"lines": []}
    home.log(run_id).parent.mkdir(parents=True)
    home.log(run_id).write_bytes(
        b"\xff old line\n" * 2000
        + f'  File "{PROJECT}/engine/train.py", line 3\n'.encode()
        + f"wrote {home.path}/checkpoints/x/step_1\n".encode()
        + b'  File "/opt/some where/lib/python3.11/site-packages/torch/nn.py", line 8\n'
        + b"see https://pytorch.org/docs/stable and 3/4 of it\n"
    )

    lines = client.get("/api/log", params={"run": run_id}).json()["lines"]

    assert len(lines) == records.LOG_LINES
    assert lines[-4:] == [
        '  File "engine/train.py", line 3',
        "wrote checkpoints/x/step_1",
        lines[-2],
        "see https://pytorch.org/docs/stable and 3/4 of it",
    ]
    assert "/lib/" not in lines[-2] and "nn.py" in lines[-2]


def test_a_run_is_paused_and_goes_on(client: TestClient, db: Database, launch: FakeLaunch) -> None:
    run_id = make_run(db)

    assert client.post("/api/pause", json={"run": run_id}).json() == {"run": run_id}
    assert client.post("/api/unpause", json={"run": run_id}).json() == {"run": run_id}

    assert launch.asked[-2:] == [("pause", run_id), ("unpause", run_id)]
    assert client.post("/api/pause", json={}).status_code == 400


def test_the_prompts_of_a_run_that_trains_are_asked_now(client: TestClient, db: Database) -> None:
    run_id = make_run(db)

    assert client.post("/api/sample", json={"run": run_id}).json() == {"run": run_id}
    assert [row["run_id"] for row in store.waiting_commands(db, ("sample",))] == [run_id]

    store.end_run(db, run_id, "stopped")
    answer = client.post("/api/sample", json={"run": run_id})
    assert answer.status_code == 400 and "one is stopped; only a run that trains" in answer.json()["error"]
    assert client.post("/api/sample", json={}).status_code == 400


def test_runs_are_compared_by_their_settings(client: TestClient, db: Database) -> None:
    first, second = make_run(db, "one", "cpu"), make_run(db, "two", "mps")
    add_points(db, first, 1, 10)
    db.conn.execute("UPDATE runs SET config = json_set(config, '$.train.seed', 99) WHERE id = ?", [second])

    answer = client.get("/api/compare", params={"differ": f"{first},{second}"}).json()

    assert [row["key"] for row in answer["differences"]] == ["train.seed"]
    assert answer["differences"][0]["values"][1] == 99
    rows = {row["id"]: row for row in answer["runs"]}
    assert (rows[first]["bits"], rows[second]["bits"], rows[store.REFERENCE_ID]["bits"]) == (2.5, None, None)
    for refused in (f"{first},{store.REFERENCE_ID}", f"{first},nothing", ",".join([first] * 51)):
        assert client.get("/api/compare", params={"differ": refused}).status_code == 400
