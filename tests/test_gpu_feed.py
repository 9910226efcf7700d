"""Tokens on their way to a CUDA device: read ahead, copied by it, waited for by nobody. `pytest -m gpu`."""

import threading

import numpy as np
import pytest
import torch
from support import tiny_config

from engine.batches import Batch, Feed
from engine.data import Rows
from engine.device import Place, choose_place

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ROWS, LENGTH, END = 8, 512, 3


def feed_at(place: Place) -> Feed:
    tokens = np.random.default_rng(1).integers(1, 300, 40 * LENGTH).astype(np.uint16)
    return Feed(Rows(tokens, LENGTH, 1, vocab_size=300), place, ROWS, 2, END)


@pytest.fixture
def place() -> Place:
    return choose_place(tiny_config(train__device="cuda").train)


def test_a_gpu_gets_what_a_cpu_does(place: Place) -> None:
    """Over several epochs, and after a jump as a resume makes it."""
    there, here = feed_at(place), feed_at(choose_place(tiny_config().train))

    for step in [*range(20), 3, 4, 40]:
        for mine, its in zip(there.step(step), here.step(step), strict=True):
            assert mine.inputs.device == place.device and mine.bounds is not None and its.bounds is not None
            assert torch.equal(mine.inputs.cpu(), its.inputs) and torch.equal(mine.targets.cpu(), its.targets)
            assert torch.equal(mine.bounds.cpu(), its.bounds)
    there.close()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_nobody_waits_for_tokens(place: Place) -> None:
    """Fifty steps are given to a device that is busy: the host is done before it, and nothing is overwritten."""
    feed = feed_at(place)
    busy = torch.randn(4096, 4096, device=place.device)
    busy = busy @ busy  # the library behind it gets ready
    list(feed.step(0))
    torch.cuda.synchronize()
    end, kept = torch.cuda.Event(), list[tuple[Batch, ...]]()

    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 51):
            for _ in range(10):
                busy = (busy @ busy) * 1e-3
            kept.append(tuple(feed.step(step)))
        end.record()
        early = not end.query()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    feed.close()

    assert early, "the host waited for the device"
    here = feed_at(choose_place(tiny_config().train))
    for step, batches in enumerate(kept, start=1):
        for mine, its in zip(batches, here.step(step), strict=True):
            assert torch.equal(mine.inputs.cpu(), its.inputs) and torch.equal(mine.targets.cpu(), its.targets)


def test_the_next_step_lies_in_page_locked_memory(place: Place) -> None:
    feed = feed_at(place)
    list(feed.step(0))

    assert feed._ahead is not None and feed._ahead._next is not None
    step, future = feed._ahead._next
    batches = future.result()
    feed.close()

    assert step == 1 and all(tensor.is_pinned() for one in batches for tensor in (one.inputs, one.targets, one.bounds))
