"""What people ask of runs: each request is carried out, or refused in a sentence."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import end_trainers, kill, supervised, wait_for
from sqlite_utils import Database

from engine import gpu, launch, process, store
from engine.config import ConfigError, load_preset
from engine.endings import BANNER, STARTS, last_words
from engine.home import Home
from engine.store import Refused, StoreError

FOREVER = ("--points", "1000000")


def running(home: Home, run_id: str) -> dict[str, Any]:
    """The run's status once it trains."""
    return wait_for(lambda: (found := launch.run_status(home, run_id))["status"] == "running" and found)


def quiet(monkeypatch: pytest.MonkeyPatch) -> list[Home]:
    """No supervisor is started; the homes that wanted one."""
    wanted: list[Home] = []
    monkeypatch.setattr(launch, "start_supervisor", wanted.append)
    return wanted


def test_a_run_starts_and_finishes(home: Home) -> None:
    with supervised(home, "--points", "20"):
        run_id = launch.start_run(home, "seedling", "first", {"train.seed": 5})
        ended = launch.wait_until_ended(home, "first", timeout=20)
        assert (ended["id"], ended["status"], ended["step"]) == (run_id, "finished", 20)
        status = launch.run_status(home, run_id[:4])
        assert status["pid"] is None
        assert status["status"] == "finished"


def test_start_starts_a_supervisor_that_nobody_has_to_wait_for(home: Home) -> None:
    launch.start_supervisor(home)
    wait_for(lambda: process.is_held(home.supervisor_lock))
    launch.ensure_supervisor(home)
    line = wait_for(lambda: home.supervisor_log.read_text(encoding="utf-8"))
    pid = int(line.split("supervisor ")[1].split()[0])
    who = process.identity(pid)
    process.send(signal.SIGTERM, pid, who["process_started_at"], who["boot_id"])
    wait_for(lambda: not process.is_held(home.supervisor_lock))
    wait_for(lambda: not Path(f"/proc/{pid}").exists())  # no zombie of ours either


def test_stop_saves_and_resume_goes_on_at_once(home: Home) -> None:
    with supervised(home, *FOREVER):
        run_id = launch.start_run(home, "seedling")
        first = running(home, run_id)
        launch.stop_run(home, run_id)
        with contextlib.suppress(Refused):  # it may have ended by now
            launch.stop_run(home, run_id)  # twice does no harm
        launch.resume_run(home, run_id)  # waits for the end by itself
        second = running(home, run_id)
        assert second["attempt"] == 2
        assert second["pid"] != first["pid"]
        assert second["step"] >= first["step"]
        events = [event["kind"] for event in store_events(home, run_id)]
        assert events.count("stop") == 1


def store_events(home: Home, run_id: str) -> list[store.Row]:
    db = store.connect(home.database)
    try:
        return store.list_events(db, run_id)
    finally:
        db.close()


def test_start_then_immediate_stop_then_immediate_resume(home: Home) -> None:
    with supervised(home, *FOREVER):
        run_id = launch.start_run(home, "seedling")
        launch.stop_run(home, run_id)
        launch.resume_run(home, run_id)
        assert running(home, run_id)["error"] is None


def test_a_killed_trainer_can_be_resumed_at_once(home: Home) -> None:
    with supervised(home, *FOREVER):
        run_id = launch.start_run(home, "seedling")
        first = running(home, run_id)
        who = process.identity(first["pid"])
        process.send(signal.SIGKILL, first["pid"], who["process_started_at"], who["boot_id"])
        wait_for(lambda: not process.alive(who["pid"], who["process_started_at"], who["boot_id"]), every=0.001)
        launch.resume_run(home, run_id)
        assert running(home, run_id)["attempt"] == 2


def test_stop_now_skips_the_save_and_overtakes_an_ordinary_stop(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    run_id = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    store.take_commands(db, ("start",), run_id)
    store.update_state(db, run_id, **process.identity(), status="preparing")
    monkeypatch.setattr(process, "send", lambda *_, **__: True)
    for now in (False, True, True, False):
        launch.stop_run(home, run_id, now=now)
    assert [row["argument"] for row in store.waiting_commands(db, ("stop",))] == ["", "now"]
    assert store.get_run(db, run_id)["status"] == "stopping"


def test_a_stop_before_anybody_took_the_start_ends_the_run(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    run_id = launch.start_run(home, "seedling")
    launch.stop_run(home, run_id)
    assert store.get_run(db, run_id)["status"] == "stopped"
    assert not store.waiting_commands(db, ("start", "stop"))
    with pytest.raises(Refused, match="has ended already: it is stopped"):
        launch.stop_run(home, run_id)


def test_names_are_given_and_checked(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    for expected in ("seedling-1", "seedling-2"):
        run_id = launch.start_run(home, "seedling")
        assert store.get_run(db, run_id)["name"] == expected
        launch.stop_run(home, run_id)
    for name in ("../x", "a\0b", "x" * 300, "a;rm -rf", "\u202eabc", " "):
        with pytest.raises(Refused, match="must have 1 to 64 letters"):
            launch.start_run(home, "seedling", name)


@pytest.mark.parametrize(
    ("preset", "overrides", "error", "words"),
    [
        ("seedlin", {}, ConfigError, "did you mean seedling"),
        ("seedling", {"train.leraning": 1}, ConfigError, "train.leraning is not a setting"),
        ("seedling", {"optimizer.muon_lr": float("nan")}, ConfigError, "finite number"),
        ("seedling", {"train.device": "cuda"}, ConfigError, "no CUDA device; choose cpu"),
        ("seedling", {"train.device": "toaster"}, ConfigError, "auto, cpu, cuda, cuda:NUMBER or mps"),
        ("blueberry-nano", {}, Refused, "smollm-1b"),
    ],
)
def test_what_cannot_run_is_refused_before_a_row_is_made(
    home: Home,
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
    preset: str,
    overrides: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    monkeypatch.setattr(gpu, "usable", lambda: 0)
    with pytest.raises(error, match=words):
        launch.start_run(home, preset, overrides=overrides)
    assert [run["kind"] for run in store.list_runs(db)] == ["published"]


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "usable", lambda: 2)
    assert launch.default_device() == "cuda:0"
    chosen = [launch.choose_device(name) for name in ("auto", "cuda", "cuda:1", "cpu")]
    assert chosen == ["cuda:0", "cuda:0", "cuda:1", "cpu"]
    with pytest.raises(ConfigError, match="the last one is cuda:1"):
        launch.choose_device("cuda:2")
    monkeypatch.setattr(gpu, "usable", lambda: 0)
    assert launch.default_device() == "cpu"


def test_no_gpu_where_all_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launch.default_device() == "cpu"


def test_a_second_run_on_the_device_is_refused_in_a_sentence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    launch.start_run(home, "seedling", "one")
    with pytest.raises(Refused, match=r"one is preparing on cpu; stop it first"):
        launch.start_run(home, "sprout", "two")


def test_a_start_right_after_a_stop_waits_for_the_device(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER):
        first = launch.start_run(home, "seedling", "one")
        running(home, first)
        launch.stop_run(home, first)
        second = launch.start_run(home, "seedling", "two")
        assert running(home, second)["pid"]
        assert launch.run_status(home, first)["status"] == "stopped"


def orphan(db: Database, **state: Any) -> str:
    """A run whose trainer is gone and whose supervisor is too; it may go on by itself `auto_resume` times."""
    config = load_preset("seedling", {"train.auto_resume": state.pop("auto_resume", 0)})
    run_id = store.create_run(db, config, "seedling", "a", "cpu")
    store.take_commands(db, ("start",), run_id)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    who = process.identity(child.pid)
    child.wait()
    store.update_state(db, run_id, **({"status": "running"} | who | state))
    return run_id


def test_after_a_reboot_opening_the_home_lets_a_run_go_on_by_itself(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = quiet(monkeypatch)
    run_id = orphan(db, **process.identity(), auto_resume=1)
    store.update_state(db, run_id, boot_id="before")
    launch.open_home(home)
    run = store.get_run(db, run_id)
    assert (run["status"], run["auto_resumes"], wanted) == ("preparing", 1, [home])
    assert [command["kind"] for command in store.waiting_commands(db, STARTS)] == ["resume"]
    told = [event["message"] for event in store.list_events(db, run_id)]
    assert told[0].startswith("The computer was restarted")
    assert told[1] == "It goes on by itself (1 of at most once without a person)."


@pytest.mark.parametrize("status", ["paused", "stopping"])
def test_a_run_that_a_person_held_does_not_go_on_by_itself(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    quiet(monkeypatch)
    run_id = orphan(db, status=status, phase="training", auto_resume=5)
    assert launch.run_status(home, run_id)["status"] == "crashed"


def test_a_run_whose_device_was_taken_does_not_go_on_by_itself(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    db.conn.execute("DROP INDEX one_active_run_per_device")  # what it prevents is assumed to have happened
    run_id = orphan(db, device="cuda:0", auto_resume=1)
    store.create_run(db, load_preset("seedling"), "seedling", "other", "cpu")
    store.update_state(db, run_id, device="cpu")
    assert launch.run_status(home, run_id)["status"] == "crashed"
    message = store.list_events(db, run_id)[-1]["message"]
    assert message.startswith("It does not go on by itself: other is preparing on cpu")


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_dead_run_with_settings_of_a_newer_version_is_crashed_and_says_so(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    quiet(monkeypatch)
    run_id = orphan(db, status=status, auto_resume=1)
    config = json.loads(store.get_config(db, run_id))
    config["train"]["newer_setting"] = 1
    db.conn.execute("UPDATE runs SET config = ? WHERE id = ?", [json.dumps(config), run_id])
    run = launch.run_status(home, run_id)
    assert run["status"] == "crashed"
    words = " It does not go on by itself, because its settings cannot be read: train.newer_setting is not a setting."
    assert run["error"].endswith(words) is (status == "running")


def test_a_dead_trainer_of_a_supervisor_that_hangs_is_crashed_within_five_seconds(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER) as child:
        run_id = launch.start_run(home, "seedling")
        run = running(home, run_id)
        child.send_signal(signal.SIGSTOP)
        try:
            started_at, boot = process.identity(run["pid"])["process_started_at"], process.boot_id()
            assert process.send(signal.SIGKILL, run["pid"], started_at, boot)
            wait_for(lambda: launch.run_status(home, run_id)["status"] == "crashed", timeout=5)
            assert Path(f"/proc/{run['pid']}").exists()  # a zombie: nobody has buried it
        finally:
            child.send_signal(signal.SIGCONT)
        wait_for(lambda: not Path(f"/proc/{run['pid']}").exists())


def test_a_dead_trainer_without_a_supervisor_is_crashed_when_read(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = quiet(monkeypatch)
    run_id = orphan(db)
    home.run(run_id).mkdir(parents=True)
    home.log(run_id).write_text(f"{BANNER} 1\nMemoryError: no more\n", encoding="utf-8")
    status = launch.run_status(home, run_id)
    assert status["status"] == "crashed"
    assert status["error"].startswith("The machine ran out of memory. To go on, choose a smaller")
    assert not wanted
    assert store.list_events(db, run_id)[-1]["kind"] == "crashed"


def test_a_run_of_another_boot_is_crashed_with_that_reason(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    status = launch.run_status(home, orphan(db, **(process.identity() | {"boot_id": "before"})))
    assert status["error"] == (
        "The computer was restarted or switched off while this run was on. Resume goes on from the last checkpoint."
    )


def test_a_recycled_pid_is_not_taken_for_the_trainer(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        run_id = orphan(db, **(process.identity(stranger.pid) | {"process_started_at": 1.0}))
        with pytest.raises(Refused, match="has ended already: it is crashed"):
            launch.stop_run(home, run_id, now=True)
        assert stranger.poll() is None
    finally:
        kill(stranger)


def test_a_living_trainer_without_a_supervisor_gets_one(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = quiet(monkeypatch)
    run_id = orphan(db, **process.identity())
    assert launch.run_status(home, run_id)["status"] == "running"
    assert wanted == [home]
    home.supervisor_log.touch()  # one is on its way
    launch.reconcile(home, db)
    assert wanted == [home]


def test_a_waiting_start_without_a_supervisor_gets_one(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = quiet(monkeypatch)
    store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    launch.reconcile(home, db)
    assert wanted == [home]
    assert store.open_runs(db)[0]["status"] == "preparing"


def test_a_start_that_was_taken_and_lost_is_crashed(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    run_id = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    store.take_commands(db, ("start",), run_id)
    assert launch.run_status(home, run_id)["status"] == "preparing"  # it may be on its way
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    assert "never started" in launch.run_status(home, run_id)["error"]


def test_a_death_is_left_to_the_supervisor_unless_that_hangs(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    monkeypatch.setattr(process, "is_held", lambda path: path == home.supervisor_lock)
    run_id = orphan(db, heartbeat_at=time.time())
    assert launch.run_status(home, run_id)["status"] == "running"
    store.update_state(db, run_id, heartbeat_at=time.time() - 10)
    assert launch.run_status(home, run_id)["status"] == "crashed"


def test_only_ended_runs_are_resumed_and_only_training_ones_paused(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    run_id = launch.start_run(home, "seedling", "a")
    for refused in (launch.resume_run, launch.pause_run, launch.unpause_run):
        with pytest.raises(Refused, match="a is preparing; only a run that"):
            refused(home, run_id)
    with pytest.raises(Refused, match="finished"):
        launch.resume_run(home, store.REFERENCE_ID)
    with pytest.raises(Refused, match="There is no run"):
        launch.run_status(home, "nobody")


def test_pause_and_unpause_reach_the_trainer(home: Home, db: Database) -> None:
    with supervised(home, *FOREVER):
        run_id = launch.start_run(home, "seedling")
        running(home, run_id)
        launch.pause_run(home, run_id)
        step = wait_for(lambda: (run := store.get_run(db, run_id))["status"] == "paused" and run)["step"]
        launch.unpause_run(home, run_id)
        wait_for(lambda: store.get_run(db, run_id)["step"] > step)


def test_waiting_too_long_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    run_id = launch.start_run(home, "seedling", "a")
    with pytest.raises(Refused, match="a is still preparing"):
        launch.wait_until_ended(home, run_id, timeout=0)


def test_a_lost_database_beside_checkpoints_is_not_made_anew(home: Home, tmp_path: Path) -> None:
    home.run("abc").mkdir(parents=True)
    home.database.unlink()
    with pytest.raises(StoreError, match=r"put runs\.db back"):
        launch.open_home(home)
    launch.open_home(Home.at(tmp_path / "fresh"))


def test_last_words_are_those_of_the_newest_attempt_without_paths(home: Home) -> None:
    home.run("abc").mkdir(parents=True)
    log = home.log("abc")
    assert last_words(home, home.log("abc")) == ""
    log.write_text(f"{BANNER} 1, then\nold sorrow\n{BANNER} 2, now\n", encoding="utf-8")
    assert last_words(home, home.log("abc")) == ""
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\x1b[31mOSError: {home.path}/runs.db is full\x1b[0m\n\n")
    assert last_words(home, home.log("abc")) == "OSError: runs.db is full"


def test_the_status_is_plain_data(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    status = launch.run_status(home, launch.start_run(home, "seedling", "a"))
    promised = {
        "id",
        "name",
        "preset",
        "status",
        "phase",
        "step",
        "tokens",
        "target_tokens",
        "train_loss",
        "val_loss",
        "tokens_per_second",
        "eta_seconds",
        "pid",
        "error",
    }
    assert promised <= set(json.loads(json.dumps(status)))
    end_trainers(home)
