"""Who holds the GPU's memory is told from NVIDIA's library; a fake one stands in for it."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from engine import gpu, process
from engine.gpu import Gpu, Holder


class NVMLError(Exception):
    """What the library raises."""


class FakeNvml:
    """One GPU, some of whose memory this process holds, and a process that nobody can see from here."""

    NVMLError = NVMLError

    def __init__(self, *, works: bool = True, tells: bool = True) -> None:
        self.works, self.tells, self.open = works, tells, 0

    def nvmlInit(self) -> None:
        if not self.works:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.12"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"NVIDIA GeForce RTX 4090"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=5_000_000_000, total=25_000_000_000)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return [
            SimpleNamespace(pid=2**30, usedGpuMemory=None),
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=3_000_000_000),
        ]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[Any]:
        if not self.tells:
            raise NVMLError("Not Supported")
        return [SimpleNamespace(pid=1, usedGpuMemory=1_000_000)]


def ours(**changes: Any) -> dict[str, Any]:
    return {"id": "a1", "name": "first", **process.identity(), **changes}


def test_every_holder_is_named_with_the_run_it_belongs_to() -> None:
    nvml = FakeNvml()

    (found,) = gpu.look([ours()], nvml)

    assert nvml.open == 0
    assert str(found) == "NVIDIA GeForce RTX 4090: 5.0 GB of 25.0 GB in use"
    mine, other, unseen = found.holders
    assert (mine.pid, mine.run, mine.bytes) == (os.getpid(), "first", 3_000_000_000)
    assert "pytest" in mine.name and str(mine).endswith("run first) 3.0 GB")
    assert (other.pid, other.run) == (1, "")
    assert unseen == Holder(2**30, "", None, "") and str(unseen).startswith("a process (pid 1073741824)")


def test_a_dead_runs_number_means_nothing() -> None:
    (found,) = gpu.look([ours(process_started_at=1.0)], FakeNvml())
    assert not any(holder.run for holder in found.holders)


def test_a_driver_that_does_not_tell_everything_is_no_error() -> None:
    (found,) = gpu.look(nvml=FakeNvml(tells=False))
    assert len(found.holders) == 2


def test_without_a_driver_there_is_nothing_and_no_error() -> None:
    broken = FakeNvml(works=False)
    assert gpu.look(nvml=broken) == [] and gpu.driver(broken) == ""
    assert gpu.driver(FakeNvml()) == "580.12"


def test_the_real_library_can_be_asked_anywhere() -> None:
    assert all(isinstance(found, Gpu) for found in gpu.look())


def test_a_cpu_build_of_torch_uses_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.metadata, "version", lambda _: "2.13.0+cpu")
    monkeypatch.setattr(gpu, "library", FakeNvml)
    assert gpu.usable() == 0
    monkeypatch.setattr(gpu.metadata, "version", lambda _: "2.13.0")
    assert gpu.usable() == 1
