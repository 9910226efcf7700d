"""The routes below /api about the runs in line: see them, put one in, order them, take one out, hold the line."""

from typing import Any

from fastapi import APIRouter, Request, Response

from engine import queue, store
from engine.store import Refused
from ui.actions import Actions
from ui.answers import reply
from ui.reading import Reader


def make_queue(reader: Reader, actions: Actions) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api/queue")
    home = reader.home

    @router.get("")
    def lines(request: Request) -> Response:
        reader.settle()
        return reply(request, queue.lines_of(reader.db()))

    @router.post("")
    def put(request: Request, what: dict[str, Any]) -> Response:
        wanted = (what.get(name, "") for name in ("preset", "name", "overrides"))
        return reply(request, {"run": actions.queue_run(*wanted)})

    @router.post("/resume")
    def resume(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, {"run": actions.queue_resume(what.get("run", ""))})

    @router.post("/move")
    def move(request: Request, what: dict[str, Any]) -> Response:
        to = what.get("to")
        if not isinstance(to, str | int):
            raise Refused("The place must be first, last, up, down or a number.")
        return reply(request, {"place": queue.move(home, _waiting(reader, what), to)})

    @router.post("/take-out")
    def take_out(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, {"run": actions.stop_run(_waiting(reader, what))})

    @router.post("/hold")
    def hold(request: Request, what: dict[str, Any]) -> Response:
        device = what.get("device", "")
        if not isinstance(device, str):
            raise Refused("The device must be text.")
        return reply(request, {"devices": (queue.hold if _yes(what, "held") else queue.release)(home, device[:40])})

    @router.post("/after-failure")
    def after_failure(request: Request, what: dict[str, Any]) -> Response:
        queue.stop_after_failure(home, _yes(what, "hold"))
        return reply(request, {})

    return router


def _waiting(reader: Reader, what: dict[str, Any]) -> str:
    """The id of the run that is meant, which must be in line: what has begun meanwhile is not stopped by mistake."""
    run = what.get("run")
    if not isinstance(run, str) or len(run) > 200:
        raise Refused("The run must be text.")
    found = store.find_run(reader.db(), run)
    if found["status"] != "queued":
        raise Refused(f"{found['name']} is not in line any more: it is {found['status']}.")
    return str(found["id"])


def _yes(what: dict[str, Any], name: str) -> bool:
    value = what.get(name)
    if not isinstance(value, bool):
        raise Refused(f"{name} must be true or false.")
    return value
