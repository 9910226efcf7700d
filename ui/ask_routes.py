"""Play's part of /api: answers that arrive while they are made, their cancelling, and what was asked before.

A stream of our own, one JSON object a line: what Gradio's shared event stream delivers depends on the other events of
the page, and an answer has to arrive whatever else the page waits for.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from engine import store
from ui.actions import Actions, sentence
from ui.answers import reply
from ui.routes import Id, spoken

LOOK = 0.25
"""Seconds between two looks whether the reader is still there."""
FIELDS = (
    "run",
    "step",
    "prompt",
    "max_tokens",
    "temperature",
    "top_k",
    "top_p",
    "seed",
    "token",
    "weights",
    "min_p",
    "repetition_penalty",
    "stop",
    "count",
    "who",
)
SHOWN = 30
"""Questions of the history that are read at once."""


def make_ask(actions: Actions) -> APIRouter:
    """The routes for one home; what does something is a POST, whose origin the guard has checked."""
    router = APIRouter(prefix="/api")

    @router.post("/ask")
    async def ask(request: Request, what: dict[str, Any]) -> Response:
        question = {name: what.get(name) for name in FIELDS}
        question["token"] = question["token"] or uuid.uuid4().hex
        return StreamingResponse(lines(actions, question, request.is_disconnected), media_type="text/plain")

    @router.post("/cancel")
    def cancel(request: Request, what: dict[str, Any]) -> Response:
        actions.cancel(what.get("token", ""))
        return reply(request, {})

    @router.get("/asked")
    def asked(request: Request, before: Id = 2**62) -> Response:
        rows = store.asked_samples(actions.reader.db(), before, SHOWN + 1)
        shown = [spoken(row) | {name: row[name] for name in ("run_name", "created_at")} for row in rows[:SHOWN]]
        return reply(request, {"asked": shown, "more": len(rows) > SHOWN})

    return router


async def lines(actions: Actions, question: dict[str, Any], gone: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
    """The pieces of an answer, or {"error": one sentence}; when the reader is `gone` the answer is cancelled."""
    pieces, told = actions.ask(**question), False
    watcher = asyncio.create_task(cancel_when_gone(actions, question["token"], gone))
    try:
        async for piece in iterate_in_threadpool(pieces):
            yield json.dumps(piece) + "\n"
        told = True
    except Exception as error:  # noqa: BLE001 - nothing but a sentence may reach a browser
        told = True
        yield json.dumps({"error": sentence(error)}) + "\n"
    finally:
        watcher.cancel()
        if not told:
            actions.cancel(question["token"])
        with contextlib.suppress(ValueError):  # a thread is still in it, and ends it now that it is cancelled
            pieces.close()


async def cancel_when_gone(actions: Actions, token: str, gone: Callable[[], Awaitable[bool]]) -> None:
    """An answer that waits, or whose model is still loading, has no piece by which to notice that nobody listens."""
    while not await gone():
        await asyncio.sleep(LOOK)
    actions.cancel(token)
