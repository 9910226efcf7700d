"""NVIDIA's library without a GPU: what each of its GPUs tells can be set, and whether it fails or hangs."""

import threading
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """What the library raises."""


class FakeGpu:
    """What one GPU tells; None where it does not."""

    def __init__(self, **told: Any) -> None:
        self.name, self.uuid = "NVIDIA GeForce RTX 4090", "GPU-1"
        self.memory: tuple[int, int] | None = (5_000_000_000, 25_000_000_000)
        self.use: int | None = 97
        self.temperature: int | None = 61
        self.milliwatts: int | None = 350_000
        self.clock: int | None = 2520
        self.millijoules: int | None = None
        self.held: dict[int, int | None] = {}
        vars(self).update(told)


class FakeNvml:
    """The library with some GPUs."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    def __init__(self, *gpus: FakeGpu, driver: bool = True) -> None:
        self.gpus, self.driver = gpus, driver
        self.broken = False
        """Every call fails, as when a GPU has fallen off the bus."""
        self.hangs: threading.Event | None = None
        """Calls wait for this."""
        self.inits = 0

    def nvmlInit(self) -> None:
        self.inits += 1
        if not self.driver:
            raise NVMLError("Driver Not Loaded")

    def nvmlShutdown(self) -> None:
        if self.broken:
            raise NVMLError("GPU is lost")

    def nvmlDeviceGetCount(self) -> int:
        if self.hangs:
            self.hangs.wait(30)
        if self.broken:
            raise NVMLError("GPU is lost")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> Any:
        return _told(gpu.name)

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> Any:
        return _told(gpu.uuid)

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> Any:
        used, total = _told(gpu.memory)
        return SimpleNamespace(used=used, total=total)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> Any:
        return SimpleNamespace(gpu=_told(gpu.use), memory=0)

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> Any:
        return _told(gpu.milliwatts)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> Any:
        return _told(gpu.millijoules)

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> Any:
        return _told(gpu.temperature)

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, kind: int) -> Any:
        return _told(gpu.clock)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=taken) for pid, taken in gpu.held.items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        raise NVMLError("Not Supported")


def _told(value: Any) -> Any:
    if value is None:
        raise NVMLError("Not Supported")
    return value
