"""What the machine does: processor, memory, disk and GPUs. No torch. What nothing tells is None, never 0.

A library that hangs or fails must not take anybody with it, so that each is asked in a thread of its own (Background).
"""

import contextlib
import math
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from engine import gpu
from engine.gpu import Holder

STALE = 5.0
"""Seconds after which the last value is no longer what the machine does now."""
AGAIN = 60.0
"""Seconds until a driver that was not there is looked for again."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """What one GPU does; bytes, shares, degrees Celsius, watts and MHz."""

    index: int
    uuid: str
    name: str
    use: float | None = None
    """Share of the driver's last sample period in which it computed."""
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: float | None = None
    watts: float | None = None
    clock: float | None = None
    joules: float | None = None
    """Energy since the driver was loaded, where it counts that."""
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostState:
    """What the rest of the machine does; bytes and shares."""

    cores: int
    cpu_use: float | None = None
    """Share of all cores at work since the last reading; None at the first."""
    memory_used: int | None = None
    memory_total: int | None = None
    disk_free: int | None = None
    disk_total: int | None = None


class Background(Generic[T]):
    """Measures in a thread of its own when asked; a measurement that hangs or fails costs whoever asks nothing."""

    def __init__(self, measure: Callable[[], T]) -> None:
        self.problem = ""
        """What the last measurement failed with."""
        self._measure = measure
        self._asked, self._told = threading.Event(), threading.Condition()
        self._value: T | None = None
        self._at, self._count, self._closing = -math.inf, 0, False
        self._thread: threading.Thread | None = None

    def ask(self, oldest: float = 0.0) -> None:
        """Have it measured soon, unless that was done less than `oldest` seconds ago; returns at once."""
        if time.monotonic() - self._at < oldest:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="machine", daemon=True)
            self._thread.start()
        self._asked.set()

    def latest(self, oldest: float = STALE) -> tuple[T | None, float]:
        """The last value and when it was measured, in monotonic seconds; None where it is older than `oldest`."""
        with self._told:
            value, at = self._value, self._at
        return (value if time.monotonic() - at <= oldest else None), at

    def fresh(self, oldest: float, patience: float) -> T | None:
        """A value at most `oldest` seconds old, measured now if need be; what there is after `patience` seconds."""
        with self._told:
            if time.monotonic() - self._at >= oldest:
                count = self._count
                self.ask()
                self._told.wait_for(lambda: self._count > count, patience)
        return self.latest()[0]

    def close(self) -> None:
        """Let the thread end; one that hangs ends with the process."""
        self._closing = True
        self._asked.set()

    def _work(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._closing:
                return
            value: T | None
            try:
                value, problem = self._measure(), ""
            except Exception as error:  # noqa: BLE001 - whatever a driver does, the value is merely not known
                value, problem = None, str(error) or type(error).__name__
            with self._told:
                self._value, self._at, self.problem = value, time.monotonic(), problem
                self._count += 1
                self._told.notify_all()


class HostProbe:
    """Reads processor, memory and disk; keeps what the next reading is compared with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before: tuple[float, float] | None = None

    def __call__(self) -> HostState:
        """One reading, of the disk that `folder` lies on."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self.folder))
        return HostState(
            cores=psutil.cpu_count() or 1,
            cpu_use=self._cpu_use(),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_free=disk.free,
            disk_total=disk.total,
        )

    def _cpu_use(self) -> float | None:
        times = psutil.cpu_times()
        # A guest's time is part of its user time on Linux; waiting for a disk is not work.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._before = self._before, (total, idle)
        if before is None or total <= before[0]:
            return None
        return float(min(1.0, max(0.0, 1 - (idle - before[1]) / (total - before[0]))))


class GpuProbe:
    """Reads every GPU that the driver shows; the library stays open between readings, which each of them would pay."""

    def __init__(self, nvml: Any = None) -> None:
        self._nvml = nvml
        """The library, a fake in tests."""
        self._open, self._closed_since = False, -AGAIN

    def __call__(self) -> tuple[GpuState, ...]:
        """One reading; empty where there is no driver. Raises what the library raises when it fails later."""
        nvml = self._nvml = self._nvml or gpu.library()
        if not self._open:
            if time.monotonic() - self._closed_since < AGAIN:
                return ()
            try:
                nvml.nvmlInit()
            except nvml.NVMLError:
                self._closed_since = time.monotonic()
                return ()
            self._open = True
        try:
            return tuple(_read(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError:  # a GPU has fallen off the bus, or the driver was updated under us
            self._open = False
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()
            raise


def _read(nvml: Any, index: int) -> GpuState:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def told(name: str, *arguments: Any) -> Any:
        """What the driver says; None where it does not."""
        try:
            return getattr(nvml, name)(handle, *arguments)
        except nvml.NVMLError:
            return None

    memory, use = told("nvmlDeviceGetMemoryInfo"), told("nvmlDeviceGetUtilizationRates")
    power, counted = told("nvmlDeviceGetPowerUsage"), told("nvmlDeviceGetTotalEnergyConsumption")
    return GpuState(
        index=index,
        uuid=gpu.text(told("nvmlDeviceGetUUID") or ""),
        name=gpu.text(told("nvmlDeviceGetName") or "GPU"),
        use=None if use is None else use.gpu / 100,
        memory_used=None if memory is None else int(memory.used),
        memory_total=None if memory is None else int(memory.total),
        temperature=told("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        watts=power / 1000 if power else None,  # no GPU that is on takes nothing
        clock=told("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM) or None,
        joules=counted / 1000 if counted else None,
        holders=gpu.holders_of(nvml, handle),
    )


def gpus_of(device: str, pid: int | None, gpus: Sequence[GpuState]) -> tuple[GpuState, ...]:
    """The GPUs that a run uses: those on which its process holds memory, else the one that `device` means.

    The second is by number, which is right unless CUDA counts GPUs of several kinds in an order of its own.
    """
    if not device.startswith("cuda"):
        return ()
    held = tuple(one for one in gpus if any(pid in (holder.pid, gpu.leader(holder.pid)) for holder in one.holders))
    if held:
        return held
    number = int(device.partition(":")[2] or 0)
    visible = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    name = visible[number] if number < len(visible) else str(number)
    if re.fullmatch(r"\d+", name):
        return tuple(one for one in gpus if one.index == int(name))
    return tuple(one for one in gpus if one.uuid.startswith(name))


def resident(pid: int | None) -> int | None:
    """Bytes of memory that a process holds; None where there is none."""
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else None
    except psutil.Error:
        return None
