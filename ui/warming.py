"""Reads the newest losses into memory when the page starts, so that the first chart need not wait for the disk."""

import logging
import threading

from engine import store
from engine.home import Home
from ui.columns import SeriesCache

log = logging.getLogger(__name__)
ROOM = 200_000_000
"""Bytes that are left free for what is looked at meanwhile."""
COLUMNS = ("tokens", "train_loss")
"""What the first chart shows."""


def start(home: Home, cache: SeriesCache) -> threading.Thread:
    """Warm the cache in a thread that ends with the process."""
    thread = threading.Thread(target=warm, args=(home, cache), name="warming", daemon=True)
    thread.start()
    return thread


def warm(home: Home, cache: SeriesCache) -> None:
    """Read newest runs first, as many as fit. What goes wrong is noted: whoever looks at the run will hear of it."""
    try:
        db = store.connect(home.database)
        try:
            for run in store.list_runs(db):
                if cache.room() < ROOM:
                    return
                cache.metrics(db, run["id"], run["attempt"], COLUMNS)
        finally:
            db.close()
    except store.UNUSABLE as error:
        log.warning("The curves were not read ahead: %s", error)
