"""The routes below /api that show how a run grew up."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from engine import store
from ui import growing
from ui.answers import reply
from ui.columns import SeriesCache
from ui.reading import Reader
from ui.routes import Id, spoken
from ui.word_changes import compared

Step = Annotated[int, Query(ge=0, le=store.LAST_STEP)]
MOST_AGES = 200
"""Answers in one reply at most; a page asks for the ages around the one it looks at."""


def make_growing(reader: Reader, cache: SeriesCache) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api/growing")

    @router.get("")
    def overview(request: Request, run: str) -> Response:
        return reply(request, growing.overview(reader.db(), cache, reader.run(run)))

    @router.get("/answers")
    def answers(
        request: Request, run: str, suite: str, prompt: str, first: Step = 0, last: Step = store.LAST_STEP
    ) -> Response:
        found = growing.answers(reader.db(), reader.run(run), suite, prompt, first, last)
        return reply(request, {"samples": [spoken(row) for row in found[:MOST_AGES]]})

    @router.get("/age")
    def age(request: Request, run: str, step: Step) -> Response:
        found = growing.answers_at(reader.db(), reader.run(run), step)
        return reply(request, {"samples": [spoken(row) for row in found]})

    @router.get("/changes")
    def changes(request: Request, before: Id, after: Id) -> Response:
        db = reader.db()
        texts = (store.get_sample(db, one)["text"] for one in (before, after))
        return reply(request, compared(*texts))

    return router
