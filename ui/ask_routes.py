"""Play's part of /api: an answer that arrives while it is made, and its cancelling.

A stream of our own, one JSON object a line: what Gradio's shared event stream delivers depends on the other events of
the page, and an answer has to arrive whatever else the page waits for.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from ui.actions import Actions, sentence
from ui.answers import reply

FIELDS = ("run", "step", "prompt", "max_tokens", "temperature", "top_k", "top_p", "seed", "token")


def make_ask(actions: Actions) -> APIRouter:
    """The routes for one home; both are POSTs, whose origin the guard has checked."""
    router = APIRouter(prefix="/api")

    @router.post("/ask")
    async def ask(what: dict[str, Any]) -> Response:
        return StreamingResponse(lines(actions, {name: what.get(name) for name in FIELDS}), media_type="text/plain")

    @router.post("/cancel")
    def cancel(request: Request, what: dict[str, Any]) -> Response:
        actions.cancel(what.get("token", ""))
        return reply(request, {})

    return router


async def lines(actions: Actions, question: dict[str, Any]) -> AsyncIterator[str]:
    """The pieces of an answer, or {"error": one sentence}; when the reader goes away the answer is cancelled."""
    pieces = actions.ask(**question)
    try:
        async for piece in iterate_in_threadpool(pieces):
            yield json.dumps(piece) + "\n"
    except Exception as error:  # noqa: BLE001 - nothing but a sentence may reach a browser
        yield json.dumps({"error": sentence(error)}) + "\n"
    finally:
        pieces.close()
