"""engine/preflight.py and what it stands on: a tiny real model, once in a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlite_utils import Database
from support import tiny_config

from engine import config, preflight, probing, process, projection, store, trial
from engine.__main__ import main as command
from engine.affordable import Share, affordable
from engine.config import RunConfig
from engine.device import choose_place
from engine.estimate import training_flops
from engine.home import PROJECT, Home
from engine.trial import Trial

FIELDS = {
    "step_seconds",
    "eval_token_seconds",
    "prompts",
    "answer_seconds",
    "answer_token_seconds",
    "age_seconds",
    "save_seconds",
    "memory",
    "memory_there",
    "memory_shown",
    "micro_batch",
    "precision",
    "scaled",
    "notes",
    "cores_taken",
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps are enough."""
    monkeypatch.setattr(trial, "SECONDS", 0.0)


def measured(tmp_path: Path, chosen: RunConfig) -> tuple[dict[str, Any], list[str]]:
    """A measurement in this process, and what it said it was doing."""
    said: list[str] = []
    result = preflight.probe(chosen, "cpu", tmp_path, lambda **message: said.append(message["message"]))
    return result, said


def test_a_real_process_measures_a_tiny_model_and_leaves_nothing_but_its_result(home: Home, db: Database) -> None:
    chosen = tiny_config()

    *doing, last = probing.measure(home, chosen)

    assert [one["message"] for one in doing if "tokens_per_second" not in one] == [
        "Building the model",
        "Warming up",
        "Evaluating, asking, saving",
    ]
    found = last["probe"]
    assert found.keys() >= FIELDS and found["prompts"] > 0
    assert (found["micro_batch"], found["scaled"], found["precision"]) == (2, "", "fp32")
    assert all(found[name] > 0 for name in FIELDS if name.endswith("_seconds") and name != "answer_token_seconds")
    assert 100e6 < found["memory"] < found["memory_there"]
    assert probing.stored(db, chosen, "cpu") == found
    assert not process.is_held(home.probe("cpu") / "lock")
    assert {path.name for path in home.probe("cpu").iterdir()} == {"lock", "log", "process.json"}
    speed = projection.project(home, chosen, found)["tokens_per_second"]
    assert doing[-2]["tokens_per_second"] == pytest.approx(speed)


def test_a_process_whose_reader_has_died_ends_by_itself(home: Home) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "engine.preflight", "--home", str(home.path), "--device", "cpu", "--limit", "60"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        # Steps that would go on for minutes: it is the reader's end that ends them.
        slow = tiny_config(train__batch_tokens=64 * 4096, train__micro_batch=1, train__tokens=10**9)
        child.stdin.write(json.dumps({"config": slow.to_json()}).encode() + b"\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) == {"message": "Building the model"}
        child.stdin.close()
        assert child.wait(30) == 1


def answered(home: Home, chosen: RunConfig) -> list[dict[str, Any]]:
    """What the process would say, in this one."""
    said: list[dict[str, Any]] = []
    home.probe("cpu").mkdir(exist_ok=True)
    assert preflight.answer(home, "cpu", chosen, lambda **message: said.append(message)) == 1
    return said


def test_a_run_that_began_while_torch_was_loaded_is_refused(home: Home, db: Database) -> None:
    store.create_run(db, config.load_preset("seedling"), "seedling", "busy", "cpu")

    assert answered(home, tiny_config()) == [
        {"error": "busy is preparing on cpu; measure when it has ended, for both would be slower."}
    ]


def test_what_a_gpu_cannot_hold_is_told_with_what_would_fit(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Trial, count: int) -> tuple[float, float]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Trial, "steps", full)

    said = answered(home, tiny_config(train__batch_tokens=64 * 12, train__micro_batch=12))

    assert said[-1] == {
        "error": "The GPU ran out of memory with 12 rows in one forward pass; "
        "set train.micro_batch to 6 or less (the result stays the same)."
    }
    assert not (home.probe("cpu") / "scratch").exists()


def test_what_does_not_fit_into_memory_is_not_even_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "free_memory", lambda: 10**8)

    with pytest.raises(store.Refused, match=r"Measuring this needs about .* of memory, and 100 MB are free"):
        measured(tmp_path, tiny_config())


@pytest.mark.usefixtures("quick")
def test_a_model_that_is_too_slow_is_measured_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tiny_config(train__batch_tokens=64 * 64, train__micro_batch=8)
    monkeypatch.setattr(preflight, "training_flops", lambda device: 64 * chosen.model.flops_per_token)

    found, _ = measured(tmp_path, chosen)

    assert found["scaled"] == "1 of 8 passes of a step, 1 of 8 rows of a pass, 1 of 2 layers"
    assert found["micro_batch"] == 8


@pytest.mark.parametrize("name", config.presets())
def test_every_preset_can_be_measured_in_seconds_on_two_slow_cores(name: str) -> None:
    chosen, speed = config.load_preset(name), 1.2e11

    share = affordable(chosen, speed)

    part = share.config
    assert part.model.context * (part.train.micro_batch or part.rows_per_step) * part.model.flops_per_token <= 2 * speed
    assert share.passes >= share.token >= 1 and share.update >= 1
    assert bool(share.words) == (part != chosen)
    assert part.model.vocab_size == chosen.model.vocab_size and part.model.width == chosen.model.width


def test_what_is_fast_is_measured_whole() -> None:
    chosen = config.load_preset("blueberry-nano")
    assert affordable(chosen, 1e15) == Share(chosen)
    seedling = config.load_preset("seedling")
    assert affordable(seedling, training_flops("cpu")) == Share(seedling)


def test_shares_add_up() -> None:
    """What is left out is counted: passes by their operations, updates by their layers."""
    chosen = tiny_config(train__batch_tokens=64 * 64, train__micro_batch=8)
    part = affordable(chosen, 64 * 8 * chosen.model.flops_per_token).config

    assert part.train.batch_tokens == 8 * 64 and part.model == chosen.model
    assert affordable(chosen, 64 * 8 * chosen.model.flops_per_token).passes == 8


@pytest.mark.usefixtures("quick")
def test_a_trial_steps_as_a_run_does(alone: None) -> None:
    chosen = tiny_config()
    tried = Trial.of(chosen, choose_place(chosen.train, "cpu"))
    tried.choose_rows()
    before = {name: parameter.detach().clone() for name, parameter in tried.learner.model.named_parameters()}

    passing, updating = tried.steps(2)

    assert passing > 0 and updating > 0
    assert all(not torch.equal(before[name], now) for name, now in tried.learner.model.named_parameters())
    assert all(now.isfinite().all() for now in tried.learner.model.parameters())


def test_nobody_else_is_noticed_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_busy_seconds", time.process_time)
    company = trial.Company()
    sum(range(100_000))

    assert company.cores_taken() < 0.25


def test_the_command_line_measures_and_prints(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {name: 0.5 for name in FIELDS if name.endswith("_seconds")} | {
        "prompts": 12, "memory": 2 * 10**9, "memory_there": 8 * 10**9, "memory_shown": 10**9, "micro_batch": 16,
        "precision": "bf16", "attention": "plain products", "device_name": "A processor", "scaled": "", "notes": [],
        "cores_taken": 0.0, "cores": 2, "measured_at": 1.0,
    }  # fmt: skip
    asked_for: list[RunConfig] = []

    def measure(home: Home, chosen: RunConfig) -> Any:
        asked_for.append(chosen)
        yield {"message": "Measuring", "tokens_per_second": 12_300.0}
        yield {"probe": result}

    monkeypatch.setattr(probing, "measure", measure)
    words = ["preflight", "--home", str(home.path), "--preset", "seedling", "--set", "train.tokens=1M"]

    assert command(words) == 0
    out, err = capsys.readouterr()
    assert asked_for[0].train.tokens == 10**6
    assert "Measuring: 12.3 k tok/s" in err
    assert "in one pass   16 rows" in out and "peak memory   2.0 GB of 8.0 GB" in out
    assert "speed         8.2 k tokens a second, a step in 0.5 s" in out

    assert command([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["tokens_per_second"] == 8192 and printed["seconds"] > 100


def test_the_command_line_passes_a_refusal_on(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(home: Home, chosen: RunConfig) -> Any:
        raise store.Refused("busy is running on cpu.")
        yield {}

    monkeypatch.setattr(probing, "measure", measure)

    assert command(["preflight", "--home", str(home.path)]) == 1
    assert capsys.readouterr().err == "busy is running on cpu.\n"
