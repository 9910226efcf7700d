"""The routes below /api about forks: what there is to choose, what would run, and the start."""

from typing import Any

from fastapi import APIRouter, Request, Response

from ui.answers import reply
from ui.forks import Forks


def make_forks(forks: Forks) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api")

    @router.get("/fork")
    def choices(request: Request, run: str) -> Response:
        return reply(request, forks.choices(run))

    @router.get("/fork/check")
    def check(request: Request, run: str, step: int = -1, name: str = "", overrides: str = "{}") -> Response:
        return reply(request, forks.check(run, step, name, overrides))

    @router.post("/fork")
    def start(request: Request, what: dict[str, Any]) -> Response:
        made = forks.fork_run(
            what.get("run", ""), what.get("step", -1), what.get("name", ""), what.get("overrides", "{}")
        )
        return reply(request, {"run": made})

    return router
