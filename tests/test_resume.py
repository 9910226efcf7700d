"""However a run is interrupted, it ends with the weights of one that was not: bit for bit on the CPU."""

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
from functools import partial
from typing import Any

import pytest
import torch
from helpers import wait_for
from safetensors.torch import save
from sqlite_utils import Database
from support import new_run
from training import (
    EPOCHS,
    LONG,
    PROMPTS,
    as_in_a_process_of_its_own,
    assert_whole,
    attempt,
    checkpoints,
    final_weights,
    kinds,
    losses,
    steps,
    stop_at,
    stop_in_answers,
    weights,
)

from engine import launch, store
from engine.config import from_json
from engine.home import PROJECT, Home
from engine.model import Transformer
from engine.questions import Questions

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The final weights of a LONG run that nothing disturbed."""
    home = Home.at(tmp_path_factory.mktemp("straight"))
    launch.open_home(home)
    db = store.connect(home.database)
    run_id = new_run(home, db, **LONG)
    with as_in_a_process_of_its_own():
        assert attempt(home, run_id) == 0
    db.close()
    return final_weights(home, run_id)


def test_resumed_after_a_kill_it_ends_with_the_same_weights(home: Home, db: Database, straight: bytes) -> None:
    run_id = new_run(home, db, **LONG)
    trainer = subprocess.Popen(
        [sys.executable, "-m", "engine.train", "--home", str(home.path), run_id],
        cwd=PROJECT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: any(at >= 16 for at in checkpoints(home, run_id)), timeout=60, every=0.001)
    finally:
        trainer.kill()
        trainer.wait(timeout=10)
    assert store.get_run(db, run_id)["status"] in store.ACTIVE, "it had ended before it could be killed"
    killed_at = max(checkpoints(home, run_id))

    assert attempt(home, run_id) == 0

    assert final_weights(home, run_id) == straight
    assert_whole(home, db, run_id)
    assert store.get_run(db, run_id)["attempt"] == 2
    assert sorted(kinds(db, run_id)) == [*EPOCHS, ("resumed", killed_at)]  # no epoch is told twice
    repeated = [row["step"] for row in db["metrics"].rows_where("run_id = ? AND superseded = 1", [run_id])]
    assert all(step > killed_at for step in repeated)


KILLED = """
import os, signal, sys
from engine import optim, saver, store, train
moment, steps = sys.argv[1], []
def die():
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "after the step":
    step = optim.Optimizers.step
    def stepped(*given):
        step(*given)
        steps.append(1)
        if len(steps) == 16:
            die()
    optim.Optimizers.step = stepped
elif moment == "before the save":
    save = saver.Saver.save
    saver.Saver.save = lambda self, step, seconds: die() if step == 16 else save(self, step, seconds)
else:
    write = saver.write_checkpoint
    def written(folder, step, *given):
        if step == 16 and moment == "in the save":
            folder.joinpath(".step_000016").mkdir()
            die()
        made = write(folder, step, *given)
        if step == 16 and moment == "before the row":
            die()
        return made
    saver.write_checkpoint = written
sys.exit(train.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("moment", "resumed"), [("after the step", 8), ("before the save", 8), ("in the save", 8), ("before the row", 16)]
)
def test_killed_at_the_worst_moments_it_ends_with_the_same_weights(
    home: Home, db: Database, straight: bytes, moment: str, resumed: int
) -> None:
    run_id = new_run(home, db, **LONG)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, moment, "--home", str(home.path), run_id],
        cwd=PROJECT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert checkpoints(home, run_id) == ([8, 16] if resumed == 16 else [8])

    assert attempt(home, run_id) == 0

    assert final_weights(home, run_id) == straight
    assert_whole(home, db, run_id)
    assert sorted(kinds(db, run_id)) == [*EPOCHS, ("resumed", resumed)]
    saved = db["checkpoints"].rows_where("run_id = ? AND kind = 'full' ORDER BY step", [run_id])
    assert [row["step"] for row in saved] == [8, 16, 24, 32, 40, 48, 56, 60]


def test_a_resume_is_told_with_the_loss_on_both_sides(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 21)
        attempt(home, run_id)
    attempt(home, run_id)

    measured = losses(db, run_id)
    before, after = statistics.fmean(measured[17:21]), statistics.fmean(measured[21:25])
    (event,) = (event for event in store.list_events(db, run_id) if event["kind"] == "resumed")
    assert event["message"] == f"Resumed from step 21: loss {before:.3f} before, {after:.3f} after"


def test_a_terminated_run_saves_where_it_is_and_goes_on_exactly(home: Home, db: Database, straight: bytes) -> None:
    run_id = new_run(home, db, **LONG)

    def terminate() -> None:
        wait_for(lambda: any(at >= 8 for at in checkpoints(home, run_id)), every=0.001)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # twice does no harm

    impatient = threading.Thread(target=terminate)
    impatient.start()
    assert attempt(home, run_id) == 0
    impatient.join()

    run = store.get_run(db, run_id)
    assert (run["status"], run["phase"], run["error"]) == ("stopped", "", None)
    assert 8 <= run["step"] < 60 and checkpoints(home, run_id)[-1] == run["step"]
    assert steps(db, run_id) == list(range(1, run["step"] + 1))

    assert attempt(home, run_id) == 0
    assert final_weights(home, run_id) == straight
    assert_whole(home, db, run_id)


def test_a_damaged_checkpoint_costs_steps_but_no_exactness(
    home: Home, db: Database, straight: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 21)
        attempt(home, run_id)
    assert checkpoints(home, run_id) == [16, 21]
    damaged = home.run(run_id) / "step_000021" / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")

    assert attempt(home, run_id) == 0

    assert final_weights(home, run_id) == straight
    assert_whole(home, db, run_id)
    told = [event["message"] for event in store.list_events(db, run_id) if event["kind"] != "epoch"]
    assert told[0].startswith("step_000021/optimizer.safetensors: hash mismatch") and "from step 16" in told[1]


def test_looking_and_asking_change_nothing(home: Home, db: Database, straight: bytes) -> None:
    run_id = new_run(home, db, **LONG | {"sample__every": 10**9, "eval__every": 10**9})

    assert attempt(home, run_id) == 0

    assert final_weights(home, run_id) == straight
    assert steps(db, run_id, "current_evals") == [0, 60]


def test_two_runs_of_one_config_have_equal_weights_on_every_core(home: Home, db: Database) -> None:
    torch.set_num_threads(2)
    found = []
    for _ in range(2):
        run_id = new_run(
            home, db, train__tokens=2 * 256, train__precision="auto", eval__every=10**9, sample__every=10**9
        )
        attempt(home, run_id)
        found.append(weights(home, run_id, 2))

    assert found[0] == found[1]


def test_another_seed_makes_another_model(home: Home, db: Database) -> None:
    found = []
    for seed in (1, 2):
        run_id = new_run(home, db, train__tokens=2 * 256, train__seed=seed)
        attempt(home, run_id)
        found.append(weights(home, run_id, 2))

    assert found[0] != found[1]


def test_a_stop_before_the_first_step_resumes_without_repeating_itself(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db)
    ask = Questions.ask

    def asked(questions: Questions, *rest: Any) -> bool:
        complete = ask(questions, *rest)
        questions.recorder.stop.set()
        return complete

    with monkeypatch.context() as stopping:
        stopping.setattr(Questions, "ask", asked)
        attempt(home, run_id)
    assert (store.get_run(db, run_id)["status"], checkpoints(home, run_id)) == ("stopped", [])

    assert attempt(home, run_id) == 0
    assert steps(db, run_id, "current_evals") == [0, 4, 8, 12, 16, 20, 24]
    assert len([row for row in store.list_samples(db, run_id) if row["step"] == 0]) == PROMPTS


def test_answers_that_a_stop_cut_short_are_given_when_the_run_goes_on(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db)
    with monkeypatch.context() as stopping:
        stop_in_answers(stopping, 12)
        attempt(home, run_id)
    assert store.get_run(db, run_id)["step"] == 12
    assert {row["step"] for row in store.list_samples(db, run_id)} == {0, 6}

    assert attempt(home, run_id) == 0
    assert [row["step"] for row in store.list_samples(db, run_id)] == sorted(PROMPTS * [0, 6, 12, 18, 24])
    assert steps(db, run_id, "current_evals") == [0, 4, 8, 12, 16, 20, 24]


def test_fp16_resumes_with_its_scale(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"train__tokens": 12 * 256, "train__precision": "fp16", "sample__every": 10**9}
    whole, parted = new_run(home, db, **changes), None
    attempt(home, whole)
    parted = new_run(home, db, **changes)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 5)
        attempt(home, parted)
    attempt(home, parted)

    assert weights(home, parted, 12) == weights(home, whole, 12)


def test_steps_that_overflow_in_fp16_are_left_out_and_it_learns_with_the_scale_it_found(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale of 2^40 is too large for the first steps: each halves it and changes no weight, also over a stop."""
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=2.0**40))
    run_id = new_run(home, db, train__tokens=48 * 256, train__precision="fp16", sample__every=10**9)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 3)
        attempt(home, run_id)
    assert weights(home, run_id, 3) == first_weights(home, run_id)

    assert attempt(home, run_id) == 0

    state = json.loads((home.run(run_id) / "step_000048" / "state.json").read_text())
    norms = [row[0] for row in db.execute("SELECT grad_norm FROM current_metrics WHERE run_id = ?", [run_id])]
    assert len(norms) == 48 and norms.count(None) == 40 - math.log2(state["scaler"]["scale"]) > 3
    assert losses(db, run_id)[-1] < losses(db, run_id)[0] - 0.3


def first_weights(home: Home, run_id: str) -> bytes:
    """What a run's model is before its first step, as a file of a checkpoint."""
    config = from_json(store.get_config(store.connect(home.database), run_id))
    model = Transformer(config.model)
    model.init_weights(config.train.seed)
    return save({name: weight.detach() for name, weight in model.named_parameters()})


def test_another_dataset_under_the_same_name_is_not_mixed_in(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 5)
        attempt(home, run_id)
    card = home.dataset("tiny") / "card.json"
    changed = json.loads(card.read_text())
    changed["files"]["train.bin"]["sha256"] = "0" * 64
    card.write_text(json.dumps(changed))
    store.request_resume(db, run_id, "cpu")

    assert attempt(home, run_id) == 1
    assert "is not the one this run began with" in store.get_run(db, run_id)["error"]
