"""A dataset is made by one process at a time."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.data.progress import Asked, Stopped

RETRY = 0.2
"""Seconds between two tries to get the lock."""


@contextlib.contextmanager
def alone(target: Path, waiting: Callable[[], None], stopped: Asked) -> Iterator[None]:
    """Hold the lock of `target` against other processes; calls `waiting` while another has it. Raises Stopped."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".lock-{target.name}").open("w") as lock:
        while True:
            if stopped():
                raise Stopped
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):  # POSIX allows either for "held by another"
                waiting()
                time.sleep(RETRY)
        yield
