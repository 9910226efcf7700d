"""A dataset job's own process: whose job it is, what it says of itself, how it ends. Kills and stops: test_jobs.py."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import fake_job, wait_for
from sqlite_utils import Database

from engine import outage, process, store
from engine.config import ConfigError
from engine.data import job as module
from engine.data.job import Pace, Reporter, claim, explain, work_on
from engine.data.progress import Asked, Progress, Report, Stopped
from engine.data.recipe import Recipe, Source
from engine.home import PROJECT, Home

RECIPE = Recipe((Source("starter"),))


def new_job(db: Database, roots: list[str] | None = None) -> str:
    return store.create_job(db, "mine", RECIPE.to_json(), roots)


def mine(db: Database, roots: list[str] | None = None) -> store.Row:
    """A job that this process works on."""
    job = claim(db, new_job(db, roots))
    assert job
    return job


@contextmanager
def reporting(home: Home, job: store.Row) -> Iterator[Reporter]:
    reporter = Reporter(home.database, job)
    try:
        yield reporter
    finally:
        reporter.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time that the pace is measured by."""

    def at(seconds: float) -> None:
        monkeypatch.setattr(module.time, "monotonic", lambda: seconds)

    at(0.0)
    return at


def test_a_process_that_claims_a_job_is_in_its_row(home: Home, db: Database) -> None:
    job = mine(db)
    row = store.get_job(db, job["id"])
    assert row == job
    assert (row["status"], row["attempt"], row["pid"]) == ("running", 1, process.identity()["pid"])
    assert row["started_at"] and row["heartbeat_at"]


def test_a_job_belongs_to_one_process(home: Home, db: Database) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        job_id = new_job(db)
        store.update_job(db, job_id, status="running", **process.identity(other.pid))
        assert claim(db, job_id) is None
    finally:
        other.communicate(b"\n")
    assert (job := claim(db, job_id)) and job["attempt"] == 1  # it is gone


@pytest.mark.parametrize("status", ["stopped", "finished", "failed"])
def test_a_job_that_has_ended_is_nobodys(home: Home, db: Database, status: str) -> None:
    job_id = new_job(db)
    store.update_job(db, job_id, status=status)
    assert claim(db, job_id) is None


def test_a_second_process_leaves_at_once(home: Home, db: Database) -> None:
    job = mine(db)
    done = subprocess.run(
        [*fake_job(), "--home", str(home.path), job["id"]], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1 and "another process works on it" in done.stdout
    assert store.get_job(db, job["id"])["attempt"] == 1


def test_what_the_preparer_says_is_soon_in_the_row(home: Home, db: Database) -> None:
    job = mine(db)
    with reporting(home, job) as reporter:
        reporter.report(Progress("learning", "Learning a vocabulary", 0.25, 3, 0, 900, {"too short": 2}))
        began = time.monotonic()
        row = wait_for(lambda: (now := store.get_job(db, job["id"]))["stage"] and now)
        assert time.monotonic() - began < 5
        assert (row["stage"], row["message"], row["progress"]) == ("learning", "Learning a vocabulary", 0.25)
        assert (row["documents"], row["bytes"], row["dropped"]) == (3, 900, {"too short": 2})
        assert row["heartbeat_at"] > job["heartbeat_at"]
        reporter.report(Progress("waiting", "Waiting for another process"))
        row = wait_for(lambda: (now := store.get_job(db, job["id"]))["stage"] == "waiting" and now)
        assert row["documents"] == 3  # it has not looked yet at what is there


def test_the_last_word_is_written_before_the_end(home: Home, db: Database) -> None:
    job = mine(db)
    with reporting(home, job) as reporter:
        store.update_job(db, job["id"], tokens_per_second=9.0)
        reporter.report(Progress("finished", "The dataset is ready", 1.0, 5, 70))
        reporter.end("finished", None)
    row = store.get_job(db, job["id"])
    assert row["tokens_per_second"] == 9.0
    assert (row["status"], row["tokens"], row["progress"], row["stage"]) == ("finished", 70, 1.0, "")
    assert row["ended_at"] and row["error"] is None


def test_the_end_waits_for_the_database(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job, away = mine(db), home.path / "elsewhere.db"
    db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    monkeypatch.setattr(outage, "RETRY", 0.01)
    with reporting(home, job) as reporter:
        home.database.rename(away)
        ending = threading.Thread(target=reporter.end, args=("stopped", None))
        ending.start()
        ending.join(0.3)
        assert ending.is_alive()
        away.rename(home.database)
        ending.join(10)
    row = store.get_job(db, job["id"])
    assert row["status"] == "stopped" and row["error"].startswith("It was told to end (SIGTERM) by the system")


def test_a_stop_in_the_row_is_heard(home: Home, db: Database) -> None:
    job = mine(db)
    with reporting(home, job) as reporter:
        assert not reporter.stop.wait(2 * module.PERIOD)
        store.update_job(db, job["id"], status="stopping")
        assert reporter.stop.wait(1.0)


def test_whoever_is_taken_for_dead_stops_and_leaves_the_row_alone(home: Home, db: Database) -> None:
    job = mine(db)
    with reporting(home, job) as reporter:
        store.update_job(db, job["id"], attempt=2, stage="encoding", tokens=99)
        reporter.report(Progress("learning", "Late", tokens=1))
        assert reporter.stop.wait(2.0)
        reporter.end("failed", "late")
    row = store.get_job(db, job["id"])
    assert (row["status"], row["stage"], row["tokens"]) == ("running", "encoding", 99)


def test_a_database_that_is_away_for_a_while_gets_the_row_later(
    home: Home, db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    job, away = mine(db), home.path / "elsewhere.db"
    db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with reporting(home, job) as reporter:
        home.database.rename(away)
        reporter.report(Progress("encoding", "x", 0.5, 1, 10))
        wait_for(lambda: "preparing goes on" in capsys.readouterr().out)
        away.rename(home.database)
        wait_for(lambda: store.get_job(db, job["id"])["tokens"] == 10)


def test_speed_and_time_left_are_those_of_the_last_minute(clock: Any) -> None:
    pace = Pace()

    def at(seconds: float, share: float | None, tokens: int, stage: str = "encoding") -> tuple[Any, Any]:
        clock(seconds)
        return pace.measure(Progress(stage, "", share, tokens=tokens))

    assert at(0, 0.0, 0, "reading") == at(50, 0.1, 0, "learning") == (None, None)
    assert at(100, 0.5, 50_000_000) == (None, None)  # what was there already is no speed
    assert at(101, 0.51, 51_000_000) == (pytest.approx(1e6), pytest.approx(49))
    assert at(105, 0.51, 51_000_000, "reading") == (pytest.approx(2e5), pytest.approx(245))  # a slow network counts
    assert at(110, 0.55, 55_000_000) == (pytest.approx(5e5), pytest.approx(90))
    assert at(171, 0.56, 56_000_000) == (None, None)  # a minute of silence: nothing is known
    assert at(181, 0.57, 57_000_000) == (pytest.approx(1e5), pytest.approx(430))
    assert at(191, None, 58_000_000) == (pytest.approx(1e5), None)


def preparer(error: BaseException | None = None) -> Any:
    """One that only raises."""
    given: list[Any] = []

    def prepare(
        home: Home, name: str, recipe: Recipe, *, report: Report, stopped: Asked, roots: Sequence[Path] | None
    ) -> None:
        given.append((name, recipe, roots))
        if error:
            raise error

    prepare.given = given  # type: ignore[attr-defined]
    return prepare


def test_the_preparer_gets_what_was_asked(home: Home, db: Database) -> None:
    job, fake = mine(db, ["/some/where"]), preparer()
    with reporting(home, job) as reporter:
        assert work_on(home, job, reporter, fake) == ("finished", None)
    assert fake.given == [("mine", RECIPE, [Path("/some/where")])]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Stopped(), "stopped", None),
        (store.Refused("No text."), "failed", "No text."),
        (ConfigError("No setting."), "failed", "No setting."),
        (MemoryError(), "failed", "The machine ran out of memory. To go on, close other programs, then resume."),
        (KeyError("x"), "failed", "KeyError: 'x'"),
        (RuntimeError(), "failed", "RuntimeError: no message"),
        (RuntimeError("a\nb\nc"), "failed", "RuntimeError: a"),
        (RuntimeError("x" * 9000), "failed", f"RuntimeError: {'x' * 486}"),
    ],
)
def test_every_end_has_a_status_and_a_sentence(
    home: Home, db: Database, error: BaseException, status: str, words: str | None
) -> None:
    job = mine(db)
    with reporting(home, job) as reporter:
        assert work_on(home, job, reporter, preparer(error)) == (status, words)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_whoever_met_it(home: Home, number: int) -> None:
    full = OSError(number, "No space left on device", str(home.making("mine") / "train.bin"))
    wrapped = store.Refused("datasets/mine cannot be written: No space left on device.")
    wrapped.__cause__ = full
    for error in (full, wrapped):
        assert explain(error, home) == "The disk is full. Free some space, then resume; what is made so far is whole."
    other = explain(OSError(errno.EIO, "Input/output error", str(home.making("mine") / "train.bin")), home)
    assert other == "OSError: [Errno 5] Input/output error: 'datasets/.making-mine/train.bin'"


def test_a_recipe_that_cannot_be_read_is_a_sentence(home: Home, db: Database) -> None:
    job = mine(db) | {"recipe": '{"sources": [{"where": "starter", "colour": "red"}]}'}
    with reporting(home, job) as reporter:
        status, error = work_on(home, job, reporter, preparer())
    assert status == "failed" and error == "This is no recipe of a dataset: there is no setting 'colour'."


def test_a_later_attempt_finds_the_dataset_ready(home: Home, db: Database) -> None:
    job = mine(db)
    home.dataset("mine").mkdir(parents=True)
    with reporting(home, job) as reporter:
        assert work_on(home, job | {"attempt": 2}, reporter, preparer(store.Refused("never asked"))) == (
            "finished",
            None,
        )
        assert work_on(home, job, reporter, preparer(store.Refused("it exists"))) == ("failed", "it exists")


def test_a_job_is_kinder_to_the_machine_than_others_and_needs_no_torch(home: Home, db: Database) -> None:
    script = (
        "import os, sys; sys.path.insert(0, 'tests'); from engine.data import job; "
        "prepare = lambda *_, **__: print(os.nice(0), not {'torch', 'gradio'} & set(sys.modules)); "
        "sys.exit(job.main(sys.argv[1:], prepare))"
    )
    job_id = new_job(db)
    done = subprocess.run(
        [sys.executable, "-c", script, "--home", str(home.path), job_id],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, [str(min(19, os.nice(0) + 5)), "True"]), done.stderr
    assert store.get_job(db, job_id)["status"] == "finished"
