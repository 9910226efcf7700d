"""The preview of a dataset, made by a process of its own: one at a time, ended when nobody waits for it any more."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from engine.home import PROJECT
from engine.store import Refused

log = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "engine.data.preview")
PATIENCE = 30.0
"""Seconds; a source of which nothing came by then would take as long to prepare."""
LOOK = 0.25
"""Seconds between two looks whether the reader is still there."""
FAILED = "The preview ended without an answer; the terminal that runs app.py shows why."

Gone = Callable[[], Awaitable[bool]]


class Previewer:
    """Runs the preview's process for one reader after the other."""

    def __init__(self, command: Sequence[str] = COMMAND, patience: float = PATIENCE) -> None:
        self.command, self.patience = command, patience
        self._turn = asyncio.Lock()

    async def ask(self, question: dict[str, Any], gone: Gone) -> dict[str, Any]:
        """The process's answer; raises Refused with its sentence, when it takes too long, or when the reader left."""
        try:
            async with asyncio.timeout(self.patience):
                await self._turn.acquire()
        except TimeoutError:
            raise Refused("Another preview is still being made; ask again in a moment.") from None
        try:
            return _answer(*await self._run(json.dumps(question).encode(), gone))
        finally:
            self._turn.release()

    async def _run(self, question: bytes, gone: Gone) -> tuple[bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *self.command, cwd=PROJECT, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        talk = asyncio.create_task(process.communicate(question))
        try:
            async with asyncio.timeout(self.patience):
                while not (await asyncio.wait({talk}, timeout=LOOK))[0]:
                    if await gone():
                        raise Refused("The preview was ended, because nobody waits for it any more.")
            return talk.result()
        except TimeoutError:
            raise Refused(
                f"The source did not answer within {self.patience:.0f} seconds. Preparing it may still work, "
                "but its size and its time cannot be told before."
            ) from None
        finally:
            if not talk.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await talk


def _answer(said: bytes, complained: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(said)
        problem = answer.get("error")
    except (ValueError, AttributeError):
        log.error("preview: %s", complained.decode("utf-8", "replace")[-4000:])
        raise Refused(FAILED) from None
    if problem and not answer.get("offer"):  # else the reader is told what would mend it
        raise Refused(str(problem))
    found: dict[str, Any] = answer
    return found
