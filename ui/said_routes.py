"""The part of /api that finds everything that was ever said, and the thread that reads older samples into its index."""

import logging
import threading
from contextlib import closing

from fastapi import APIRouter, Request, Response

from engine import store
from engine.home import Home
from ui.answers import reply
from ui.exhibits import Filters
from ui.reading import Reader
from ui.routes import Id

log = logging.getLogger(__name__)
FIELDS = (
    "id", "run_id", "run_name", "run_kind", "step", "tokens", "prompt", "text", "suite", "source", "seed",
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop", "max_tokens", "weights_sha256",
    "created_at", "exhibit",
)  # fmt: skip
PAUSE = 0.05
"""Seconds between two transactions of the thread, in which others get the write lock."""
AGAIN = 30.0
"""Seconds until it tries again where the database could not be written."""


def make_said(reader: Reader) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api")

    @router.get("/said")
    def said(request: Request, filters: Filters, before: Id = 0, after: Id = 0) -> Response:
        found = store.search_samples(reader.db(), filters, before, after)
        return reply(
            request,
            {
                "total": min(found.total, store.COUNTED),
                "more": found.total > store.COUNTED,
                "newer": found.newer,
                "older": found.older,
                "unread": found.unread,
                "samples": [{name: row[name] for name in FIELDS} for row in found.samples],
            },
        )

    return router


class Indexing:
    """Reads the samples that are older than the search into it, a few at a time, while the page is open to others."""

    def __init__(self, home: Home) -> None:
        self._home, self._ended = home, threading.Event()

    def start(self) -> None:
        """Begin in a thread of its own; it ends by itself, at once where nothing is left to read."""
        threading.Thread(target=self._work, name="indexing", daemon=True).start()

    def close(self) -> None:
        """End after the transaction that is open."""
        self._ended.set()

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                with closing(store.connect(self._home.database)) as db:
                    while store.read_older(db):
                        if self._ended.wait(PAUSE):
                            return
                return
            except store.UNUSABLE as error:
                log.warning("older samples cannot be read into the search now: %s", error)
                self._ended.wait(AGAIN)
