"""Runs that can no longer speak for themselves: whether the trainer is gone, and what it died of, in a sentence."""

import re
import shutil
import signal
import time
from pathlib import Path

from sqlite_utils import Database

from engine import causes, process, store
from engine.config import ConfigError, from_json
from engine.home import PROJECT, Home

STARTS = ("start", "resume")
"""Commands that the supervisor answers with a trainer."""
REQUESTS = ("stop", "pause", "unpause", "sample")
"""Commands for a trainer; they mean nothing to the next one of the same run."""
BANNER = "=== attempt"
"""Starts the line that separates the attempts in a run's log."""
ASKED_EXITS = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
LONGEST = 300
SILENT = 4.0
"""Seconds without a heartbeat after which a dead trainer is no longer left to its supervisor."""
UNCLAIMED = 5.0
"""Seconds after which a taken start that has no process counts as lost."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def lock_of(home: Home, run_id: str) -> Path:
    """The file that a run's trainer keeps locked while it lives."""
    return home.run(run_id) / "lock"


def is_lost(home: Home, db: Database, run: store.Row, watched: bool) -> bool:
    """Whether a run that has not ended has nobody left who could train it or end it.

    `watched`: another process supervises it; that one goes first, because it knows what its child died of.
    """
    if run["pid"] is not None:
        if process.alive(run["pid"], run["process_started_at"], run["boot_id"]):
            return False
        return not watched or silent(run)
    if watched or process.is_held(lock_of(home, run["id"])):
        return False
    start = store.last_command(db, run["id"], STARTS)
    return start is None or (start["taken_at"] is not None and abs(time.time() - start["taken_at"]) > UNCLAIMED)


def stop_command(db: Database, run_id: str) -> store.Row | None:
    """The newest request to stop that the present attempt of a run was given."""
    command = store.last_command(db, run_id, (*STARTS, "stop"))
    return command if command and command["kind"] == "stop" else None


def at_once(command: store.Row | None) -> bool:
    """Whether a stop request skips the save."""
    return command is not None and command["argument"] == "now"


def last_words(home: Home, log: Path) -> str:
    """The last line of the newest attempt in a log, without paths of this machine; empty when it said nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 16_384))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [_COLOUR.sub("", line).strip() for line in text.rpartition(BANNER)[2].splitlines()]
    if BANNER in text:
        lines = lines[1:]
    spoken = without_folders(home, next((line for line in reversed(lines) if line), ""))
    return spoken if len(spoken) <= LONGEST else spoken[:LONGEST] + "…"


def without_folders(home: Home, text: str) -> str:
    """A line without the paths of the home and the project."""
    for folder in (home.path, PROJECT):
        text = text.replace(f"{folder}/", "")
    return text


def silent(row: store.Row) -> bool:
    """Whether the process of a run or a job has not written for so long that a dead one is nobody's child."""
    return row["heartbeat_at"] is not None and abs(time.time() - row["heartbeat_at"]) > SILENT


def end_dead(
    home: Home,
    db: Database,
    run: store.Row,
    returncode: int | None = None,
    killed: str = "",
    before: causes.Kills | None = None,
) -> bool:
    """End a run whose trainer, the one named in `run`, is gone; False when it has ended itself or a newer one has it.

    `returncode` is known to the trainer's parent only, like the kernel's kills `before` it was started; `killed` is the
    sentence of the stop ladder that killed it. What the trainer left running is killed; a run that crashed may go on by
    itself.
    """
    if run["pid"] is not None:
        process.end_leftovers(run["pid"], run["id"])
    spoken, lacked = last_words(home, home.log(run["id"])), causes.lacked_memory(before, causes.kills())
    death = causes.explain_death(returncode, spoken, lacked, shutil.disk_usage(home.path).free)
    with store.writing(db):
        now = store.get_run(db, run["id"])
        same = (now["pid"], now["process_started_at"]) == (run["pid"], run["process_started_at"])
        if now["status"] not in store.ACTIVE or not same:
            return False
        status, error = _verdict(db, now, returncode, killed, death)
        store.end_run(db, run["id"], status, error)
        store.drop_commands(db, run["id"], REQUESTS, "the trainer had ended")
        store.add_event(db, run["id"], status, error or _quiet_stop(now), now["step"])
        if status == "crashed":
            _go_on(db, now, error or "")
    return True


def _go_on(db: Database, run: store.Row, error: str) -> None:
    """Resume a crashed run as often as its config allows without a person, unless a person had it hold or end."""
    if run["status"] in ("stopping", "paused"):
        return
    try:
        allowed, done = from_json(store.get_config(db, run["id"])).train.auto_resume, run["auto_resumes"]
    except ConfigError as reason:  # of a newer version, or damaged
        error += f" It does not go on by itself, because its settings cannot be read: {reason}"
        store.update_state(db, run["id"], error=error)
        return
    if not allowed:
        return
    if done >= allowed:
        error += f" It has gone on by itself {_times(done)} already: find the cause, then press Resume."
        store.update_state(db, run["id"], error=error)
        return
    try:
        store.reopen(db, run["id"], run["device"], auto_resumes=done + 1)
    except store.Refused as reason:
        store.add_event(db, run["id"], "resume", f"It does not go on by itself: {reason}", run["step"])
    else:
        message = f"It goes on by itself ({done + 1} of at most {_times(allowed)} without a person)."
        store.add_event(db, run["id"], "resume", message, run["step"])


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _verdict(db: Database, run: store.Row, returncode: int | None, killed: str, death: str) -> tuple[str, str | None]:
    """End status and error: what happened and what to do."""
    if killed:
        return "stopped", killed
    if run["status"] == "stopping" and _asked_for(db, run, returncode):
        return "stopped", None
    if run["pid"] is None:
        return "crashed", "The trainer was never started: the supervisor ended before it could do so. Press Resume."
    if run["boot_id"] != process.boot_id():
        return "crashed", (
            "The computer was restarted or switched off while this run was on. Resume goes on from the last checkpoint."
        )
    return "failed" if (returncode or 0) > 0 else "crashed", death


def _asked_for(db: Database, run: store.Row, returncode: int | None) -> bool:
    """Whether a stopping run's trainer did no more than what it was told."""
    unknown_but_harmless = returncode is None and _early(run)
    return unknown_but_harmless or returncode in ASKED_EXITS or at_once(stop_command(db, run["id"]))


def _early(run: store.Row) -> bool:
    return run["phase"] in ("", "starting", "data")


def _quiet_stop(run: store.Row) -> str:
    return "Stopped before training began." if _early(run) else "Stopped without a save; the last checkpoint counts."
