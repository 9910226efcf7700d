"""The token view's part of /api: how surprised a run of some age is by an answer, or by a text of one's own."""

import asyncio
import threading
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from engine import store
from engine.store import Refused
from ui.answers import reply
from ui.asking import LONGEST_PROMPT, Talker
from ui.checks import text as _text
from ui.checks import whole as _whole
from ui.probe_routes import set_when_gone
from ui.reading import Reader

LONGEST = 60_000
"""Characters of a text to look at: more than any model of ours sees at once."""


def make_surprise(reader: Reader, talker: Talker) -> APIRouter:
    """The route for one home: a POST, whose origin the guard has checked."""
    router = APIRouter(prefix="/api")

    @router.post("/surprise")
    async def surprise(request: Request, what: dict[str, Any]) -> Response:
        cancel = threading.Event()
        watcher = asyncio.create_task(set_when_gone(cancel, request.is_disconnected))
        try:
            return reply(request, await run_in_threadpool(look, reader, talker, what, cancel))
        finally:
            watcher.cancel()

    return router


def look(reader: Reader, talker: Talker, what: dict[str, Any], cancel: threading.Event) -> dict[str, Any]:
    """The tokens of a stored answer (`sample`), or of `text` after `prompt`, for `run` at the age `step`; or Refused.

    A sample is looked at with the weights that said it, unless `step` names another age of its run. Of a run, no step
    or -1 is its newest age.
    """
    at = what.get("step")
    step = None if at is None or at == -1 else _whole(at, "The age", 0, 10**15)
    if what.get("sample") is not None:
        return _look_at_sample(reader, talker, _whole(what["sample"], "The sample", 1, 2**62), step, cancel)
    prompt = _text(what.get("prompt", ""), "The prompt", LONGEST_PROMPT)
    text = _text(what.get("text", ""), "The text", LONGEST)
    prompt, text = (one.encode("utf-8", "replace").decode() for one in (prompt, text))
    weights = _text(what.get("weights") or "", "The weights' sha256", 64)
    run = reader.run(_text(what.get("run"), "The run", 200))
    _refuse_published(run)
    if not prompt + text:
        raise Refused("Write a text first.")
    looked = talker.look(run["id"], step, prompt, text, weights=weights, cancel=cancel)
    return looked | {"run": run["id"], "prompt": prompt, "text": text}


def _look_at_sample(
    reader: Reader, talker: Talker, number: int, step: int | None, cancel: threading.Event
) -> dict[str, Any]:
    sample = store.get_sample(reader.db(), number)
    run = reader.run(sample["run_id"])
    _refuse_published(run)
    own = step is None or step == sample["step"]
    looked = talker.look(
        run["id"],
        sample["step"] if own else step,
        sample["prompt"],
        sample["text"],
        weights=sample["weights_sha256"] or "" if own else "",
        sample=number,
        cancel=cancel,
    )
    return looked | {"run": run["id"], "prompt": sample["prompt"], "text": sample["text"]}


def _refuse_published(run: store.Row) -> None:
    if run["kind"] == "published":
        raise Refused("The published model's weights are not part of this home, so it cannot be asked.")
