"""What an answer of the generation worker costs a run that trains on this machine meanwhile."""

import statistics
from typing import Any

from sqlite_utils import Database

from engine import store
from engine.store import Row

BEFORE = 40
"""Steps before the answer whose speed is that of the run alone."""
FEWEST = 3
"""Steps before and during it that make a comparison."""


class Toll:
    """Compares the speed of the first of `runs` that trains, before an answer and during it. Made before the answer."""

    def __init__(self, db: Database, runs: list[Row]) -> None:
        self.db = db
        self.run_id = next((run["id"] for run in runs if run["status"] == "running"), "")
        self.alone = store.newest_speeds(db, self.run_id, BEFORE) if self.run_id else []

    def told(self) -> dict[str, float] | None:
        """Tokens a second `while` the answer was made and `alone`, or None where too few steps were made to tell."""
        if len(self.alone) < FEWEST:
            return None
        last = self.alone[0][0]
        during = [speed for number, speed in store.newest_speeds(self.db, self.run_id, 10_000, last) if speed]
        before = [speed for _, speed in self.alone if speed]
        if min(len(during), len(before)) < FEWEST:
            return None
        return {"while": statistics.fmean(during), "alone": statistics.median(before)}


def with_toll(piece: dict[str, Any], toll: Toll) -> dict[str, Any]:
    """A piece of an answer; the last one tells what it cost."""
    cost = toll.told() if piece.get("finish") else None
    return piece | {"training": cost} if cost else piece
