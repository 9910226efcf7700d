"""What a real GPU tells of itself: `pytest -m gpu`. Elsewhere this is skipped."""

import time

import pytest
import torch

from engine.machine import GpuProbe
from engine.metering import measured

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),
]


def test_a_gpu_at_work_is_seen_at_work() -> None:
    probe = GpuProbe()
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    before, begun = probe(), time.monotonic()
    while time.monotonic() - begun < 2.0:
        for _ in range(20):
            matrix = (matrix @ matrix).clamp(-1, 1)
        torch.cuda.synchronize()
    after, seconds = probe(), time.monotonic() - begun

    assert before and len(before) == len(after)
    busy = max(after, key=lambda one: one.use or 0.0)
    assert busy.use is not None and busy.use > 0.5
    assert busy.memory_total and busy.memory_used and 0 < busy.memory_used < busy.memory_total
    assert busy.temperature is None or 10 < busy.temperature < 110
    assert busy.clock is None or 100 < busy.clock < 5000
    if busy.watts is not None:  # some virtual machines do not tell
        joules = measured([one for one in before if one.uuid == busy.uuid], [busy], seconds)
        assert joules is not None and 10 < joules / seconds < 2000, "watts of one GPU"


def test_a_reading_is_quick_once_the_library_is_open() -> None:
    probe = GpuProbe()
    probe()
    begun = time.perf_counter()
    for _ in range(10):
        probe()
    assert (time.perf_counter() - begun) / 10 < 0.2
