"""How a run ends that can no longer speak for itself: what its trainer died of, in a sentence."""

import re
import signal

from sqlite_utils import Database

from engine import process, store
from engine.home import PROJECT, Home

REQUESTS = ("stop", "pause", "unpause", "sample")
"""Commands for a trainer; they mean nothing to the next one of the same run."""
BANNER = "=== attempt"
"""Starts the line that separates the attempts in a run's log."""
ASKED_EXITS = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
LONGEST = 300
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def last_words(home: Home, run_id: str) -> str:
    """The last line of the newest attempt in a run's log, without paths of this machine; empty when it said nothing."""
    try:
        with home.log(run_id).open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 16_384))
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [_COLOUR.sub("", line).strip() for line in text.rpartition(BANNER)[2].splitlines()]
    if BANNER in text:
        lines = lines[1:]
    spoken = next((line for line in reversed(lines) if line), "")
    for folder in (home.path, PROJECT):
        spoken = spoken.replace(f"{folder}/", "")
    return spoken if len(spoken) <= LONGEST else spoken[:LONGEST] + "…"


def end_dead(home: Home, db: Database, run: store.Row, returncode: int | None = None, killed: str = "") -> bool:
    """End a run whose trainer, the one named in `run`, is gone; False when it has ended itself or a newer one has it.

    `returncode` is known to the trainer's parent only; `killed` is the sentence of the stop ladder that killed it.
    """
    spoken = last_words(home, run["id"])
    with store.writing(db):
        now = store.get_run(db, run["id"])
        same = (now["pid"], now["process_started_at"]) == (run["pid"], run["process_started_at"])
        if now["status"] not in store.ACTIVE or not same:
            return False
        status, error = _verdict(db, now, returncode, killed, spoken)
        store.end_run(db, run["id"], status, error)
        store.drop_commands(db, run["id"], REQUESTS, "the trainer had ended")
        store.add_event(db, run["id"], status, error or _quiet_stop(now), now["step"])
    return True


def _verdict(db: Database, run: store.Row, returncode: int | None, killed: str, spoken: str) -> tuple[str, str | None]:
    """End status and error sentence."""
    if killed:
        return "stopped", killed
    if run["status"] == "stopping" and _asked_for(db, run, returncode):
        return "stopped", None
    if run["pid"] is None:
        return "crashed", "The trainer was never started: the supervisor ended before it could do so."
    if run["boot_id"] != process.boot_id():
        return "crashed", "The computer was restarted or switched off while this run was on."
    cause = process.describe_exit(returncode or 0)
    return ("failed" if (returncode or 0) > 0 else "crashed",
            f"The trainer {cause}; its last words: {spoken}" if spoken else f"The trainer {cause}.")


def _asked_for(db: Database, run: store.Row, returncode: int | None) -> bool:
    """Whether a stopping run's trainer did no more than what it was told."""
    command = store.last_command(db, run["id"], "stop")
    at_once = command is not None and command["argument"] == "now"
    unknown_but_harmless = returncode is None and _early(run)
    return at_once or unknown_but_harmless or returncode in ASKED_EXITS


def _early(run: store.Row) -> bool:
    return run["phase"] in ("", "starting", "data")


def _quiet_stop(run: store.Row) -> str:
    return "Stopped before training began." if _early(run) else "Stopped without a save; the last checkpoint counts."
