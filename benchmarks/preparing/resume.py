"""How long a job that was killed needs until it goes on."""

import time
from typing import Any

from benchmarks.preparing.process import Failed, Process, Spec


def go_on(spec: Spec, tokens: int, kills: int) -> dict[str, Any]:
    """Kill the job of `spec` with SIGKILL after `tokens` tokens and `kills` times after that, and start it again.

    The time is that from the start of a process until it reports the first tokens that it has written itself.
    Raises Failed where the job ends before it was killed.
    """
    job = Process(spec)
    try:
        written = _wait_for(job, tokens)
    finally:
        job.kill()
    seconds, kept = list[float](), list[int]()
    for _ in range(kills):
        start = time.monotonic()
        job = Process(spec)
        try:
            kept.append(_first_of(job))
            seconds.append(time.monotonic() - start)
        finally:
            job.kill()
    return {"tokens": written, "saved_tokens": kept[0], "seconds": max(seconds), "all_seconds": seconds}


def _first_of(job: Process) -> int:
    """Wait until it has written tokens, and return how many were there before them."""
    before = -1
    for line in job.lines():
        if line.get("stage") == "encoding":
            if before < 0:
                before = line["tokens"]
            elif line["tokens"] > before:
                return before
    raise Failed("The job ended without more tokens.")


def _wait_for(job: Process, tokens: int) -> int:
    """Let it work until it reports so many tokens while it encodes."""
    for line in job.lines():
        if line.get("stage") == "encoding" and line["tokens"] >= tokens:
            return int(line["tokens"])
    raise Failed(f"The job ended before it had {tokens:,} tokens: there is too little text.")
