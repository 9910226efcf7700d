"""Runs, their state, and the commands people give them. Functions take an open database first."""

import json
import math
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from engine.config import RunConfig
from engine.store.connect import Refused, Row, insert, rows, writing
from engine.store.machine import settled
from engine.store.migrations import ACTIVE

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
OPEN = (*ACTIVE, "queued")
"""Statuses of a run that has not ended."""
RESUMABLE = ("stopped", "crashed", "failed", "diverged")

_RUN = """
    SELECT runs.id, name, coalesce(tags, '[]') AS tags, coalesce(notes, '') AS notes, put_away_at,
           preset, kind, parent_run_id, parent_step, parameters,
           coalesce(end_tokens, target_tokens) AS target_tokens, coalesce(end_step, total_steps) AS total_steps,
           dataset, note, created_at, status, phase, message, progress, attempt, device, environment, pid,
           process_started_at, boot_id, step, tokens, train_loss, val_loss, tokens_per_second, elapsed_seconds,
           eta_seconds, heartbeat_at, started_at, ended_at, error, save_seconds, auto_resumes, place, queued_at, sweep,
           process_seconds, joules, unmeasured_seconds, metered_at, price_per_hour, price_per_kwh, given_watts,
           currency, budget
    FROM runs JOIN run_state ON run_state.run_id = runs.id LEFT JOIN run_labels ON run_labels.run_id = runs.id
"""


def check_run_name(name: str) -> None:
    """Raise Refused for what cannot be the name of a run."""
    if not NAME.fullmatch(name):
        raise Refused(
            f"The name {name[:70]!r} must have 1 to 64 letters, digits or . _ - and start with a letter or digit."
        )


def create_run(db: Database, config: RunConfig, preset: str, name: str, device: str, *, queue: bool = False) -> str:
    """Insert a run and the command that starts it, unless `device` is taken, or with `queue` a run at the end of its
    line; returns the run's id."""
    with writing(db):
        return add_run(db, config, preset, name, device, queue=queue)


def add_run(
    db: Database,
    config: RunConfig,
    preset: str,
    name: str,
    device: str,
    *,
    queue: bool = False,
    sweep: str | None = None,
) -> str:
    """What `create_run` does, inside a transaction of the caller's; `sweep`: the one it belongs to."""
    check_run_name(name)
    run_id = secrets.token_hex(5)
    if not queue:
        refuse_second_run(db, device)
    insert(
        db,
        "runs",
        {
            "id": run_id,
            "name": name,
            "preset": preset,
            "config": config.to_json(),
            "parameters": config.model.parameters,
            "target_tokens": config.total_steps * config.train.batch_tokens,
            "total_steps": config.total_steps,
            "dataset": config.data.dataset,
            "created_at": time.time(),
            "sweep": sweep,
        },
    )
    insert(db, "run_state", {"run_id": run_id, "status": "queued", "device": device})
    wait_in_line(db, run_id) if queue else wake(db, run_id, "start")
    return run_id


def wait_in_line(db: Database, run_id: str) -> None:
    """Put a run behind all that wait, inside a transaction of the caller's."""
    last = rows(db, "SELECT coalesce(max(place), 0) AS place FROM run_state")[0]["place"]
    update_state(db, run_id, status="queued", phase="", message="", place=last + 1, queued_at=time.time())


def wake(db: Database, run_id: str, kind: str) -> None:
    """Leave the command, `start` or `resume`, for a run's next trainer, inside a transaction of the caller's."""
    update_state(
        db, run_id, status="preparing", phase="starting", message="Waking the trainer", place=None, queued_at=None
    )
    insert(db, "commands", {"run_id": run_id, "kind": kind, "created_at": time.time()})


def request_resume(db: Database, run_id: str, device: str, *, queue: bool = False) -> None:
    """Ask for one more attempt of an ended run, with `queue` at the end of its device's line; refused in a sentence
    where that makes no sense."""
    with writing(db):
        reopen(db, run_id, device, queue=queue)


def reopen(db: Database, run_id: str, device: str, auto_resumes: int = 0, *, queue: bool = False) -> None:
    """What `request_resume` does, inside a transaction of the caller's; `auto_resumes`: how often without a person."""
    run = get_run(db, run_id)
    refuse_if_elsewhere(run)
    if run["status"] not in RESUMABLE:
        raise Refused(
            f"{run['name']} is {run['status']}; only a run that has ended before its last step can be resumed."
        )
    if not queue:
        refuse_second_run(db, device)
    db.conn.execute("UPDATE run_labels SET put_away_at = NULL WHERE run_id = ?", [run_id])
    update_state(
        db,
        run_id,
        progress=None,
        error=None,
        ended_at=None,
        pid=None,
        heartbeat_at=None,
        device=device,
        auto_resumes=auto_resumes,
        metered_at=None,
        **settled(run),
    )
    wait_in_line(db, run_id) if queue else wake(db, run_id, "resume")


def refuse_if_elsewhere(run: Row) -> None:
    """Raise Refused for a run that came in a capsule: its text, its optimizer and its place in both are not here."""
    if run["kind"] == "imported":
        raise Refused(f"{run['name']} was trained elsewhere and came here; it cannot go on in this home.")


def refuse_second_run(db: Database, device: str) -> None:
    """Raise Refused when another run owns `device` (the index in the schema is the last guard)."""
    marks = ", ".join("?" for _ in ACTIVE)
    for other in rows(db, f"{_RUN} WHERE device = ? AND status IN ({marks})", [device, *ACTIVE]):
        raise Refused(
            f"{other['name']} is {other['status']} on {device}; stop it first, or wait until it has finished, or put "
            "this one in line behind it (--queue)."
        )


def runs_where(db: Database, condition: str, values: Sequence[Any] = ()) -> list[Row]:
    """The runs that meet a condition in SQL, which may end with an order; for this package alone."""
    return [_decoded(row) for row in rows(db, f"{_RUN} WHERE {condition}", values)]


def list_runs(db: Database) -> list[Row]:
    """Every run with its state, newest first; the published reference last."""
    return [_decoded(row) for row in rows(db, f"{_RUN} ORDER BY kind = 'published', created_at DESC, runs.rowid DESC")]


def open_runs(db: Database) -> list[Row]:
    """The runs that have not ended, oldest first."""
    marks = ", ".join("?" for _ in OPEN)
    return runs_where(db, f"status IN ({marks}) ORDER BY runs.rowid", OPEN)


def get_run(db: Database, run_id: str) -> Row:
    """One run with its state by exact id; raises Refused when there is none."""
    found = rows(db, f"{_RUN} WHERE runs.id = ?", [run_id])
    if not found:
        raise Refused(f"There is no run {run_id[:80]!r}.")
    return _decoded(found[0])


def find_run(db: Database, text: str) -> Row:
    """The run that `text` means: an id, a unique prefix of one, or a name (the newest of that name)."""
    runs = list_runs(db)
    matches = [run for run in runs if run["id"] == text] or [run for run in runs if run["name"] == text][:1]
    if not matches and text:
        matches = [run for run in runs if run["id"].startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise Refused(f"{text[:80]!r} is the start of {len(matches)} run ids; give more of it.")
    raise Refused(f"There is no run {text[:80]!r}; `python -m engine runs` lists them.")


def epochs_of(run: Row) -> Row:
    """`epoch`: the time, from 1, that a run reads its text now; `epochs`: how often it will have read it in the end.

    Both None before it has trained.
    """
    whole = run["environment"].get("epoch_tokens")
    if not whole:
        return {"epoch": None, "epochs": None}
    before = run["environment"].get("text_from", 0)  # of a fork: read from another text
    tokens, target = run["tokens"] - before, run["target_tokens"] - before
    return {"epoch": max(1, math.ceil(tokens / whole)), "epochs": round(target / whole, 2)}


def get_config(db: Database, run_id: str) -> str:
    """The immutable config snapshot as JSON."""
    found = rows(db, "SELECT config FROM runs WHERE id = ?", [run_id])
    if not found:
        raise Refused(f"There is no run {run_id[:80]!r}.")
    return str(found[0]["config"])


def get_configs(db: Database, run_ids: Sequence[str]) -> dict[str, str]:
    """The snapshots of several runs by id; those that are not there are left out."""
    marks = ", ".join("?" for _ in run_ids)
    return {row["id"]: row["config"] for row in rows(db, f"SELECT id, config FROM runs WHERE id IN ({marks})", run_ids)}


def update_state(db: Database, run_id: str, **values: Any) -> None:
    """Overwrite some columns of a run's state; `environment` may be a dict."""
    if isinstance(values.get("environment"), dict):
        values["environment"] = json.dumps(values["environment"])
    names = ", ".join(f"{name} = :{name}" for name in values)
    db.conn.execute(f"UPDATE run_state SET {names} WHERE run_id = :run_id", values | {"run_id": run_id})


def report_state(db: Database, run_id: str, **values: Any) -> None:
    """The same for what a trainer says of itself: a run that was asked to stop goes on being `stopping`."""
    if rows(db, "SELECT 1 FROM run_state WHERE run_id = ? AND status = 'stopping'", [run_id]):
        values |= {"status": "stopping"}
    update_state(db, run_id, **values)


def end_run(
    db: Database,
    run_id: str,
    status: str,
    error: str | None = None,
    *,
    only_from: tuple[str, ...] = OPEN,
    attempt: int | None = None,
) -> bool:
    """Move a run that has not ended to an end status; False when it had ended already or a newer attempt runs."""
    marks = ", ".join("?" for _ in only_from)
    sql = f"""UPDATE run_state SET status = ?, phase = '', message = '', progress = NULL, error = ?, ended_at = ?,
              eta_seconds = NULL, place = NULL, queued_at = NULL WHERE run_id = ? AND status IN ({marks})"""
    values: list[Any] = [status, error, time.time(), run_id, *only_from]
    if attempt is not None:
        sql, values = sql + " AND attempt = ?", [*values, attempt]
    ended = bool(db.conn.execute(sql, values).rowcount)
    if ended:  # nobody is left who could ask its prompts
        drop_commands(db, run_id, ("sample",), "the run ended first", also_taken=True)
    return ended


def give_command(db: Database, run_id: str, kind: str, argument: str = "") -> int:
    """Leave a command for the run's trainer; returns the command's id."""
    return insert(db, "commands", {"run_id": run_id, "kind": kind, "argument": argument, "created_at": time.time()})


def take_commands(db: Database, kinds: tuple[str, ...], run_id: str | None = None) -> list[Row]:
    """Stamp and return the waiting commands of these kinds, oldest first; each is taken exactly once."""
    marks = ", ".join("?" for _ in kinds)
    where, values = f"taken_at IS NULL AND kind IN ({marks})", list(kinds)
    if run_id is not None:
        where, values = where + " AND run_id = ?", [*values, run_id]
    if not rows(db, f"SELECT 1 FROM commands WHERE {where} LIMIT 1", values):
        return []
    with writing(db):
        taken = rows(db, f"SELECT * FROM commands WHERE {where} ORDER BY id", values)
        for command in taken:
            db.conn.execute("UPDATE commands SET taken_at = ? WHERE id = ?", [time.time(), command["id"]])
    return taken


def waiting_commands(db: Database, kinds: tuple[str, ...]) -> list[Row]:
    """The commands of these kinds that nobody has taken, oldest first."""
    marks = ", ".join("?" for _ in kinds)
    return rows(db, f"SELECT * FROM commands WHERE taken_at IS NULL AND kind IN ({marks}) ORDER BY id", kinds)


def last_command(db: Database, run_id: str, kinds: tuple[str, ...]) -> Row | None:
    """The newest command of these kinds that a run was given, taken or not."""
    marks = ", ".join("?" for _ in kinds)
    found = rows(
        db, f"SELECT * FROM commands WHERE run_id = ? AND kind IN ({marks}) ORDER BY id DESC LIMIT 1", [run_id, *kinds]
    )
    return found[0] if found else None


def drop_commands(db: Database, run_id: str, kinds: tuple[str, ...], result: str, *, also_taken: bool = False) -> int:
    """Finish a run's waiting commands of these kinds unused, or all that are not done; returns how many there were."""
    marks, now = ", ".join("?" for _ in kinds), time.time()
    return int(
        db.conn.execute(
            f"UPDATE commands SET taken_at = ifnull(taken_at, ?), done_at = ?, result = ? WHERE run_id = ? "
            f"AND {'done_at' if also_taken else 'taken_at'} IS NULL AND kind IN ({marks})",
            [now, now, result, run_id, *kinds],
        ).rowcount
    )


def finish_command(db: Database, command_id: int, result: str = "") -> None:
    """Stamp a command as done."""
    db.conn.execute("UPDATE commands SET done_at = ?, result = ? WHERE id = ?", [time.time(), result, command_id])


def _decoded(row: Row) -> Row:
    return row | {"environment": json.loads(row["environment"]), "tags": json.loads(row["tags"])}
