"""The devices of this machine and who holds the memory of its GPUs, from NVIDIA's library and without torch."""

import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

from engine import process
from engine.config import ConfigError
from engine.phrases import size
from engine.store import Row


@dataclass(frozen=True)
class Holder:
    """A process with memory on a GPU."""

    pid: int
    name: str
    """What it is called, for Python with the module it runs; empty where the system does not tell."""
    bytes: int | None
    """None where the driver does not tell, as inside some containers and under WSL2."""
    run: str = ""
    """The run of this home that it belongs to."""

    def __str__(self) -> str:
        """For example "python engine.train (pid 4711, run first) 3.2 GB"."""
        belongs = f", run {self.run}" if self.run else ""
        return f"{self.name or 'a process'} (pid {self.pid}{belongs}) {'' if self.bytes is None else size(self.bytes)}"


@dataclass(frozen=True)
class Gpu:
    """One GPU, its memory in bytes, and the processes that hold some of it, the largest first."""

    index: int
    name: str
    used: int
    total: int
    holders: tuple[Holder, ...] = ()

    def __str__(self) -> str:
        """For example "NVIDIA GeForce RTX 4090: 3.2 GB of 25.8 GB in use"."""
        return f"{self.name}: {size(self.used)} of {size(self.total)} in use"


def usable() -> int:
    """GPUs that NVML sees and this build of torch can use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = None if visible is None else [part for part in visible.split(",") if part.strip() not in ("", "-1")]
    try:
        if listed == [] or "+cpu" in metadata.version("torch"):
            return 0
    except metadata.PackageNotFoundError:
        return 0
    nvml = library()
    try:
        nvml.nvmlInit()
        count = int(nvml.nvmlDeviceGetCount())
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return 0
    return count if listed is None else min(count, len(listed))


def default_device() -> str:
    """Where a run goes that names no device: the first GPU that torch can use, else the processor."""
    return "cuda:0" if usable() else "cpu"


def choose_device(wanted: str) -> str:
    """The device that `train.device` means on this machine; raises ConfigError when it is not there."""
    if wanted == "auto":
        return default_device()
    if wanted == "cpu" or (wanted == "mps" and sys.platform == "darwin"):
        return wanted
    if wanted == "mps":
        raise ConfigError("train.device = mps: no Apple GPU here; choose cpu.")
    match = re.fullmatch(r"cuda(?::(\d{1,3}))?", wanted)
    if not match:
        raise ConfigError(f"train.device = {wanted[:40]!r} must be auto, cpu, cuda, cuda:NUMBER or mps.")
    there, number = usable(), int(match[1] or 0)
    if not there:
        raise ConfigError(f"train.device = {wanted}: no CUDA device; choose cpu.")
    if number >= there:
        raise ConfigError(f"train.device = {wanted}: no such CUDA device; the last one is cuda:{there - 1}.")
    return f"cuda:{number}"


def look(runs: Sequence[Row] = (), nvml: Any = None) -> list[Gpu]:
    """Every GPU that the driver shows, hidden ones too; none where there is no driver.

    `runs` are rows of runs that have not ended: their trainers are named. `nvml` is the library (a fake in tests).
    """
    nvml = nvml or library()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        return [_gpu(nvml, index, runs) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:  # a GPU that has fallen off the bus, a driver that was updated under us
        return []
    finally:
        nvml.nvmlShutdown()


def device_name(device: str, nvml: Any = None) -> str:
    """What `device` is called, as torch says it too: of a GPU by NVML, of a processor by its maker."""
    if not device.startswith("cuda"):
        return cpu_name()
    nvml = nvml or library()
    number = int(device.partition(":")[2] or 0)
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if number < len(shown) and shown[number].strip().isdigit():
        number = int(shown[number])
    try:
        nvml.nvmlInit()
        name = text(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(number)))
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return device
    return name


def cpu_name() -> str:
    """The processor's name as its maker writes it, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def driver(nvml: Any = None) -> str:
    """The version of NVIDIA's driver; empty where there is none."""
    nvml = nvml or library()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ""
    try:
        return text(nvml.nvmlSystemGetDriverVersion())
    finally:
        nvml.nvmlShutdown()


def library() -> Any:
    """NVIDIA's library, whether or not there is a driver behind it."""
    import pynvml  # only when somebody asks for GPUs

    return pynvml


def holders_of(nvml: Any, handle: Any) -> tuple[Holder, ...]:
    """Who holds memory of a GPU, the largest first; runs are not named yet."""
    held: dict[int, int | None] = {}
    for list_processes in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            held |= {int(one.pid): one.usedGpuMemory for one in list_processes(handle)}
        except nvml.NVMLError:  # not every driver tells
            continue
    holders = [Holder(pid, _name(pid), taken) for pid, taken in held.items()]
    return tuple(sorted(holders, key=lambda holder: holder.bytes or 0, reverse=True))


def with_runs(holders: Sequence[Holder], runs: Sequence[Row]) -> tuple[Holder, ...]:
    """The same with the name of the run that each belongs to; `runs` have not ended."""
    owners = {run["pid"]: run["name"] for run in runs if _lives(run)}
    return tuple(
        replace(holder, run=owners.get(holder.pid) or owners.get(leader(holder.pid), "")) for holder in holders
    )


def leader(pid: int) -> int:
    """The process that leads a process's group, as a trainer does with what it starts; itself where it is gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return pid


def text(value: str | bytes) -> str:
    """What the library says in words; its older versions say it in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _gpu(nvml: Any, index: int, runs: Sequence[Row]) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = text(nvml.nvmlDeviceGetName(handle))
    return Gpu(index, name, int(memory.used), int(memory.total), with_runs(holders_of(nvml, handle), runs))


def _lives(run: Row) -> bool:
    return process.alive(run["pid"], run["process_started_at"], run["boot_id"])


def _name(pid: int) -> str:
    import psutil  # only where a GPU is in use

    try:
        words = psutil.Process(pid).cmdline()
        name = psutil.Process(pid).name()
    except psutil.Error:  # another container's, or gone
        return ""
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    return f"{name} {module}" if module else name
