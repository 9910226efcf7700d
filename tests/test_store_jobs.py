"""Rows of dataset jobs: one a dataset, in a state that makes sense."""

import pytest
from sqlite_utils import Database

from engine import store
from engine.store import Refused


def test_a_job_begins_waiting(db: Database) -> None:
    job = store.create_job(db, "mine", '{"a": 1}', ["/x", "/ü"], 500)
    row = store.get_job(db, job)
    assert len(job) == 10 and row == store.job_of(db, "mine") == store.find_job(db, job) == store.find_job(db, "mine")
    assert (row["status"], row["recipe"], row["roots"], row["target_tokens"]) == (
        "waiting",
        '{"a": 1}',
        ["/x", "/ü"],
        500,
    )
    assert (row["dropped"], row["attempt"], row["tokens"], row["error"]) == ({}, 0, 0, None)
    assert store.job_of(db, "other") is None


def test_one_job_a_dataset(db: Database) -> None:
    first = store.create_job(db, "mine", "{}")
    store.end_job(db, first, "finished")
    second = store.create_job(db, "mine", "{}")
    assert [job["id"] for job in store.list_jobs(db)] == [second]
    with pytest.raises(store.DatabaseError, match="UNIQUE"):
        db.execute("INSERT INTO jobs (id, name, recipe, status, created_at) VALUES ('x', 'mine', '', 'waiting', 1.0)")


def test_jobs_are_listed_newest_first_and_open_ones_oldest_first(db: Database) -> None:
    ids = [store.create_job(db, name, "{}") for name in "abc"]
    assert [job["id"] for job in store.list_jobs(db)] == ids[::-1]
    assert [job["id"] for job in store.open_jobs(db)] == ids
    store.end_job(db, ids[1], "stopped")
    assert [job["name"] for job in store.open_jobs(db)] == ["a", "c"]


def test_a_job_ends_once(db: Database) -> None:
    job = store.create_job(db, "mine", "{}")
    store.update_job(db, job, status="running", stage="encoding", message="x", progress=0.5, eta_seconds=3.0, attempt=2)
    assert not store.end_job(db, job, "failed", "late", attempt=1)
    assert store.end_job(db, job, "failed", "The source has no text.", attempt=2)
    assert not store.end_job(db, job, "finished")
    row = store.get_job(db, job)
    assert (row["status"], row["error"], row["progress"]) == ("failed", "The source has no text.", 0.5)
    assert (row["stage"], row["message"], row["eta_seconds"]) == ("", "", None) and row["ended_at"]


def test_a_finished_job_is_done_in_full(db: Database) -> None:
    job = store.create_job(db, "mine", "{}")
    store.end_job(db, job, "finished")
    assert store.get_job(db, job)["progress"] == 1.0


def test_only_what_ended_early_is_reopened_and_keeps_what_it_has(db: Database) -> None:
    job = store.create_job(db, "mine", "{}")
    with pytest.raises(Refused, match="The job of mine is waiting; only one that has ended early"):
        store.reopen_job(db, job)
    store.update_job(db, job, tokens=70, dropped={"zu kurz": 2}, pid=5, stop_requested_at=1.0, attempt=3)
    store.end_job(db, job, "crashed", "why")
    store.reopen_job(db, job, "again", auto_resumes=2)
    row = store.get_job(db, job)
    assert (row["status"], row["message"], row["auto_resumes"], row["error"]) == ("waiting", "again", 2, None)
    assert (row["tokens"], row["dropped"], row["attempt"]) == (70, {"zu kurz": 2}, 3)
    assert (row["pid"], row["stop_requested_at"], row["ended_at"]) == (None, None, None)
    store.end_job(db, job, "finished")
    with pytest.raises(Refused, match="is finished"):
        store.reopen_job(db, job)


def test_what_is_not_there_is_a_sentence(db: Database) -> None:
    job = store.create_job(db, "mine", "{}")
    store.remove_job(db, job)
    for look in (store.get_job, store.find_job):
        with pytest.raises(Refused, match="There is no job"):
            look(db, job)
    assert store.job_of(db, "mine") is None and not store.end_job(db, job, "failed")


def test_an_id_goes_before_a_name(db: Database) -> None:
    first = store.create_job(db, "mine", "{}")
    other = store.create_job(db, first, "{}")  # somebody calls a dataset so
    assert store.find_job(db, first)["id"] == first and store.find_job(db, other)["name"] == first
