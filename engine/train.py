"""One training run, in a process of its own: `python -m engine.train --home DIR RUN_ID`.

Read `train` from top to bottom: it is the whole loop. The process is started by the supervisor and talks to the rest
of the program through runs.db only.
"""

import argparse
import errno
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sqlite_utils import Database

from engine import store
from engine.checkpoint import CorruptCheckpoint, load_checkpoint, newest_valid, prune, save_checkpoint, step_of, sweep
from engine.config import ConfigError, RunConfig, from_json
from engine.data import Dataset, Rows, Stopped, ensure_dataset
from engine.device import choose_place, to_device
from engine.evaluate import Validation
from engine.home import Home
from engine.meter import Diverged, Meter
from engine.model import Transformer
from engine.optim import Optimizers
from engine.process import hold_lock, identity
from engine.questions import Questions
from engine.recorder import Recorder
from engine.schedule import learning_rate_factor


@dataclass
class Run:
    """What the parts of a running trainer share."""

    home: Home
    id: str
    device: str
    config: RunConfig
    db: Database
    recorder: Recorder
    attempt: int
    checkpoint: Path | None
    """Where this attempt goes on from; None at the beginning."""


@dataclass
class Learner:
    """What learns, and all that a checkpoint of it holds."""

    model: Transformer
    optimizers: Optimizers
    scaler: torch.amp.GradScaler


def train(run: Run) -> str:
    """Train until the last step or until asked to stop; returns the status the run ends with."""
    config, recorder = run.config, run.recorder
    dataset = prepare_dataset(run)
    place = choose_place(config.train, run.device)
    recorder.state(phase="starting", message="Building the model", progress=None, environment=place.describe())

    with place.device:
        model = Transformer(config.model, place.dtype)
    model.init_weights(config.train.seed)
    optimizers = Optimizers(model, config.optimizer, place.muon_dtype)
    scaler = torch.amp.GradScaler(place.device.type, enabled=place.precision == "fp16")
    learner = Learner(model, optimizers, scaler)
    step, elapsed_seconds = resume(run, dataset, learner)
    if config.train.compile and place.device.type == "cuda":
        recorder.state(status="compiling", message="Compiling the model for this GPU")
        model.compile(dynamic=False)
    else:
        recorder.state(status="running", phase="training", message="")

    rows = Rows(dataset.train, config.model.context, config.train.seed)
    validation = Validation(dataset, config, place)
    questions = Questions(config, run.home.tokenizer(run.id), recorder)
    total_steps, batch_tokens = config.total_steps, config.train.batch_tokens
    micro_batch = config.train.micro_batch or config.rows_per_step
    meter = Meter(recorder, config, step, elapsed_seconds, skips_overflow=scaler.is_enabled())
    saved_step = step

    def look_up(finished: bool) -> None:
        """What is due after a step: evaluate, ask the prompts, save."""
        nonlocal saved_step
        if finished or step % config.eval.every == 0:
            with meter.phase("evaluating", "Reading text it has never seen"):
                result = validation.measure(model)
                recorder.add(
                    "evals", step=step, tokens=step * batch_tokens, elapsed_seconds=meter.elapsed_seconds, **result
                )
                recorder.state(val_loss=result["val_loss"])
        if finished or step % config.sample.every == 0 or recorder.sample.is_set():
            recorder.sample.clear()
            with meter.phase("sampling", "Answering the prompts"):
                questions.ask(run.db, run.home.run(run.id), model, place, run.id, run.attempt, step)
        if finished or (step and step % config.checkpoint.every == 0):
            with meter.phase("saving", "Saving a checkpoint"):
                save(run, dataset, learner, step, meter.elapsed_seconds)
                saved_step = step

    if step == 0:
        look_up(finished=False)
    meter.begin()
    while step < total_steps and not recorder.stop.is_set():
        if recorder.pause.is_set():
            meter.wait_while_paused()
            continue
        factor = learning_rate_factor(step, total_steps, config.schedule)
        inputs, targets = to_device(rows.batch(step * config.rows_per_step, config.rows_per_step), place)
        loss_sum = torch.zeros((), device=place.device)
        for first in range(0, config.rows_per_step, micro_batch):
            loss, _ = model.loss(inputs[first : first + micro_batch], targets[first : first + micro_batch])
            torch.autograd.backward(scaler.scale(loss / batch_tokens))
            loss_sum += loss.detach()
        scaler.unscale_(optimizers)
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
        scaler.step(optimizers, factor)
        scaler.update()
        optimizers.zero_grad()

        step += 1
        if step == meter.first_step + 1:
            recorder.state(status="running", phase="training", message="")
        meter.add(step, config.optimizer.muon_lr * factor, loss_sum / batch_tokens, grad_norm)
        look_up(finished=step == total_steps)

    meter.read()
    if step == total_steps:
        return "finished"
    store.update_state(run.db, run.id, status="stopping", phase="saving", message="Saving before the end")
    if step > saved_step and not recorder.stop_now.is_set():
        save(run, dataset, learner, step, meter.elapsed_seconds)
    return "stopped"


def prepare_dataset(run: Run) -> Dataset:
    """The run's dataset, made at the first start, with its progress shown."""

    def report(message: str, progress: float) -> None:
        run.recorder.state(phase="data", message=message, progress=progress)

    dataset = ensure_dataset(run.home, run.config, report, run.recorder.stop.is_set)
    # A copy of its own: what the model says must stay readable when the dataset is gone.
    own = run.home.tokenizer(run.id)
    if not own.exists():
        temporary = own.with_name(f".{own.name}")
        shutil.copyfile(dataset.tokenizer_path, temporary)
        temporary.replace(own)
    return dataset


def resume(run: Run, dataset: Dataset, learner: Learner) -> tuple[int, float]:
    """Go on from the run's checkpoint; returns its step and seconds worked, or zeros without one."""
    state: dict[str, Any] = {"step": 0, "elapsed_seconds": 0.0}
    if run.checkpoint is not None:
        state = load_checkpoint(run.checkpoint, learner.model, learner.optimizers)
        if state["dataset_sha256"] != dataset_sha256(dataset):
            raise store.Refused(
                f"The dataset {dataset.name} is not the one this run began with, so it cannot go on "
                "exactly; put the old one back, or start a new run."
            )
        learner.scaler.load_state_dict(state["scaler"])
    step = int(state["step"])
    if run.attempt > 1:
        run.recorder.event(
            "resumed", f"Resumed from step {step:,}, as if it had never stopped (attempt {run.attempt})", step
        )
    run.recorder.state(step=step, tokens=step * run.config.train.batch_tokens)
    return step, float(state["elapsed_seconds"])


def save(run: Run, dataset: Dataset, learner: Learner, step: int, elapsed_seconds: float) -> None:
    """Write a checkpoint, after everything measured up to it is stored, and let go of the oldest ones."""
    if not all(bool(weight.isfinite().all()) for weight in learner.model.parameters()):
        raise Diverged(
            f"The weights stopped being numbers at step {step:,}; the last checkpoint before it is kept. "
            "A lower learning rate (optimizer.muon_lr, optimizer.adamw_lr) usually helps."
        )
    run.recorder.flush()
    folder = run.home.run(run.id)
    state = {
        "step": step,
        "tokens": step * run.config.train.batch_tokens,
        "rows": step * run.config.rows_per_step,
        "elapsed_seconds": elapsed_seconds,
        "dataset_sha256": dataset_sha256(dataset),
        "scaler": learner.scaler.state_dict(),
    }
    written = save_checkpoint(folder, step, learner.model, learner.optimizers, state)
    store.add_checkpoint(
        run.db,
        run.id,
        attempt=run.attempt,
        step=step,
        tokens=state["tokens"],
        kind="full",
        path=written.path.name,
        bytes=written.bytes,
        sha256=written.sha256,
    )
    for gone in prune(folder, run.config.checkpoint.keep, step):
        store.forget_checkpoint(run.db, run.id, gone, "full")


def dataset_sha256(dataset: Dataset) -> str:
    """What the training tokens are, as their card says."""
    return str(dataset.card["files"]["train.bin"]["sha256"])


def explain(error: BaseException, config: RunConfig) -> str:
    """One sentence on why a run failed and what to do."""
    if isinstance(error, (ConfigError, CorruptCheckpoint, store.Refused, store.StoreError)):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        rows = config.train.micro_batch or config.rows_per_step
        return (
            f"The GPU ran out of memory with {rows} rows in one forward pass; "
            f"set train.micro_batch to {max(1, rows // 2)} or less (the result stays the same)."
        )
    if isinstance(error, MemoryError):
        return "The machine ran out of memory; choose a smaller model.width, model.layers or train.micro_batch."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full; free some space, then resume. The last checkpoint is whole."
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"[:500]


def main(argv: list[str] | None = None, work: Callable[[Run], str] = train) -> int:
    """Run one attempt and leave a true end status behind; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m engine.train")
    parser.add_argument("--home", required=True)
    parser.add_argument("run_id")
    arguments = parser.parse_args(argv)
    home, run_id = Home.at(arguments.home), arguments.run_id
    lock = hold_lock(home.run(run_id) / "lock")
    if lock is None:
        print(f"{run_id} is being trained by another process", file=sys.stderr)
        return 1
    # Denormal numbers cost a hundred times a normal one on a CPU and mean nothing here.
    torch.set_flush_denormal(True)
    # A lock held for long costs a run time, never its life.
    db = store.connect(home.database, durable=True, patience=60.0)
    row, config = store.get_run(db, run_id), from_json(store.get_config(db, run_id))
    attempt, now, folder = row["attempt"] + 1, time.time(), home.run(run_id)
    sweep(folder)
    checkpoint, problems = newest_valid(folder)
    # In one transaction: whoever sees the new attempt must not see steps it is about to repeat.
    with store.writing(db):
        store.update_state(
            db, run_id, attempt=attempt, heartbeat_at=now, started_at=row["started_at"] or now, **identity()
        )
        store.supersede_after(db, run_id, step_of(checkpoint) if checkpoint else -1)
    recorder = Recorder(home.database, run_id, attempt)
    for problem in problems:
        recorder.event("corrupt", f"{problem} An earlier checkpoint is used.")
    signal.signal(signal.SIGTERM, lambda *_: recorder.stop.set())
    error: str | None = None
    try:
        status = work(Run(home, run_id, row["device"], config, db, recorder, attempt, checkpoint))
    except Stopped:
        status = "stopped"
    except Diverged as reason:
        status, error = "diverged", str(reason)
    except Exception as reason:  # noqa: BLE001 - the boundary of the process: whatever it was is told and kept
        traceback.print_exc()
        status, error = "failed", explain(reason, config)
    recorder.close()
    if error:
        store.add_event(db, run_id, status, error)
    store.end_run(db, run_id, status, error, attempt=attempt)
    db.close()
    lock.release()
    return 0 if error is None else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
