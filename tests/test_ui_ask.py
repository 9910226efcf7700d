"""An answer that arrives while it is made, and what becomes of it when nobody listens any more."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ui_helpers import make_run, served

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
