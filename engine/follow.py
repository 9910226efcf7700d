"""From a start on the command line to the run's end: what is printed meanwhile, and the exit status."""

import argparse
import json
import sys
import time
from contextlib import closing
from typing import Any

from engine import launch, store
from engine.home import Home
from engine.ladder import LONGER, patience
from engine.phrases import age, count, duration, loss

STOP_WAIT = 70.0
"""Seconds until a run that is ending is given up, beyond those after which the supervisor kills."""
GOOD_ENDS = ("finished", "stopped")
WATCH_PERIOD, LINE_PERIOD = 0.5, 5.0
"""Seconds between two looks at a run that is followed, and between two lines about it in one phase."""


def begun(home: Home, run_id: str, given: argparse.Namespace) -> int:
    """Say that a trainer is on its way, or follow it to the end."""
    if given.wait:
        return follow(home, run_id, given)
    if given.json:
        return print_json(launch.run_status(home, run_id))
    print(run_id)
    return 0


def follow(home: Home, run_id: str, given: argparse.Namespace) -> int:
    """Print progress on stderr until the run has ended."""
    if not given.json:
        print(run_id, flush=True)
    now = launch.run_status(home, run_id)
    doing, said = "", 0.0
    try:
        while now["status"] in store.OPEN:
            if now["status"] + now["phase"] != doing or time.monotonic() - said > LINE_PERIOD:
                doing, said = now["status"] + now["phase"], time.monotonic()
                print(_progress(now), file=sys.stderr, flush=True)
            time.sleep(WATCH_PERIOD)
            now = launch.run_status(home, run_id)
    except KeyboardInterrupt:
        print(f"\n{now['name']} goes on without you; `python -m engine stop {now['name']}` ends it.", file=sys.stderr)
        return 1
    return ended(end_of(home, run_id), given)


def end_of(home: Home, run: str) -> dict[str, Any]:
    """The status of a run that is ending, once it has."""
    with closing(store.connect(home.database)) as db:
        seconds = LONGER * patience(store.find_run(db, run)) + STOP_WAIT
    return launch.status_of(launch.wait_until_ended(home, run, seconds))


def _progress(run: dict[str, Any]) -> str:
    """One line on what a run does now."""
    if run["status"] == "queued":
        return f"in line for {run['device']}; `python -m engine queue` shows it"
    if run["status"] == "preparing":
        share = "" if run["progress"] is None else f" {run['progress']:.0%}"
        return f"preparing: {run['message'] or 'starting'}{share}"
    speed = f"  {count(run['tokens_per_second'])} tok/s" if run["tokens_per_second"] else ""
    left = "" if run["eta_seconds"] is None else f"  {duration(run['eta_seconds'])} to go"
    return (
        f"{run['phase'] or run['status']}: step {run['step']:,}/{run['total_steps']:,}"
        f"  loss {loss(run['train_loss'])}  unseen {loss(run['val_loss'])}{speed}{left}"
    )


def ended(run: dict[str, Any], given: argparse.Namespace) -> int:
    """Print how a run ended; exit status 1 unless it finished or was stopped."""
    good = run["status"] in GOOD_ENDS
    if given.json:
        print_json(run)
    elif good:
        note = f": {run['error']}" if run["error"] else "."
        print(
            f"{run['name']} is {run['status']} at step {run['step']:,}, {age(run['tokens'])}{note}",
            file=sys.stderr if getattr(given, "wait", False) else sys.stdout,
        )
    if not good:
        print(f"{run['name']} is {run['status']}: {run['error'] or 'no reason is known.'}", file=sys.stderr)
    return 0 if good else 1


def print_json(value: Any) -> int:
    """Print data for programs; exit status 0."""
    print(json.dumps(value))
    return 0
