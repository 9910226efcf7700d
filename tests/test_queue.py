"""Runs in line for a device: their order, what begins when, what a failure, a stop and a killed supervisor do."""

import json
import signal
import time
from itertools import pairwise
from typing import Any

import pytest
from helpers import kill, supervised, wait_for
from sqlite_utils import Database
from support import at_once

from engine import launch, process, queue, store, turns
from engine.__main__ import main
from engine.config import RunConfig
from engine.home import Home
from engine.store import Refused

FOREVER = ("--points", "1000000")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[Home]:
    """No supervisor is started; the homes that wanted one."""
    wanted: list[Home] = []
    monkeypatch.setattr(launch, "start_supervisor", wanted.append)
    return wanted


def put(home: Home, *names: str, **settings: Any) -> list[str]:
    """Runs in line, in this order; their ids."""
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return [launch.start_run(home, "seedling", name, changes, queue=True) for name in names]


def names(home: Home) -> list[str]:
    """Who is in line, the next one first."""
    return [run["name"] for line in queue.lines(home)["lines"] for run in line["queued"]]


def reaches(db: Database, run_id: str, *statuses: str) -> store.Row:
    return wait_for(lambda: (run := store.get_run(db, run_id))["status"] in statuses and run)


def is_on(db: Database, run_id: str) -> store.Row:
    """The run once it trains; it must not have ended."""
    run = reaches(db, run_id, "running", *store.RESUMABLE, "finished")
    assert run["status"] == "running", run["error"]
    return run


def told(db: Database, run_id: str) -> list[str]:
    return [event["message"] for event in store.list_events(db, run_id)]


def kill_trainer(run: store.Row) -> None:
    assert process.send(signal.SIGKILL, run["pid"], run["process_started_at"], run["boot_id"])


def hold_times(db: Database, run_ids: list[str]) -> None:
    """Every run began after the one before it had ended: a device has one at a time."""
    found = [store.get_run(db, run_id) for run_id in run_ids]
    for before, after in pairwise(found):
        assert after["started_at"] >= before["ended_at"] - 0.01


def test_runs_in_line_train_one_after_the_other(home: Home, db: Database) -> None:
    with supervised(home, "--points", "20"):
        ids = put(home, "one", "two", "three")
        assert store.get_run(db, ids[2])["status"] == "queued"
        for run_id in ids:
            run = launch.wait_until_ended(home, run_id, 20)
            assert (run["status"], run["step"], run["place"], run["queued_at"]) == ("finished", 20, None, None)
        hold_times(db, ids)


def test_a_run_of_another_device_does_not_wait(home: Home, db: Database, quiet: list[Home]) -> None:
    put(home, "one")
    store.create_run(db, launch.load_preset("seedling"), "seedling", "other", "cuda:0")
    assert turns.give_turns(home, db)
    assert store.owner_of(db, "cpu")["name"] == "one"
    assert [line["device"] for line in queue.lines(home)["lines"]] == ["cpu", "cuda:0"]


@pytest.mark.parametrize("how", ["exit", "kill", "diverge"])
def test_the_line_goes_on_however_a_run_ended(home: Home, db: Database, how: str) -> None:
    with supervised(home, "--crash-at", "3", "--crash", how):
        ids = put(home, "one", "two", "three")
        ends = [launch.wait_until_ended(home, run_id, 20)["status"] for run_id in ids]
        assert ends == [{"exit": "failed", "kill": "crashed", "diverge": "diverged"}[how]] * 3
        hold_times(db, ids)


def test_stopping_the_one_that_runs_begins_the_next(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER):
        first, second, third = put(home, "one", "two", "three")
        is_on(db, first)
        launch.stop_run(home, first)
        is_on(db, second)
        assert store.get_run(db, first)["status"] == "stopped"
        assert names(home) == ["three"]
        launch.stop_run(home, third)
        assert (store.get_run(db, third)["status"], told(db, third)) == (
            "stopped",
            ["Taken out of the line before it began."],
        )
        assert names(home) == []


def test_a_run_that_goes_on_by_itself_keeps_the_device(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER):
        first, second = put(home, "one", "two", train__auto_resume=1)
        kill_trainer(is_on(db, first))
        again = wait_for(lambda: (run := store.get_run(db, first))["attempt"] == 2 and run)
        assert store.get_run(db, second)["status"] == "queued"
        kill_trainer(is_on(db, again["id"]))
        assert reaches(db, first, "crashed")
        is_on(db, second)


def test_a_killed_supervisor_is_replaced_and_the_line_goes_on(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER) as supervisor:
        first, second = put(home, "one", "two")
        run = is_on(db, first)
        kill(supervisor)
        kill_trainer(run)
    with supervised(home, "--points", "10"):
        assert launch.wait_until_ended(home, second, 20)["status"] == "finished"
    assert store.get_run(db, first)["status"] == "crashed"


def test_whoever_looks_starts_a_supervisor_for_a_line(home: Home, db: Database, quiet: list[Home]) -> None:
    """After a restart of the machine: nothing runs, and opening the app is enough."""
    put(home, "one")
    quiet.clear()
    launch.open_home(home)
    assert quiet == [home]
    queue.hold(home)
    quiet.clear()
    queue.lines(home)
    assert quiet == []  # a held line begins nothing, so nobody is needed
    queue.release(home)
    queue.lines(home)
    assert quiet == [home]


def test_a_supervisor_does_not_stay_for_a_held_line(home: Home, db: Database) -> None:
    queue.hold(home)
    with supervised(home, idle=0.3) as supervisor:
        put(home, "one")
        assert supervisor.wait(timeout=15) == 0
    assert store.list_runs(db)[0]["status"] == "queued"


def test_a_held_line_waits_and_goes_on_where_it_was(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER):
        first, second = put(home, "one", "two")
        run = is_on(db, first)
        assert queue.hold(home) == ["cpu"]
        launch.stop_run(home, first)
        reaches(db, first, "stopped")
        wait_for(lambda: not process.alive(run["pid"], run["process_started_at"], run["boot_id"]))
        line = queue.lines(home)["lines"][0]
        assert (line["held"], line["running"], names(home)) == (queue.BY_HAND, None, ["two"])
        beside = launch.start_run(home, "seedling", "beside")  # a start by hand passes a held line
        is_on(db, beside)
        launch.stop_run(home, beside)
        launch.wait_until_ended(home, beside, 20)
        assert store.get_run(db, second)["status"] == "queued"
        assert queue.release(home) == ["cpu"]
        is_on(db, second)
        with pytest.raises(Refused, match="The line is not held"):
            queue.release(home)


def test_a_failure_holds_the_line_where_that_is_wished(home: Home, db: Database) -> None:
    queue.stop_after_failure(home, True)
    with supervised(home, "--crash-at", "3", "--crash", "exit"):
        first, second, third = put(home, "one", "two", "three")
        launch.wait_until_ended(home, first, 20)
        wait_for(lambda: store.held_lines(db))
        assert store.held_lines(db) == {"cpu": "one failed, and the line stops after a failure."}
        assert names(home) == ["two", "three"]
        queue.release(home)
        launch.wait_until_ended(home, second, 20)  # the failure that was answered holds nothing again
        wait_for(lambda: store.held_lines(db))
        queue.stop_after_failure(home, False)
        queue.release(home)
        assert launch.wait_until_ended(home, third, 20)["status"] == "failed"


def test_a_failure_before_there_was_a_line_holds_nothing(home: Home, db: Database, quiet: list[Home]) -> None:
    run_id = launch.start_run(home, "seedling", "old")
    store.update_state(db, run_id, started_at=time.time())
    store.end_run(db, run_id, "failed", "It failed.")
    queue.stop_after_failure(home, True)
    put(home, "one")
    turns.give_turns(home, db)
    assert (store.held_lines(db), store.list_runs(db)[0]["status"]) == ({}, "preparing")


def test_of_eight_that_want_to_begin_at_once_one_does_and_all_get_their_turn(home: Home, db: Database) -> None:
    with supervised(home, "--points", "3"):
        ids = at_once(8, lambda number: launch.start_run(home, "seedling", f"run-{number}", queue=True))
        assert all(isinstance(one, str) for one in ids), ids
        ends = [launch.wait_until_ended(home, run_id, 60) for run_id in ids]
    assert {run["status"] for run in ends} == {"finished"}
    hold_times(db, [run["id"] for run in sorted(ends, key=lambda run: run["started_at"])])


def test_supervisors_that_look_at_once_begin_one_run(home: Home, db: Database, quiet: list[Home]) -> None:
    ids = put(home, *(f"run-{number}" for number in range(4)))

    def look(number: int) -> None:
        own = store.connect(home.database)
        try:
            turns.give_turns(home, own)
        finally:
            own.close()

    assert at_once(8, look) == [None] * 8
    assert [store.get_run(db, run_id)["status"] for run_id in ids] == ["preparing", "queued", "queued", "queued"]
    assert len(store.waiting_commands(db, ("start", "resume"))) == 1


@pytest.mark.parametrize(
    ("run", "to", "order"),
    [
        ("four", "first", ["four", "one", "two", "three"]),
        ("one", "last", ["two", "three", "four", "one"]),
        ("three", "up", ["one", "three", "two", "four"]),
        ("two", "down", ["one", "three", "two", "four"]),
        ("one", "up", ["one", "two", "three", "four"]),
        ("four", "down", ["one", "two", "three", "four"]),
        ("four", 2, ["one", "four", "two", "three"]),
        ("one", "3", ["two", "three", "one", "four"]),
        ("one", 99, ["two", "three", "four", "one"]),
    ],
)
def test_the_order_can_be_changed(home: Home, quiet: list[Home], run: str, to: str | int, order: list[str]) -> None:
    put(home, "one", "two", "three", "four")
    place = queue.move(home, run, to)
    assert names(home) == order
    assert order.index(run) == place - 1
    put(home, "five")
    assert names(home) == [*order, "five"]


def test_only_a_run_in_line_has_a_place(home: Home, db: Database, quiet: list[Home]) -> None:
    put(home, "one", "two")
    turns.give_turns(home, db)
    with pytest.raises(Refused, match="one is preparing, not in line"):
        queue.move(home, "one", "last")
    for nowhere in ("sideways", "", "1e9", "²", "9" * 30, True):
        with pytest.raises(Refused, match="is no place; give first, last, up, down or a number from 1 to 1"):
            queue.move(home, "two", nowhere)
    with pytest.raises(Refused, match="There is no line for 'toaster'; there is one for cpu"):
        queue.hold(home, "toaster")


def test_what_cannot_begin_at_its_turn_fails_with_its_sentence_and_the_next_begins(
    home: Home, db: Database, quiet: list[Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: Home, config: RunConfig) -> None:
        if config.train.seed == 3:
            raise Refused("This run needs about 9 GB of disk.")

    monkeypatch.setattr(turns, "check_disk", no_room)
    large, small = put(home, "large", train__seed=3) + put(home, "small")
    turns.give_turns(home, db)
    turns.give_turns(home, db)
    assert (store.get_run(db, large)["status"], store.get_run(db, large)["error"]) == (
        "failed",
        "This run needs about 9 GB of disk.",
    )
    assert told(db, large) == ["This run needs about 9 GB of disk."]
    assert store.get_run(db, small)["status"] == "preparing"


def test_a_run_for_a_gpu_that_is_gone_fails_and_is_not_moved_elsewhere(
    home: Home, db: Database, quiet: list[Home]
) -> None:
    gone = store.create_run(db, launch.load_preset("seedling"), "seedling", "a", "cuda:7", queue=True)
    turns.give_turns(home, db)
    run = store.get_run(db, gone)
    assert (run["status"], run["device"]) == ("failed", "cuda:7")
    assert "no CUDA device" in run["error"] or "no such CUDA device" in run["error"]


def test_a_run_whose_settings_are_damaged_does_not_hold_up_the_line(
    home: Home, db: Database, quiet: list[Home]
) -> None:
    first, second = put(home, "one", "two")
    db.conn.execute("UPDATE runs SET config = '{' WHERE id = ?", [first])
    assert queue.lines(home)["lines"][0]["queued"][0]["seconds"] is None
    turns.give_turns(home, db)
    turns.give_turns(home, db)
    assert "damaged" in store.get_run(db, first)["error"]
    assert store.get_run(db, second)["status"] == "preparing"


def test_a_resume_waits_in_line_and_goes_on_at_its_step(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER):
        first, second = put(home, "one", "two")
        is_on(db, first)
        launch.stop_run(home, first)
        is_on(db, second)
        with pytest.raises(Refused, match=r"two is \w+ on cpu; stop it first.*in line behind it"):
            launch.resume_run(home, first)
        step = store.get_run(db, first)["step"]
        launch.resume_run(home, first, queue=True)
        assert names(home) == ["one"]
        with pytest.raises(Refused, match="one is queued"):
            launch.resume_run(home, first, queue=True)
        launch.stop_run(home, second)
        run = is_on(db, first)
        assert (run["attempt"], run["step"] >= step) == (2, True)


def test_the_line_tells_how_long_and_when(home: Home, db: Database, quiet: list[Home]) -> None:
    first, second, _ = put(home, "one", "two", "three")
    turns.give_turns(home, db)
    store.update_state(db, first, status="running", tokens_per_second=500.0, eta_seconds=50.0)
    line = queue.lines(home)["lines"][0]
    target = store.get_run(db, second)["target_tokens"]
    assert (line["running"]["name"], line["running"]["eta_seconds"]) == ("one", 50.0)
    assert [run["place"] for run in line["queued"]] == [1, 2]
    assert [run["seconds"] for run in line["queued"]] == [target / 500] * 2  # the pace of one, which is as large
    assert [run["starts_in"] for run in line["queued"]] == [50.0, 50.0 + target / 500]
    assert line["free_in"] == 50.0 + 2 * target / 500
    assert {run["sweep"] for run in line["queued"]} == {None}


def test_the_command_line(home: Home, db: Database, quiet: list[Home], capsys: Capture) -> None:
    at = ("--home", str(home.path))

    def said(*words: str) -> str:
        assert main([*words, *at]) == 0
        return capsys.readouterr().out

    assert said("queue") == "Nothing runs and nothing is in line.\n"
    run_id = said("start", "--name", "one", "--queue").strip()
    turns.give_turns(home, db)
    said("start", "--name", "two", "--queue")
    assert main(["start", "--name", "three", *at]) == 1
    assert "one is preparing on cpu; stop it first" in (refusal := capsys.readouterr().err) and "--queue" in refusal
    said("start", "--name", "three", "--queue")
    assert said("queue", "move", "three", "first") == "three is number 1 in line.\n"
    shown = said("queue").splitlines()
    assert shown[0] == "cpu: one is preparing."
    assert [line.split()[:2] for line in shown[1:]] == [["PLACE", "NAME"], ["1", "three"], ["2", "two"]]
    assert said("queue", "hold") == "The line for cpu is held; `queue release` lets it go on.\n"
    assert "The line is held: It is held by a person." in said("queue")
    found = json.loads(said("queue", "--json"))
    assert found["lines"][0]["held"] and [run["name"] for run in found["lines"][0]["queued"]] == ["three", "two"]
    assert said("queue", "release", "cpu") == "The line for cpu goes on.\n"
    assert said("queue", "after-failure", "hold") == "A failure holds the line.\n"
    assert json.loads(said("queue", "move", "two", "up", "--json"))["stops_after_failure"] is True
    assert said("stop", "three").startswith("three is stopped at step 0")
    store.end_run(db, run_id, "stopped")
    assert said("resume", "one", "--queue").strip() == run_id
    assert names(home) == ["two", "one"]
    assert main(["queue", "move", "nobody", "first", *at]) == 1
    with pytest.raises(SystemExit, match="2"):
        main(["queue", "dance", *at])
