"""`bench train` measures each side in a process of its own, and says what did not fit."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import train
from benchmarks.train import Benchmark, main, parser, sides_of
from benchmarks.training.remote import Failed, OutOfMemory, Process, Spec
from benchmarks.training.report import table
from engine.config import ConfigError, load_preset
from engine.device import Place

TINY = {
    "model.layers": 1,
    "model.width": 16,
    "model.heads": 2,
    "model.kv_heads": 1,
    "model.mlp_width": 24,
    "model.context": 8,
    "model.vocab_size": 64,
    "train.batch_tokens": 32,
}
TWICE = {"step": 2.0, "learn": 2.0, "clip": 2.0, "update": 2.0, "resident": 1.0}
CPU = Place(torch.device("cpu"), "fp32")
OPTIONS = ["--device", "cpu", "--precision", "fp32", "--set", *(f"{key}={value}" for key, value in TINY.items())]


class Fake:
    """A process that answers from a list: seconds of a step, or what goes wrong."""

    started: list[tuple[str, int]]
    alive: set[str]
    fails: Callable[["Fake", str], None]

    def __init__(self, spec: Spec, caches: Path) -> None:
        self.spec = spec
        Fake.started.append((spec.side, spec.rows))
        self.begun: dict[str, Any] = {"seconds": 2.0, "parts": {"imports": 1.0}, "device": "cpu", "notes": []}
        self.begun["facts"] = CPU.describe() | {"micro_batch": min(spec.rows, 4)}
        self.check("start")
        Fake.alive.add(spec.side)

    def check(self, doing: str) -> None:
        Fake.fails(self, doing)

    def turn(self, steps: int) -> dict[str, Any]:
        self.check("turn")
        step = 0.5 if self.spec.side == "blueberry" else 1.0
        seconds = {"step": step, "learn": step / 2, "clip": step / 4, "update": step / 4}
        return {"steps": [seconds] * steps, "memory": {"resident": 1000}}

    def block(self, steps: int, observed: bool) -> dict[str, float]:
        self.check("block")
        return {"seconds": steps * (1.01 if observed else 1.0), "processor": steps * 1.0}

    def close(self) -> None:
        Fake.alive.discard(self.spec.side)

    def __enter__(self) -> "Fake":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    Fake.started, Fake.alive, Fake.fails = [], set(), lambda *_: None
    monkeypatch.setattr(train, "Process", Fake)
    return Fake


def measured(tmp_path: Path, *options: str) -> dict[str, Any]:
    return Benchmark(parser().parse_args([*OPTIONS, *options]), tmp_path).run()


def test_a_report_for_programs_from_real_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OPTIONS, "--rows", "2", "--steps", "2", "--no-peer", "--overhead", "0.01", "--json"]) == 0

    told = capsys.readouterr()
    report = json.loads(told.out)
    side = report["batches"][0]["sides"]["blueberry"]
    assert report["batches"][0]["tokens_per_step"] == 16
    assert side["step"] >= side["learn"] > 0 and side["clip"] > 0 and side["update"] > 0
    assert side["tokens_per_second"] == pytest.approx(16 / side["step"]) and "mfu" not in side
    assert side["resident"] > 50e6
    assert set(report["first_step"]["blueberry"]["warm"]["parts"]) == {"imports", "model", "step"}
    assert report["overhead"]["observed"] > 0 and len(report["overhead"]["costs"]) == train.PAIRS
    assert "blueberry, 2 rows: starting with empty caches" in told.err


def test_sides_take_turns_and_are_compared(fake: type[Fake], tmp_path: Path) -> None:
    report = measured(tmp_path, "--rows", "4,8", "--steps", "7", "--overhead", "100")

    assert [(batch["rows"], batch["together"]) for batch in report["batches"]] == [(4, True), (8, True)]
    assert report["batches"][1]["ratios"] == TWICE
    assert report["batches"][1]["sides"]["blueberry"]["tokens_per_second"] == 128
    # Twice at the first size, cold and warm, then once.
    assert fake.started == [(name, 4) for name in ("blueberry",) * 2 + ("transformers",) * 2] + [
        ("blueberry", 8),
        ("transformers", 8),
    ]
    assert set(report["first_step"]["transformers"]) == {"cold", "warm"}
    assert report["overhead"]["cost"] == pytest.approx(0.01 / 1.01)
    assert not fake.alive
    text = table(report)
    assert "8 rows, 64 tokens a step" in text and "4 rows at a time" in text
    assert "2.00x" in text and "cost +0.99%" in text and "+0.00% of the processor's time" in text


def test_a_slow_start_is_not_made_twice(fake: type[Fake], tmp_path: Path) -> None:
    report = measured(tmp_path, "--warm-limit", "1", "--no-peer")

    assert len(fake.started) == 1 and set(report["first_step"]["blueberry"]) == {"cold"}


@pytest.mark.parametrize("moment", ["start", "turn"])
def test_a_side_that_does_not_fit_beside_the_other_is_measured_alone(
    fake: type[Fake], tmp_path: Path, moment: str
) -> None:
    def fails(process: Fake, doing: str) -> None:
        if doing == moment and process.spec.side == "transformers" and "blueberry" in fake.alive:
            raise OutOfMemory("out of memory with 4 rows a step")

    fake.fails = fails
    report = measured(tmp_path)

    assert not report["batches"][0]["together"]
    assert report["batches"][0]["ratios"]["step"] == 2.0
    assert "One side after the other" in table(report)


def test_a_size_that_does_not_fit_is_said_in_its_line_and_the_next_goes_on(fake: type[Fake], tmp_path: Path) -> None:
    def fails(process: Fake, doing: str) -> None:
        if process.spec.rows == 4:
            raise OutOfMemory("out of memory with 4 rows a step")

    fake.fails = fails
    report = measured(tmp_path, "--rows", "4,2")

    assert [batch["ratios"] for batch in report["batches"]] == [{}, TWICE]
    assert fake.started.count(("blueberry", 4)) == 1, "alone from the beginning, so not tried again"
    assert "blueberry    out of memory with 4 rows a step" in table(report)


def test_when_nothing_can_be_measured_one_sentence_says_why(
    fake: type[Fake], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(process: Fake, doing: str) -> None:
        raise Failed(f"{process.spec}: broken.")

    fake.fails = fails

    assert main(OPTIONS) == 1
    assert capsys.readouterr().err.endswith("blueberry, 4 rows: broken.\n")


def test_what_was_measured_is_told_when_the_overhead_cannot_be(fake: type[Fake], tmp_path: Path) -> None:
    def fails(process: Fake, doing: str) -> None:
        if doing == "block":
            raise Failed(f"{process.spec}: the disk is full.")

    fake.fails = fails
    report = measured(tmp_path, "--overhead", "100")

    assert report["batches"][0]["ratios"] == TWICE
    assert "observed and stored: blueberry, 4 rows: the disk is full." in table(report)


def test_a_process_that_cannot_begin_says_why_and_is_gone(tmp_path: Path) -> None:
    spec = Spec("blueberry", "seedling", {"train.device": "nonsense"}, 1, "no")

    with pytest.raises(ConfigError, match="'nonsense' is not a device"):
        Process(spec, tmp_path)


def test_a_process_that_breaks_is_a_failure_with_its_status(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # Squared ReLU is not what Qwen3 has; `sides_of` would not have asked.
    spec = Spec("transformers", "blueberry-88m", {"train.device": "cpu"}, 1, "no")

    with pytest.raises(Failed, match=r"^transformers, 1 row: its process ended with status 1; its last words are"):
        Process(spec, tmp_path)
    assert "relu2" in capfd.readouterr().err


def test_rows_that_do_not_divide_are_refused_before_anything_starts(fake: type[Fake], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^train\.micro_batch = 3 must divide the 4 rows"):
        measured(tmp_path, "--rows", "6,4", "--set", "train.micro_batch=3")
    assert not fake.started


def test_models_that_qwen3_is_not_have_no_peer() -> None:
    given = argparse.Namespace(no_peer=False, peer_compile="model")

    assert sides_of(load_preset("seedling"), given)[0] == ["blueberry", "transformers"]
    assert sides_of(load_preset("blueberry-88m"), given)[0] == ["blueberry"]
    assert sides_of(load_preset("blueberry-moe"), given)[0] == ["blueberry"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_both_sides_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda", "--steps", "6", "--peer-compile", "no", "--overhead", "2", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    for side in report["batches"][0]["sides"].values():
        assert side["launch"] > 0 and side["reserved"] >= side["allocated"] > 0
