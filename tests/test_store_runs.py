"""Runs and what people ask of them: one active run a device, each end and each command counted once."""

import json
import time

import pytest
from sqlite_utils import Database
from support import at_once, new_run, tiny_config

from engine import store
from engine.home import Home


def test_a_new_run_waits_for_its_trainer_with_its_config(home: Home, db: Database) -> None:
    config = tiny_config()

    run_id = store.create_run(db, config, "seedling", "first", "cpu")

    run = store.get_run(db, run_id)
    assert (run["name"], run["status"], run["phase"], run["attempt"]) == ("first", "preparing", "starting", 0)
    assert (run["parameters"], run["total_steps"], run["target_tokens"]) == (config.model.parameters, 24, 6144)
    assert store.get_config(db, run_id) == config.to_json()
    assert [(row["run_id"], row["kind"]) for row in store.waiting_commands(db, ("start",))] == [(run_id, "start")]


def test_of_eight_starts_at_once_exactly_one_gets_the_device(home: Home) -> None:
    def start(number: int) -> str:
        db = store.connect(home.database)
        try:
            return store.create_run(db, tiny_config(), "seedling", f"run-{number}", "cpu")
        finally:
            db.close()

    results = at_once(8, start)

    refused = [str(result) for result in results if isinstance(result, store.Refused)]
    assert len(refused) == 7 and len([result for result in results if isinstance(result, str)]) == 1
    assert all(" is preparing on cpu; stop it first, or wait" in sentence for sentence in refused)


def test_another_device_and_an_ended_run_are_in_nobodys_way(home: Home, db: Database) -> None:
    first = store.create_run(db, tiny_config(), "seedling", "one", "cpu")
    store.create_run(db, tiny_config(), "seedling", "two", "cuda:0")

    assert store.end_run(db, first, "finished")
    store.create_run(db, tiny_config(), "seedling", "three", "cpu")


def test_the_schema_itself_refuses_two_active_runs_of_one_device(home: Home, db: Database) -> None:
    first = new_run(home, db)
    store.end_run(db, first, "stopped")
    new_run(home, db)

    with pytest.raises(store.DatabaseError, match="UNIQUE"):
        store.update_state(db, first, status="running")


def test_a_run_is_found_by_id_prefix_and_name(home: Home, db: Database) -> None:
    ids = []
    for name in ("alpha", "beta", "alpha"):
        ids.append(store.create_run(db, tiny_config(), "seedling", name, "cpu"))
        store.end_run(db, ids[-1], "stopped")

    assert store.find_run(db, ids[0])["id"] == ids[0]
    assert store.find_run(db, ids[1][:8])["id"] == ids[1]
    assert store.find_run(db, "beta")["id"] == ids[1]
    assert store.find_run(db, "alpha")["id"] == ids[2]  # the newest of that name
    assert store.find_run(db, store.REFERENCE_ID)["kind"] == "published"
    for text in ("", "nobody", "%", "_"):
        with pytest.raises(store.Refused, match="There is no run"):
            store.find_run(db, text)


def test_a_prefix_of_two_runs_is_told_so(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["abc0000001", "abc0000002"])
    monkeypatch.setattr("engine.store.runs.secrets.token_hex", lambda _: next(drawn))
    for _ in range(2):
        store.end_run(db, new_run(home, db), "stopped")

    with pytest.raises(store.Refused, match="'abc' is the start of 2 run ids; give more of it"):
        store.find_run(db, "abc")


@pytest.mark.parametrize(
    "name", ["../x", "a\0b", "a\u202eb", "x" * 300, "", " ", ".hidden", "-rf", "a b", "a/b", "é", "a\n"]
)
def test_names_that_could_hide_something_are_refused(db: Database, name: str) -> None:
    with pytest.raises(store.Refused, match=r"must have 1 to 64 letters, digits or \. _ -") as caught:
        store.create_run(db, tiny_config(), "seedling", name, "cpu")

    assert len(str(caught.value)) < 250 and caught.value.args[0].isprintable()


@pytest.mark.parametrize("name", ["a", "Run-1.2_b", "x" * 64, "2024"])
def test_ordinary_names_are_fine(db: Database, name: str) -> None:
    assert store.get_run(db, store.create_run(db, tiny_config(), "seedling", name, "cpu"))["name"] == name


def test_a_run_ends_once(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    store.update_state(db, run_id, status="running", attempt=2, progress=0.5, message="so far", eta_seconds=9.0)

    assert not store.end_run(db, run_id, "finished", attempt=1)  # an older trainer's word
    assert store.end_run(db, run_id, "failed", "The disk is full.", attempt=2)
    assert not store.end_run(db, run_id, "crashed")

    run = store.get_run(db, run_id)
    assert (run["status"], run["error"], run["message"], run["progress"], run["eta_seconds"]) == (
        "failed",
        "The disk is full.",
        "",
        None,
        None,
    )
    assert run["ended_at"] == pytest.approx(time.time(), abs=60)


def test_resuming_asks_for_one_more_attempt(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    store.take_commands(db, ("start",))
    with pytest.raises(store.Refused, match="tiny is preparing; only a run that has ended"):
        store.request_resume(db, run_id, "cpu")
    store.end_run(db, run_id, "crashed", "The trainer was killed.")

    store.request_resume(db, run_id, "cuda:0")

    run = store.get_run(db, run_id)
    assert (run["status"], run["error"], run["ended_at"], run["device"]) == ("preparing", None, None, "cuda:0")
    assert [row["kind"] for row in store.waiting_commands(db, ("resume",))] == ["resume"]
    other = new_run(home, db)
    store.end_run(db, other, "finished")
    with pytest.raises(store.Refused, match="tiny is finished"):
        store.request_resume(db, other, "cpu")
    store.end_run(db, run_id, "stopped")
    new_run(home, db)
    with pytest.raises(store.Refused, match="on cpu; stop it first"):
        store.request_resume(db, run_id, "cpu")


def test_runs_are_listed_with_the_newest_first_and_the_published_one_last(home: Home, db: Database) -> None:
    ids = []
    for _ in range(3):
        ids.append(new_run(home, db))
        store.end_run(db, ids[-1], "stopped")

    assert [run["id"] for run in store.list_runs(db)] == [*reversed(ids), store.REFERENCE_ID]
    assert store.open_runs(db) == []
    ids.append(new_run(home, db))
    assert [run["id"] for run in store.open_runs(db)] == ids[3:]


def test_the_environment_is_stored_as_what_it_is(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    store.update_state(db, run_id, environment={"threads": 2})

    assert store.get_run(db, run_id)["environment"] == {"threads": 2}
    raw = db.execute("SELECT environment FROM run_state WHERE run_id = ?", [run_id]).fetchone()[0]
    assert json.loads(raw) == {"threads": 2}


def test_a_command_is_taken_exactly_once(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    given = [store.give_command(db, run_id, "sample") for _ in range(20)]

    def take(_: int) -> list[int]:
        own = store.connect(home.database)
        taken: list[int] = []
        try:
            for _ in range(5):
                taken += [row["id"] for row in store.take_commands(own, ("sample", "stop"), run_id)]
        finally:
            own.close()
        return taken

    results = at_once(4, take)

    assert sorted(number for taken in results for number in taken) == given
    assert store.take_commands(db, ("sample",), run_id) == []
    assert store.last_command(db, run_id, ("sample",))["taken_at"] is not None  # type: ignore[index]


def test_commands_are_taken_by_kind_and_run_and_stamped_when_done(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    stop = store.give_command(db, run_id, "stop", "now")
    store.give_command(db, store.REFERENCE_ID, "stop")

    (taken,) = store.take_commands(db, ("stop",), run_id)
    store.finish_command(db, taken["id"], "taken by the trainer")

    assert (taken["id"], taken["argument"]) == (stop, "now")
    kept = store.last_command(db, run_id, ("stop",))
    assert kept and kept["result"] == "taken by the trainer"
    assert kept["done_at"] >= kept["taken_at"] >= kept["created_at"]
    assert [row["run_id"] for row in store.waiting_commands(db, ("stop",))] == [store.REFERENCE_ID]
    assert store.last_command(db, run_id, ("pause",)) is None


def test_commands_for_a_trainer_that_has_ended_are_dropped(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    store.give_command(db, run_id, "pause")
    store.give_command(db, run_id, "sample")

    assert store.drop_commands(db, run_id, ("pause", "sample"), "the trainer had ended") == 2
    assert store.drop_commands(db, run_id, ("pause", "sample"), "the trainer had ended") == 0
    assert store.take_commands(db, ("pause", "sample")) == []
    assert store.waiting_commands(db, ("start",)) != []
