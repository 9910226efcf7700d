"""Dataset jobs from the supervisor's side: they start, end, go on by themselves, and outlive whoever started them."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import end_trainers, fake_job, fake_trainer, kill, supervised, wait_for
from sqlite_utils import Database

from engine import causes, jobs, launch, preparing, process, store
from engine.config import load_preset
from engine.data import open_dataset
from engine.data.recipe import Recipe, Source
from engine.home import PROJECT, Home
from engine.jobs import JOB, Jobs
from engine.supervisor import Supervisor

RECIPE = Recipe((Source("starter"),))
ENDLESS = ("--chunks", "100000")


@contextmanager
def in_thread(home: Home, *options: str, **settings: Any) -> Iterator[Supervisor]:
    """A supervisor in a thread of this process, without its lock, whose jobs are fakes with these options."""
    jobs = Jobs(home, **({"command": fake_job(*options)} | settings))
    supervisor = Supervisor(home, fake_trainer(), idle=600, jobs=jobs)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield supervisor
    finally:
        wait_for(lambda: all_ended(home) and not supervisor.jobs.workers)
        supervisor.end = True
        thread.join(timeout=10)
        assert not thread.is_alive()


def all_ended(home: Home) -> bool:
    """Stop what is open and kill what works; whether there was nothing to stop."""
    still_open = [job for job in preparing.listed(home) if job["status"] in ("waiting", "running")]
    for job in still_open:
        with contextlib.suppress(store.Refused):  # it has ended meanwhile
            preparing.stop(home, job["id"])
    end_trainers(home)
    return not still_open


@pytest.fixture(autouse=True)
def _only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """No supervisor but the test's is started."""
    monkeypatch.setattr(launch, "start_supervisor", lambda home: None)


@pytest.fixture
def told_by_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says that it killed nobody."""
    monkeypatch.setattr(causes, "kills", lambda: causes.Kills(group=3, machine=7))


def look(db: Database, job: str, condition: Callable[[store.Row], Any]) -> store.Row:
    """The job's row once `condition` is true of it."""

    def there() -> store.Row | None:
        row = store.get_job(db, job)
        return row if condition(row) else None

    return wait_for(there)


def ends(db: Database, job: str) -> store.Row:
    return look(db, job, lambda row: row["status"] not in store.OPEN_JOBS)


def works(db: Database, job: str) -> store.Row:
    """Once it has written something."""
    return look(db, job, lambda row: row["status"] == "running" and row["tokens"])


def signal_job(job: store.Row, number: int) -> None:
    assert process.send(number, job["pid"], job["process_started_at"], job["boot_id"])


def shard(home: Home, name: str) -> bytes:
    return (home.dataset(name) / "train.bin").read_bytes()


def test_a_waiting_job_becomes_a_process_that_finishes(home: Home, db: Database) -> None:
    with in_thread(home, "--chunks", "4", "--speed", "4"):
        job = preparing.start(home, "mine", RECIPE)
        seen = works(db, job)
        assert seen["stage"] == "encoding" and seen["message"] == "Pretending" and 0 < seen["progress"] < 1
        row = ends(db, job)
        assert (row["status"], row["error"], row["attempt"], row["progress"]) == ("finished", None, 1, 1.0)
        assert (row["documents"], row["tokens"], row["bytes"], row["dropped"]) == (4, 4000, 8000, {"too short": 4})
        assert row["elapsed_seconds"] > 0 and row["tokens_per_second"] > 0 and row["eta_seconds"] is None
        assert len(shard(home, "mine")) == 4000


def test_a_killed_job_goes_on_by_itself_where_it_was(home: Home, db: Database, told_by_kernel: None) -> None:
    with in_thread(home, "--chunks", "6", "--crash-at", "4", "--crash", "kill", "--once"):
        job = preparing.start(home, "mine", RECIPE)
        waiting = look(db, job, lambda row: row["auto_resumes"])
        assert "Goes on by itself (1 of 3" in waiting["message"] or waiting["attempt"] == 2
        row = ends(db, job)
        assert (row["status"], row["attempt"], row["error"]) == ("finished", 2, None)
        assert shard(home, "mine") == b"".join(bytes([chunk]) * 1000 for chunk in range(6))


def test_a_job_that_gets_no_further_ends_crashed_with_the_reason(
    home: Home, db: Database, told_by_kernel: None
) -> None:
    with in_thread(home, "--crash-at", "3", "--crash", "kill"):
        row = ends(db, preparing.start(home, "mine", RECIPE))
        assert (row["status"], row["attempt"], row["auto_resumes"]) == ("crashed", 4, 3)
        assert row["error"] == (
            "The job was killed (SIGKILL) by a person or another program, not for lack of memory. Resume goes on where "
            "it was. It has gone on by itself 3 times and got no further: find the cause, then resume."
        )


def test_a_job_that_gets_further_each_time_is_never_given_up(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    home.making("mine").mkdir(parents=True)
    for attempt in range(6):
        home.job_state("mine").write_text("{}", encoding="utf-8")
        os.utime(home.job_state("mine"), (attempt, attempt))
        store.update_job(db, job, status="running", **gone())
        assert jobs.end_dead(home, db, store.get_job(db, job))
        assert (store.get_job(db, job)["status"], store.get_job(db, job)["auto_resumes"]) == ("waiting", 1)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "ValueError: datasets: the pretended mistake"),
        ("refused", "The source has no text."),
        ("full", "The disk is full. Free some space, then resume; what is made so far is whole."),
        ("memory", "The machine ran out of memory. To go on, close other programs, then resume."),
        ("exit", "The job ended with exit status 3. Its log may tell more; Resume goes on where it was."),
    ],
)
def test_what_went_wrong_is_told_and_not_tried_again(home: Home, db: Database, how: str, words: str) -> None:
    with in_thread(home, "--crash-at", "2", "--crash", how) as supervisor:
        row = ends(db, preparing.start(home, "mine", RECIPE))
        assert (row["status"], row["error"].replace(str(home.path) + "/", ""), row["attempt"]) == ("failed", words, 1)
        assert row["tokens"] == 1000 or how == "exit"
        wait_for(lambda: not supervisor.jobs.workers)
        assert store.get_job(db, row["id"])["status"] == "failed"
        log = home.job_log("mine").read_text(encoding="utf-8")
        assert log.startswith("=== attempt 1") and ("Traceback" in log) == (how != "exit")


def test_a_full_disk_is_resumed_when_there_is_room(home: Home, db: Database) -> None:
    with in_thread(home, "--crash-at", "3", "--crash", "full", "--once"):
        job = preparing.start(home, "mine", RECIPE)
        assert ends(db, job)["status"] == "failed"
        preparing.resume(home, job)
        row = ends(db, job)
        assert (row["status"], row["attempt"], row["error"]) == ("finished", 2, None)


def test_a_job_that_dies_after_its_last_file_has_finished(home: Home, db: Database) -> None:
    with in_thread(home, "--crash-at", "3", "--crash", "published"):
        row = ends(db, preparing.start(home, "mine", RECIPE))
        assert (row["status"], row["error"], row["attempt"]) == ("finished", None, 1)


@pytest.mark.parametrize("options", [(), ("--worker",)])
def test_a_stop_is_heard_within_a_second_and_resume_goes_on(home: Home, db: Database, options: tuple[str, ...]) -> None:
    with in_thread(home, "--chunks", "100", *options):
        job = preparing.start(home, "mine", RECIPE)
        first = works(db, job)
        asked = time.time()
        preparing.stop(home, "mine")
        row = ends(db, job)
        assert (row["status"], row["error"]) == ("stopped", None)
        assert row["ended_at"] - asked < 1.5
        wait_for(lambda: not group_lives(first["pid"]))
        assert home.job_state("mine").is_file()
        preparing.resume(home, job)
        row = ends(db, job)
        assert (row["status"], row["attempt"], row["tokens"]) == ("finished", 2, 100_000)
        assert row["elapsed_seconds"] > first["elapsed_seconds"]


def group_lives(leader: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_stop_in_the_database_alone_is_heard_too(home: Home, db: Database) -> None:
    with in_thread(home, *ENDLESS):
        job = preparing.start(home, "mine", RECIPE)
        works(db, job)
        store.update_job(db, job, status="stopping")
        assert ends(db, job)["status"] == "stopped"


def test_a_job_that_does_not_hear_its_stop_is_killed(home: Home, db: Database) -> None:
    with in_thread(home, *ENDLESS, "--hang", grace=0.3):
        job = preparing.start(home, "mine", RECIPE)
        works(db, job)
        preparing.stop(home, job)
        row = ends(db, job)
        assert row["status"] == "stopped"
        assert row["error"] == "It did not end within 0.3 s and was killed (SIGKILL); nothing whole is lost."


def test_a_stop_before_it_could_hear_one_is_a_stop(home: Home, db: Database) -> None:
    with in_thread(home, "--deaf", "600"):
        job = preparing.start(home, "mine", RECIPE)
        look(db, job, lambda row: row["status"] == "running")
        preparing.stop(home, job)
        assert (row := ends(db, job))["status"] == "stopped" and row["error"] is None


def test_whoever_else_ends_a_job_is_named(home: Home, db: Database) -> None:
    with in_thread(home, *ENDLESS):
        row = works(db, preparing.start(home, "mine", RECIPE))
        signal_job(row, signal.SIGTERM)
        row = ends(db, row["id"])
        assert (row["status"], row["error"]) == (
            "stopped",
            "It was told to end (SIGTERM) by the system or another program. Resume goes on where it was.",
        )


def test_one_job_works_at_a_time(home: Home, db: Database) -> None:
    with in_thread(home, "--chunks", "50"):
        first, second = (preparing.start(home, name, RECIPE) for name in ("one", "two"))
        look(db, first, lambda row: row["status"] == "running")
        assert look(db, second, lambda row: row["message"] == "Waits until one is ready")["status"] == "waiting"
        assert ends(db, second)["status"] == "finished"
        assert store.get_job(db, second)["started_at"] >= store.get_job(db, first)["ended_at"]


def test_a_job_that_cannot_be_started_fails(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    Jobs(home, ["/no/such/program"]).tick(db)
    row = store.get_job(db, job)
    assert (row["status"], row["error"]) == ("failed", "The job could not be started: No such file or directory.")


def test_a_job_without_a_place_for_its_log_fails(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    (home.path / "datasets").rmdir()
    (home.path / "datasets").write_text("a file where the folder should be", encoding="utf-8")
    Jobs(home, fake_job()).tick(db)
    assert store.get_job(db, job)["error"] == "The job could not be started: File exists."


def test_a_job_that_the_supervisor_stumbles_over_leaves_the_others_alone(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = (preparing.start(home, name, RECIPE) for name in ("bad", "good"))
    supervisor = Jobs(home, ["true"])
    start = Jobs._start

    def stumble(self: Jobs, db: Database, job: store.Row) -> None:
        if job["id"] == bad:
            raise ZeroDivisionError
        start(self, db, job)

    monkeypatch.setattr(Jobs, "_start", stumble)
    for _ in range(2):
        supervisor.tick(db)
    assert store.get_job(db, bad)["message"].startswith("The supervisor stumbled over this job (ZeroDivisionError)")
    assert capsys.readouterr().out.count("Traceback") == 1
    assert good in supervisor.workers
    wait_for(lambda: not supervisor.workers[good].alive())
    supervisor.workers[good].bury()


def test_a_process_that_stays_after_its_job_is_killed(home: Home, db: Database) -> None:
    with in_thread(home, "--chunks", "2", "--linger", linger=0.2) as supervisor:
        assert ends(db, preparing.start(home, "mine", RECIPE))["status"] == "finished"
        wait_for(lambda: not supervisor.jobs.workers)


def test_jobs_outlive_the_supervisor_and_the_next_one_adopts_them(home: Home, db: Database) -> None:
    with supervised(home, job=ENDLESS) as first:
        row = works(db, preparing.start(home, "mine", RECIPE))
        kill(first)
        look(db, row["id"], lambda now: now["tokens"] > row["tokens"])
        with in_thread(home, "--chunks", "10") as second:
            wait_for(lambda: second.jobs.workers)
            assert store.get_job(db, row["id"])["pid"] == row["pid"]
            signal_job(row, signal.SIGKILL)
            ended = ends(db, row["id"])  # it goes on by itself, and there is less to do
            assert (ended["status"], ended["attempt"]) == ("finished", 2)


def gone() -> dict[str, Any]:
    """A process that is no more."""
    return {"pid": 2**22 + 1, "process_started_at": 1.0, "boot_id": process.boot_id(), "heartbeat_at": time.time()}


def test_after_a_restart_of_the_machine_a_job_goes_on(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    store.update_job(db, job, **(gone() | process.identity() | {"status": "running", "boot_id": "another"}))
    launch.open_home(home)
    row = store.get_job(db, job)
    assert (row["status"], row["auto_resumes"]) == ("waiting", 1)
    assert "The computer was restarted or switched off" in row["message"]
    with in_thread(home, "--chunks", "2"):
        assert ends(db, job)["status"] == "finished"


def test_a_stopping_job_does_not_go_on_after_a_restart(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    store.update_job(db, job, **(gone() | {"status": "stopping", "boot_id": "another"}))
    launch.open_home(home)
    assert store.get_job(db, job)["status"] == "stopped"


def test_readers_leave_a_dead_job_to_its_supervisor_for_some_seconds(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    store.update_job(db, job, status="running", **gone())
    assert jobs.reconcile(home, db, watched=True) and store.get_job(db, job)["status"] == "running"
    store.update_job(db, job, heartbeat_at=time.time() - 60)
    assert jobs.reconcile(home, db, watched=True) and store.get_job(db, job)["status"] == "waiting"


def test_readers_start_a_supervisor_for_what_waits(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[Home] = []
    monkeypatch.setattr(launch, "start_supervisor", wanted.append)
    preparing.start(home, "mine", RECIPE)
    preparing.listed(home)
    assert wanted == [home, home]


def test_a_job_works_on_while_another_program_holds_the_lock(home: Home, db: Database) -> None:
    with in_thread(home, *ENDLESS):
        row = works(db, preparing.start(home, "mine", RECIPE))
        state = home.job_state("mine")
        with store.writing(db):
            for _ in range(20):
                before = state.stat().st_mtime_ns
                wait_for(lambda before=before: state.stat().st_mtime_ns > before)
            row = store.get_job(db, row["id"])
        assert look(db, row["id"], lambda now: now["tokens"] > row["tokens"])["attempt"] == 1


def test_a_job_and_a_run_are_looked_after_side_by_side(home: Home, db: Database) -> None:
    with supervised(home, "--points", "20", job=("--chunks", "5")):
        job = preparing.start(home, "mine", RECIPE)
        run = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
        assert ends(db, job)["status"] == "finished"
        wait_for(lambda: store.get_run(db, run)["status"] == "finished")


def test_a_real_job_makes_a_dataset_that_can_be_opened(home: Home, db: Database) -> None:
    alice = Source(str(PROJECT / "data" / "starter" / "alice_in_wonderland.txt.xz"))
    with in_thread(home, command=JOB):
        row = ends(db, preparing.start(home, "mine", Recipe((alice, alice), tokenizer="bpe:300")))
        assert (row["status"], row["error"], row["documents"]) == ("finished", None, 12)
        assert sum(row["dropped"].values()) == 12
        made = open_dataset(home, "mine")
        assert row["tokens"] == len(made.train) + len(made.val)
