"""What people ask of runs: start, stop, resume, pause, status. Requests are rows that supervisor and trainer act on."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from engine import alerts, jobs, money, process, store
from engine.config import from_json, load_preset
from engine.endings import STARTS, at_once, end_dead, is_lost, lock_of, stop_command
from engine.gpu import choose_device
from engine.gpu import default_device as default_device
from engine.home import PROJECT, Home
from engine.space import check_disk
from engine.volume import network_file_system

RESUME_WAIT = 30.0
"""Seconds that a resume waits for the run's last trainer to be gone, and a start for one that is stopping."""
RESTART = 5.0
"""Seconds between two supervisors started by readers; one needs half a second until it holds its lock."""
LABELS = ("name", "tags", "notes", "put_away_at")
STATUS = (
    *("id", *LABELS, "preset", "kind", "parent_run_id", "parent_step", "status", "phase", "message", "progress"),
    *("step", "total_steps", "tokens", "target_tokens", "train_loss", "val_loss", "tokens_per_second"),
    *("elapsed_seconds", "eta_seconds", "device", "attempt", "pid", "created_at", "started_at", "ended_at"),
    *("heartbeat_at", "error", "sweep"),
)


def open_home(home: Home) -> None:
    """Make runs.db or bring it up to date, then see to the runs in it: one that a restart of the machine interrupted
    ends as crashed, or goes on if its config says so.

    Raises StoreError where a database must have been there and is gone. Warns of a home on a network.
    """
    if kind := network_file_system(home.path):
        warnings.warn(
            f"This home lies on a network file system ({kind}), where SQLite's locks do not hold and rows can be "
            "lost; choose a folder on a disk of this machine with --home.",
            stacklevel=2,
        )
    trained = home.path / "checkpoints"
    if not home.database.exists() and trained.is_dir() and any(trained.iterdir()):
        raise store.StoreError(
            "runs.db is not there, but checkpoints/ is: put runs.db back, or move checkpoints/ away to begin anew."
        )
    store.migrate(home.database)
    db = store.connect(home.database)
    try:
        store.add_reference(db)
        reconcile(home, db)
    finally:
        db.close()


def start_run(
    home: Home, preset: str, name: str = "", overrides: Mapping[str, Any] | None = None, queue: bool = False
) -> str:
    """Begin a detached run of a preset and return its id; raises ConfigError or Refused.

    Waits up to 30 s for a run on the same device that is stopping; with `queue` the run waits in line instead, and
    begins once it is its turn.
    """
    from engine.data import check_available  # numpy and tokenizers: not for a status line

    config = load_preset(preset, overrides)
    device = choose_device(config.train.device)
    check_available(home, config)
    check_disk(home, config)
    db = store.connect(home.database, durable=True)
    try:
        if not queue:
            wait_for_device(home, db, device)
        run_id = store.create_run(db, config, preset, name or next_name(db, preset), device, queue=queue)
    finally:
        db.close()
    ensure_supervisor(home)
    return run_id


def stop_run(home: Home, run: str, now: bool = False) -> None:
    """Ask a run to save and end, or with `now` to end without saving; one in line leaves it. Returns at once."""
    db = store.connect(home.database, durable=True)
    try:
        reconcile(home, db)
        run_id = store.find_run(db, run)["id"]
        with store.writing(db):
            found = store.get_run(db, run_id)
            if found["status"] not in store.OPEN:
                raise store.Refused(f"{found['name']} has ended already: it is {found['status']}.")
            if not _ask_to_stop(db, found, now):
                return
    finally:
        db.close()
    process.send(signal.SIGTERM, found["pid"], found["process_started_at"], found["boot_id"])
    ensure_supervisor(home)


def resume_run(home: Home, run: str, queue: bool = False) -> None:
    """Begin one more attempt of a run that ended early, after up to 30 s for the last trainer to be gone.

    A paused run goes on. With `queue` the run waits in line for its device and goes on once it is its turn.
    """
    db = store.connect(home.database, durable=True)
    try:
        found = store.find_run(db, run)
        if found["status"] == "paused":
            store.give_command(db, found["id"], "unpause")
            return
        money.refuse_if_used_up(found, stop_command(db, found["id"]), time.time())
        store.refuse_if_elsewhere(found)
        until = time.monotonic() + RESUME_WAIT
        while _still_there(home, db, found["id"]):
            if time.monotonic() > until:
                raise store.Refused(f"{found['name']} is still ending; resume it when it has stopped.")
            time.sleep(0.05)
        config = from_json(store.get_config(db, found["id"])) if found["kind"] == "trained" else None
        device = choose_device(config.train.device) if config else found["device"]
        store.request_resume(db, found["id"], device, queue=queue)
    finally:
        db.close()
    ensure_supervisor(home)


def pause_run(home: Home, run: str) -> None:
    """Ask a training run to hold still, keeping its process and memory."""
    _command_running(home, run, "pause")


def unpause_run(home: Home, run: str) -> None:
    """Ask a paused run to go on."""
    _command_running(home, run, "unpause")


def wait_until_ended(home: Home, run: str, timeout: float) -> store.Row:
    """The run's row once it has ended and its trainer is gone; raises Refused after `timeout` seconds."""
    db = store.connect(home.database)
    try:
        run_id = store.find_run(db, run)["id"]
        until = time.monotonic() + timeout
        while True:
            reconcile(home, db)
            found = store.get_run(db, run_id)
            if found["status"] not in store.OPEN and not process.is_held(lock_of(home, run_id)):
                return found
            if time.monotonic() > until:
                raise store.Refused(f"{found['name']} is still {found['status']} after {timeout:.0f} s.")
            time.sleep(0.05)
    finally:
        db.close()


def run_status(home: Home, run: str) -> dict[str, Any]:
    """What a run is doing, made true before it is read; the pid only while there is a trainer; store.expert_load."""
    db = store.connect(home.database)
    try:
        reconcile(home, db)
        found = store.find_run(db, run)
        return status_of(found) | {"expert_load": store.expert_load(db, found["id"])}
    finally:
        db.close()


def status_of(run: store.Row) -> dict[str, Any]:
    """The columns of a run that `run_status` shows, how often it reads its text, and what it costs."""
    pid = run["pid"] if run["status"] in store.ACTIVE else None
    costs = money.figures(run, time.time())
    return {key: run[key] for key in STATUS} | {"pid": pid, "money": costs} | store.epochs_of(run)


def reconcile(home: Home, db: Database) -> None:
    """Make statuses true: runs and jobs whose process is gone end as crashed or go on by themselves; others get a
    supervisor.

    Cheap enough before every read. Not for the supervisor or a trainer, which would lose their locks by it.
    """
    runs, working = _active_runs(db), bool(store.open_jobs(db))
    waiting = bool(store.lines_that_move(db) or alerts.anything_waits(db))
    if not (runs or working or waiting):
        return
    watched = process.is_held(home.supervisor_lock)
    working = working and jobs.reconcile(home, db, watched)
    lost = [run for run in runs if is_lost(home, db, run, watched)]
    for run in lost:
        end_dead(home, db, run)
    if lost:
        runs = _active_runs(db)
        waiting = waiting or alerts.anything_waits(db)
    if (runs or working or waiting) and not watched and not _just_started(home):
        start_supervisor(home)


def ensure_supervisor(home: Home) -> None:
    """Start this home's supervisor unless it lives."""
    if not process.is_held(home.supervisor_lock):
        start_supervisor(home)


def start_supervisor(home: Home) -> None:
    """Start a supervisor that outlives this process; where there is one already, the new one ends by itself."""
    with home.supervisor_log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "engine.supervisor", "--home", str(home.path)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        os.utime(log.fileno())  # its age tells other readers that one is on its way
    # Somebody has to take note of its end while this process lives, or it stays as a zombie.
    threading.Thread(target=child.wait, name="supervisor-reaper", daemon=True).start()


def _ask_to_stop(db: Database, run: store.Row, now: bool) -> bool:
    """Leave the rows of a stop request; False when nobody has to be told any more."""
    if store.leave_line(db, run["id"]):
        return False
    if store.drop_commands(db, run["id"], STARTS, "stopped before it began"):
        store.end_run(db, run["id"], "stopped")
        store.add_event(db, run["id"], "stopped", "Stopped before the trainer was started.", run["step"])
        return False
    if run["status"] == "stopping" and (not now or at_once(stop_command(db, run["id"]))):
        return False
    store.update_state(db, run["id"], status="stopping")
    store.give_command(db, run["id"], "stop", "now" if now else "")
    message = "Asked to end at once, without a save." if now else "Asked to save and stop."
    store.add_event(db, run["id"], "stop", message, run["step"])
    return True


def _command_running(home: Home, run: str, kind: str) -> None:
    db = store.connect(home.database)
    try:
        reconcile(home, db)
        found = store.find_run(db, run)
        if found["status"] not in ("running", "paused"):
            raise store.Refused(f"{found['name']} is {found['status']}; only a run that is training can be {kind}d.")
        store.drop_commands(db, found["id"], ("pause", "unpause"), f"{kind} came after it")
        store.give_command(db, found["id"], kind)
    finally:
        db.close()


def _still_there(home: Home, db: Database, run_id: str) -> bool:
    """Whether the last trainer of a run that is ending has not gone yet."""
    reconcile(home, db)
    run = store.get_run(db, run_id)
    if run["status"] not in store.OPEN:
        return process.is_held(lock_of(home, run_id))
    return _is_ending(run)


def wait_for_device(home: Home, db: Database, device: str) -> None:
    """Give a run that is stopping on `device` the time to leave; whoever stays is refused by the database."""
    until = time.monotonic() + RESUME_WAIT
    while True:
        reconcile(home, db)
        leaving = [run for run in _active_runs(db) if run["device"] == device and _is_ending(run)]
        if not leaving or time.monotonic() > until:
            return
        time.sleep(0.05)


def _is_ending(run: store.Row) -> bool:
    dead = run["pid"] is not None and not process.alive(run["pid"], run["process_started_at"], run["boot_id"])
    return dead or run["status"] == "stopping"


def _active_runs(db: Database) -> list[store.Row]:
    return [run for run in store.open_runs(db) if run["status"] in store.ACTIVE]


def _just_started(home: Home) -> bool:
    try:
        return abs(time.time() - home.supervisor_log.stat().st_mtime) < RESTART
    except FileNotFoundError:
        return False


def next_name(db: Database, stem: str) -> str:
    """`stem` with the number after the greatest that a run of this home has."""
    pattern = re.compile(re.escape(stem) + r"-(\d{1,9})")
    numbers = [int(match[1]) for run in store.list_runs(db) if (match := pattern.fullmatch(run["name"]))]
    return f"{stem}-{max(numbers, default=0) + 1}"
