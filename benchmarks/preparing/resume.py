"""How long a job that was killed needs until it goes on."""

import time
from typing import Any

from benchmarks.preparing.process import Failed, Process, Spec


def go_on(spec: Spec, tokens: int, kills: int) -> dict[str, Any]:
    """Kill the job of `spec` with SIGKILL after `tokens` tokens and `kills` times after that, and start it again.

    The time is that from the start of a process until it has opened all it had and reports its first new work.
    Raises Failed where the job ends before it was killed.
    """
    job = Process(spec)
    try:
        written = _wait_for(job, tokens)
    finally:
        job.kill()
    seconds, saved = list[float](), list[int]()
    for _ in range(kills):
        start = time.monotonic()
        job = Process(spec)
        try:
            saved.append(_wait_for(job, 1))
            seconds.append(time.monotonic() - start)
        finally:
            job.kill()
    return {"tokens": written, "saved_tokens": min(saved), "seconds": max(seconds), "all_seconds": seconds}


def _wait_for(job: Process, tokens: int) -> int:
    """Let it work until it reports so many tokens while it encodes."""
    for line in job.lines():
        if line.get("stage") == "encoding" and line["tokens"] >= tokens:
            return int(line["tokens"])
    raise Failed(f"The job ended before it had {tokens:,} tokens: there is too little text.")
