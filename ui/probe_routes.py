"""Measuring before Start, for the page: what was measured for the chosen settings, and the route that measures."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from sqlite_utils import Database
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from engine import config, probing
from engine.config import ConfigError, RunConfig
from engine.gpu import choose_device
from engine.home import Home
from engine.projection import project
from engine.store import Refused
from ui import describe
from ui.actions import check_data, sentence

LOOK = 0.25
"""Seconds between two looks whether the reader is still there."""
FIELDS = (
    "measured_at",
    "micro_batch",
    "precision",
    "step_seconds",
    "memory_shown",
    "memory_there",
    "scaled",
    "notes",
)
"""Of a measurement, what the page shows beside what follows from it."""
Measure = Callable[[Home, RunConfig, Callable[[], bool]], Generator[probing.Message, None, None]]


def make_probes(home: Home, measure: Measure = probing.measure) -> APIRouter:
    """The route for one home: a POST, whose origin the guard has checked."""
    router = APIRouter(prefix="/api")

    @router.post("/preflight")
    async def preflight(request: Request, what: dict[str, Any]) -> Response:
        chosen = await run_in_threadpool(read_settings, what)
        return StreamingResponse(lines(home, chosen, measure, request.is_disconnected), media_type="text/plain")

    return router


def read_settings(what: dict[str, Any]) -> RunConfig:
    """The settings that a browser sent as a preset's name and overrides in JSON; raises ConfigError or Refused."""
    preset, overrides = what.get("preset"), what.get("overrides", "{}")
    if not isinstance(preset, str) or not isinstance(overrides, str):
        raise Refused("preset and overrides must be text.")
    chosen = config.load_preset(preset[:80], describe.parse_overrides(overrides))
    check_data(chosen.data)
    return chosen


async def lines(
    home: Home, chosen: RunConfig, measure: Measure, gone: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """What is being done, then {"measurement": ...} or {"error": one sentence}; ends when the reader is `gone`."""
    cancelled = threading.Event()
    messages = measure(home, chosen, cancelled.is_set)
    watcher = asyncio.create_task(set_when_gone(cancelled, gone))
    try:
        async for message in iterate_in_threadpool(messages):
            told = {"measurement": shown(home, chosen, message["probe"])} if "probe" in message else message
            yield json.dumps(told) + "\n"
    except Exception as error:  # noqa: BLE001 - nothing but a sentence may reach a browser
        yield json.dumps({"error": sentence(error)}) + "\n"
    finally:
        watcher.cancel()
        cancelled.set()
        with contextlib.suppress(ValueError):  # a thread is still in it, and ends it now that it is cancelled
            messages.close()


async def set_when_gone(cancelled: threading.Event, gone: Callable[[], Awaitable[bool]]) -> None:
    """Between two messages there is nothing by which to notice that nobody listens."""
    while not await gone():
        await asyncio.sleep(LOOK)
    cancelled.set()


def measurement(home: Home, db: Database, chosen: RunConfig, device: str) -> dict[str, Any] | None:
    """What was measured for these settings, where a run with them would go; None where nothing was.

    `device`: where one goes that names none.
    """
    wanted = chosen.train.device
    try:
        found = probing.stored(db, chosen, device if wanted == "auto" else choose_device(wanted))
    except ConfigError:  # a device that is not here; whoever starts is told
        return None
    return found and shown(home, chosen, found)


def shown(home: Home, chosen: RunConfig, probe: probing.Message) -> dict[str, Any]:
    """A measurement as the page shows it."""
    return {name: probe[name] for name in FIELDS} | project(home, chosen, probe)
