"""engine/backups.py and engine/store/backup.py: a copy of one moment, whole or not at all, while others write."""

import importlib
import json
import os
import threading
from pathlib import Path

import pytest
from sqlite_utils import Database
from support import new_run
from ui_helpers import add_points

from engine import backups, store
from engine.__main__ import main
from engine.home import Home
from engine.recorder import Recorder


def opened(path: Path) -> Database:
    """A backup as a home would use it."""
    db = store.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return db


def test_a_copy_has_everything_and_stands_alone(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    add_points(db, run_id, 1, 500)
    seen: list[float] = []

    made = backups.back_up(home, report=seen.append)

    assert made.path.parent == home.backups and made.bytes == made.path.stat().st_size > 50_000
    assert made.path.name.startswith("runs-2") and made.path.suffix == ".db"
    assert [path.name for path in home.backups.iterdir()] == [made.path.name]
    assert made.path.read_bytes()[18:20] == b"\x01\x01"  # no log beside it is needed
    assert seen == sorted(seen) and seen[-1] == 1.0
    copy = opened(made.path)
    assert len(store.metrics_after(copy, run_id, 0)) == 500
    assert [run["id"] for run in store.list_runs(copy)] == [run_id, store.REFERENCE_ID]
    copy.close()


def test_no_row_is_lost_while_a_trainer_writes(home: Home, db: Database, tmp_path: Path) -> None:
    run_id = new_run(home, db)
    recorder, done = Recorder(home.database, run_id, attempt=1), threading.Event()

    def train() -> None:
        for step in range(1, 5001):
            recorder.add("metrics", step=step, tokens=step, train_loss=2.0, elapsed_seconds=0.0)
            if step % 100 == 0:
                recorder.flush()
        done.set()

    trainer = threading.Thread(target=train)
    trainer.start()
    copies = [backups.back_up(home, tmp_path / f"{number}.db").path for number in range(5)]
    trainer.join()
    assert done.is_set() and recorder.close()

    assert [row[1] for row in store.metrics_after(db, run_id, 0)] == list(range(1, 5001))
    for copy in copies:
        copied = opened(copy)
        steps = [row[1] for row in store.metrics_after(copied, run_id, 0)]
        assert steps == list(range(1, len(steps) + 1))  # a prefix: the state of one moment
        copied.close()


def test_a_file_that_exists_is_never_replaced(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mine.db").write_text("a letter")

    with pytest.raises(store.Refused, match=r"^mine\.db exists already"):
        backups.back_up(home, tmp_path / "mine.db")

    assert (tmp_path / "mine.db").read_text() == "a letter"


def test_a_folder_gets_a_file_named_after_the_moment(home: Home, tmp_path: Path) -> None:
    assert backups.back_up(home, tmp_path).path.name.startswith("runs-2")


def test_a_place_that_cannot_be_written_is_refused_in_a_sentence(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(store.Refused, match=r"^The backup cannot be written to file/: "):
        backups.back_up(home, tmp_path / "file" / "copy.db")


def test_a_full_disk_leaves_no_half_copy(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(path: Path) -> Database:
        db = bare(path)
        db.conn.execute("PRAGMA max_page_count = 4")
        return db

    module = importlib.import_module("engine.store.backup")  # `store.backup` is the function
    bare = module.bare
    monkeypatch.setattr(module, "bare", small)

    with pytest.raises(store.Refused, match="full; free some space in copies/"):
        backups.back_up(home, tmp_path / "copies" / "copy.db")
    assert list((tmp_path / "copies").iterdir()) == []


def old(path: Path, age: float = 7200.0) -> None:
    """A file that was written `age` seconds ago."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("half")
    os.utime(path, (path.stat().st_mtime - age,) * 2)


def test_what_a_killed_backup_left_is_swept(home: Home) -> None:
    home.backups.mkdir()
    for name, age in (
        (".a.db.blueberry-77-1", 7200),
        (".a.db.blueberry-77-1-journal", 7200),
        (".b.db.blueberry-78-1", 5),
    ):
        old(home.backups / name, age)

    backups.back_up(home)

    assert {path.name for path in home.backups.glob(".*")} == {".b.db.blueberry-78-1"}


def test_files_of_others_are_left_alone(home: Home, tmp_path: Path) -> None:
    """Whatever they are called: --to may name any folder."""
    names = {".zotero.db.bak", ".zotero.db.77-1", ".copy.db.tmp", "copy.db.blueberry-77-1", ".a.db.blueberry-77-1.txt"}
    for name in names:
        old(tmp_path / "mine" / name)

    made = backups.back_up(home, tmp_path / "mine" / "[a]*.db").path

    assert {path.name for path in made.parent.iterdir()} == names | {"[a]*.db"}


@pytest.mark.parametrize("words", [["backup", "--to"], ["backup"]])
def test_the_command_makes_one(
    home: Home, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "copy.db"

    assert main([*words, str(target), "--home", str(home.path), "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {"path": str(target), "bytes": target.stat().st_size}
    assert main([*words, str(target), "--home", str(home.path)]) == 1
    assert capsys.readouterr().err == "copy.db exists already; choose another name.\n"
    assert main(["backup", "--home", str(home.path)]) == 0
    assert capsys.readouterr().out.startswith(str(home.backups))
