"""Estimates stay near what was measured."""

from pathlib import Path

import pytest

from engine.config import load_preset
from engine.estimate import training_bytes, training_flops


@pytest.mark.parametrize(
    ("layers", "width", "mlp_width", "context", "tokens", "micro_batch", "megabytes"),
    [
        (3, 256, 768, 256, 4096, 0, 982),
        (3, 256, 768, 256, 16384, 0, 2149),
        (8, 512, 1280, 512, 16384, 0, 7210),
        (8, 512, 1280, 512, 16384, 8, 2720),
    ],
)
def test_training_memory_is_within_a_tenth_of_the_measured_peak(
    layers: int, width: int, mlp_width: int, context: int, tokens: int, micro_batch: int, megabytes: int
) -> None:
    config = load_preset(
        "seedling",
        {
            "model.layers": layers,
            "model.width": width,
            "model.mlp_width": mlp_width,
            "model.context": context,
            "model.heads": width // 64,
            "model.kv_heads": width // 128,
            "train.batch_tokens": tokens,
            "train.micro_batch": micro_batch,
        },
    )
    assert training_bytes(config) == pytest.approx(megabytes * 1e6, rel=0.1)


@pytest.mark.parametrize(
    ("experts", "mlp_width", "tokens", "megabytes"),
    [(4, 384, 4096, 986), (4, 384, 16384, 1982), (8, 768, 4096, 1250), (8, 768, 16384, 2363)],
)
def test_so_it_is_with_two_of_several_experts(experts: int, mlp_width: int, tokens: int, megabytes: int) -> None:
    shape = {"model.experts": experts, "model.experts_per_token": 2, "model.mlp_width": mlp_width}

    config = load_preset("seedling", shape | {"train.batch_tokens": tokens})

    assert training_bytes(config) == pytest.approx(megabytes * 1e6, rel=0.1)


def test_a_processor_with_bf16_instructions_is_expected_to_be_faster(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("flags : sse avx2\n")
    new.write_text("flags : sse avx2 avx512_bf16\n")
    assert training_flops("cpu", new) > training_flops("cpu", old) == training_flops("cpu", tmp_path / "none") > 0
    assert training_flops("cuda:0", old) > training_flops("cpu", new)


@pytest.mark.parametrize(("rows", "recompute", "measured"), [(8, False, 10.2), (32, False, 33.1), (8, True, 3.3)])
def test_on_a_gpu_it_is_near_what_was_measured_there(rows: int, recompute: bool, measured: float) -> None:
    changes = {"train.batch_tokens": rows * 2048, "train.recompute": recompute}

    # Of what recomputing leaves, torch and its libraries are a good part, and more on a CPU than there.
    tolerance = 0.4 if recompute else 0.1
    estimate = training_bytes(load_preset("blueberry-nano", changes), "cuda:0")
    assert estimate == pytest.approx(measured * 2**30, rel=tolerance)
