"""How long the parts of a step take."""

import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.training.sides import Side

Seconds = dict[str, float]
"""Of one step: `learn`, `clip`, `update`, the whole `step`, and on a GPU `launch`, what the host needs to give it."""


def turn(side: Side, device: torch.device, steps: int) -> list[Seconds]:
    """Make `steps` steps as a trainer makes them, and say how long each took."""
    return _by_events(side, device, steps) if device.type == "cuda" else _by_clock(side, device, steps)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _by_events(side: Side, device: torch.device, steps: int) -> list[Seconds]:
    """Times on the GPU's own clock, without waiting for it between the parts: one step's end is the next one's start.

    The host's time is that of the first step, which it gives to an idle GPU: later it may have to wait for room.
    """
    event: Callable[[], torch.cuda.Event] = partial(torch.cuda.Event, enable_timing=True)
    marks = [[event() for _ in range(3)] for _ in range(steps)]
    end = event()
    launch = 0.0
    synchronize(device)
    for number, (first, second, third) in enumerate(marks):
        start = time.perf_counter()
        first.record()
        loss = side.learn()
        second.record()
        length = side.clip()
        third.record()
        side.update(loss, length)
        if number == 0:
            launch = time.perf_counter() - start
    end.record()
    synchronize(device)
    ends = [first for first, *_ in marks[1:]] + [end]
    found = [
        {
            "learn": first.elapsed_time(second) / 1e3,
            "clip": second.elapsed_time(third) / 1e3,
            "update": third.elapsed_time(last) / 1e3,
            "step": first.elapsed_time(last) / 1e3,
        }
        for (first, second, third), last in zip(marks, ends, strict=True)
    ]
    found[0]["launch"] = launch
    return found


def _by_clock(side: Side, device: torch.device, steps: int) -> list[Seconds]:
    """Times on the host's clock; a device that works by itself is waited for after each part."""
    found = []

    def now() -> float:
        synchronize(device)
        return time.perf_counter()

    for _ in range(steps):
        start = now()
        loss = side.learn()
        learned = now()
        length = side.clip()
        clipped = now()
        side.update(loss, length)
        end = now()
        found.append(
            {"learn": learned - start, "clip": clipped - learned, "update": end - clipped, "step": end - start}
        )
    return found


def memory(device: torch.device) -> dict[str, int]:
    """Peak bytes of this process: on a GPU `allocated` by tensors and `reserved` for them, else `resident`."""
    if device.type == "cuda":
        return {
            "allocated": torch.cuda.max_memory_allocated(device),
            "reserved": torch.cuda.max_memory_reserved(device),
        }
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"resident": peak if sys.platform == "darwin" else peak * 1024}
