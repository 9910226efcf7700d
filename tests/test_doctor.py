"""The doctor finds what is wrong with a machine or a home, says what to do, and changes nothing."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from engine import doctor, gpu, process, store
from engine.__main__ import main
from engine.config import load_preset
from engine.doctor import Finding
from engine.gpu import Gpu
from engine.home import Home


def found(home: Home, name: str) -> list[tuple[str, str]]:
    """State and sentence of one check's findings."""
    return [(finding.state, finding.sentence) for finding in doctor.examine(home) if finding.name == name]


def one(home: Home, name: str) -> tuple[str, str]:
    (only,) = found(home, name)
    return only


def checkpoint(home: Home, run_id: str, step: int) -> Path:
    """A checkpoint of a few bytes with a true manifest."""
    folder = home.run(run_id) / f"step_{step:06d}"
    folder.mkdir(parents=True)
    data = b"weights"
    (folder / "model.safetensors").write_bytes(data)
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"model.safetensors": entry}), encoding="utf-8")
    return folder


def new_run(db: Database, **state: Any) -> str:
    run_id = store.create_run(db, load_preset("seedling"), "seedling", "mine", "cpu")
    store.take_commands(db, ("start",))
    store.update_state(db, run_id, **state)
    return run_id


def test_a_home_in_order_has_no_problem(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert {finding.name for finding in doctor.examine(home)} == set(doctor.CHECKS)
    assert main(["doctor", "--home", str(home.path)]) == 0
    assert "It is whole, with schema" in capsys.readouterr().out
    assert main(["doctor", "--home", str(home.path), "--json", "--quick"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"name", "state", "sentence"} == set(printed[0])
    assert "weights" not in {finding["name"] for finding in printed}


def test_a_problem_is_exit_status_1(home: Home, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run(db, status="running")
    (checkpoint(home, run_id, 8) / "model.safetensors").write_bytes(b"weighty")
    assert main(["doctor", "--home", str(home.path)]) == 0
    assert "It was being removed, or nothing is known of it: delete it." in capsys.readouterr().out
    row = {"attempt": 1, "tokens": 1, "bytes": 7, "kind": "full", "sha256": "0", "path": "step_000008"}
    store.add_checkpoint(db, run_id, step=8, **row)
    assert main(["doctor", "--home", str(home.path)]) == 1
    assert f"problem  weights   {run_id}: step_000008/model.safetensors: hash mismatch" in capsys.readouterr().out


def test_an_empty_folder_is_no_problem_and_stays_empty(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "new")
    assert one(home, "runs.db") == ("ok", "It will be made at the first start.")
    assert not any(home.path.iterdir())


def test_packages_are_compared_with_requirements(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(home, "versions")[-1][0] == "ok"
    true = doctor.metadata.version

    def version(name: str) -> str:
        if name == "plotly":
            raise doctor.metadata.PackageNotFoundError(name)
        return "0.1" if name == "numpy" else true(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    told = found(home, "versions")
    assert ("problem", "plotly is missing: pip install -r requirements.txt.") in told
    assert any(state == "warning" and words.startswith("numpy 0.1 is not") for state, words in told)


def test_gpus_are_told_with_who_holds_them(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "driver", lambda: "580.12")
    monkeypatch.setattr(gpu, "look", lambda _: [Gpu(0, "RTX", 2 * 10**9, 24 * 10**9, (gpu.Holder(7, "game", 10**9),))])
    monkeypatch.setattr(doctor.metadata, "version", lambda _: "2.13.0+cpu")
    told = [(finding.state, finding.sentence) for finding in doctor.check_gpus(home)]
    assert told[0] == ("ok", "RTX: 2.0 GB of 24.0 GB in use, driver 580.12; game (pid 7) 1.0 GB")
    assert told[1][0] == "warning" and "CPU build" in told[1][1]
    monkeypatch.setattr(gpu, "look", lambda _: [])
    assert next(doctor.check_gpus(home)).state == "warning"


@pytest.mark.parametrize(("free", "state"), [(10**11, "ok"), (2 * 10**9, "warning"), (10**8, "problem")])
def test_a_disk_that_fills_up_is_told(home: Home, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12 - free, free))
    assert one(home, "disk")[0] == state


def test_a_home_that_is_closed_open_to_all_or_far_away_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(home, "home")[0] == "ok"
    home.path.chmod(0o777)
    assert one(home, "home") == ("warning", "Every user of this machine can change what is in it: chmod o-w.")
    home.path.chmod(0o755)
    monkeypatch.setattr(doctor, "network_file_system", lambda _: "nfs4")
    assert "network file system (nfs4)" in found(home, "home")[0][1]
    monkeypatch.setattr(os, "access", lambda path, _: path != home.database)
    assert found(home, "home")[1] == ("problem", "runs.db cannot be written: change the owner or the permissions.")


def test_an_old_sqlite_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(home, "SQLite") == ("ok", store.sqlite_version())
    monkeypatch.setattr(store, "soundness", lambda: "SQLite 3.45.1 can lose rows.")
    assert one(home, "SQLite") == ("warning", "SQLite 3.45.1 can lose rows.")


def test_a_database_of_a_newer_program_is_told_and_the_rest_still_looked_at(home: Home, db: Database) -> None:
    db.execute("PRAGMA user_version = 99")
    state, words = one(home, "runs.db")
    assert state == "problem" and "has schema 99, this program knows up to" in words
    assert [finding.state for finding in (*doctor.check_runs(home), *doctor.check_weights(home))] == ["ok", "ok"]


def test_a_damaged_or_lost_database_is_told(home: Home) -> None:
    with home.database.open("r+b") as file:
        file.seek(200)
        file.write(b"\xff" * 8000)
    state, words = one(home, "runs.db")
    assert state == "problem" and ("damaged" in words or "malformed" in words)
    home.database.unlink()
    checkpoint(home, "abc", 8)
    assert one(home, "runs.db") == ("problem", "It is gone, but checkpoints/ is there: put it back from a backup.")


def test_a_stale_run_and_left_over_folders_are_told(home: Home, db: Database) -> None:
    run_id = new_run(db, status="running", **process.identity())
    (home.run(run_id) / ".step_000008").mkdir(parents=True)
    assert found(home, "runs") == [("ok", "1 on, each with its trainer")]  # it is just saving
    store.update_state(db, run_id, process_started_at=1.0)
    assert found(home, "runs")[0] == ("warning", "mine: no trainer any more; `python -m engine runs` ends it.")
    assert store.get_run(db, run_id)["status"] == "running"
    store.end_run(db, run_id, "stopped")
    assert found(home, "runs")[1] == (
        "warning",
        f"Interrupted work has left 1 MB: delete checkpoints/{run_id}/.step_000008.",
    )


def test_half_made_datasets_are_told(home: Home, db: Database) -> None:
    assert found(home, "datasets") == [("ok", "none yet")]
    job = store.create_job(db, "mine", "{}")
    for name in ("mine", "nobodys"):
        home.making(name).mkdir(parents=True)
        (home.making(name) / "train.bin").write_bytes(bytes(3_000_000))
    store.update_job(db, job, status="running", **process.identity())
    left = ("warning", "Interrupted work has left 3 MB: delete datasets/.making-nobodys.")
    assert found(home, "datasets") == [("ok", "none yet"), left]
    store.update_job(db, job, process_started_at=1.0)
    assert found(home, "datasets")[0][1] == "mine: no process any more; `python -m engine datasets` sees to it."
    store.end_job(db, job, "stopped")
    words = "mine: half made, 3 MB; `python -m engine prepare NAME` goes on, --discard removes it."
    assert found(home, "datasets") == [("ok", "none yet"), ("warning", words), left]


def test_weights_are_compared_with_what_was_saved(home: Home, db: Database) -> None:
    run_id = new_run(db, status="running")
    assert one(home, "weights") == ("ok", "none yet")
    checkpoint(home, run_id, 8)
    kept = home.run(run_id) / "sampling" / "step_000004.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(b"kept")
    row = {"attempt": 1, "tokens": 1, "bytes": 4, "kind": "sampling"}
    digest = hashlib.sha256(b"kept").hexdigest()
    store.add_checkpoint(db, run_id, step=4, path="sampling/step_000004.safetensors", sha256=digest, **row)
    assert one(home, "weights") == ("ok", "2 checkpoints and kept weights are what was saved.")
    kept.write_bytes(b"kopt")
    store.add_checkpoint(db, run_id, step=6, path="sampling/step_000006.safetensors", sha256=digest, **row)
    assert found(home, "weights") == [
        ("problem", f"{run_id}: the weights of step 4 have changed since they were kept: put back a copy."),
        ("warning", f"{run_id}: the weights of step 6 are gone, so their words cannot be said again."),
    ]


def test_a_check_that_fails_is_a_problem_and_the_others_go_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Home) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(doctor.CHECKS, "disk", broken)
    told = list(doctor.examine(home))
    assert Finding("disk", "problem", "This could not be looked at: [Errno 13] Permission denied.") in told
    assert len(told) > 5
