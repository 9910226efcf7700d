"""Jobs: how each dataset was or is being made. One row a dataset; functions take an open database first."""

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, Row, insert, rows

OPEN_JOBS = ("waiting", "running", "stopping")
"""Statuses of a job that has not ended."""
RESUMABLE_JOBS = ("stopped", "failed", "crashed")

_JOB = "SELECT * FROM jobs"


def create_job(
    db: Database, name: str, recipe: str, roots: Sequence[str] | None = None, target_tokens: int | None = None
) -> str:
    """Insert a waiting job, in a transaction of the caller's; returns its id.

    `recipe` is JSON. The job that made a dataset of this name before gives way; it must have ended.
    """
    old = job_of(db, name)
    if old:
        assert old["status"] not in OPEN_JOBS, "two jobs would make one dataset"
        remove_job(db, old["id"])
    job_id = secrets.token_hex(5)
    insert(
        db,
        "jobs",
        {
            "id": job_id,
            "name": name,
            "recipe": recipe,
            "roots": _json(roots),
            "status": "waiting",
            "target_tokens": target_tokens,
            "created_at": time.time(),
        },
    )
    return job_id


def list_jobs(db: Database) -> list[Row]:
    """Every job, newest first."""
    return [_decoded(row) for row in rows(db, f"{_JOB} ORDER BY created_at DESC, rowid DESC")]


def open_jobs(db: Database) -> list[Row]:
    """The jobs that have not ended, oldest first."""
    marks = ", ".join("?" for _ in OPEN_JOBS)
    return [
        _decoded(row) for row in rows(db, f"{_JOB} WHERE status IN ({marks}) ORDER BY created_at, rowid", OPEN_JOBS)
    ]


def get_job(db: Database, job_id: str) -> Row:
    """One job by its id; raises Refused when there is none."""
    found = rows(db, f"{_JOB} WHERE id = ?", [job_id])
    if not found:
        raise Refused(f"There is no job {job_id[:80]!r}; it may have been discarded.")
    return _decoded(found[0])


def job_of(db: Database, name: str) -> Row | None:
    """The job of the dataset of that name, where there is one."""
    found = rows(db, f"{_JOB} WHERE name = ?", [name])
    return _decoded(found[0]) if found else None


def find_job(db: Database, text: str) -> Row:
    """The job that `text` means: its id, or the name of its dataset; raises Refused when there is none."""
    found = rows(db, f"{_JOB} WHERE id = ? OR name = ? ORDER BY id = ? DESC", [text, text, text])
    if not found:
        raise Refused(f"There is no job {text[:80]!r}; `python -m engine datasets` lists them.")
    return _decoded(found[0])


def update_job(db: Database, job_id: str, **values: Any) -> None:
    """Overwrite some columns of a job; `dropped` is a dict, `roots` a list or None."""
    values |= {key: _json(values[key]) for key in ("roots", "dropped") if key in values}
    names = ", ".join(f"{name} = :{name}" for name in values)
    db.conn.execute(f"UPDATE jobs SET {names} WHERE id = :id", values | {"id": job_id})


def end_job(db: Database, job_id: str, status: str, error: str | None = None, *, attempt: int | None = None) -> bool:
    """Move a job that has not ended to an end status; False when it had ended already or a newer attempt works."""
    marks = ", ".join("?" for _ in OPEN_JOBS)
    sql = f"""UPDATE jobs SET status = ?, stage = '', message = '', error = ?, ended_at = ?, eta_seconds = NULL,
              progress = CASE ? WHEN 'finished' THEN 1.0 ELSE progress END WHERE id = ? AND status IN ({marks})"""
    values: list[Any] = [status, error, time.time(), status, job_id, *OPEN_JOBS]
    if attempt is not None:
        sql, values = sql + " AND attempt = ?", [*values, attempt]
    return bool(db.conn.execute(sql, values).rowcount)


def reopen_job(db: Database, job_id: str, message: str = "", auto_resumes: int = 0) -> None:
    """Let a job that ended early wait for its next attempt, in a transaction of the caller's.

    `auto_resumes`: how often without a person. Raises Refused where that makes no sense.
    """
    job = get_job(db, job_id)
    if job["status"] not in RESUMABLE_JOBS:
        raise Refused(f"The job of {job['name']} is {job['status']}; only one that has ended early can be resumed.")
    update_job(
        db,
        job_id,
        status="waiting",
        stage="",
        message=message,
        error=None,
        ended_at=None,
        stop_requested_at=None,
        tokens_per_second=None,
        eta_seconds=None,
        pid=None,
        heartbeat_at=None,
        auto_resumes=auto_resumes,
    )


def remove_job(db: Database, job_id: str) -> None:
    """Forget a job."""
    db.conn.execute("DELETE FROM jobs WHERE id = ?", [job_id])


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _decoded(row: Row) -> Row:
    """`recipe` stays JSON (engine.data.recipe reads it); `roots` and `dropped` become values."""
    roots = None if row["roots"] is None else json.loads(row["roots"])
    return row | {"roots": roots, "dropped": json.loads(row["dropped"])}
