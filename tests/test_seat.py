"""engine/seat.py: which device answers."""

from typing import Any

import pytest
import torch

from engine.seat import MARGIN, seat

NANO: dict[str, Any] = {"device": "cuda:1", "parameters": 151_032_320}
ENOUGH = 2 * NANO["parameters"] + MARGIN


def gpus(monkeypatch: pytest.MonkeyPatch, *free: int) -> None:
    """A machine with GPUs that have so many bytes free."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free[number], 80 * 2**30))


def test_a_run_answers_on_the_gpu_that_it_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0, ENOUGH)

    assert seat(NANO) == seat(NANO, "cuda") == "cuda:1"


def test_another_gpu_will_do_where_that_one_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, ENOUGH)

    assert seat(NANO) == "cuda:0"


def test_the_processor_answers_where_no_gpu_is_or_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch)
    assert seat(NANO) == "cpu"

    gpus(monkeypatch, ENOUGH, ENOUGH - 1)
    assert seat(NANO) == "cpu"


def test_what_was_said_on_a_processor_is_said_again_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, ENOUGH, ENOUGH)

    assert seat(NANO, "cpu") == "cpu"
    assert seat(NANO | {"device": "cpu"}) == "cpu"
    assert seat(NANO | {"device": "cpu"}, "cuda") == "cuda:0"
