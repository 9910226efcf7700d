"""Sweeps: what a person may write, which runs that makes, all or none of them, and the comparison."""

import json
from typing import Any

import pytest
from helpers import supervised
from sqlite_utils import Database
from ui_helpers import add_rows

from engine import launch, queue, store, sweep
from engine.__main__ import main
from engine.config import ConfigError
from engine.home import Home
from engine.store import Refused

Capture = pytest.CaptureFixture[str]
LR = "optimizer.muon_lr"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No supervisor is started."""
    monkeypatch.setattr(launch, "start_supervisor", lambda home: None)


def measure(db: Database, run_id: str, *losses: float | None, **more: Any) -> None:
    """Evaluations of a run, ten steps apart."""
    rows = [
        {"val_loss": loss, "val_bits_per_byte": loss and loss / 3, "step": 10 * at} | more
        for at, loss in enumerate(losses, start=1)
    ]
    add_rows(
        db, [("evals", {"run_id": run_id, "attempt": 1, "tokens": 1, "elapsed_seconds": 1.0} | row) for row in rows]
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.01,0.02, 0.04", [0.01, 0.02, 0.04]),
        ("1M,2M", [1_000_000, 2_000_000]),
        ("true,false", [True, False]),
        ("swiglu,relu2", ["swiglu", "relu2"]),
        ("0.3", [0.3]),
        ("1..4", [1, 2, 3, 4]),
        ("-1..1", [-1, 0, 1]),
        ("0.1..0.5 +0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("0.01..0.08 x2", [0.01, 0.02, 0.04, 0.08]),
        ("0.01..0.08x2", [0.01, 0.02, 0.04, 0.08]),
        ("1..10 x3", [1, 3, 9]),
        ("1M..4M x2", [1_000_000, 2_000_000, 4_000_000]),
        ("1e-4..1e-2 x10", [1e-4, 1e-3, 1e-2]),
        ("0,1..3", [0, 1, 2, 3]),
        ("5..5", [5]),
        ("1..64", list(range(1, 65))),
    ],
)
def test_what_values_mean(text: str, values: list[Any]) -> None:
    found = sweep.parse_values(LR, text)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has an empty value"),
        ("1,,2", "has an empty value"),
        ("1..", "is no range of numbers"),
        ("..4", "is no range of numbers"),
        ("a..b", "is no range of numbers"),
        ("1..4 x", "is no range of numbers"),
        ("1..4 /2", "is no range of numbers"),
        ("1..inf", "is no range of numbers"),
        ("nan..2 x2", "is no range of numbers"),
        ("true..4", "is no range of numbers"),
        ("1..4 x" + "9" * 400, "is no range of numbers"),
        ("0.1..0.5", "needs a step"),
        ("4..1", "leads nowhere"),
        ("1..4 x1", "leads nowhere"),
        ("1..4 +0", "leads nowhere"),
        ("0..4 x2", "leads nowhere"),
        ("1..4 x-2", "leads nowhere"),
        ("1..100", "more than 64 values"),
        ("1e-300..1e15 x1.001", "more than 64 values"),
        ("1,2,1", "= 1 is given twice"),
        ("1..3,2", "= 2 is given twice"),
    ],
)
def test_what_is_no_list_of_values_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        sweep.parse_values(LR, text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["optimizer.muon_lr"], "--vary takes key=values"),
        (["=1,2"], "--vary takes key=values"),
        (["train.seed=1", "train.seed=2"], "train.seed is varied twice"),
    ],
)
def test_what_is_no_setting_with_values_is_told(pairs: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sweep.parse_vary(pairs)


def test_every_combination_is_a_run_and_its_name_tells_which() -> None:
    runs = sweep.planned("seedling", "s", {LR: [0.01, 0.02], "train.seed": [1, 2]}, {"train.tokens": 1_000_000})
    assert [run.name for run in runs] == ["s-lr0.01-seed1", "s-lr0.01-seed2", "s-lr0.02-seed1", "s-lr0.02-seed2"]
    assert [run.values for run in runs] == [(0.01, 1), (0.01, 2), (0.02, 1), (0.02, 2)]
    assert [(run.config.optimizer.muon_lr, run.config.train.seed) for run in runs] == [run.values for run in runs]
    assert {run.config.train.tokens for run in runs} == {1_000_000}
    assert sweep.planned("seedling", "s", {"data.dataset": ["my text"]})[0].name == "s-datasetmy-text"


@pytest.mark.parametrize(
    ("vary", "overrides", "words"),
    [
        ({}, {}, "one or two settings, not 0"),
        ({"train.seed": [1], LR: [1], "eval.every": [1]}, {}, "one or two settings, not 3"),
        ({"train.seed": [1, 2]}, {"train.seed": 3}, "train.seed is both set and varied"),
        ({"train.seed": list(range(9)), "eval.every": list(range(1, 10))}, {}, "9 x 9 values are 81 runs; 64 at most"),
        ({"train.sede": [1]}, {}, r"The run with train.sede = 1 cannot be: train.sede is not a setting \(did you mean"),
        ({LR: [0.1], "model.heads": [4, 5]}, {}, "The run with optimizer.muon_lr = 0.1, model.heads = 5 cannot be"),
    ],
)
def test_what_cannot_be_a_sweep_is_told(vary: dict[str, Any], overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sweep.planned("seedling", "s", vary, overrides)


@pytest.mark.parametrize(
    ("name", "vary", "words"),
    [
        ("s", {"model.heads": [4, 5]}, "model.heads = 5 cannot be"),
        ("s", {"data.dataset": ["starter", "gone"]}, "gone"),
        ("../s", {"train.seed": [1]}, "must have 1 to 64 letters"),
        ("x" * 64, {"train.seed": [1]}, "must have 1 to 64 letters"),
        ("s", {"train.device": ["cpu", "cuda:9"]}, "CUDA device"),
    ],
)
def test_all_runs_or_none_are_made(
    home: Home, db: Database, quiet: None, name: str, vary: dict[str, Any], words: str
) -> None:
    with pytest.raises((ConfigError, Refused), match=words):
        sweep.start(home, "seedling", vary, name)
    assert store.list_sweeps(db) == [] and store.queued_runs(db) == []


def test_a_sweep_is_a_line_of_runs(home: Home, db: Database, quiet: None) -> None:
    assert sweep.start(home, "seedling", {LR: [0.01, 0.02]}) == "seedling-sweep-1"
    assert sweep.start(home, "seedling", {"train.seed": [1, 2, 3]}) == "seedling-sweep-2"
    with pytest.raises(Refused, match="There is a sweep seedling-sweep-1 already"):
        sweep.start(home, "seedling", {"train.seed": [1]}, "seedling-sweep-1")
    line = queue.lines(home)["lines"][0]["queued"]
    assert [(run["place"], run["sweep"]) for run in line] == [
        (1, "seedling-sweep-1"),
        (2, "seedling-sweep-1"),
        (3, "seedling-sweep-2"),
        (4, "seedling-sweep-2"),
        (5, "seedling-sweep-2"),
    ]
    assert sweep.take_out(home, "seedling-sweep-2") == 3
    assert {run["sweep"] for run in store.queued_runs(db)} == {"seedling-sweep-1"}


def test_the_comparison(home: Home, db: Database, quiet: None) -> None:
    sweep.start(home, "seedling", {LR: [0.01, 0.02, 0.04]}, "s")
    slow, good, bad = store.runs_of_sweep(db, "s")
    measure(db, slow["id"], 5.0, 4.0)
    measure(db, good["id"], 4.0, 2.0, superseded=1)  # done again since
    measure(db, good["id"], 4.5, 3.0, 3.5, None)
    store.end_run(db, good["id"], "finished")
    found = sweep.result(home, "s")
    assert (found["settings"], found["measure"], found["best"], found["ended"]) == (
        {LR: [0.01, 0.02, 0.04]},
        "val_loss",
        good["id"],
        1,
    )
    assert [(run["values"], run["best"], run["best_step"], run["final"]) for run in found["runs"]] == [
        ([0.01], 4.0, 20, 4.0),
        ([0.02], 3.0, 20, 3.5),
        ([0.04], None, None, None),
    ]
    assert found["runs"][2]["id"] == bad["id"] and found["runs"][2]["status"] == "queued"
    with pytest.raises(Refused, match="There is no sweep 'none'"):
        sweep.result(home, "none")


def test_models_of_other_texts_are_compared_by_bits(home: Home, db: Database, quiet: None) -> None:
    sweep.start(home, "seedling", {"data.dataset": ["starter", "starter-4096"]}, "s")
    measure(db, store.runs_of_sweep(db, "s")[0]["id"], 3.0)
    found = sweep.result(home, "s")
    assert (found["measure"], found["runs"][0]["best"]) == ("val_bits_per_byte", 1.0)


def test_a_sweep_trains_and_is_compared(home: Home, db: Database) -> None:
    with supervised(home, "--points", "30"):
        sweep.start(home, "seedling", {"eval.every": [10, 25]}, "s")
        for run in store.runs_of_sweep(db, "s"):
            assert launch.wait_until_ended(home, run["id"], 60)["status"] == "finished"
    found = sweep.result(home, "s")
    assert found["ended"] == 2 and all(run["final"] is not None for run in found["runs"])


def test_the_command_line(home: Home, db: Database, quiet: None, capsys: Capture) -> None:
    at = ("--home", str(home.path))

    def said(*words: str) -> str:
        assert main(["sweep", *words, *at]) == 0
        return capsys.readouterr().out

    assert "no sweeps yet" in said()
    shown = said("--vary", f"{LR}=0.01..0.04x2", "train.seed=1,2", "--set", "train.tokens=1M", "--preview").splitlines()
    assert (len(shown), shown[0]) == (7, "seedling-sweep-1-lr0.01-seed1")
    assert shown[-1].startswith("6 runs, about ")
    assert store.queued_runs(db) == []
    assert said("--vary", f"{LR}=0.01,0.02", "--name", "one") == "one\n"
    measure(db, store.runs_of_sweep(db, "one")[1]["id"], 3.25)
    lines = said("--show", "one").splitlines()
    assert lines[0].split() == [LR, "RUN", "STATUS", "BEST", "AT", "STEP", "FINAL", "TIME"]
    assert lines[1].split()[:4] == ["0.01", "one-lr0.01", "queued", "queued"]
    assert lines[2].split()[:5] == ["0.02", "one-lr0.02", "queued", "3.250*", "10"]
    assert lines[3].startswith("0 of 2 runs have ended; best loss on unseen text")
    grid = json.loads(said("--vary", f"{LR}=0.01,0.02", "train.seed=1,2", "--name", "two", "--json"))
    measure(db, grid["runs"][2]["id"], 3.5)
    assert [line.split() for line in said("--show", "two").splitlines()[:3]] == [
        [LR, "\\", "train.seed", "1", "2"],
        ["0.01", "queued", "queued"],
        ["0.02", "3.500*", "queued"],
    ]
    assert [line.split()[0] for line in said().splitlines()] == ["NAME", "two", "one"]
    assert said("--take-out", "two") == "4 runs are out of the line.\n"
    assert main(["sweep", "--vary", "train.sede=1,2", *at]) == 1
    assert capsys.readouterr().err.count("\n") == 1
