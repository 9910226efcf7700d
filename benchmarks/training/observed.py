"""The training loop with all that is observed and stored, and without: what does it cost?"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmarks.training.sides import Side
from benchmarks.training.turns import synchronize
from engine import store
from engine.config import RunConfig
from engine.guard import Guard
from engine.home import Home
from engine.meter import Meter
from engine.recorder import Recorder

Times = dict[str, float]
"""Of some steps: `seconds` that passed, and those that processor cores worked for this process (`processor`)."""


@dataclass
class Loop:
    """A run in a home of its own, whose steps are made in blocks."""

    side: Side
    config: RunConfig
    device: torch.device
    home: Home
    run_id: str
    step: int = 0

    def block(self, steps: int, observed: bool) -> Times:
        """Make `steps` steps; returns how long they took until the device was done.

        `observed`: as in engine/train.py, with a meter that reads the device, the guard that looks at each loss, and
        the recorder's thread that writes runs.db. What that still has to write at the end is written after the time.
        """
        if not observed:
            return self._timed(steps, None)
        recorder = Recorder(self.home.database, self.run_id, attempt=1)
        try:
            guard = Guard(recorder, "skip", skips_overflow=True)
            meter = Meter(recorder, self.config, self.step, 0.0, guard)
            recorder.flush()  # the run's first connection to the database is no part of a step
            return self._timed(steps, meter)
        finally:
            recorder.close()

    def _timed(self, steps: int, meter: Meter | None) -> Times:
        synchronize(self.device)
        start, worked = time.perf_counter(), time.process_time()
        if meter:
            meter.begin()
        for _ in range(steps):
            loss, length = self.side.step()
            self.step += 1
            if meter:
                meter.add(self.step, self.config.optimizer.muon_lr, loss, length)
        if meter:
            meter.close()
        synchronize(self.device)
        return {"seconds": time.perf_counter() - start, "processor": time.process_time() - worked}


@contextlib.contextmanager
def loop(side: Side, config: RunConfig, device: torch.device) -> Iterator[Loop]:
    """A loop whose home is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="blueberry-bench-") as folder:
        home = Home.at(folder)
        store.migrate(home.database)
        db = store.connect(home.database)
        try:
            run_id = store.create_run(db, config, preset="bench", name="bench", device=str(device))
        finally:
            db.close()
        yield Loop(side, config, device, home, run_id)
