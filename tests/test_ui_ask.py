"""An answer that arrives while it is made, and what becomes of it when nobody listens any more."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ui_helpers import FakeTalker, add_answer, make_run, served

from engine import store
from ui import ask_routes

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning", "ignore:.*future.no_silent.*", "ignore::ResourceWarning"
)  # Gradio's own
QUESTION = {"step": -1, "prompt": "Hello", "max_tokens": 3, "temperature": 0.8, "top_k": 0, "top_p": 0.95, "seed": 7}


class SilentActions:
    """Answers nothing until it is cancelled, as when the model is still loading."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.heard = threading.Event()

    def ask(self, **question: Any) -> Iterator[dict[str, Any]]:
        self.heard.wait(10)
        yield {"text": "", "finish": "cancelled"}

    def cancel(self, token: str) -> None:
        self.cancelled.append(token)
        self.heard.set()


def test_an_answer_comes_line_by_line_and_a_refusal_as_a_sentence(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        db = store.connect(page.home.database)
        run_id = make_run(db)
        db.close()
        answer = page.post("/api/ask", json={"run": run_id, **QUESTION})
        refused = page.post("/api/ask", json={"run": "nobody", **QUESTION})

    pieces = [json.loads(line) for line in answer.text.splitlines()]
    assert len(pieces) > 1 and pieces[-1]["finish"] and pieces[-1]["text"].startswith(pieces[0]["text"])
    assert list(json.loads(refused.text)) == ["error"]


def test_a_run_that_trains_is_asked_by_the_age_live(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        db = store.connect(page.home.database)
        run_id = make_run(db)
        now = page.post("/api/ask", json={"run": run_id, **QUESTION, "step": "live"})
        store.end_run(db, run_id, "stopped")
        later = page.post("/api/ask", json={"run": run_id, **QUESTION, "step": "live"})
        other = page.post("/api/ask", json={"run": run_id, **QUESTION, "step": "lively"})
        db.close()

    assert "one does not listen yet" in json.loads(now.text)["error"]
    assert "one is stopped, so there is nobody to talk to" in json.loads(later.text)["error"]
    assert json.loads(other.text)["error"].startswith("The age must be a whole number")


def test_several_checkpoints_are_asked_in_turn_and_one_that_cannot_answer_says_so(tmp_path: Path) -> None:
    class Choosy(FakeTalker):
        def stream(self, run_id: str, step: int | None, prompt: str, **ask: Any) -> Iterator[dict[str, Any]]:
            if step == 20:
                raise store.Refused("There are no weights of step 20.")
            yield from super().stream(run_id, step, prompt, **ask)

    talker = Choosy()
    with served(tmp_path, talker=talker) as page:
        db = store.connect(page.home.database)
        run_id = make_run(db)
        db.close()
        who = [{"run": run_id, "step": step} for step in (10, 20, -1)]
        answer = page.post("/api/ask", json=QUESTION | {"who": who, "min_p": 0.1, "stop": ["."], "count": 1})
        many = page.post("/api/ask", json=QUESTION | {"who": who * 2})
        none = page.post("/api/ask", json=QUESTION | {"who": [{"run": run_id}, {"run": store.REFERENCE_ID}]})

    pieces = [json.loads(line) for line in answer.text.splitlines()]
    assert [piece["column"] for piece in pieces] == [0] * 3 + [1] + [2] * 3
    assert pieces[3]["error"] == "There are no weights of step 20."
    assert [asked["step"] for asked in talker.asked] == [10, None]
    assert {(asked["min_p"], tuple(asked["stop"]), asked["seed"]) for asked in talker.asked} == {(0.1, (".",), 7)}
    assert "one to 4 checkpoints" in json.loads(many.text)["error"]
    assert "published model" in json.loads(none.text)["error"]


def test_a_cancel_between_two_checkpoints_ends_both(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        db = store.connect(page.home.database)
        run_id = make_run(db)
        db.close()
        page.post("/api/cancel", json={"token": "early"})
        answer = page.post("/api/ask", json=QUESTION | {"who": [{"run": run_id}] * 3, "token": "early"})

    assert answer.text == ""


def test_what_was_asked_is_read_page_by_page(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        db = store.connect(page.home.database)
        run_id = make_run(db)
        add_answer(db, run_id, " by itself")
        ids = [add_answer(db, run_id, f" {number}", source="playground") for number in range(32)]
        exhibit = store.keep(db, ids[-1], "good", "The last")
        db.close()
        first = page.get("/api/asked").json()
        rest = page.get(f"/api/asked?before={first['asked'][-1]['id']}").json()

    assert [row["id"] for row in first["asked"]] == ids[:1:-1] and first["more"]
    assert [row["id"] for row in rest["asked"]] == ids[1::-1] and not rest["more"]
    newest = first["asked"][0]
    assert newest["exhibit"] == exhibit and newest["run_name"] == "one" and newest["stop"] == "[]"


def test_an_answer_whose_reader_has_gone_is_cancelled_before_its_first_piece() -> None:
    actions = SilentActions()

    async def gone() -> bool:
        return True

    async def read() -> None:
        async for _ in ask_routes.lines(actions, {"token": "t"}, gone):  # type: ignore[arg-type]
            pass

    with ThreadPoolExecutor(1) as thread:  # this one may have the event loop of a browser test
        thread.submit(lambda: asyncio.run(asyncio.wait_for(read(), 2))).result()
    assert actions.cancelled == ["t"]
