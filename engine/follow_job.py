"""From the start of a dataset job on the command line to its end: what is printed meanwhile, and the exit status."""

import shutil
import sys
import time
from typing import Any

from engine import preparing, store
from engine.follow import LINE_PERIOD, WATCH_PERIOD, print_json
from engine.home import Home
from engine.phrases import count, duration


def follow_job(home: Home, job: str, as_json: bool) -> int:
    """Show progress on stderr until the job has ended."""
    terminal = sys.stderr.isatty()
    now = preparing.status(home, job)
    doing, said = "", 0.0
    try:
        while now["status"] in store.OPEN_JOBS:
            if terminal:
                line = progress(now)[: shutil.get_terminal_size().columns - 1]
                print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
            elif now["stage"] != doing or time.monotonic() - said > LINE_PERIOD:
                doing, said = now["stage"], time.monotonic()
                print(progress(now), file=sys.stderr, flush=True)
            time.sleep(WATCH_PERIOD)
            now = preparing.status(home, job)
    except KeyboardInterrupt:
        print(
            f"\nPreparing {now['name']} goes on without you; `python -m engine prepare {now['name']}` shows it again, "
            f"with --stop it ends.",
            file=sys.stderr,
        )
        return 1
    if terminal:
        print("\r\x1b[K", end="", file=sys.stderr)
    return ended(now, as_json)


def ended(job: dict[str, Any], as_json: bool) -> int:
    """Say how a job ended; exit status 1 unless it finished or was stopped."""
    good = job["status"] in ("finished", "stopped")
    if as_json:
        print_json(job)
    elif job["status"] == "finished":
        print(
            f"{job['name']} is ready: {count(job['tokens'])} tokens of {job['documents']:,} documents, "
            f"made in {duration(job['elapsed_seconds'])}."
        )
    elif good:
        note = f" {job['error']}" if job["error"] else ""
        print(
            f"{job['name']} is stopped at {count(job['tokens'])} tokens.{note} "
            f"`python -m engine prepare {job['name']}` goes on, --discard removes what is made."
        )
    if not good:
        print(f"{job['name']} is {job['status']}: {job['error'] or 'no reason is known.'}", file=sys.stderr)
    return 0 if good else 1


def progress(job: dict[str, Any]) -> str:
    """One line on how far a job is."""
    said = [job["stage"] or job["status"]]
    if job["progress"] is not None:
        said.append(f"{job['progress']:.0%}")
    if job["tokens"]:
        said.append(f"{count(job['tokens'])} tokens")
    if job["tokens_per_second"]:
        said.append(f"{count(job['tokens_per_second'])} tok/s")
    if job["eta_seconds"] is not None:
        said.append(f"{duration(job['eta_seconds'])} to go")
    if job["stage"] != "encoding" and job["message"]:
        said.append(job["message"])
    return "  ".join(said)
