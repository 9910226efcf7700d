"""runs.db: made and changed once, its settings in force, usable after every failure; the published run in it."""

import importlib
import math
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from helpers import without_rights
from sqlite_utils import Database
from support import at_once, new_run

from engine import store
from engine.home import PROJECT, Home
from engine.store.connect import SOUND
from engine.store.connect import sqlite3 as driver
from engine.store.migrations import MIGRATIONS

OPENING = importlib.import_module("engine.store.connect")  # `store.connect` is the function
TABLES = {"runs", "run_state", "metrics", "evals", "samples", "archive", "events", "commands", "checkpoints", "jobs"}


def names(db: Database, kind: str) -> set[str]:
    found = db.execute("SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'", [kind])
    return {row[0] for row in found if not row[0].startswith(("archive_words", "sample_words"))}  # full-text


def version(path: Path) -> int:
    db = store.connect(path)
    try:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
    finally:
        db.close()


def test_a_fresh_database_has_the_tables_the_contract_names(tmp_path: Path) -> None:
    store.migrate(tmp_path / "new" / "runs.db")

    db = store.connect(tmp_path / "new" / "runs.db")
    assert names(db, "table") >= TABLES
    assert names(db, "view") == {"current_metrics", "current_evals"}
    strict = {row[1]: row[5] for row in db.execute("PRAGMA table_list")}
    assert {strict[table] for table in names(db, "table")} == {1}
    assert version(tmp_path / "new" / "runs.db") == len(MIGRATIONS)
    db.close()


def test_migrating_again_changes_nothing(home: Home, db: Database) -> None:
    run_id, shape = new_run(home, db), list(db.execute("SELECT type, name, sql FROM sqlite_master"))

    store.migrate(home.database)

    assert list(db.execute("SELECT type, name, sql FROM sqlite_master")) == shape
    assert [run["id"] for run in store.list_runs(db)] == [run_id, store.REFERENCE_ID]


def test_an_older_schema_is_upgraded_once_by_whoever_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert names(db, "table") >= TABLES
    assert [run["id"] for run in store.list_runs(db)] == [store.REFERENCE_ID]
    assert db["evals"].count == 62
    db.close()


def test_whoever_opens_a_new_database_at_once_with_others_waits_for_them(tmp_path: Path) -> None:
    """Making a database a WAL one asks for a lock that SQLite's own patience does not cover."""
    for number in range(20):
        path = tmp_path / f"{number}.db"
        assert at_once(6, lambda _, path=path: store.migrate(path)) == [None] * 6


def test_whoever_opens_an_older_database_brings_it_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    monkeypatch.setattr(OPENING, "MIGRATIONS", MIGRATIONS[:1])
    store.migrate(path)
    monkeypatch.undo()

    db = store.connect(path)

    assert version(path) == len(MIGRATIONS)
    assert "save_seconds" in db["run_state"].columns_dict
    assert "balance_loss" in {row[1] for row in db.execute("PRAGMA table_info(current_metrics)")}
    assert "expert_load" in {row[1] for row in db.execute("PRAGMA table_info(current_evals)")}
    assert store.list_jobs(db) == []
    db.close()


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    store.migrate(path)
    with closing(store.connect(path)) as db:
        before = names(db, "table")

    def broken(db: Database) -> None:
        db.conn.execute("CREATE TABLE added (id INTEGER PRIMARY KEY) STRICT")
        raise RuntimeError("power cut")

    monkeypatch.setattr(OPENING, "MIGRATIONS", [*MIGRATIONS, broken])
    with pytest.raises(RuntimeError, match="power cut"):
        store.migrate(path)
    monkeypatch.undo()

    db = store.connect(path)
    assert names(db, "table") == before and version(path) == len(MIGRATIONS)
    db.close()


def test_a_newer_schema_is_refused_with_its_version(home: Home, db: Database) -> None:
    db.execute("PRAGMA user_version = 99")

    with pytest.raises(store.StoreError, match=r"^runs\.db has schema 99, this program knows up to \d+; update"):
        store.migrate(home.database)
    with pytest.raises(store.StoreError, match=r"^runs\.db has schema 99"):
        store.connect(home.database)


def test_an_empty_file_is_not_taken_for_a_database(tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()

    with pytest.raises(store.StoreError, match=r"^runs\.db is empty"):
        store.connect(tmp_path / "runs.db")
    assert not (tmp_path / "runs.db").stat().st_size

    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE letters (text)").connection.close()
    with pytest.raises(store.StoreError, match=r"^other\.db holds no runs"):
        store.connect(tmp_path / "other.db")


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"a letter to my sister" * 100)

    for use in (store.connect, store.migrate):
        with pytest.raises(store.DatabaseError, match="not a database"):
            use(tmp_path / "runs.db")
    assert (tmp_path / "runs.db").read_bytes() == b"a letter to my sister" * 100


def test_a_home_that_may_only_be_read_is_an_error(home: Home, db: Database) -> None:
    db.close()
    before = home.database.read_bytes()

    with without_rights(home.path):
        for use in (store.connect, store.migrate):
            with pytest.raises(store.DatabaseError, match="readonly"):
                use(home.database)
    assert home.database.read_bytes() == before


def test_a_database_that_was_deleted_or_replaced_is_another_file(home: Home, db: Database) -> None:
    before = store.file_of(home.database)
    assert store.file_of(home.database) == before

    home.database.rename(home.path / "old.db")
    with pytest.raises(store.StoreError, match=r"^runs\.db is not there any more"):
        store.file_of(home.database)
    store.migrate(home.database)

    assert store.file_of(home.database) != before


def test_a_database_that_is_not_there_is_not_made_by_accident(tmp_path: Path) -> None:
    with pytest.raises(store.StoreError, match=r"^runs\.db is not there"):
        store.connect(tmp_path / "runs.db")

    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize("durable", [False, True])
def test_the_settings_are_in_force(home: Home, durable: bool) -> None:
    db = store.connect(home.database, durable=durable)

    found = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "mmap_size", "journal_size_limit")
    }

    assert found == {
        "journal_mode": "wal",
        "synchronous": 2 if durable else 1,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "mmap_size": 0,
        "journal_size_limit": 67108864,
    }
    db.close()


def test_the_sqlite_in_use_has_the_fix_for_lost_rows() -> None:
    assert driver.sqlite_version_info >= SOUND


def test_an_unsound_sqlite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.soundness() == ""

    monkeypatch.setattr(OPENING, "SOUND", (99, 0, 0))

    assert "can lose rows" in store.soundness() and driver.sqlite_version in store.soundness()
    with pytest.warns(UserWarning, match="can lose rows"):
        store.migrate(tmp_path / "runs.db")


def test_the_log_is_cut_back_after_a_reader_that_stayed_long(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    db.execute("PRAGMA journal_size_limit = 200000")
    reader = store.connect(home.database)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchall()
    for _ in range(600):
        store.add_event(db, run_id, "note", "x" * 4000)
    grown = store.log_bytes(home.database)

    reader.execute("COMMIT")
    for _ in range(600):
        store.add_event(db, run_id, "note", "x" * 4000)

    assert grown > 2_000_000  # what was written since the reader began
    db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    store.add_event(db, run_id, "note", "the log begins anew")
    assert store.log_bytes(home.database) <= 200_000
    reader.close()


@pytest.mark.parametrize(
    ("row", "for_good"),
    [
        ({"step": "one"}, True),
        ({"step": None}, True),
        ({"step": 2**70}, True),
        ({"step": [1]}, True),
        ({"unknown": 1}, True),
        ({"run_id": "nobody"}, True),
        ({"run_id": "a\ud800"}, True),
    ],
)
def test_wrong_values_are_refused_for_good(home: Home, db: Database, row: store.Row, for_good: bool) -> None:
    right = {"run_id": new_run(home, db), "attempt": 1, "step": 1, "tokens": 1, "elapsed_seconds": 0.0}

    with pytest.raises(store.ROW_ERRORS) as caught:
        store.insert(db, "metrics", right | row)

    assert store.refused_for_good(caught.value) is for_good


def test_a_lock_and_a_full_disk_pass(home: Home, db: Database) -> None:
    run_id, other = new_run(home, db), store.connect(home.database, patience=0.01)

    with store.writing(db), pytest.raises(store.DatabaseError) as locked:
        store.add_event(other, run_id, "note", "later")
    other.execute("PRAGMA max_page_count = 1")
    with pytest.raises(store.DatabaseError) as full:
        store.add_event(other, run_id, "note", "x" * 100_000)

    assert not store.refused_for_good(locked.value) and not store.refused_for_good(full.value)
    other.close()


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

    store.insert(
        db,
        "metrics",
        {"run_id": run_id, "attempt": 1, "step": 1, "tokens": 1, "train_loss": math.nan, "elapsed_seconds": 0.0},
    )

    assert store.metrics_after(db, run_id, 0)[0][store.METRICS.index("train_loss")] is None


def test_text_in_a_column_of_numbers_is_refused(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    with pytest.raises(store.DatabaseError, match="cannot store TEXT"):
        store.insert(db, "metrics", {"run_id": run_id, "attempt": 1, "step": "one", "tokens": 1, "elapsed_seconds": 0})


def test_either_drivers_error_counts_as_the_databases() -> None:
    assert issubclass(sqlite3.OperationalError, store.DatabaseError)
    assert issubclass(driver.OperationalError, store.DatabaseError)


def test_the_published_run_is_there_once_with_its_curve_and_exhibits(db: Database) -> None:
    store.add_reference(db)  # the fixture did already

    run = store.get_run(db, store.REFERENCE_ID)
    assert (run["name"], run["kind"], run["status"], run["parameters"]) == (
        "Blueberry-Nano",
        "published",
        "finished",
        151_032_320,
    )
    curve = [dict(zip(store.EVALS, row, strict=True)) for row in store.evals_after(db, run["id"], 0)]
    assert len(curve) == len(store.metrics_after(db, run["id"], 0)) == 62
    assert curve[-1]["tokens"] == pytest.approx(5e8, rel=0.01)  # counted tokens, not the published ones
    assert run["target_tokens"] == 10**9
    assert "micro-batch" in store.list_events(db, run["id"])[0]["message"]
    exhibits, total = store.search_archive(db, run_id=run["id"])
    assert total == len(exhibits) == 3
    assert {exhibit["category"] for exhibit in exhibits} == {"good", "strange", "hallucination"}


def test_the_published_run_cannot_be_resumed(db: Database) -> None:
    with pytest.raises(store.Refused, match="finished"):
        store.request_resume(db, store.REFERENCE_ID, "cpu")


def test_a_preference_is_kept_changed_and_forgotten(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    store.migrate(database)
    db = store.connect(database)
    assert store.get_preference(db, "price", 1.0) == 1.0
    for value in ({"per_hour": 0.35}, {"per_hour": 2}):
        store.set_preference(db, "price", value)
        assert store.get_preference(db, "price") == value
    store.set_preference(db, "price", None)
    assert store.get_preference(db, "price") is None
    db.close()
