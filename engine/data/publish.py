"""A folder appears whole or not at all, and is made by one process at a time."""

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.store import Refused
from engine.sync import sync


class Stopped(Exception):
    """Preparation was asked to stop; nothing of it is left."""


@contextlib.contextmanager
def alone(target: Path, waiting: Callable[[], None], stopped: Callable[[], bool]) -> Iterator[None]:
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
                time.sleep(0.2)
        yield


@contextlib.contextmanager
def published(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes it at the end, and is gone after any other end.

    Under `alone`; sweeps what a killed process left. Raises Refused when something is in the way or the disk is full.
    """
    making = target.parent / f".making-{target.name}"
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir(parents=True)
        yield making
        for path in [*making.iterdir(), making]:
            sync(path)
        making.rename(target)
        sync(target.parent)
    except OSError as error:
        raise Refused(f"datasets/{target.name} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
