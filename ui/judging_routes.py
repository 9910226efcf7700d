"""The routes below /api that say what an answer looks like, and whether it was memorised or invented."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import store
from engine.data.shards import open_dataset
from engine.judging import is_another_text, judge, obstacle, passage, text_is_elsewhere
from engine.proposals import reason
from engine.store import Row
from engine.wording import said
from ui.answers import reply
from ui.judging import Judging
from ui.reading import Reader
from ui.routes import Id

SHOWN = (*store.MEASURED, "loop_phrase")


def make_judging(reader: Reader, judging: Judging) -> APIRouter:
    """The routes for one home; `judging` makes the indexes that are missing."""
    router = APIRouter(prefix="/api")

    @router.get("/judged")
    def judged(request: Request, sample: Id) -> Response:
        db = reader.db()
        found = judge(reader.home, db, sample)
        answer = store.get_sample(db, sample)
        run = store.get_run(db, answer["run_id"])
        missing = why_not(reader, run, answer, found)
        waiting = missing == INDEXING
        if waiting:
            judging.wake()
        return reply(
            request,
            {
                "proposal": found["proposal"],
                "reason": reason(found),
                "measures": {name: found[name] for name in SHOWN},
                "dataset": run["dataset"],
                "missing": missing,
                "waiting": waiting,
                "copied": copied(reader, run, answer, found),
            },
        )

    return router


INDEXING = "The training text is being indexed, which takes seconds for a small one; then this is known."


def why_not(reader: Reader, run: Row, answer: Row, found: Row) -> str:
    """Why an answer was not looked up in its training text, in a sentence; "" where it was."""
    if found["text_sha256"] is not None:
        return ""
    if text_is_elsewhere(run["kind"], run["dataset"]):
        return "The text that this model was trained on is not part of this home, so nothing can be looked up in it."
    if not (reader.home.dataset(run["dataset"]) / "card.json").is_file():
        return f"The dataset {run['dataset']} is not in this home any more, so nothing can be looked up in it."
    if why := obstacle(reader.home, run["dataset"]):
        return why
    if is_another_text(open_dataset(reader.home, run["dataset"]), answer["created_at"]):
        return f"The dataset {run['dataset']} was prepared again after this was said, so it may be another text."
    return INDEXING


def copied(reader: Reader, run: Row, answer: Row, found: Row) -> dict[str, Any] | None:
    """The longest run of the answer that stands in the training text, here and there; None where there is none."""
    if not found["copied_words"]:
        return None
    words = said(answer["prompt"], answer["text"], answer["finish"])
    last = found["copied_first"] + found["copied_words"] - 1
    there = passage(reader.home, run, found)
    said_so = answer["text"][words[found["copied_first"]].start : words[last].end]
    return {"run": said_so, "passage": there and asdict(there)}
