"""Which micro-batch fits, and what becomes of a run whose fused kernels do not work."""

from functools import partial
from typing import Any

import pytest
import torch
from support import tiny_config, tiny_model

from engine import loss
from engine.accelerate import divisors, fitting, record_what_fits, some_batch, use_fused_kernels
from engine.batches import Batch
from engine.config import OptimizerConfig
from engine.gradients import Gradients
from engine.model import Transformer
from engine.optim import Optimizers

GIB = 2**30


def test_the_largest_divisor_that_fits_is_tried_first() -> None:
    sizes = divisors(12)

    assert sizes == [12, 6, 4, 3, 2, 1]
    # 1 GiB, and half for each further row: 12 rows need 6.5 GiB, 6 need 3.5, and a tenth stays free.
    assert fitting(sizes, GIB, GIB * 3 // 2, 8 * GIB) == sizes
    assert fitting(sizes, GIB, GIB * 3 // 2, 7 * GIB)[0] == 6
    assert fitting(sizes, GIB, GIB * 3 // 2, 3 * GIB)[0] == 4
    assert fitting(sizes, GIB, GIB * 3 // 2, GIB // 2) == [1]


def test_memory_that_does_not_grow_with_rows_takes_them_all() -> None:
    assert fitting([8, 4, 2, 1], GIB, GIB, 2 * GIB)[0] == 8


@pytest.mark.parametrize("reason", ["raises", "wrong"])
def test_kernels_that_fail_or_compute_something_else_are_not_used_and_that_is_told(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, told = tiny_model(), []
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)

    run = Transformer._run

    def broken(self: Transformer, *rest: Any) -> Any:
        if self.fused and reason == "raises":
            raise RuntimeError("no kernel image\nat a long address")
        self.fused, fused = False, self.fused
        hidden, routing = run(self, *rest)
        self.fused = fused
        return hidden * (1.5 if fused else 1.0), routing

    monkeypatch.setattr(Transformer, "_run", broken)
    monkeypatch.setattr(loss, "_score_fused", loss._score)
    use_fused_kernels(model, optimizers, told.append)

    assert not model.fused and not optimizers.muon.fused
    [sentence] = told
    assert sentence.endswith("training goes on without them, slower.") and "\n" not in sentence
    assert ("no kernel image" in sentence) == (reason == "raises") and ("% off" in sentence) == (reason == "wrong")
    # And it learns as before.
    nats, _ = Gradients(model, 2).of([some_batch(model, 2, documents=True)])
    assert nats.isfinite() and all(parameter.grad is not None for parameter in model.parameters())


def test_what_is_measured_with_has_the_shape_of_what_comes() -> None:
    batch = some_batch(Transformer(tiny_config().model), 3, documents=True)

    assert batch.inputs.shape == (3, tiny_config().model.context) and batch.bounds is not None
    assert batch.bounds[-1] == batch.inputs.numel()


class Recording(Gradients):
    """Says what happens when batches of so many rows are recorded."""

    def __init__(self, ends: dict[int, Exception]) -> None:
        super().__init__(tiny_model(), 8)
        self.ends, self.tried = ends, list[int]()

    def record(self, batch: Batch) -> None:
        self.tried.append(len(batch.inputs))
        if error := self.ends.get(len(batch.inputs)):
            raise error


FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def recorded(gradients: Recording, sizes: list[int]) -> tuple[int, list[str]]:
    told: list[str] = []
    return record_what_fits(gradients, sizes, partial(some_batch, gradients.model, documents=False), told.append), told


def test_what_does_not_fit_is_tried_with_fewer_rows() -> None:
    gradients = Recording({8: FULL, 4: RuntimeError("CUDA error: out of memory")})

    assert recorded(gradients, [8, 4, 2, 1]) == (2, []) and gradients.tried == [8, 4, 2]


def test_where_no_size_fits_that_is_the_end() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        recorded(Recording({2: FULL, 1: FULL}), [2, 1])


def test_what_cannot_be_recorded_is_told_and_goes_on_with_the_same_rows() -> None:
    rows, [sentence] = recorded(
        Recording({8: RuntimeError("operation not permitted\nwhen a stream is captured")}), [8, 4]
    )

    assert rows == 8 and "operation not permitted" in sentence and sentence.endswith("without that, slower.")
