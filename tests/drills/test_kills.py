"""A real trainer is killed again and again; its run goes on, and ends with the weights of one that was left alone."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers import end_trainers, wait_for
from sqlite_utils import Database
from support import new_run
from trainers import Server, alive
from training import LONG, assert_measured, checkpoints, final_weights

from engine import endings, launch, process, store
from engine.home import Home
from engine.manifest import verify

FLUSH = 1.0
"""Seconds of metrics that a kill may cost."""


@dataclass
class Drill:
    """A home, its present run, and what the kills have cost so far."""

    home: Home
    db: Database
    server: Server
    run_id: str = ""
    kills: int = 0
    mid_save: int = 0
    before_a_step: int = 0
    finished: int = 0
    lost_steps: list[int] = field(default_factory=list)
    lost_seconds: list[float] = field(default_factory=list)

    @property
    def notes(self) -> Path:
        return self.home.path / f"{self.run_id}.steps"

    def start(self) -> store.Row:
        """Begin an attempt; the run's row with its trainer in it."""
        if not self.run_id:
            self.run_id = new_run(self.home, self.db, **LONG)
        self.notes.unlink(missing_ok=True)
        return self.server.start(self.home, self.db, self.run_id, self.notes)

    def end(self, run: store.Row, killed_at: float | None) -> None:
        """Once the trainer is gone: what it cost, and whether all is whole; then the run goes on or has finished."""
        wait_for(lambda: not alive(run), timeout=60, every=0.001)
        if endings.end_dead(self.home, self.db, run, -signal.SIGKILL):
            assert killed_at is not None, self.notes.with_suffix(".log").read_text(encoding="utf-8")
            self.kills += 1
            self.mid_save += any(self.home.run(self.run_id).glob(".step_*"))
            self.measure_loss(run, killed_at)
            self.look_at_everything()
            assert store.get_run(self.db, self.run_id)["status"] == "crashed"
            store.request_resume(self.db, self.run_id, "cpu")
        else:
            assert_measured(self.db, self.run_id)
            assert checkpoints(self.home, self.run_id)[-1] == 60
            self.finished += 1

    def measure_loss(self, run: store.Row, killed_at: float) -> None:
        """Steps that were made and are not in the database."""
        noted = self.notes.read_text(encoding="utf-8").splitlines() if self.notes.exists() else []
        made = {int(step): float(at) for step, at in (line.split() for line in noted)}
        self.before_a_step += not made
        attempt = store.get_run(self.db, self.run_id)["attempt"]
        kept = {
            row["step"] for row in self.db["metrics"].rows_where("run_id = ? AND attempt = ?", [self.run_id, attempt])
        }
        lost = made.keys() - kept
        self.lost_steps.append(len(lost))
        self.lost_seconds.append(killed_at - min(made[step] for step in lost) if lost else 0.0)

    def look_at_everything(self) -> None:
        """The database is whole, and so is every checkpoint that it offers (an old one may be half removed)."""
        assert store.complaints(self.db) == []
        for row in store.list_checkpoints(self.db, self.run_id, "full"):
            verify(self.home.run(self.run_id) / row["path"])

    def told(self) -> str:
        """The drill's result, for docs/LOG.md."""
        steps_lost, seconds_lost = max(self.lost_steps, default=0), max(self.lost_seconds, default=0.0)
        return (
            f"{self.kills} kills, {self.before_a_step} of them before the first step, "
            f"{self.mid_save} in the middle of a save; {self.finished} runs finished; "
            f"a kill lost at most {steps_lost} steps, the oldest made {seconds_lost:.2f} s before it"
        )


@pytest.fixture(scope="module")
def expected(server: Server, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The final weights of a run that nobody disturbs."""
    home = Home.at(tmp_path_factory.mktemp("undisturbed"))
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        drill = Drill(home, db, server)
        drill.end(drill.start(), None)
        return final_weights(home, drill.run_id)


@pytest.fixture
def drill(home: Home, db: Database, server: Server) -> Iterator[Drill]:
    """A drill whose trainers are gone at its end."""
    yield Drill(home, db, server)
    end_trainers(home)


def kill_until(drill: Drill, expected: bytes, enough: Callable[[], bool], moment: Callable[[store.Row], None]) -> None:
    """Kill at each `moment` until it is enough, then let the last run finish; every finished run is compared."""
    while not enough() or drill.run_id:
        run = drill.start()
        killed_at = None
        if not enough():
            moment(run)
            killed_at = time.monotonic()
            process.send(signal.SIGKILL, run["pid"], run["process_started_at"], run["boot_id"])
        finished = drill.finished
        drill.end(run, killed_at)
        if drill.finished > finished:
            assert final_weights(drill.home, drill.run_id) == expected
            drill.run_id = ""
    print(drill.told())
    assert [row[0] for row in drill.db.execute("PRAGMA integrity_check")] == ["ok"]
    assert max(drill.lost_seconds) <= FLUSH


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.drill)])
def test_killed_at_random_moments(drill: Drill, expected: bytes, count: int) -> None:
    dice = random.Random(count)

    def any_time(run: store.Row) -> None:
        if dice.random() < 0.8:  # else it may be killed before its first step
            wait_for(lambda: (drill.notes.exists() and drill.notes.stat().st_size) or not alive(run), timeout=60)
        time.sleep(dice.uniform(0, 0.8))

    kill_until(drill, expected, lambda: drill.kills >= count, any_time)
    assert drill.kills == count


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [2, pytest.param(30, marks=pytest.mark.drill)])
def test_killed_in_the_middle_of_saves(drill: Drill, expected: bytes, count: int) -> None:
    dice = random.Random(count)

    def in_a_save(run: store.Row) -> None:
        folder, before = drill.home.run(run["id"]), max(checkpoints(drill.home, run["id"]), default=0)
        skipped = dice.randrange(2)  # not always the first save of an attempt
        while alive(run) and (skipped or not any(folder.glob(".step_*"))):
            if max(checkpoints(drill.home, run["id"]), default=0) > before:
                skipped = 0
        time.sleep(dice.uniform(0, 0.004))

    kill_until(drill, expected, lambda: drill.mid_save >= count, in_a_save)
