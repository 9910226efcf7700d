"""engine/deleting.py: what deleting a run frees, what keeps it from going, and a deletion that is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import wait_for
from sqlite_utils import Database
from ui_helpers import add_answer, add_points, make_run

from engine import deleting, launch, process, store
from engine.endings import lock_of
from engine.home import PROJECT, Home

WEIGHTS = 5000


def ended_run(home: Home, db: Database, name: str = "old", steps: int = 30) -> str:
    """A run that ended, with rows of every kind and files."""
    run_id = make_run(db, name)
    add_points(db, run_id, 1, steps)
    add_answer(db, run_id, " an answer")
    store.add_event(db, run_id, "note", "something happened", 1)
    store.give_command(db, run_id, "pause")
    save(home, db, run_id, 10, "full")
    save(home, db, run_id, 5, "sampling")
    store.change_tags(db, run_id, ["a tag"])
    home.log(run_id).write_text("a log\n")
    store.end_run(db, run_id, "stopped")
    return run_id


def save(home: Home, db: Database, run_id: str, step: int, kind: str) -> None:
    folder = home.run(run_id) / f"step_{step:06}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(WEIGHTS))
    row = {"step": step, "tokens": step, "kind": kind, "path": folder.name, "bytes": WEIGHTS, "sha256": ""}
    store.add_checkpoint(db, run_id, attempt=1, **row)


def left_of(db: Database, run_id: str) -> list[str]:
    """Tables that know the run."""
    tables = [name for name in db.table_names() if not name.startswith(("sqlite_", "archive_words"))]
    columns = {"runs": "id"} | {name: "run_id" for name in tables if "run_id" in db[name].columns_dict}
    return [name for name, column in columns.items() if db[name].count_where(f"{column} = ?", [run_id])]


def test_what_it_frees_is_told_before(home: Home, db: Database) -> None:
    run_id = ended_run(home, db)

    frees = deleting.what_it_frees(home, "old")

    assert (frees.run_id, frees.name, frees.checkpoints, frees.refusal) == (run_id, "old", 2, "")
    assert frees.bytes == 2 * WEIGHTS + len("a log\n")
    assert {name: frees.rows[name] for name in ("metrics", "evals", "samples")} == {
        "metrics": 30,
        "evals": 3,
        "samples": 1,
    }
    assert store.get_run(db, run_id)["status"] == "stopped"


def test_nothing_of_a_deleted_run_is_left(home: Home, db: Database) -> None:
    gone, stays = ended_run(home, db), ended_run(home, db, "other")

    assert deleting.delete_run(home, gone).bytes > 2 * WEIGHTS

    assert left_of(db, gone) == [] and not home.run(gone).exists()
    assert set(left_of(db, stays)) > {"runs", "run_state", "metrics", "checkpoints", "run_labels", "commands"}
    assert (home.run(stays) / "step_000010" / "model.safetensors").stat().st_size == WEIGHTS
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    with pytest.raises(store.Refused, match="no run"):
        deleting.delete_run(home, gone)


def test_a_run_without_files_goes_too(home: Home, db: Database) -> None:
    run_id = make_run(db)
    store.end_run(db, run_id, "failed")

    assert deleting.delete_run(home, run_id).bytes == 0
    assert left_of(db, run_id) == [] and not home.run(run_id).exists()


@pytest.mark.parametrize("status", store.OPEN)
def test_a_run_that_has_not_ended_stays(home: Home, db: Database, status: str) -> None:
    run_id = make_run(db)
    store.update_state(db, run_id, status=status, **process.identity())

    with pytest.raises(store.Refused, match=r"one (is|waits).*; stop it first\."):
        deleting.delete_run(home, run_id)
    assert "stop it first" in deleting.what_it_frees(home, run_id).refusal
    assert "run_state" in left_of(db, run_id)


def test_the_published_run_stays(home: Home, db: Database) -> None:
    with pytest.raises(store.Refused, match="published run stays"):
        deleting.delete_run(home, store.REFERENCE_ID, exhibits=True)

    assert store.search_archive(db, run_id=store.REFERENCE_ID)[1] > 0


def test_exhibits_keep_a_run_from_going_until_they_are_to_go_too(home: Home, db: Database) -> None:
    run_id = ended_run(home, db)
    kept = [store.keep(db, add_answer(db, run_id, f" cat {number}"), "good", f"Cat {number}") for number in range(3)]
    other = store.keep(db, add_answer(db, ended_run(home, db, "other"), " dog"), "good", "Dog")

    assert [one["id"] for one in deleting.what_it_frees(home, run_id).exhibits] == kept[::-1]
    with pytest.raises(store.Refused, match="3 exhibits of old"):
        deleting.delete_run(home, run_id)
    assert store.search_archive(db, "cat")[1] == 3

    deleting.delete_run(home, run_id, exhibits=True)
    assert left_of(db, run_id) == [] and store.search_archive(db, "cat")[1] == 0
    assert store.get_exhibit(db, other)["title"] == "Dog"


def test_runs_that_were_forked_from_it_know_in_words_what_it_was(home: Home, db: Database) -> None:
    run_id = ended_run(home, db)
    child = make_run(db, "child", "mps")
    db.conn.execute("UPDATE runs SET parent_run_id = ?, parent_step = 1200 WHERE id = ?", [run_id, child])

    assert deleting.what_it_frees(home, run_id).children == ["child"]
    deleting.delete_run(home, run_id)

    found = store.get_run(db, child)
    assert (found["parent_run_id"], found["parent_step"]) == (None, 1200)
    assert found["note"] == f"Forked from old ({run_id}) at step 1,200; that run was deleted."
    assert store.list_events(db, child)[-1]["message"] == found["note"]


def test_a_trainer_that_is_still_there_keeps_its_run(home: Home, db: Database) -> None:
    run_id = ended_run(home, db)
    code = "import sys, pathlib, engine.process as p; lock = p.hold_lock(pathlib.Path(sys.argv[1])); "
    code += "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(lock_of(home, run_id))]
    holder = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"held\n"

    try:
        with pytest.raises(store.Refused, match="still ending"):
            deleting.delete_run(home, run_id)
        assert home.run(run_id).exists() and store.get_run(db, run_id)["status"] == "stopped"
    finally:
        holder.communicate()
    deleting.delete_run(home, run_id)


def test_a_deletion_and_a_resume_at_once_are_one_or_the_other(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ensure_supervisor", lambda home: None)
    for number in range(5):
        run_id = ended_run(home, db, f"run-{number}")
        said: list[str] = []
        start = threading.Barrier(2)

        def attempt(what: str, run_id: str = run_id, said: list[str] = said, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                launch.resume_run(home, run_id) if what == "resume" else deleting.delete_run(home, run_id)
                said.append(what)
            except store.Refused:
                pass

        threads = [threading.Thread(target=attempt, args=(what,)) for what in ("resume", "delete")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == 1
        assert (left_of(db, run_id) == []) == (said == ["delete"])
        if said == ["resume"]:
            store.end_run(db, run_id, "stopped")


def test_what_cannot_be_removed_is_told_and_tried_again(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ended_run(home, db)

    def stubborn(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(store.Refused, match=f"checkpoints/{run_id} cannot be removed"):
        patch.setattr(deleting.shutil, "rmtree", stubborn)
        deleting.delete_run(home, run_id)
    assert left_of(db, run_id) == ["runs"] and store.hidden_runs(db) == [run_id]

    assert deleting.finish(home) == {}
    assert left_of(db, run_id) == [] and not home.run(run_id).exists()


def test_a_folder_that_lies_elsewhere_is_left_to_its_owner(home: Home, db: Database, tmp_path: Path) -> None:
    run_id = ended_run(home, db)
    home.run(run_id).rename(tmp_path / "elsewhere")
    home.run(run_id).symlink_to(tmp_path / "elsewhere")

    deleting.delete_run(home, run_id)

    assert not home.run(run_id).is_symlink() and (tmp_path / "elsewhere" / "train.log").exists()


def test_an_answer_that_comes_in_meanwhile_goes_too(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, remove = ended_run(home, db), store.remove_run
    late: list[int] = []

    def slow(db: Database, run_id: str) -> bool:
        if not late:  # the generation worker has just stored what it was asked before
            late.append(add_answer(db, run_id, " late"))
            store.keep(db, late[0], "good", "kept in the last moment")
        return remove(db, run_id)

    monkeypatch.setattr(store, "remove_run", slow)
    deleting.delete_run(home, run_id)

    assert late and left_of(db, run_id) == [] and store.search_archive(db, "moment")[1] == 0


def _delete(home: Home, run_id: str) -> None:
    deleting.delete_run(home, run_id)


def test_a_deletion_that_is_killed_is_finished_by_the_next(home: Home, db: Database) -> None:
    """Killed while rows go: nobody finds the run any more, and what is left of it goes with the next deletion."""
    run_id, second = ended_run(home, db, steps=20_000), ended_run(home, db, "second")
    child = multiprocessing.get_context("spawn").Process(target=_delete, args=(home, run_id))
    child.start()
    assert child.pid
    wait_for(lambda: db["metrics"].count_where("run_id = ?", [run_id]) < 20_000, every=0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.join(10)

    assert db["metrics"].count_where("run_id = ?", [run_id]) > 0
    with pytest.raises(store.Refused, match="no run"):
        store.find_run(db, run_id)
    with pytest.raises(store.Refused, match="no run"):
        launch.resume_run(home, "old")
    assert run_id not in [row["id"] for row in store.list_runs(db)]

    deleting.delete_run(home, second)
    assert left_of(db, run_id) == [] and store.hidden_runs(db) == []


@pytest.mark.parametrize("steps", [12_000, pytest.param(1_000_000, marks=pytest.mark.drill)])
def test_others_write_while_rows_go(home: Home, db: Database, steps: int) -> None:
    """No transaction of a deletion takes long, and there is time between two."""
    run_id = ended_run(home, db)
    for first in range(31, steps, 50_000):
        add_points(db, run_id, first, min(50_000, steps - first))
    waits, began = list[float](), time.monotonic()
    thread = threading.Thread(target=deleting.delete_run, args=(home, run_id))
    thread.start()
    while thread.is_alive():
        asked = time.monotonic()
        with store.writing(db):
            db.conn.execute("UPDATE run_state SET message = '' WHERE run_id = 'nobody'")
        waits.append(time.monotonic() - asked)
        time.sleep(0.01)
    thread.join()

    waits.sort()
    figures = [f"{1000 * waits[int(share * (len(waits) - 1))]:.1f}" for share in (0.5, 0.99, 1)]
    took = time.monotonic() - began
    print(f"{steps:,} steps deleted in {took:.1f} s; others waited {' / '.join(figures)} ms (median / p99 / longest)")
    assert left_of(db, run_id) == []
    assert waits[len(waits) // 2] < 0.2


def test_a_table_that_is_added_later_is_seen_to(home: Home, db: Database) -> None:
    """Rows of a run go by their foreign key, whatever their table; who only mentions it forgets it."""
    gone, stays = ended_run(home, db), ended_run(home, db, "other")
    db.conn.execute(
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, run_id TEXT REFERENCES runs(id), value REAL) STRICT"
    )
    db.conn.execute("CREATE TABLE contests (id INTEGER PRIMARY KEY, best TEXT REFERENCES runs(id)) STRICT")
    for run_id in (gone, stays):
        db.conn.execute("INSERT INTO readings (run_id, value) VALUES (?, 1.0)", [run_id])
        db.conn.execute("INSERT INTO contests (best) VALUES (?)", [run_id])

    assert deleting.what_it_frees(home, gone).rows["readings"] == 1
    deleting.delete_run(home, gone)

    assert [row[0] for row in db.execute("SELECT run_id FROM readings")] == [stays]
    assert [row[0] for row in db.execute("SELECT best FROM contests ORDER BY id")] == [None, stays]
