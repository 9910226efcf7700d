"""A real dataset job is killed again and again, its supervisor too; the dataset is that of a job left alone."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import kill, supervised, wait_for
from sqlite_utils import Database

from engine import launch, preparing, process, store
from engine.data.recipe import Recipe, Source
from engine.home import Home

RECIPE = Recipe((Source("starter"),))
REAL = ("--real", "150000")
"""Chunks so small that the novels are some forty of them."""
GONE_ON = 5.0
"""Seconds from a kill until text becomes tokens again, the start of the process included."""


@pytest.fixture(autouse=True)
def _only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """No supervisor but the drill's is started."""
    monkeypatch.setattr(launch, "start_supervisor", lambda home: None)


def files(home: Home) -> dict[str, bytes]:
    """The dataset without its card, which has a date."""
    return {path.name: path.read_bytes() for path in home.dataset("mine").iterdir() if path.name != "card.json"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that a job makes that nobody disturbs."""
    home = Home.at(tmp_path_factory.mktemp("undisturbed"))
    launch.open_home(home)
    with supervised(home, job=REAL):
        preparing.start(home, "mine", RECIPE)
        assert preparing.wait_until_ended(home, "mine", 120)["status"] == "finished"
    return files(home)


class Drill:
    """A home, its supervisor, and what the kills have cost so far."""

    def __init__(self, home: Home, db: Database, seed: int) -> None:
        self.home, self.db, self.dice = home, db, random.Random(seed)
        self.kills = self.supervisors = self.finished = self.by_hand = 0
        self.waits: list[float] = []

    def run(self, count: int, expected: dict[str, bytes]) -> None:
        """Kill so often, then let the last job finish; every dataset is compared."""
        with ExitStack() as stack:
            supervisor = stack.enter_context(supervised(self.home, job=REAL))
            while self.kills < count:
                job = self.working()
                time.sleep(self.dice.uniform(0, 1.2))
                if self.dice.random() < 0.2:
                    kill(supervisor)
                    self.supervisors += 1
                if process.send(signal.SIGKILL, job["pid"], job["process_started_at"], job["boot_id"]):
                    self.kills += 1
                if supervisor.returncode is not None:
                    supervisor = stack.enter_context(supervised(self.home, job=REAL))
                self.compare(expected)
            wait_for(lambda: self.compare(expected), timeout=120)

    def working(self) -> store.Row:
        """The job once it turns text into tokens, begun or resumed where there is none; how long that took."""
        job, began = store.job_of(self.db, "mine"), time.monotonic()
        if job is None:
            preparing.start(self.home, "mine", RECIPE)
        elif job["status"] in store.RESUMABLE_JOBS:  # it got no further three times in a row
            self.by_hand += 1
            preparing.resume(self.home, "mine")

        def encodes() -> store.Row | None:
            row = store.job_of(self.db, "mine")
            assert row and row["status"] != "failed", row
            there = row["stage"] == "encoding" and process.alive(row["pid"], row["process_started_at"], row["boot_id"])
            return row if there or row["status"] not in store.OPEN_JOBS else None

        row = wait_for(encodes, timeout=60)
        if job and row["status"] == "running":
            self.waits.append(time.monotonic() - began)
        return row

    def compare(self, expected: dict[str, bytes]) -> bool:
        """Whether a dataset is finished; then it is compared and deleted, and the next one can begin."""
        job = store.job_of(self.db, "mine")
        if not job or job["status"] != "finished":
            return False
        assert files(self.home) == expected
        assert store.complaints(self.db) == []
        preparing.delete_dataset(self.home, "mine")
        self.finished += 1
        return True


@pytest.fixture
def drill(home: Home, db: Database) -> Iterator[Drill]:
    yield Drill(home, db, seed=7)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.drill)])
def test_a_job_killed_at_random_moments_makes_the_same_dataset(
    drill: Drill, expected: dict[str, bytes], count: int
) -> None:
    drill.run(count, expected)
    print(
        f"{drill.kills} kills, the supervisor {drill.supervisors} times too; {drill.finished} datasets finished, all "
        f"equal; resumed by hand {drill.by_hand} times; longest way back to encoding {max(drill.waits):.1f} s"
    )
    assert set(expected) == {"train.bin", "val.bin", "train.documents", "val.documents", "tokenizer.json"}
    assert not [path.name for path in Path(drill.home.path / "datasets").iterdir() if path.is_dir()]
