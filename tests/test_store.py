"""runs.db: made once, one active run a device, nothing lost between processes, exhibits found again."""

import importlib
import json
import math
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from engine import store
from engine.home import PROJECT, Home
from engine.store.connect import SOUND
from engine.store.connect import sqlite3 as driver
from engine.store.migrations import MIGRATIONS
from support import new_run, tiny_config

OPENING = importlib.import_module("engine.store.connect")  # `store.connect` is the function
TABLES = {"runs", "run_state", "metrics", "evals", "samples", "archive", "events", "commands", "checkpoints"}


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gives in `count` threads that start together; an exception counts as a result."""
    barrier, results = threading.Barrier(count), [None] * count

    def one(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def names(db: Database, kind: str) -> set[str]:
    return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'", [kind])}


def version(path: Path) -> int:
    db = store.connect(path)
    try:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
    finally:
        db.close()


# The file and its shape


def test_a_fresh_database_has_the_tables_the_contract_names(tmp_path: Path) -> None:
    store.migrate(tmp_path / "new" / "runs.db")

    db = store.connect(tmp_path / "new" / "runs.db")
    assert names(db, "table") == TABLES
    assert names(db, "view") == {"current_metrics", "current_evals"}
    strict = {row[1]: row[5] for row in db.execute("PRAGMA table_list") if row[1] in TABLES}
    assert strict == dict.fromkeys(TABLES, 1)
    assert version(tmp_path / "new" / "runs.db") == len(MIGRATIONS)
    db.close()


def test_migrating_again_changes_nothing(home: Home, db: Database) -> None:
    run_id, shape = new_run(home, db), list(db.execute("SELECT type, name, sql FROM sqlite_master"))

    store.migrate(home.database)

    assert list(db.execute("SELECT type, name, sql FROM sqlite_master")) == shape
    assert [run["id"] for run in store.list_runs(db)] == [run_id, store.REFERENCE_ID]


def test_an_older_schema_is_upgraded_once_by_whoever_comes_first(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made = tmp_path / "runs.db", []
    store.migrate(path)

    def second_schema(db: Database) -> None:
        made.append(threading.get_ident())
        db.conn.execute("CREATE TABLE added (id INTEGER PRIMARY KEY) STRICT")
        time.sleep(0.05)

    monkeypatch.setattr(OPENING, "MIGRATIONS", [*MIGRATIONS, second_schema])

    assert at_once(8, lambda _: store.migrate(path)) == [None] * 8
    assert len(made) == 1 and version(path) == len(MIGRATIONS) + 1


def test_several_processes_make_one_database(tmp_path: Path) -> None:
    code = "import sys; from engine import launch; from engine.home import Home; launch.open_home(Home.at(sys.argv[1]))"
    makers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT) for _ in range(4)]
    assert [maker.wait(timeout=30) for maker in makers] == [0] * 4

    db = store.connect(tmp_path / "runs.db")
    assert names(db, "table") == TABLES
    assert [run["id"] for run in store.list_runs(db)] == [store.REFERENCE_ID]
    assert db["evals"].count == 62
    db.close()


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    store.migrate(path)

    def broken(db: Database) -> None:
        db.conn.execute("CREATE TABLE added (id INTEGER PRIMARY KEY) STRICT")
        raise RuntimeError("power cut")

    monkeypatch.setattr(OPENING, "MIGRATIONS", [*MIGRATIONS, broken])
    with pytest.raises(RuntimeError, match="power cut"):
        store.migrate(path)

    db = store.connect(path)
    assert names(db, "table") == TABLES and version(path) == len(MIGRATIONS)
    db.close()


def test_a_newer_schema_is_refused_with_its_version(home: Home, db: Database) -> None:
    db.execute("PRAGMA user_version = 99")

    with pytest.raises(store.StoreError, match=r"^runs\.db has schema 99, this program knows up to \d+; update"):
        store.migrate(home.database)


def test_a_database_that_is_not_there_is_not_made_by_accident(tmp_path: Path) -> None:
    with pytest.raises(store.StoreError, match=r"^runs\.db is not there"):
        store.connect(tmp_path / "runs.db")

    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize("durable", [False, True])
def test_the_settings_are_in_force(home: Home, durable: bool) -> None:
    db = store.connect(home.database, durable=durable)

    found = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in
             ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "mmap_size", "journal_size_limit")}

    assert found == {"journal_mode": "wal", "synchronous": 2 if durable else 1, "foreign_keys": 1, "busy_timeout": 5000,
                     "mmap_size": 0, "journal_size_limit": 67108864}
    db.close()


def test_the_sqlite_in_use_has_the_fix_for_lost_rows() -> None:
    assert driver.sqlite_version_info >= SOUND


# Transactions and types


def test_a_transaction_that_fails_leaves_nothing(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    with pytest.raises(ZeroDivisionError), store.writing(db):
        store.update_state(db, run_id, step=5)
        raise ZeroDivisionError

    assert store.get_run(db, run_id)["step"] == 0
    with store.writing(db):
        store.update_state(db, run_id, step=6)
    assert store.get_run(db, run_id)["step"] == 6


def test_a_commit_that_fails_leaves_a_usable_connection(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    with pytest.raises(store.DatabaseError, match="FOREIGN KEY"), store.writing(db):
        db.conn.execute("PRAGMA defer_foreign_keys = ON")
        store.add_event(db, "nobody", "note", "checked at the commit")

    store.add_event(db, run_id, "note", "works again")
    with store.writing(db):
        store.add_event(db, run_id, "note", "and in a transaction")
    assert len(store.list_events(db, run_id)) == 2


def test_a_full_disk_is_survived_on_the_same_connection(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(store.DatabaseError, match="full"), store.writing(db):
        for _ in range(1000):
            store.add_event(db, run_id, "note", "x" * 1000)
    db.execute("PRAGMA max_page_count = 1000000")

    assert store.list_events(db, run_id) == []
    with store.writing(db):
        store.add_event(db, run_id, "note", "there is room again")
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_number_that_is_none_is_stored_as_nothing(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    store.insert(db, "metrics", {"run_id": run_id, "attempt": 1, "step": 1, "tokens": 1, "train_loss": math.nan,
                                 "elapsed_seconds": 0.0})

    assert store.metrics_after(db, run_id, 0)[0][store.METRICS.index("train_loss")] is None


def test_text_in_a_column_of_numbers_is_refused(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    with pytest.raises(store.DatabaseError, match="cannot store TEXT"):
        store.insert(db, "metrics", {"run_id": run_id, "attempt": 1, "step": "one", "tokens": 1, "elapsed_seconds": 0.0})


# Runs


def test_a_new_run_waits_for_its_trainer_with_its_config(home: Home, db: Database) -> None:
    config = tiny_config()

    run_id = store.create_run(db, config, "seedling", "first", "cpu")

    run = store.get_run(db, run_id)
    assert (run["name"], run["status"], run["phase"], run["attempt"], run["step"]) == ("first", "preparing", "starting", 0, 0)
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


@pytest.mark.parametrize("name", ["../x", "a\0b", "a\u202eb", "x" * 300, "", " ", ".hidden", "-rf", "a b", "a/b", "é", "a\n"])
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
    assert (run["status"], run["error"], run["message"], run["progress"], run["eta_seconds"]) == \
        ("failed", "The disk is full.", "", None, None)
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


# Commands


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
    assert kept and kept["done_at"] >= kept["taken_at"] >= kept["created_at"] and kept["result"] == "taken by the trainer"
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


# What is measured


def measure(db: Database, run_id: str, attempt: int, steps: range) -> None:
    shared = {"run_id": run_id, "attempt": attempt, "elapsed_seconds": 1.0}
    for step in steps:
        store.insert(db, "metrics", shared | {"step": step, "tokens": step * 256, "train_loss": 3.0})
        store.insert(db, "evals", shared | {"step": step, "tokens": step * 256, "val_loss": 2.5})
        say(db, run_id, step, source="periodic")
        say(db, run_id, step, source="playground")


def say(db: Database, run_id: str, step: int, prompt: str = "Alice", text: str = " was", source: str = "playground",
        suite: str = "stories") -> int:
    return store.add_sample(db, {"run_id": run_id, "attempt": 1, "step": step, "tokens": step * 256, "suite": suite,
                                 "prompt": prompt, "text": text, "source": source, "created_at": 1.0 * step})


def test_a_cursor_reads_what_is_new(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    measure(db, run_id, 1, range(1, 6))
    first = store.metrics_after(db, run_id, 0, limit=2)

    rest = store.metrics_after(db, run_id, int(first[-1][0] or 0))

    assert [row[1] for row in (*first, *rest)] == [1, 2, 3, 4, 5]
    assert dict(zip(store.METRICS, first[0], strict=True)) | {"id": 0} == {
        "id": 0, "step": 1, "tokens": 256, "elapsed_seconds": 1.0, "train_loss": 3.0, "learning_rate": None,
        "grad_norm": None, "tokens_per_second": None}
    assert [row[store.EVALS.index("val_loss")] for row in store.evals_after(db, run_id, 0)] == [2.5] * 5


def test_steps_done_again_are_read_once(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    measure(db, run_id, 1, range(1, 9))

    store.supersede_after(db, run_id, 5)
    measure(db, run_id, 2, range(6, 8))

    assert [row[1] for row in store.metrics_after(db, run_id, 0)] == [1, 2, 3, 4, 5, 6, 7]
    assert store.last_eval(db, run_id)["step"] == 7  # type: ignore[index]
    assert db["metrics"].count_where("run_id = ?", [run_id]) == 10  # nothing is deleted
    said = [(row["step"], row["source"]) for row in store.list_samples(db, run_id)]
    assert sorted(step for step, source in said if source == "periodic") == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(step for step, source in said if source == "playground") == [1, 2, 3, 4, 5, 6, 6, 7, 7, 8]
    assert len(store.evals_after(db, store.REFERENCE_ID, 0)) == 62


def test_the_newest_events_are_read_with_the_oldest_first(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for number in range(5):
        store.add_event(db, run_id, "note", str(number), number)

    assert [event["message"] for event in store.list_events(db, run_id, limit=3)] == ["2", "3", "4"]
    cursor = store.list_events(db, run_id)[3]["id"]
    assert [event["message"] for event in store.list_events(db, run_id, cursor)] == ["4"]


# The published run


def test_the_published_run_is_there_once_with_its_curve_and_exhibits(db: Database) -> None:
    store.add_reference(db)  # the fixture did already

    run = store.get_run(db, store.REFERENCE_ID)
    assert (run["name"], run["kind"], run["status"], run["parameters"]) == \
        ("Blueberry-Nano", "published", "finished", 151_032_320)
    curve = [dict(zip(store.EVALS, row, strict=True)) for row in store.evals_after(db, run["id"], 0)]
    assert len(curve) == len(store.metrics_after(db, run["id"], 0)) == 62
    assert curve[-1]["tokens"] == pytest.approx(5e8, rel=0.01)  # counted tokens, not the published ones
    assert run["target_tokens"] == 10**9
    assert "micro-batch" in store.list_events(db, run["id"])[0]["message"]
    exhibits, total = store.search_archive(db, run_id=run["id"])
    assert total == len(exhibits) == 3
    assert {exhibit["category"] for exhibit in exhibits} == set(store.CATEGORIES)


def test_the_published_run_cannot_be_resumed(db: Database) -> None:
    with pytest.raises(store.Refused, match="finished"):
        store.request_resume(db, store.REFERENCE_ID, "cpu")


# What is said and kept


def test_a_kept_sample_is_found_by_its_words_category_and_run(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    sample = say(db, run_id, 4, prompt="The Hatter", text=" poured the tea")
    store.insert(db, "evals", {"run_id": run_id, "attempt": 1, "step": 3, "tokens": 1, "val_loss": 2.5, "elapsed_seconds": 1})

    store.keep(db, sample, " Strange ", " Tea ", "at six o'clock")

    for query in ("hatter", "POURED", "tea", "six o'clock", "tiny"):
        found, total = store.search_archive(db, query, run_id=run_id)
        assert total == len(found) == 1, query
    (exhibit,), _ = store.search_archive(db, category="strange", run_id=run_id)
    assert (exhibit["title"], exhibit["note"], exhibit["run_name"], exhibit["step"], exhibit["val_loss"]) == \
        ("Tea", "at six o'clock", "tiny", 4, 2.5)
    for nothing in ({"query": "100%"}, {"query": "coffee"}, {"category": "good", "run_id": run_id}, {"run_id": "nobody"}):
        assert store.search_archive(db, **nothing) == ([], 0)


def test_keeping_again_changes_the_label_and_keeps_the_place(home: Home, db: Database) -> None:
    sample = say(db, new_run(home, db), 1)

    first = store.keep(db, sample, "good", "One")
    second = store.keep(db, sample, "my own", "Two", "better")

    found, total = store.search_archive(db, category="my own")
    assert first == second and total == 1 and (found[0]["title"], found[0]["note"]) == ("Two", "better")


@pytest.mark.parametrize(("category", "title", "note", "sentence"), [
    ("", "T", "", "A category needs 1 to 40 characters"), ("x" * 41, "T", "", "A category needs"),
    ("good", "  ", "", "A title needs 1 to 200 characters"), ("good", "x" * 201, "", "A title needs"),
    ("good", "T", "x" * 4001, "A note has at most 4,000 characters; this one has 4,001")])
def test_labels_have_limits(home: Home, db: Database, category: str, title: str, note: str, sentence: str) -> None:
    sample = say(db, new_run(home, db), 1)

    with pytest.raises(store.Refused, match=sentence):
        store.keep(db, sample, category, title, note)


def test_a_sample_that_is_not_there_cannot_be_kept(db: Database) -> None:
    with pytest.raises(store.Refused, match=r"There is no sample 99999\."):
        store.keep(db, 99_999, "good", "T")


def test_exhibits_come_in_pages_of_fifty_with_the_newest_first(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for step in range(53):
        store.keep(db, say(db, run_id, step), "good", f"Title {step}")

    pages = [store.search_archive(db, run_id=run_id, page=page) for page in (0, 1, 2, -1)]

    assert [(len(found), total) for found, total in pages] == [(50, 53), (3, 53), (0, 53), (50, 53)]
    assert [exhibit["step"] for exhibit in pages[0][0] + pages[1][0]] == list(range(52, -1, -1))


def test_what_is_said_is_kept_to_the_last_character(home: Home, db: Database) -> None:
    text = "<script>alert(1)</script> \u202e'; DROP TABLE runs; -- né 火 \n\t end\ufffd"

    sample = say(db, new_run(home, db), 1, text=text)

    assert store.get_sample(db, sample)["text"] == text


def test_answers_by_prompt_and_age(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for step in (0, 5):
        for prompt in ("Alice", "Queen"):
            say(db, run_id, step, prompt, f" at {step}", "periodic")
    say(db, run_id, 5, "Alice", " played", "playground")

    assert [(row["prompt"], row["text"]) for row in store.newest_samples(db, run_id)] == [("Alice", " at 5"), ("Queen", " at 5")]
    assert [row["text"] for row in store.answers(db, run_id, "stories", "Alice")] == [" at 0", " at 5"]
    assert store.newest_sample_id(db, run_id) == 1 + max(row["id"] for row in store.newest_samples(db, run_id))
    assert store.newest_sample_id(db, "nobody") == 0


def test_weights_on_disk_are_indexed_by_kind_and_forgotten(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    def index(step: int, kind: str, sha256: str = "0") -> None:
        store.add_checkpoint(db, run_id, attempt=1, step=step, tokens=step * 256, kind=kind, path="p", bytes=1, sha256=sha256)

    for step in (10, 5):
        index(step, "sampling")
        index(step, "full")
    index(5, "full", sha256="1")  # written again

    assert [(row["step"], row["kind"], row["sha256"]) for row in store.list_checkpoints(db, run_id)] == \
        [(5, "sampling", "0"), (5, "full", "1"), (10, "sampling", "0"), (10, "full", "0")]
    store.forget_checkpoint(db, run_id, 5, "full")
    store.forget_checkpoint(db, run_id, 10, "sampling")
    assert [row["step"] for row in store.list_checkpoints(db, run_id, "full")] == [10]
    assert [(age["step"], age["tokens"]) for age in store.ages(db, run_id)] == [(5, 1280), (10, 2560)]


def test_the_environment_is_stored_as_what_it_is(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    store.update_state(db, run_id, environment={"threads": 2})

    assert store.get_run(db, run_id)["environment"] == {"threads": 2}
    raw = db.execute("SELECT environment FROM run_state WHERE run_id = ?", [run_id]).fetchone()[0]
    assert json.loads(raw) == {"threads": 2}


def test_either_drivers_error_counts_as_the_databases() -> None:
    assert issubclass(sqlite3.OperationalError, store.DatabaseError)
    assert issubclass(driver.OperationalError, store.DatabaseError)
