"""A trainer whose database is locked for 10 s or read for 60 s, or whose disk is full for 60 s: `pytest -m drill`."""

import contextlib
import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import fake_trainer, wait_for
from support import new_run

from engine import launch, store
from engine.home import PROJECT, Home

pytestmark = pytest.mark.drill
SPEED = 200
"""Steps a second of the fake trainer."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs a root who may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def training(home: Home, run_id: str, seconds: float, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A fake trainer that makes SPEED steps a second; waited for at the end."""
    command = fake_trainer(
        "--home", str(home.path), run_id, "--points", str(int(seconds * SPEED)), "--speed", str(SPEED)
    )
    with log.open("wb") as output:
        trainer = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield trainer
        trainer.wait(timeout=seconds * 10)
    finally:
        trainer.kill()
        trainer.wait()


def check_rows(home: Home, run_id: str, longest_gap: float) -> None:
    """Every step once and in order, with no pause in stepping, and a sound database."""
    db = store.connect(home.database)
    rows = [dict(zip(store.METRICS, row, strict=True)) for row in store.metrics_after(db, run_id, 0)]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert store.get_run(db, run_id)["status"] == "finished" and store.get_run(db, run_id)["step"] == len(rows)
    times = [row["elapsed_seconds"] for row in rows]
    gap = max(later - earlier for earlier, later in itertools.pairwise(times))
    told = [event["message"] for event in store.list_events(db, run_id)]
    print(f"\n{len(rows):,} rows in {times[-1]:.1f} s, longest pause between two steps {gap:.3f} s; {told}")
    assert gap < longest_gap
    assert any("no row is missing" in message for message in told)
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()


def test_ten_seconds_of_lock_lose_no_row_and_no_step(home: Home, tmp_path: Path) -> None:
    db = store.connect(home.database)
    run_id = new_run(home, db)

    with training(home, run_id, 16, tmp_path / "log"):
        wait_for(lambda: store.get_run(db, run_id)["step"] > SPEED, timeout=60)
        with store.writing(db):
            time.sleep(10)
    db.close()

    check_rows(home, run_id, longest_gap=0.5)


def test_a_minute_of_full_disk_loses_no_row_and_no_step(small_disk: Path, tmp_path: Path) -> None:
    home = Home.at(small_disk / "home")
    launch.open_home(home)
    db = store.connect(home.database)
    run_id = new_run(home, db)

    with training(home, run_id, 70, small_disk / "log"):
        wait_for(lambda: store.get_run(db, run_id)["step"] > SPEED, timeout=60)
        with (small_disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"x" * 4096)
        began, before = time.monotonic(), store.get_run(db, run_id)["step"]
        time.sleep(60)
        assert store.get_run(db, run_id)["step"] - before < 2 * SPEED  # nothing could be written
        (small_disk / "ballast").unlink()
        print(f"full for {time.monotonic() - began:.0f} s")
    db.close()

    check_rows(home, run_id, longest_gap=0.5)


def test_a_minute_of_reading_lets_the_log_grow_by_little(home: Home, tmp_path: Path) -> None:
    db, reader = store.connect(home.database), store.connect(home.database)
    run_id = new_run(home, db)

    with training(home, run_id, 66, tmp_path / "log"):
        wait_for(lambda: store.get_run(db, run_id)["step"] > SPEED, timeout=60)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM metrics").fetchall()
        time.sleep(60)
        grown = store.log_bytes(home.database)
        reader.execute("COMMIT")
    reader.close()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    after = store.log_bytes(home.database)
    rows = len(store.metrics_after(db, run_id, 0))
    db.close()

    print(f"\nthe log had {grown / 1e6:.1f} MB after a minute with a reader and {after / 1e6:.1f} MB at the end")
    assert rows == 66 * SPEED
    assert grown < store.LOG_LIMIT and after == 0
