"""The training loop: what a run leaves behind, how it is steered, and how it says why it ended.

tests/golden_loss.json holds the losses of a small fixed run; a refactor must not change them. Where a change of the
mathematics is meant, write them anew with `PYTHONPATH=. python tests/test_train.py` and say why in docs/LOG.md.
"""

import contextlib
import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from helpers import wait_for
from sqlite_utils import Database
from support import FullDisk, new_run, tiny_config
from torch import Tensor
from training import (
    LONG,
    PROMPTS,
    as_in_a_process_of_its_own,
    assert_whole,
    attempt,
    checkpoints,
    in_between,
    losses,
    steps,
    stop_at,
)

from engine import device, launch, store
from engine import train as module
from engine.config import ConfigError
from engine.generate import Ask, load_speaker
from engine.home import PROJECT, Home
from engine.meter import Meter
from engine.model import Transformer
from engine.optim import Optimizers
from engine.train import explain

GOLDEN = Path(__file__).parent / "golden_loss.json"

pytestmark = pytest.mark.usefixtures("alone")


def test_a_run_learns_and_leaves_everything_behind(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    assert attempt(home, run_id) == 0

    run, measured = store.get_run(db, run_id), losses(db, run_id)
    assert (run["status"], run["phase"], run["step"], run["attempt"]) == ("finished", "", 24, 1)
    assert measured[0] == pytest.approx(5.7, abs=0.05) and measured[-1] < 4.5  # ln 300 = 5.70 knows nothing
    assert run["val_loss"] == store.last_eval(db, run_id)["val_loss"]  # type: ignore[index]
    assert run["environment"]["precision"] == "fp32" and run["environment"]["threads"] == 1
    evaluations = store.evals_after(db, run_id, 0)
    assert [row[1] for row in evaluations] == [0, 4, 8, 12, 16, 20, 24]
    for _, step, tokens, _, loss, accuracy, perplexity, bits in evaluations:
        assert tokens == step * 256  # type: ignore[operator]
        assert perplexity == pytest.approx(2.718281828**loss)  # type: ignore[operator]
        assert 0 <= accuracy <= 1 and 0 < bits < loss * 1.4427  # type: ignore[operator]
    samples = store.list_samples(db, run_id)
    assert [row["step"] for row in samples] == [step for step in (0, 6, 12, 18, 24) for _ in range(PROMPTS)]
    assert {row["source"] for row in samples} == {"periodic"} and {row["suite"] for row in samples} == {"stories"}
    assert [row["step"] for row in store.ages(db, run_id)] == [0, 6, 12, 16, 18, 24]


def test_every_sample_can_be_asked_again(home: Home, db: Database) -> None:
    """Said by the trainer in one batch, with two cores; asked again one by one, with one."""
    torch.set_num_threads(2)
    run_id = new_run(home, db, train__tokens=2 * 256, sample__every=1, sample__max_tokens=20, eval__every=10**9)
    attempt(home, run_id)
    torch.set_num_threads(1)

    samples = store.list_samples(db, run_id)
    assert len(samples) == 3 * PROMPTS
    for sample in samples:
        speaker = load_speaker(home, db, run_id, sample["step"])
        fields = ("prompt", "max_tokens", "temperature", "top_k", "top_p", "seed")
        (again,) = speaker.answer([Ask(**{field: sample[field] for field in fields})])
        assert (again.text, again.finish) == (sample["text"], sample["finish"])
        assert speaker.weights_sha256 == sample["weights_sha256"]


def test_a_stop_on_a_checkpoint_saves_once(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = new_run(home, db)
    stop_at(monkeypatch, 16)

    attempt(home, run_id)

    assert checkpoints(home, run_id) == [8, 16]
    assert [row["step"] for row in db["checkpoints"].rows_where("kind = 'full' AND run_id = ?", [run_id])] == [8, 16]


def test_a_stop_without_a_save_keeps_the_last_checkpoint(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db)
    stop_at(monkeypatch, 11, now=True)

    attempt(home, run_id)

    assert checkpoints(home, run_id) == [8]
    assert store.get_run(db, run_id)["status"] == "stopped"


def test_a_stop_while_text_is_prepared_leaves_nothing_half_made(home: Home, db: Database) -> None:
    run_id = new_run(home, db, data__dataset="starter-300")

    def work(run: module.Run) -> str:
        run.recorder.stop.set()
        return module.train(run)

    assert attempt(home, run_id, work=work) == 0

    assert store.get_run(db, run_id)["status"] == "stopped"
    assert not home.dataset("starter-300").exists()


def test_a_paused_run_waits_and_goes_on(home: Home, db: Database) -> None:
    run_id = new_run(home, db, **LONG)
    store.give_command(db, run_id, "pause")
    seen: list[tuple[str, int]] = []

    def look() -> None:
        own = store.connect(home.database)
        wait_for(lambda: store.get_run(own, run_id)["status"] == "paused")
        for _ in range(3):
            run = store.get_run(own, run_id)
            seen.append((run["status"], run["step"]))
        store.give_command(own, run_id, "unpause")
        own.close()

    looking = in_between(look)
    assert attempt(home, run_id) == 0
    looking.join()

    assert len(set(seen)) == 1 and seen[0][1] < 60
    assert_whole(home, db, run_id)


def test_a_question_is_asked_at_once_when_a_person_wants_it(home: Home, db: Database) -> None:
    run_id = new_run(home, db, **LONG | {"sample__every": 10**9})

    def want() -> None:
        own = store.connect(home.database)
        wait_for(lambda: checkpoints(home, run_id))
        store.give_command(own, run_id, "sample")
        own.close()

    wanting = in_between(want)
    attempt(home, run_id)
    wanting.join()

    asked = sorted({row["step"] for row in store.list_samples(db, run_id)})
    assert asked[0] == 0 and asked[-1] == 60 and len(asked) == 3


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_good_checkpoint(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG)
    real, learned = Transformer.loss, []

    def broken(self: Transformer, tokens: Tensor, targets: Tensor, *others: Any) -> tuple[Tensor, ...]:
        loss, *others = real(self, tokens, targets)
        if torch.is_grad_enabled():
            learned.append(loss)
        return (loss * torch.nan if len(learned) > 2 * 10 else loss), *others

    with monkeypatch.context() as breaking:
        breaking.setattr(Transformer, "loss", broken)
        assert attempt(home, run_id) == 1

    run = store.get_run(db, run_id)
    assert run["status"] == "diverged" and "stopped being a number at step 11" in run["error"]
    assert checkpoints(home, run_id) == [8]
    assert steps(db, run_id) == list(range(1, 12)) and losses(db, run_id)[-1] is None
    assert store.list_events(db, run_id)[-1]["kind"] == "diverged"

    assert attempt(home, run_id) == 0
    assert_whole(home, db, run_id)
    assert store.get_run(db, run_id)["error"] is None


def test_weights_that_are_no_numbers_are_never_saved(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, made = new_run(home, db), []
    real = Optimizers.step

    def broken(self: Optimizers, factor: float, finite: Tensor, *others: Any) -> None:
        real(self, factor, finite)
        made.append(factor)
        if len(made) == 16:
            self.param_groups[0]["params"][0].data[3, 3] = torch.inf

    monkeypatch.setattr(Optimizers, "step", broken)
    assert attempt(home, run_id) == 1

    assert store.get_run(db, run_id)["status"] == "diverged"
    assert checkpoints(home, run_id) == [8]


def test_a_dataset_that_is_not_there_is_told_with_what_to_do(home: Home, db: Database) -> None:
    run_id = new_run(home, db, data__dataset="smollm-1b")

    assert attempt(home, run_id) == 1

    run = store.get_run(db, run_id)
    assert run["status"] == "failed"
    assert run["error"].startswith("The dataset smollm-1b (1,000,000,000 tokens) is not in this home")
    assert "choose the preset" in run["error"]


def test_how_often_the_text_was_read_is_told(home: Home, db: Database) -> None:
    """240 rows of a text that has 82."""
    run_id = new_run(home, db, **LONG)
    assert store.epochs_of(store.get_run(db, run_id)) == {"epoch": None, "epochs": None}

    attempt(home, run_id)

    told = [(event["step"], event["message"]) for event in store.list_events(db, run_id) if event["kind"] == "epoch"]
    assert told == [
        (21, "The whole text (5,248 tokens) was read once; from here on it comes again."),
        (42, "The whole text (5,248 tokens) was read 2 times; from here on it comes again."),
    ]
    status = launch.run_status(home, run_id)
    assert (status["epoch"], status["epochs"]) == (3, 2.93)


def test_a_shard_with_a_token_that_is_none_ends_the_run_in_a_sentence(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    shard = np.memmap(home.dataset("tiny") / "train.bin", np.uint16, mode="r+")
    shard[len(shard) // 2] = 999
    shard.flush()

    assert attempt(home, run_id) == 1

    error = store.get_run(db, run_id)["error"]
    assert error == (
        f"datasets/tiny/train.bin is damaged: its token {len(shard) // 2:,} is 999, but the vocabulary has 300 pieces; "
        "delete the dataset so that it is prepared again."
    )


def test_a_shard_that_is_cut_under_a_run_ends_it_in_a_sentence(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading on would end the process without a word (SIGBUS)."""
    run_id, add = new_run(home, db), Meter.add

    def cut(self: Meter, at: int, *measured: Any) -> None:
        add(self, at, *measured)
        if at == 10:
            os.truncate(home.dataset("tiny") / "train.bin", 100)

    monkeypatch.setattr(Meter, "add", cut)

    assert attempt(home, run_id) == 1

    assert "datasets/tiny/train.bin was cut short while it was read" in store.get_run(db, run_id)["error"]
    assert checkpoints(home, run_id) == [8]


def test_a_log_on_a_full_disk_costs_its_lines_alone(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, end, tried = new_run(home, db, train__tokens=4 * 256), store.end_run, []

    def full(*given: Any, **named: Any) -> bool:
        tried.append(1)
        if len(tried) == 1:
            raise store.DatabaseError[0]("database or disk is full")
        return end(*given, **named)

    monkeypatch.setattr(store, "end_run", full)
    monkeypatch.setattr("engine.outage.RETRY", 0.01)
    monkeypatch.setattr("engine.saver.free_memory", lambda: 0)
    with contextlib.redirect_stdout(FullDisk()):
        assert attempt(home, run_id) == 0

    run = store.get_run(db, run_id)
    assert (run["status"], run["error"], len(tried)) == ("finished", None, 2)


def test_a_failure_is_told_though_its_traceback_finds_a_full_disk(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    def fail(run: module.Run) -> str:
        raise ZeroDivisionError("a mistake of ours")

    with contextlib.redirect_stderr(FullDisk()):
        assert attempt(home, run_id, work=fail) == 1

    assert store.get_run(db, run_id)["error"] == "ZeroDivisionError: a mistake of ours"


def test_a_process_whose_log_is_full_ends_as_it_should(home: Home, db: Database) -> None:
    run_id = new_run(home, db, train__tokens=2 * 256)
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "engine.train", "--home", str(home.path), run_id]
        assert subprocess.run(command, cwd=PROJECT, stdout=full, stderr=full, timeout=60, check=False).returncode == 0

    assert store.get_run(db, run_id)["status"] == "finished"


def test_a_run_that_another_process_trains_is_left_alone(
    home: Home, db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = new_run(home, db)
    home.run(run_id).mkdir(parents=True)
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print(1, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(home.run(run_id) / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin and other.stdout
    other.stdout.readline()

    assert attempt(home, run_id) == 1

    assert "is being trained by another process" in capsys.readouterr().err
    assert store.get_run(db, run_id)["attempt"] == 0
    other.communicate()


def test_small_batches_add_up_to_one(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda _: False)
    found = []
    for micro_batch in (0, 1):
        run_id = new_run(home, db, train__tokens=6 * 256, train__micro_batch=micro_batch, sample__every=10**9)
        attempt(home, run_id)
        found.append(losses(db, run_id))

    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_as_full_precision_does(home: Home, db: Database, precision: str) -> None:
    """On the CPU too, fp16 with a gradient scaler; its state is kept with the checkpoint."""
    found = []
    for kind in ("fp32", precision):
        run_id = new_run(home, db, train__tokens=12 * 256, train__precision=kind, sample__every=10**9)
        assert attempt(home, run_id) == 0
        found.append(losses(db, run_id))

    assert found[1] == pytest.approx(found[0], rel=0.01)
    state = json.loads((home.run(run_id) / "step_000012" / "state.json").read_text())
    assert ("scale" in state["scaler"]) == (precision == "fp16")
    assert store.get_run(db, run_id)["environment"]["precision"] == precision
    assert any("but slowly" in event["message"] for event in store.list_events(db, run_id)) or precision == "bf16"


def golden_run(home: Home) -> dict[str, list[float]]:
    """Training and validation losses of ten steps in fp32, Muon's products too."""
    db = store.connect(home.database)
    run_id = new_run(home, db, train__tokens=10 * 256, eval__every=5, sample__every=10**9)
    with patch.object(device, "has_bf16", lambda _: False):
        assert attempt(home, run_id) == 0
    found = {"train_loss": losses(db, run_id), "val_loss": [row[4] for row in store.evals_after(db, run_id, 0)]}
    db.close()
    return found  # type: ignore[return-value]


def test_the_losses_are_the_golden_ones(home: Home) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))

    for name, values in golden_run(home).items():
        assert values == pytest.approx(golden[name], abs=1e-4), name


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConfigError("model.layers = 0 must be 1."), "model.layers = 0 must be 1."),
        (store.Refused("There is no run."), "There is no run."),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "set train.micro_batch to 1 or less"),
        (MemoryError(), "The machine ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "The machine ran out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full; free some space, then resume."),
        (KeyError("surprise\nmore"), "KeyError: "),
        (ZeroDivisionError(), "ZeroDivisionError: no message"),
    ],
)
def test_every_failure_is_one_sentence(error: BaseException, sentence: str) -> None:
    told = explain(error, tiny_config())

    assert sentence in told and "\n" not in told


def test_torch_says_what_is_looked_for_when_a_processor_has_no_memory_left() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)

    assert explain(caught.value, tiny_config()).startswith("The machine ran out of memory; choose a smaller")


@pytest.mark.parametrize(("rows", "micro_batch", "fits"), [(9, 0, 3), (8, 0, 4), (12, 4, 2), (10, 5, 2), (7, 7, 1)])
def test_out_of_memory_names_a_number_that_fits(rows: int, micro_batch: int, fits: int) -> None:
    config = tiny_config(train__batch_tokens=rows * 64, train__micro_batch=micro_batch)

    told = explain(torch.OutOfMemoryError("CUDA out of memory."), config)

    assert f"with {micro_batch or rows} rows" in told and f"set train.micro_batch to {fits} or less" in told
    assert tiny_config(train__batch_tokens=rows * 64, train__micro_batch=fits).train.micro_batch == fits


def test_out_of_memory_with_one_row_asks_for_a_smaller_model() -> None:
    told = explain(torch.OutOfMemoryError("CUDA out of memory."), tiny_config(train__micro_batch=1))

    assert "a single row" in told and "smaller model.context (it is 64)" in told and "micro_batch" not in told


if __name__ == "__main__":
    with as_in_a_process_of_its_own(), tempfile.TemporaryDirectory() as folder:
        fresh = Home.at(folder)
        launch.open_home(fresh)
        GOLDEN.write_text(json.dumps(golden_run(fresh), indent=1) + "\n", encoding="utf-8")
