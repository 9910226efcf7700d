"""engine/machine.py and engine/metering.py: what the machine does, and what a run takes of it."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from fake_nvml import FakeGpu, FakeNvml, NVMLError
from helpers import wait_for
from sqlite_utils import Database
from ui_helpers import make_run

from engine import machine, metering, process, store
from engine.home import Home
from engine.machine import Background, GpuProbe, GpuState, HostProbe, HostState
from engine.metering import Meter, Metering, measured, row_every

HOST = HostState(cores=8, cpu_use=0.5, memory_used=4, memory_total=16, disk_free=7, disk_total=9)


def state(**told: Any) -> GpuState:
    return GpuState(**{"index": 0, "uuid": "GPU-1", "name": "one", **told})


def test_a_gpu_tells_what_it_does() -> None:
    (found,) = GpuProbe(FakeNvml(FakeGpu(millijoules=9_000)))()
    assert (found.use, found.memory_used, found.memory_total) == (0.97, 5_000_000_000, 25_000_000_000)
    assert (found.temperature, found.watts, found.clock, found.joules) == (61, 350.0, 2520, 9.0)


def test_what_a_driver_does_not_tell_is_left_out_and_never_zero() -> None:
    silent = FakeGpu(use=None, memory=None, temperature=None, milliwatts=None, clock=None, uuid=None)
    (found,) = GpuProbe(FakeNvml(silent))()
    assert found == GpuState(index=0, uuid="", name="NVIDIA GeForce RTX 4090")
    (odd,) = GpuProbe(FakeNvml(FakeGpu(milliwatts=0, clock=0)))()
    assert odd.watts is None and odd.clock is None


def test_a_machine_without_a_driver_has_no_gpu_and_asks_again_only_after_a_while() -> None:
    nvml = FakeNvml(driver=False)
    probe = GpuProbe(nvml)
    assert probe() == () and probe() == ()
    assert nvml.inits == 1


def test_a_gpu_that_is_lost_is_an_error_and_is_looked_for_anew() -> None:
    nvml = FakeNvml(FakeGpu())
    probe = GpuProbe(nvml)
    probe()
    nvml.broken = True
    with pytest.raises(NVMLError, match="GPU is lost"):
        probe()
    nvml.broken = False
    assert len(probe()) == 1 and nvml.inits == 2


def test_the_real_library_can_be_asked_anywhere() -> None:
    assert all(isinstance(found, GpuState) for found in GpuProbe()())


def test_the_processors_use_is_not_known_at_first(tmp_path: Path) -> None:
    probe = HostProbe(tmp_path)
    first = probe()
    assert first.cpu_use is None and first.memory_used and first.disk_free
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    use = probe().cpu_use
    assert use is not None and 0 < use <= 1


def test_waiting_for_a_disk_is_no_use_of_the_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Times = psutil.cpu_times().__class__
    zeros = dict.fromkeys(Times._fields, 0.0)
    readings = iter([Times(**zeros | {"user": 10, "idle": 10}), Times(**zeros | {"user": 12, "idle": 13, "iowait": 3})])
    monkeypatch.setattr(machine.psutil, "cpu_times", lambda: next(readings))
    probe = HostProbe(tmp_path)
    assert probe().cpu_use is None
    assert probe().cpu_use == pytest.approx(0.25)


@contextmanager
def background(measure: Any) -> Iterator[Background[Any]]:
    made: Background[Any] = Background(measure)
    try:
        yield made
    finally:
        made.close()


def test_many_readers_cost_one_measurement() -> None:
    calls: list[float] = []
    with background(lambda: calls.append(time.monotonic()) or len(calls)) as measuring:
        readers = [threading.Thread(target=measuring.fresh, args=(60, 5)) for _ in range(20)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert measuring.fresh(60, 5) == len(calls) <= 2


def test_a_measurement_that_hangs_or_fails_is_a_value_that_is_not_known() -> None:
    released = threading.Event()
    nvml = FakeNvml(FakeGpu())
    with background(GpuProbe(nvml)) as measuring:
        assert measuring.fresh(0, 5) is not None
        nvml.hangs = released
        begun = time.monotonic()
        measuring.ask()
        assert measuring.latest(0.0)[0] is None
        assert time.monotonic() - begun < 1, "nobody waits for it"
        released.set()
        nvml.hangs, nvml.broken = None, True
        wait_for(lambda: measuring.fresh(0, 1) is None and measuring.problem == "GPU is lost")
        nvml.broken = False
        wait_for(lambda: measuring.fresh(0, 1))
        assert measuring.problem == ""


def test_the_gpus_of_a_run_are_those_that_its_process_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = FakeNvml(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b", held={os.getpid(): 3_000_000_000}))
    found = GpuProbe(pair)()
    assert [one.uuid for one in machine.gpus_of("cuda:0", os.getpid(), found)] == ["GPU-b"]
    # A container does not show the pids: then the number counts, among the GPUs that are visible.
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [one.uuid for one in machine.gpus_of("cuda:1", 1, found)] == ["GPU-b"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert [one.uuid for one in machine.gpus_of("cuda:1", 1, found)] == ["GPU-a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    assert [one.uuid for one in machine.gpus_of("cuda:0", 1, found)] == ["GPU-b"]
    assert machine.gpus_of("cuda:7", 1, found) == () and machine.gpus_of("cpu", os.getpid(), found) == ()


def test_energy_is_what_the_counter_says_else_the_mean_power() -> None:
    assert measured([state(joules=10.0, watts=1.0)], [state(joules=400.0, watts=1.0)], 2) == 390
    assert measured([state(watts=100.0)], [state(watts=300.0)], 2) == 400
    assert measured([state(joules=10.0, watts=100.0)], [state(joules=2.0, watts=100.0)], 1) == 100, "a new driver"


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [([], [], 1), ([], [state(watts=1.0)], 1), ([state()], [state()], 1), ([state(watts=1.0)], [state(watts=1.0)], 61)],
)
def test_energy_that_was_not_measured_is_not_known(before: Any, after: Any, seconds: float) -> None:
    assert measured(before, after, seconds) is None


def test_a_meter_counts_each_second_once() -> None:
    meter = Meter(100.0)
    for at, watts in ((101.0, 200.0), (102.0, 200.0), (102.0, 200.0), (101.5, 200.0), (104.0, 200.0)):
        meter.count(at, (state(watts=watts),), False)
    assert (meter.seconds, meter.joules, meter.unmeasured) == (4, 600, 1)
    meter.count(110.0, (), True)
    assert (meter.seconds, meter.unmeasured) == (10, 1), "a pause costs time, but no watts that were given"


def test_a_day_of_training_is_some_thousand_rows_and_a_year_not_many_more() -> None:
    def rows(seconds: float) -> int:
        age, count = 0.0, 0
        while age < seconds:
            age, count = age + row_every(age), count + 1
        return count

    assert 200 < rows(1800) < 300
    assert rows(86_400) < 3300
    assert rows(365 * 86_400) < 9300


def test_a_row_keeps_the_greatest_memory_and_heat_and_the_mean_of_the_rest() -> None:
    cold = metering.reading(HOST, [state(use=0.5, memory_used=5, memory_total=9, temperature=40, watts=100.0)], 2)
    hot = metering.reading(HOST, [state(use=1.0, memory_used=8, memory_total=9, temperature=70, watts=300.0)], 3)
    row = metering.thinned([cold, hot, metering.reading(None, [], None)])
    assert (row["gpu_use"], row["gpu_memory_used"], row["gpu_temperature"], row["gpu_watts"]) == (0.75, 8, 70, 200)
    assert (row["cpu_use"], row["run_memory"], row["disk_free"], row["gpu_clock"]) == (0.5, 3, 7, None)


def test_two_gpus_of_one_run_are_one_reading() -> None:
    row = metering.reading(None, [state(use=1.0, watts=300.0), state(use=0.5, watts=200.0)], None)
    assert (row["gpu_use"], row["gpu_watts"], row["gpu_memory_used"]) == (0.75, 500, None)


class Clock:
    """time.time() and time.monotonic() that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.now = 1_000_000.0
        for module in modules:
            fake = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now)
            monkeypatch.setattr(module, "time", fake)


def training(db: Database, device: str = "cpu") -> str:
    run_id = make_run(db, device=device)
    store.update_state(db, run_id, heartbeat_at=0.0, **process.identity())
    return run_id


def test_time_and_energy_survive_the_supervisor_and_are_not_counted_twice(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, metering)
    run_id = training(db)
    store.update_state(db, run_id, metered_at=clock.now)
    first = Metering(home, tuple, lambda: HOST, every=0.0)
    for _ in range(25):
        first.look(db, store.get_run(db, run_id))
        clock.now += 1
    run = store.get_run(db, run_id)
    assert run["process_seconds"] == run["unmeasured_seconds"] == 20, "kept every ten seconds"
    assert run["metered_at"] == clock.now - 5
    # It is killed; five seconds later there is another one.
    clock.now += 5
    second = Metering(home, tuple, lambda: HOST, every=0.0)
    second.look(db, run)
    second.end(db, run)
    run = store.get_run(db, run_id)
    assert run["process_seconds"] == run["unmeasured_seconds"] == 30 and run["metered_at"] is None
    second.end(db, run)
    assert store.get_run(db, run_id)["process_seconds"] == 30


def test_a_run_on_a_gpu_takes_what_the_gpu_measures(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(millijoules=1_000_000, held={os.getpid(): 1})
    run_id = training(db, "cuda:0")
    store.update_state(db, run_id, metered_at=time.time())
    watching = Metering(home, GpuProbe(FakeNvml(gpu)), lambda: HOST, every=0.0)

    def rows_of_a_gpu() -> int:
        watching.look(db, store.get_run(db, run_id))
        return sum(row[store.MACHINE.index("gpu_watts")] is not None for row in store.list_machine(db, run_id))

    wait_for(rows_of_a_gpu)
    gpu.millijoules = 1_500_000
    before = rows_of_a_gpu()
    wait_for(lambda: rows_of_a_gpu() > before)
    watching.end(db, store.get_run(db, run_id))
    watching.close(db)

    run = store.get_run(db, run_id)
    assert run["joules"] == 500 and run["unmeasured_seconds"] < 5
    rows = [dict(zip(store.MACHINE, row, strict=True)) for row in store.list_machine(db, run_id)]
    assert rows and rows[-1]["gpu_watts"] == 350 and rows[-1]["cpu_use"] == 0.5


def test_a_driver_that_hangs_leaves_the_run_its_time(home: Home, db: Database) -> None:
    released = threading.Event()
    nvml = FakeNvml(FakeGpu())
    nvml.hangs = released
    run_id = training(db, "cuda:0")
    store.update_state(db, run_id, metered_at=time.time() - 30)
    watching = Metering(home, GpuProbe(nvml), lambda: HOST, every=0.0)
    begun = time.monotonic()
    for _ in range(3):
        watching.look(db, store.get_run(db, run_id))
    assert time.monotonic() - begun < 2
    watching.close(db)
    released.set()
    run = store.get_run(db, run_id)
    assert 30 <= run["process_seconds"] < 35 and run["joules"] == 0


def test_a_run_that_is_deleted_takes_its_rows_along(db: Database) -> None:
    run_id = make_run(db)
    store.add_machine(db, run_id, 1, 1, measured_at=time.time(), cpu_use=0.5)
    assert len(store.list_machine(db, run_id)) == 1
    for table in ("commands", "run_state"):
        db.conn.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
    db.conn.execute("DELETE FROM runs WHERE id = ?", [run_id])
    assert store.list_machine(db, run_id) == []


def test_a_look_takes_the_supervisor_next_to_nothing(home: Home, db: Database) -> None:
    run_id = training(db)
    store.update_state(db, run_id, metered_at=time.time())
    watching, run = Metering(home, tuple, lambda: HOST, every=0.0), store.get_run(db, run_id)
    begun = time.thread_time()
    for _ in range(100):
        watching.look(db, run)
    assert time.thread_time() - begun < 1.0, "0.2 ms each on one core"
    watching.close(db)
