"""ui/prompt_routes.py: the prompt suites in the page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import make_run

from engine.home import Home
from ui.prompt_routes import make_prompts
from ui.reading import Reader
from ui.server import add_error_answers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "prompts"
    made.mkdir()
    (made / "mine.txt").write_text("Once\n")
    return made


@pytest.fixture
def client(home: Home, folder: Path) -> Iterator[TestClient]:
    """The routes without the page around them."""
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_prompts(Reader(home, lambda home, db: None), folder))
    with TestClient(app) as opened:
        yield opened


def post(client: TestClient, what: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/prompts/{what}", json=body)
    return answer.status_code, dict(answer.json())


def test_a_suite_is_opened_edited_and_saved(client: TestClient, folder: Path) -> None:
    assert client.get("/api/prompts").json() == {"suites": [{"name": "mine", "prompts": 1, "problem": ""}]}
    opened = client.get("/api/prompts/suite", params={"name": "mine"}).json()
    assert opened["text"] == "Once\n"

    status, saved = post(client, "save", name="mine", text="Once\nTwice\n", before=opened["sha256"])

    assert (status, saved["prompts"], saved["text"]) == (200, 2, "Once\nTwice\n")
    assert (folder / "mine.txt").read_text() == "Once\nTwice\n"
    status, answer = post(client, "save", name="mine", text="old\n", before=opened["sha256"])
    assert status == 400 and "has changed since you opened it" in answer["error"]


def test_a_suite_is_made_and_removed(client: TestClient, folder: Path) -> None:
    status, made = post(client, "save", name=" new ", text="Hello", before="")
    assert (status, made["name"]) == (200, "new")

    assert post(client, "delete", name="new", before=made["sha256"]) == (200, {})
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt"]


def test_what_is_typed_is_checked_without_being_written(client: TestClient, folder: Path) -> None:
    assert post(client, "check", name="mine", text="a\nb\n# c\n") == (200, {"error": "", "prompts": 2})
    status, answer = post(client, "check", name="mine", text="x" * 9000)
    assert status == 200 and "line 1: a prompt has at most 8,192 characters" in answer["error"]
    assert (folder / "mine.txt").read_text() == "Once\n"


def test_who_asks_a_suite_is_told(client: TestClient, db: Database) -> None:
    make_run(db)

    answer = client.get("/api/prompts/uses", params={"name": "stories"}).json()

    assert "seedling" in answer["presets"] and (answer["runs"], answer["runs_count"]) == (["one"], 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": 7, "text": "a"},
        {"name": "a", "text": None},
        {"name": "a", "text": "b", "before": 1},
        {"name": "../a", "text": "b", "before": ""},
        {"name": "a", "text": "x" * 300_000, "before": ""},
    ],
)
def test_what_is_no_suite_is_a_sentence(client: TestClient, folder: Path, body: dict[str, Any]) -> None:
    status, answer = post(client, "save", **body)

    assert status == 400 and answer["error"].endswith(".")
    assert len(list(folder.iterdir())) == 1
