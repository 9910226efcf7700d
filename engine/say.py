"""A line in a log. No log is worth the end of a process that has more to do than to write it."""

import contextlib


def say(message: str) -> None:
    """Print a line at once; never raises where it cannot be written (a full disk, a character the log lacks)."""
    with contextlib.suppress(OSError, UnicodeError):
        print(message, flush=True)
