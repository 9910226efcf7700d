"""The parts of `bench train`: the two sides, their times, what is observed, peaks and medians."""

import math
import time

import pytest
import torch
from support import tiny_config

from benchmarks.training import turns
from benchmarks.training.observed import loop
from benchmarks.training.peaks import peak_tflops
from benchmarks.training.report import ratios, side_facts
from benchmarks.training.sides import Side, our_side, peer_side
from benchmarks.training.worker import does_not_fit
from engine import store
from engine.config import load_preset
from engine.device import Place

CPU = Place(torch.device("cpu"), "fp32")


def test_both_sides_compute_the_mean_loss_however_the_step_is_split() -> None:
    told: list[str] = []
    losses: list[list[float]] = []
    for micro_batch in (0, 1):
        config = tiny_config(train__micro_batch=micro_batch)
        for side in (our_side(config, CPU, told.append), peer_side(config, CPU)):
            losses.append([float(side.step()[0]) for _ in range(2)])
            assert side.facts["micro_batch"] == (micro_batch or config.rows_per_step)
    ours, _, ours_split, _ = losses

    assert ours == pytest.approx(ours_split, abs=1e-4)
    for first, _ in losses:  # nobody knows better than all tokens alike
        assert first == pytest.approx(math.log(config.model.vocab_size), abs=0.2)
    assert told == []


def test_the_parts_of_a_step_add_up() -> None:
    side = Side(learn=lambda: torch.zeros(()), clip=lambda: torch.ones(()), update=lambda loss, length: None)

    (found,) = turns.turn(side, torch.device("cpu"), 1)

    assert found["step"] == pytest.approx(found["learn"] + found["clip"] + found["update"])


def test_a_gpus_events_are_read_as_one_step_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = time.perf_counter()

        def elapsed_time(self, other: "Event") -> float:
            return (other.at - self.at) * 1e3

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    side = Side(learn=lambda: torch.zeros(()), clip=lambda: torch.ones(()), update=lambda loss, length: None)

    found = turns.turn(side, torch.device("cuda"), 3)

    assert [set(step) for step in found] == [{"learn", "clip", "update", "step", "launch"}] + [
        {"learn", "clip", "update", "step"}
    ] * 2
    for step in found:
        assert step["step"] == pytest.approx(step["learn"] + step["clip"] + step["update"])


def test_an_observed_block_stores_each_of_its_steps() -> None:
    config = tiny_config()
    side = our_side(config, CPU, lambda note: None)
    with loop(side, config, CPU.device) as blocks:
        for steps, observed in ((3, True), (2, False), (2, True)):
            took = blocks.block(steps, observed)
            assert took["seconds"] > 0 and took["processor"] > 0
        db = store.connect(blocks.home.database)
        steps = [row[store.METRICS.index("step")] for row in store.metrics_after(db, blocks.run_id, 0)]
        db.close()

    assert steps == [1, 2, 3, 6, 7]
    assert not blocks.home.path.exists()


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H200", "bf16", 989.0),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.0),
        ("NVIDIA H100 PCIe", "fp16", 756.0),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312.0),
        ("NVIDIA A100 80GB PCIe", "bf16", 312.0),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", None),
        ("NVIDIA GeForce RTX 4090 D", "bf16", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", None),
        ("NVIDIA H200", "fp32", None),
        ("NVIDIA L40S", "bf16", 362.0),
        ("NVIDIA L4", "bf16", 121.0),
        ("Tesla T4", "fp16", 65.0),
        ("Tesla T4", "bf16", None),
        ("Tesla V100-SXM2-16GB", "fp16", 125.0),
    ],
)
def test_peaks_are_those_of_this_very_card(name: str, precision: str, peak: float | None) -> None:
    assert peak_tflops(name, precision) == peak


def test_medians_and_the_speeds_that_follow() -> None:
    config = load_preset("blueberry-nano")
    steps = [{"step": seconds, "learn": 0.04} for seconds in (0.05, 0.0562, 0.9)]

    facts = side_facts(config, [{**steps[0], "launch": 0.001}, *steps[1:]], 989.0)

    assert facts["tokens_per_second"] == pytest.approx(291_530, rel=1e-4) and facts["launch"] == 0.001
    assert facts["tflops"] == pytest.approx(322.8, abs=0.1) and facts["mfu"] == pytest.approx(0.326, abs=0.001)
    assert ratios({"blueberry": facts, "transformers": {"error": "no"}}) == {}


def test_a_lack_of_memory_is_seen_behind_another_error() -> None:
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        except torch.OutOfMemoryError:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904
    except RuntimeError as error:
        assert does_not_fit(error)
    assert not does_not_fit(RuntimeError("shape mismatch"))
