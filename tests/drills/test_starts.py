"""Eight processes start a run at the same moment: one trainer begins, and seven people read why theirs did not."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from helpers import FAKE, supervised, wait_for
from sqlite_utils import Database

from engine import launch, store
from engine.home import PROJECT, Home

STARTER = """
import sys
from engine import launch, store
from engine.home import Home
import engine.data
print("ready", flush=True)
for name in sys.stdin:
    try:
        print(launch.start_run(Home.at(sys.argv[1]), "seedling", name.strip()), flush=True)
    except store.Refused as error:
        print("refused:", error, flush=True)
"""


@contextmanager
def starters(home: Home, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that start a run of the name they are given, each time."""
    found = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, str(home.path)],
            cwd=PROJECT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    try:
        assert [line(one) for one in found] == ["ready"] * count
        yield found
    finally:
        for one in found:
            one.communicate(timeout=30)


def line(starter: subprocess.Popen[str]) -> str:
    assert starter.stdout
    return starter.stdout.readline().strip()


def trainers(home: Home) -> list[int]:
    """The pids of all trainers of this home that the system knows."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if str(FAKE) in words[1:2] and str(home.path) in words:
            found.append(one.pid)
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.drill)])
def test_of_eight_starts_at_once_exactly_one_is_accepted(home: Home, db: Database, rounds: int) -> None:
    with supervised(home, "--points", "1000000"), starters(home, 8) as eight:
        for number in range(rounds):
            for place, starter in enumerate(eight):
                assert starter.stdin
                starter.stdin.write(f"run-{number}-{place}\n")
            for starter in eight:
                assert starter.stdin
                starter.stdin.flush()
            answers = [line(starter) for starter in eight]
            accepted = [answer for answer in answers if not answer.startswith("refused")]
            refused = [answer for answer in answers if answer.startswith(f"refused: run-{number}-")]
            assert (len(accepted), len(refused)) == (1, 7), answers
            assert all("stop it first" in answer for answer in refused)

            run = wait_for(lambda: (run := launch.run_status(home, accepted[0]))["status"] == "running" and run)  # noqa: B023
            assert trainers(home) == [run["pid"]]
            launch.stop_run(home, accepted[0], now=True)
            launch.wait_until_ended(home, accepted[0], 30)
        assert len([run for run in store.list_runs(db) if run["kind"] == "trained"]) == rounds
