"""Which micro-batch fits, and what becomes of a run whose fused kernels do not work."""

from typing import Any

import pytest
import torch
from support import tiny_config, tiny_model

from engine import loss
from engine.accelerate import divisors, fitting, some_batch, use_fused_kernels
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
