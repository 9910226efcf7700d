"""What runs take of their machine while the supervisor watches them: time, energy, rows of `machine`; and budgets.

What was counted lies in the run's state, so that the next supervisor goes on from there and counts nothing twice.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from sqlite_utils import Database

from engine import machine, money, phrases, store
from engine.home import Home
from engine.machine import STALE, Background, GpuProbe, GpuState, HostProbe, HostState

EVERY, KEPT_EVERY = 1.0, 10.0
"""Seconds between two looks at a run, and between two times that what was counted is kept."""
LONGEST = 60.0
"""Seconds that two readings of power may be apart for their mean to hold in between."""
MOST = 10_000
"""Readings that wait for their row at most, also while the database cannot be written for days."""
UNWATCHED = 60.0
"""Seconds after which a run with a budget whose cost is not known is told to be so."""


def row_every(age: float) -> float:
    """Seconds between two rows of `machine` when a run's processes have lived for `age` seconds.

    Two at first, ten after five minutes, a thousandth of the age from three hours on: 3,200 rows a day, 9,100 a year.
    """
    return max(2.0, min(10.0, age / 30), age / 1000)


@dataclass
class Meter:
    """One attempt at a run: what the run took in all, and readings since the row before. `at` is monotonic."""

    at: float
    seconds: float = 0.0
    joules: float = 0.0
    unmeasured: float = 0.0
    kept_at: float = 0.0
    row_at: float | None = None
    gpus: tuple[GpuState, ...] = ()
    readings: deque[store.Row] = field(default_factory=lambda: deque(maxlen=MOST))
    told: bool = False

    def count(self, at: float, gpus: tuple[GpuState, ...], paused: bool) -> None:
        """The time until `at`, with the energy of its GPUs, as they are then; a pause takes no watts that are given."""
        seconds = at - self.at
        if seconds <= 0:
            return
        joules = measured(self.gpus, gpus, seconds)
        self.at, self.gpus = at, gpus
        self.seconds += seconds
        self.joules += joules or 0.0
        if joules is None and not paused:
            self.unmeasured += seconds

    @property
    def usage(self) -> money.Usage:
        """For the price."""
        return money.Usage(seconds=self.seconds, joules=self.joules, unmeasured_seconds=self.unmeasured)


def measured(before: Sequence[GpuState], after: Sequence[GpuState], seconds: float) -> float | None:
    """Joules that these GPUs took between two readings; None where one of them does not tell.

    From their own counters where they have them, else from the mean of the two powers.
    """
    joules, earlier = 0.0, {one.uuid: one for one in before}
    for now in after:
        then = earlier.get(now.uuid)
        if then is None:
            return None
        if then.joules is not None and now.joules is not None and now.joules >= then.joules:
            joules += now.joules - then.joules
        elif then.watts is not None and now.watts is not None and seconds <= LONGEST:
            joules += (then.watts + now.watts) / 2 * seconds
        else:
            return None
    return joules if after else None


def reading(host: HostState | None, gpus: Sequence[GpuState], run_memory: int | None) -> store.Row:
    """The columns of `machine` at one moment; several GPUs of one run are summed, their use and clock averaged."""
    row: store.Row = {"run_memory": run_memory}
    if host:
        row |= {name: getattr(host, name) for name in ("cpu_use", "memory_used", "memory_total", "disk_free")}
    for column, name, together in (
        ("gpu_use", "use", fmean),
        ("gpu_memory_used", "memory_used", sum),
        ("gpu_memory_total", "memory_total", sum),
        ("gpu_temperature", "temperature", max),
        ("gpu_watts", "watts", sum),
        ("gpu_clock", "clock", fmean),
    ):
        values = [getattr(one, name) for one in gpus]
        row[column] = together(values) if values and None not in values else None
    return row


GREATEST = ("memory_used", "memory_total", "run_memory", "gpu_memory_used", "gpu_memory_total", "gpu_temperature")


def thinned(readings: Iterable[store.Row]) -> store.Row:
    """One row for several readings: the greatest memory and temperature, the least disk, the mean of the others."""
    row, readings = {}, list(readings)
    for name in store.MACHINE[1:]:
        values = [value for one in readings if (value := one.get(name)) is not None]
        together: Callable[[Any], Any] = max if name in GREATEST else min if name == "disk_free" else fmean
        row[name] = together(values) if values else None
    return row


Key = tuple[str, int]
"""A run and the process that trains it: what was counted of one attempt is not taken for that of another."""


def _key(run: store.Row) -> Key:
    return run["id"], run["pid"]


class Metering:
    """The supervisor's side: looks at each run that has a trainer, about once a second."""

    def __init__(
        self,
        home: Home,
        gpus: Callable[[], tuple[GpuState, ...]] | None = None,
        host: Callable[[], HostState] | None = None,
        every: float = EVERY,
    ) -> None:
        """`gpus` and `host` measure (fakes in tests)."""
        self.every = every
        self._gpus, self._host = Background(gpus or GpuProbe()), Background(host or HostProbe(home.path))
        self._meters: dict[Key, Meter] = {}
        self._looked: dict[str, float] = {}

    def look(self, db: Database, run: store.Row) -> None:
        """Count what a run took since the last look, keep it now and then, and stop the run at its budget."""
        clock = time.monotonic()
        if clock - self._looked.get(run["id"], -self.every) < self.every:
            return
        self._looked[run["id"]] = clock
        (gpus, at), (host, _) = self._gpus.latest(), self._host.latest()
        self._gpus.ask()
        self._host.ask()
        meter = self._meters.get(_key(run)) or self._begin(run, clock)
        its = machine.gpus_of(run["device"], run["pid"], gpus or ())
        # A reading holds for the moment it was made at; where none comes, the time passes unmeasured.
        if its:
            meter.count(at, its, run["status"] == "paused")
        elif gpus is not None or not run["device"].startswith("cuda") or clock - meter.at > STALE:
            meter.count(clock, (), run["status"] == "paused")
        meter.readings.append(reading(host, its, machine.resident(run["pid"])))
        if clock - meter.kept_at >= KEPT_EVERY:
            self._keep(db, run["id"], meter)
        if (host or its) and (meter.row_at is None or clock - meter.row_at >= row_every(meter.seconds)):
            self._add_row(db, run, meter)
        if run["budget"] is not None:
            self._watch_budget(db, run, meter)

    def end(self, db: Database, run: store.Row) -> None:
        """Keep the last piece of an attempt whose trainer, the one named in `run`, is gone."""
        run_id, key = run["id"], _key(run)
        if (meter := self._meters.get(key)) is None:
            return
        gpus, at = self._gpus.latest()
        known = {one.uuid for one in meter.gpus}
        if its := tuple(one for one in gpus or () if one.uuid in known):
            meter.count(at, its, False)
        meter.count(time.monotonic(), (), False)
        self._keep(db, run_id, meter)
        store.update_state(db, run_id, metered_at=None)  # whole
        if meter.readings:
            self._add_row(db, store.get_run(db, run_id), meter)
        del self._meters[key]

    def close(self, db: Database) -> None:
        """Keep what was counted of runs that go on without this supervisor."""
        with contextlib.suppress(*store.DatabaseError):
            for (run_id, _), meter in self._meters.items():
                self._keep(db, run_id, meter)
        self._gpus.close()
        self._host.close()

    def _begin(self, run: store.Row, clock: float) -> Meter:
        """Go on from what is in the database; since then the run went on unmeasured."""
        gap = max(0.0, time.time() - run["metered_at"]) if run["metered_at"] is not None else 0.0
        meter = Meter(clock - gap, run["process_seconds"], run["joules"], run["unmeasured_seconds"], kept_at=clock)
        self._meters[_key(run)] = meter
        return meter

    def _keep(self, db: Database, run_id: str, meter: Meter) -> None:
        clock = time.monotonic()
        store.update_state(
            db,
            run_id,
            process_seconds=meter.seconds,
            joules=meter.joules,
            unmeasured_seconds=meter.unmeasured,
            metered_at=time.time() - (clock - meter.at),
        )
        meter.kept_at = clock

    def _add_row(self, db: Database, run: store.Row, meter: Meter) -> None:
        row = thinned(meter.readings)
        store.add_machine(db, run["id"], run["attempt"], run["step"], measured_at=time.time(), **row)
        meter.readings.clear()
        meter.row_at = time.monotonic()

    def _watch_budget(self, db: Database, run: store.Row, meter: Meter) -> None:
        """Stop a run, as a person would, once its budget leaves no more than a save costs."""
        price = money.price_of(run)
        amount = price and money.spent(price, meter.usage)
        budget = phrases.money(run["budget"], run["currency"] or "$")
        if amount is None:
            if not meter.told and meter.seconds > UNWATCHED:
                meter.told = True
                message = f"The budget of {budget} is not watched, because what the run costs is not known."
                store.add_event(db, run["id"], "budget", message, run["step"])
            return
        if not money.used_up(run, meter.usage):
            return
        with store.writing(db):
            now = store.get_run(db, run["id"])
            if now["status"] not in store.ACTIVE or now["status"] == "stopping" or now["budget"] != run["budget"]:
                return
            store.update_state(db, run["id"], status="stopping")
            store.give_command(db, run["id"], "stop", money.stop_argument(run["budget"]))
            sentence = f"The budget of {budget} is used up: it saves and stops. Raise the budget to go on."
            store.add_event(db, run["id"], "budget", sentence, run["step"])
