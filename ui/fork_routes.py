"""The routes below /api that give a run other settings: in a fork of it, or while it runs."""

from typing import Any

from fastapi import APIRouter, Request, Response

from ui import lineage
from ui.answers import reply
from ui.changes import Changes
from ui.columns import SeriesCache
from ui.forks import Forks


def make_forks(forks: Forks, cache: SeriesCache) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api")

    @router.get("/lineage")
    def past(request: Request, run: str, x: str = "steps") -> Response:
        reader = forks.reader
        return reply(request, {"run": run, "x": x, "past": lineage.past(reader.db(), cache, reader.run(run), x)})

    @router.get("/fork")
    def choices(request: Request, run: str) -> Response:
        return reply(request, forks.choices(run))

    @router.get("/fork/check")
    def check(request: Request, run: str, step: int = -1, name: str = "", overrides: str = "{}") -> Response:
        return reply(request, forks.check(run, step, name, overrides))

    @router.post("/fork")
    def begin(request: Request, what: dict[str, Any]) -> Response:
        start = forks.queue_fork if what.get("queue") is True else forks.fork_run
        made = start(what.get("run", ""), what.get("step", -1), what.get("name", ""), what.get("overrides", "{}"))
        return reply(request, {"run": made})

    return router


def make_changes(changes: Changes) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api")

    @router.get("/changes")
    def there(request: Request, run: str) -> Response:
        return reply(request, changes.there(run))

    @router.get("/changes/check")
    def check(request: Request, run: str, changed: str = "{}") -> Response:
        return reply(request, changes.check(run, changed))

    @router.post("/changes")
    def change(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, changes.change_run(what.get("run", ""), what.get("changes", "{}")))

    return router
