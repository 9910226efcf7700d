"""The supervisor starts trainers, sees that a stop is a stop, and says what they died of."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import end_trainers, fake_trainer, kill, supervised, wait_for
from sqlite_utils import Database

from engine import causes, launch, process, store
from engine.config import load_preset
from engine.endings import lock_of
from engine.home import PROJECT, Home
from engine.supervisor import Supervisor

FOREVER = ("--points", "1000000")


@contextmanager
def in_thread(home: Home, *options: str, **settings: Any) -> Iterator[Supervisor]:
    """A supervisor in a thread of this process, without its lock, so that its times can be set."""
    supervisor = Supervisor(home, fake_trainer(*options), idle=600, **settings)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield supervisor
    finally:
        end_trainers(home)
        wait_for(lambda: not supervisor.trainers)
        supervisor.end = True
        thread.join(timeout=10)
        assert not thread.is_alive()


def new_run(db: Database, name: str = "a", device: str = "cpu", **changes: Any) -> str:
    return store.create_run(db, load_preset("seedling", changes), "seedling", name, device)


def ask_to_stop(db: Database, run_id: str, argument: str = "") -> None:
    with store.writing(db):
        store.update_state(db, run_id, status="stopping")
        store.give_command(db, run_id, "stop", argument)


def reaches(db: Database, run_id: str, *statuses: str) -> store.Row:
    def look() -> store.Row | None:
        run = store.get_run(db, run_id)
        return run if run["status"] in statuses else None

    return wait_for(look)


def ends(db: Database, run_id: str) -> store.Row:
    def look() -> store.Row | None:
        run = store.get_run(db, run_id)
        return run if run["status"] not in store.OPEN else None

    return wait_for(look)


def signal_trainer(run: store.Row, number: int) -> None:
    assert process.send(number, run["pid"], run["process_started_at"], run["boot_id"])


def test_a_start_command_becomes_a_trainer_that_finishes(home: Home, db: Database) -> None:
    with in_thread(home, "--points", "30"):
        run_id = new_run(db)
        run = ends(db, run_id)
        assert (run["status"], run["step"], run["attempt"], run["error"]) == ("finished", 30, 1, None)
        assert len(store.metrics_after(db, run_id, 0)) == 30
        assert not store.waiting_commands(db, ("start",))
        assert store.last_command(db, run_id, ("start",))["result"] == "started"


def test_a_finished_trainer_is_reaped(home: Home, db: Database) -> None:
    with in_thread(home, "--points", "5") as supervisor:
        run = ends(db, new_run(db))
        wait_for(lambda: not supervisor.trainers)
        with pytest.raises(ProcessLookupError):
            process.identity(run["pid"])


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        (
            "kill",
            "crashed",
            "The trainer was killed (SIGKILL) by a person or another program, not for lack of memory. "
            "Resume goes on from the last checkpoint.",
        ),
        (
            "exit",
            "failed",
            "The trainer ended with exit status 3. Its log may tell more; Resume goes on from the last checkpoint.",
        ),
        (
            "raise",
            "failed",
            "The trainer ended with exit status 1; its last words: ValueError: the pretended mistake. "
            "Its log may tell more; Resume goes on from the last checkpoint.",
        ),
        ("diverge", "diverged", "The loss is not a number."),
    ],
)
def test_the_cause_of_death_is_told(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, how: str, status: str, words: str
) -> None:
    monkeypatch.setattr(causes, "kills", lambda: causes.Kills(group=3, machine=7))
    with in_thread(home, "--crash-at", "3", "--crash", how):
        run = ends(db, new_run(db))
        assert (run["status"], run["error"]) == (status, words)


def test_a_trainer_that_cannot_be_started_fails_the_run(home: Home, db: Database) -> None:
    supervisor = Supervisor(home, ["/no/such/program"])
    run_id = new_run(db)
    supervisor.tick(db)
    run = store.get_run(db, run_id)
    assert (run["status"], run["error"]) == ("failed", "The trainer could not be started: No such file or directory.")
    assert not supervisor.trainers


def test_a_trainer_without_a_place_for_its_log_fails_the_run(home: Home, db: Database) -> None:
    run_id = new_run(db)
    home.log(run_id).parent.parent.write_text("a file where the folder should be", encoding="utf-8")
    Supervisor(home, fake_trainer()).tick(db)
    run = store.get_run(db, run_id)
    assert (run["status"], run["error"]) == ("failed", "The trainer could not be started: Not a directory.")


def test_a_killed_trainer_takes_its_children_along(home: Home, db: Database) -> None:
    with in_thread(home, *FOREVER, "--worker"):
        run = reaches(db, new_run(db), "running")
        signal_trainer(run, signal.SIGKILL)
        assert ends(db, run["id"])["status"] == "crashed"
        wait_for(lambda: not group_lives(run["pid"]))
        assert not process.is_held(lock_of(home, run["id"]))


def test_a_finished_trainer_takes_its_children_along(home: Home, db: Database) -> None:
    with in_thread(home, "--points", "5", "--worker"):
        run = ends(db, new_run(db))
        assert run["status"] == "finished"
        wait_for(lambda: not group_lives(run["pid"]))


def test_an_adopted_trainer_takes_its_children_along(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER, "--worker") as first:
        run_id = new_run(db)
        run = reaches(db, run_id, "running")
        kill(first)
        with in_thread(home) as second:
            wait_for(lambda: second.trainers)
            ask_to_stop(db, run_id)
            assert ends(db, run_id)["status"] == "stopped"
            wait_for(lambda: not group_lives(run["pid"]))


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_stop_before_the_trainer_was_started_ends_the_run(home: Home, db: Database) -> None:
    run_id = new_run(db)
    ask_to_stop(db, run_id)
    supervisor = Supervisor(home, fake_trainer())
    supervisor.tick(db)
    assert store.get_run(db, run_id)["status"] == "stopped"
    assert store.last_command(db, run_id, ("start",))["result"] == "not started"
    assert not supervisor.trainers


def test_a_trainer_killed_by_the_stop_signal_before_it_could_hear_it_is_stopped(home: Home, db: Database) -> None:
    with in_thread(home, "--deaf", "600") as supervisor:
        run_id = new_run(db)
        wait_for(lambda: supervisor.trainers)
        ask_to_stop(db, run_id)
        run = ends(db, run_id)
        assert (run["status"], run["error"]) == ("stopped", None)
        told = [event["message"] for event in store.list_events(db, run_id)]
        assert "told again (SIGTERM)" in told[0] and told[1:] == ["Stopped before training began."]
        assert not store.waiting_commands(db, ("stop",))


def test_the_next_attempt_does_not_hear_a_stop_meant_for_the_last(home: Home, db: Database) -> None:
    run_id = new_run(db)
    store.take_commands(db, ("start",), run_id)
    ask_to_stop(db, run_id)
    store.end_run(db, run_id, "crashed", "gone")
    store.request_resume(db, run_id, "cpu")
    with in_thread(home, "--points", "20"):
        assert ends(db, run_id)["status"] == "finished"


def test_a_trainer_that_ignores_the_stop_is_killed_after_the_grace(home: Home, db: Database) -> None:
    with in_thread(home, *FOREVER, "--hang", grace=0.5):
        run_id = new_run(db)
        reaches(db, run_id, "running")
        ask_to_stop(db, run_id)
        run = ends(db, run_id)
        assert run["status"] == "stopped"
        assert "did not save and end within 0.5 s and was killed" in run["error"]
        assert [event["kind"] for event in store.list_events(db, run_id)][-2:] == ["kill", "stopped"]


def test_a_slow_save_gets_three_times_its_time(home: Home, db: Database) -> None:
    with in_thread(home, *FOREVER, "--hang", grace=0.3):
        run_id = new_run(db)
        reaches(db, run_id, "running")
        store.update_state(db, run_id, save_seconds=0.3)
        ask_to_stop(db, run_id)
        assert "within 0.9 s" in ends(db, run_id)["error"]


def test_stop_now_does_not_wait_for_the_grace(home: Home, db: Database) -> None:
    with in_thread(home, *FOREVER, "--hang", grace=600, grace_now=0.2):
        run_id = new_run(db)
        reaches(db, run_id, "running")
        ask_to_stop(db, run_id)
        ask_to_stop(db, run_id, "now")
        run = ends(db, run_id)
        assert run["status"] == "stopped"
        assert "Ended at once by SIGKILL" in run["error"]


def test_a_trainer_that_has_ended_its_run_but_stays_is_killed(home: Home, db: Database) -> None:
    with in_thread(home, "--points", "3", "--linger", linger=0.2) as supervisor:
        run = ends(db, new_run(db))
        assert run["status"] == "finished"
        wait_for(lambda: not supervisor.trainers)
        assert store.get_run(db, run["id"])["status"] == "finished"


def test_a_resume_waits_for_the_last_trainer(home: Home, db: Database) -> None:
    with in_thread(home, *FOREVER):
        run_id = new_run(db)
        first = reaches(db, run_id, "running")
        ask_to_stop(db, run_id)
        ends(db, run_id)
        store.request_resume(db, run_id, "cpu")
        second = reaches(db, run_id, "running")
        assert second["attempt"] == 2
        assert second["pid"] != first["pid"]
        assert second["step"] >= first["step"]


def test_a_stop_after_a_resume_gets_its_whole_time_again(home: Home, db: Database) -> None:
    supervisor = Supervisor(home, fake_trainer(*FOREVER), grace=1.0)
    run_id = new_run(db)
    try:
        supervisor.tick(db)
        reaches(db, run_id, "running")
        ask_to_stop(db, run_id)
        began = time.monotonic()
        supervisor.tick(db)
        reaches(db, run_id, "stopped")
        wait_for(lambda: not supervisor.trainers[run_id].alive())
        store.request_resume(db, run_id, "cpu")  # between two looks
        supervisor.tick(db)
        reaches(db, run_id, "running")
        wait_for(lambda: time.monotonic() - began > supervisor.grace)
        ask_to_stop(db, run_id)
        supervisor.tick(db)
        assert not [event["message"] for event in store.list_events(db, run_id) if event["kind"] == "kill"]
        assert ends(db, run_id)["status"] == "stopped"
    finally:
        end_trainers(home)
        wait_for(lambda: not supervisor.tick(db))


def test_a_number_that_was_given_back_is_not_signalled(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(home, fake_trainer("--crash-at", "2", "--crash", "kill"))
    run_id, signalled = new_run(db), []
    supervisor.tick(db)
    trainer = supervisor.trainers[run_id]
    wait_for(lambda: not trainer.alive())
    monkeypatch.setattr(os, "killpg", lambda leader, number: signalled.append(leader))
    db.conn.execute("PRAGMA query_only = 1")  # the disk is full, say
    with pytest.raises(store.DatabaseError):
        supervisor.tick(db)
    db.conn.execute("PRAGMA query_only = 0")
    supervisor.tick(db)
    assert signalled == [trainer.row["pid"]]
    assert "SIGKILL" in store.get_run(db, run_id)["error"]


def test_a_run_that_cannot_be_looked_after_leaves_the_others_alone(home: Home, db: Database) -> None:
    with in_thread(home, "--points", "5"):
        bad = new_run(db, "bad", "cuda:0", **{"train.device": "cuda:0"})
        lock_of(home, bad).mkdir(parents=True)
        assert ends(db, new_run(db))["status"] == "finished"
        told = [event["message"] for event in store.list_events(db, bad)]
        assert told == ["The supervisor stumbled over this run (IsADirectoryError); .supervisor.log tells more."]


def test_a_supervisor_whose_log_takes_nothing_goes_on(home: Home, db: Database) -> None:
    home.supervisor_log.symlink_to("/dev/full")
    with supervised(home, "--points", "5"):
        assert ends(db, new_run(db))["status"] == "finished"


def test_trainers_outlive_the_supervisor_and_the_next_one_adopts_them(home: Home, db: Database) -> None:
    for farewell in (subprocess.Popen.terminate, kill):
        with supervised(home, *FOREVER) as first:
            run_id = new_run(db)
            run = reaches(db, run_id, "running")
            farewell(first)
            first.wait(timeout=10)
            step = store.get_run(db, run_id)["step"]
            wait_for(lambda step=step, run_id=run_id: store.get_run(db, run_id)["step"] > step)
            with in_thread(home):
                signal_trainer(run, signal.SIGKILL)
                ended = ends(db, run_id)
                assert ended["status"] == "crashed" and ended["error"].startswith(
                    "The trainer ended without saying why."
                )


def test_an_adopted_trainer_is_stopped_too(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER, "--hang") as first:
        run_id = new_run(db)
        reaches(db, run_id, "running")
        kill(first)
        with in_thread(home, grace_now=0.2):
            ask_to_stop(db, run_id, "now")
            assert "SIGKILL" in ends(db, run_id)["error"]


def test_a_trainer_is_stopped_while_it_prepares_and_says_so(home: Home, db: Database) -> None:
    with in_thread(home, "--prepare", "600") as supervisor:
        run_id = new_run(db)
        wait_for(lambda: store.get_run(db, run_id)["phase"] == "data")
        ask_to_stop(db, run_id)
        assert ends(db, run_id)["status"] == "stopped"
        wait_for(lambda: not supervisor.trainers)
        assert "ended by itself" in store.list_events(db, run_id)[-1]["message"]


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_changes_nothing(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    with supervised(home, *FOREVER) as first:
        run_id = new_run(db)
        run = reaches(db, run_id, "running")
        kill(first)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + hours * 3600)
        with in_thread(home) as second:
            wait_for(lambda: second.trainers)
            step = store.get_run(db, run_id)["step"]
            wait_for(lambda: store.get_run(db, run_id)["step"] > step)
            assert launch.run_status(home, run_id)["pid"] == run["pid"]


def test_a_crashed_run_goes_on_by_itself_as_often_as_it_may_and_then_asks(home: Home, db: Database) -> None:
    with in_thread(home, "--crash-at", "2", "--crash", "kill"):
        run_id = new_run(db, **{"train.auto_resume": 2})
        wait_for(lambda: store.get_run(db, run_id)["status"] == "crashed")
        run = store.get_run(db, run_id)
        assert (run["attempt"], run["auto_resumes"]) == (3, 2)
        assert run["error"].endswith("It has gone on by itself 2 times already: find the cause, then press Resume.")
        told = [event["message"] for event in store.list_events(db, run_id) if event["kind"] == "resume"]
        assert [words[:30] for words in told] == ["It goes on by itself (1 of at ", "It goes on by itself (2 of at "]

        store.request_resume(db, run_id, "cpu")  # a person's: counted anew
        assert store.get_run(db, run_id)["auto_resumes"] == 0
        wait_for(lambda: store.get_run(db, run_id)["attempt"] == 6 and store.get_run(db, run_id)["error"])


@pytest.mark.parametrize("how", ["raise", "exit", "diverge"])
def test_what_would_fail_again_does_not_go_on_by_itself(home: Home, db: Database, how: str) -> None:
    with in_thread(home, "--crash-at", "2", "--crash", how) as supervisor:
        run = ends(db, new_run(db, **{"train.auto_resume": 2}))
        wait_for(lambda: not supervisor.trainers)
        assert run["attempt"] == 1 and run["status"] in ("failed", "diverged")
        assert not store.waiting_commands(db, ("resume",))


def test_one_supervisor_a_home(home: Home) -> None:
    with supervised(home):
        second = subprocess.run(
            [sys.executable, "-m", "engine.supervisor", "--home", str(home.path)], cwd=PROJECT, timeout=20, check=False
        )
        assert second.returncode == 0


def test_an_idle_supervisor_ends_and_needs_no_torch(home: Home) -> None:
    script = (
        "import sys; from engine.supervisor import main; code = main(['--home', sys.argv[1], '--idle', '0.2']); "
        "assert not {'torch', 'gradio', 'tokenizers'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home.path)],
        cwd=PROJECT,
        timeout=20,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not process.is_held(home.supervisor_lock)


def test_a_supervisor_without_a_database_says_so(home: Home, tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engine.supervisor", "--home", str(tmp_path / "empty")],
        cwd=PROJECT,
        timeout=20,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "runs.db is not there" in done.stdout


def test_a_deleted_database_ends_the_supervisor_and_is_not_made_anew(home: Home) -> None:
    with supervised(home) as child:
        home.database.unlink()
        child.wait(timeout=10)
        assert not home.database.exists()
        launch.open_home(home)  # for the end of the test's supervisor
