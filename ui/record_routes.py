"""The routes below /api that read what runs leave behind, and those that pause a run, ask it, and back all up."""

from typing import Any

from fastapi import APIRouter, Request, Response

from ui import health, marks, records
from ui.actions import Actions
from ui.answers import reply
from ui.columns import SeriesCache
from ui.forecasts import Outlook
from ui.reading import Reader


def make_records(reader: Reader, actions: Actions, cache: SeriesCache) -> APIRouter:
    """The routes for one home."""
    router, outlook = APIRouter(prefix="/api"), Outlook(cache)

    @router.get("/marks")
    def marked(request: Request, run: str, x: str = "tokens") -> Response:
        return reply(request, {"run": run, "x": x, "marks": marks.marks(reader.db(), cache, reader.run(run), x)})

    @router.get("/log")
    def log(request: Request, run: str) -> Response:
        return reply(request, {"lines": records.log_tail(reader.home, reader.run(run))})

    @router.get("/compare")
    def compare(request: Request, differ: str = "") -> Response:
        db, chosen = reader.db(), [part for part in differ.split(",") if part]
        return reply(
            request,
            {
                "runs": records.compared(db, reader.runs()),
                "differences": records.differences(db, chosen) if len(chosen) > 1 else [],
            },
        )

    @router.get("/forecast")
    def forecast(request: Request, run: str, x: str = "tokens") -> Response:
        row = reader.run(run)
        return reply(request, outlook.of(reader.db(), row, reader.runs(), x))

    @router.get("/diagnosis")
    def diagnosis(request: Request, run: str) -> Response:
        return reply(request, records.diagnosis(reader.db(), reader.run(run)))

    @router.get("/health")
    def look(request: Request) -> Response:
        return reply(request, {"findings": health.findings(reader.home)})

    @router.post("/pause")
    def pause(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, {"run": actions.pause_run(what.get("run", ""))})

    @router.post("/unpause")
    def unpause(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, {"run": actions.unpause_run(what.get("run", ""))})

    @router.post("/sample")
    def sample(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, {"run": actions.sample_now(what.get("run", ""))})

    @router.post("/backup")
    def backup(request: Request) -> Response:
        return reply(request, actions.back_up())

    return router
