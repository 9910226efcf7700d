"""One training run, in a process of its own: `python -m engine.train --home DIR RUN_ID`.

Read `train` from top to bottom: it is the whole loop. The process is started by the supervisor and talks to the rest
of the program through runs.db only.
"""

import argparse
import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from engine import store, tokenizer
from engine.accelerate import accelerate
from engine.attempt import Learner, Run, begin, epochs_told, losses_before, roll_back
from engine.attention import in_use
from engine.batches import Feed
from engine.checkpoint import CorruptCheckpoint, load_checkpoint
from engine.config import ConfigError, RunConfig
from engine.current import speak_for
from engine.data import Dataset, Epochs, Progress, Rows, Stopped, ensure_dataset
from engine.device import choose_place
from engine.diagnose import Diagnosis, token_entropy
from engine.evaluate import Validation
from engine.examine import Examination
from engine.gradients import Gradients
from engine.guard import Diverged, Guard, Resumption, RollBack
from engine.home import Home
from engine.inflight import InFlight
from engine.meter import Meter
from engine.outage import patiently
from engine.process import hold_lock
from engine.questions import Questions
from engine.saver import CannotSave, Saver
from engine.say import say
from engine.schedule import learning_rate_factor, momentum
from engine.speaking import PAUSED


def train(run: Run) -> str:
    """Train until the last step or until asked to stop; returns the status the run ends with."""
    config, recorder = run.config, run.recorder
    dataset = prepare_dataset(run)
    place = choose_place(config.train, run.device)
    recorder.state(phase="starting", message="Building the model", progress=None, environment=place.describe())
    if place.slow:
        recorder.event("note", place.slow)
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)  # kernels of our own, recordings and memory figures take the current one
    rows = Rows(dataset.train, config.model.context, config.train.seed, dataset.vocab_size)
    end = dataset.separator if config.train.documents else None

    learner = Learner.new(config, place)
    model, optimizers, scaler = learner.model, learner.optimizers, learner.scaler
    step, elapsed_seconds = resume(run, dataset, learner)
    rows.first = learner.text_from * config.rows_per_step
    gradients = Gradients(model, config.rows_per_step, config.train.balance_loss, scaler.scale)
    if place.device.type == "cuda":
        recorder.state(status="compiling", message="Getting the kernels ready for this GPU")
        run.micro_batch = config.train.micro_batch or 1  # until it has chosen, it is the fewest that does not fit
    micro_batch = accelerate(model, optimizers, gradients, config, place, partial(recorder.event, "note"))
    run.micro_batch = micro_batch
    attention = in_use(model.attention, config.model, config.train.documents, place.device, place.dtype)
    environment = place.describe(attention) | {
        "fused": model.fused,
        "recorded": gradients.recorded,
        "micro_batch": micro_batch,
        "epoch_tokens": rows.per_epoch * rows.context,
        "text_from": learner.text_from * config.train.batch_tokens,
    }
    recorder.state(status="running", phase="training", message="", environment=environment)

    feed = Feed(rows, place, config.rows_per_step, micro_batch, end)
    validation = Validation(dataset, config, place, micro_batch, end)
    questions = Questions(config, run.home.tokenizer(run.id), recorder)
    batch_tokens, flight = config.train.batch_tokens, InFlight(config, recorder, run.changes, step)
    guard = Guard(recorder, config.train.on_nonfinite, run.roll_backs, skips_overflow=scaler.is_enabled())
    resumption = Resumption(recorder.event, step, losses_before(run.db, run.id)) if run.attempt > 1 else None
    epochs = Epochs(rows, config.rows_per_step, recorder.event, epochs_told(run.db, run.id))
    diagnosis = Diagnosis(
        config,
        token_entropy(dataset.train),
        partial(recorder.add, "diagnostics"),
        recorder.event,
        {finding["kind"] for look in store.looks(run.db, run.id) for finding in look["findings"]},
    )
    examination = Examination(model, optimizers, config, validation.text(), diagnosis.look)
    meter = Meter(recorder, config, step, elapsed_seconds, guard, resumption, epochs, diagnosis, lambda: flight.end)
    saver = Saver(run, learner, guard, dataset_sha256(dataset), meter.say)
    live = speak_for(run, learner, place, lambda: meter.elsewhere)

    def ask() -> None:
        wishes = recorder.wishes()
        with meter.phase("sampling", "Answering the prompts"), optimizers.averaged():
            run.unasked = not questions.ask(run.folder, model, place, step)
        recorder.granted(wishes, "the run was stopped first" if run.unasked else f"asked at step {step}")

    def look_up(finished: bool) -> None:
        """What is due after a step: evaluate, ask the prompts, save."""
        if finished or step % flight.now.eval_every == 0:
            with meter.phase("evaluating", "Reading text it has never seen"):
                with optimizers.averaged():
                    result = validation.measure(model)
                diagnosis.loads(result["expert_load"])
                recorder.add(
                    "evals", step=step, tokens=step * batch_tokens, elapsed_seconds=meter.elapsed_seconds, **result
                )
                recorder.state(val_loss=result["val_loss"])
                say(f"step {step:,} of {flight.end:,}: validation loss {result['val_loss']:.3f}")
        if finished or step % flight.now.sample_every == 0 or recorder.sample.is_set():
            ask()
        if finished or (step and step % flight.now.checkpoint_every == 0):
            with meter.phase("saving", "Saving a checkpoint"):
                (saver.save_last if finished else saver.save)(step, meter.elapsed_seconds)

    if step == 0:
        look_up(finished=False)
    elif run.unasked:
        ask()
    meter.begin()
    with contextlib.closing(saver), contextlib.closing(feed), contextlib.closing(live):
        while step < flight.now.total_steps and not recorder.stop.is_set():
            if recorder.pause.is_set():
                live.hush(PAUSED)
                meter.wait_while_paused()
                continue
            now = flight.at(step)
            factor = now.rate_factor * learning_rate_factor(step, now.schedule_steps, config.schedule)
            loss, balance = gradients.of(feed.step(step))
            grad_norm = learner.clip_gradients(config.train.grad_clip)
            with examination.of(step + 1, grad_norm):
                learner.update(loss, grad_norm, factor, momentum(step, now.schedule_steps, config.optimizer))

            step += 1
            saver.check()
            measured = loss, grad_norm, *((balance,) if config.model.experts > 1 else ())
            meter.add(step, config.optimizer.muon_lr * learner.rate * factor, *measured)
            look_up(finished=step == now.total_steps)
            live.between(step)

        live.close()
        unfinished = step < flight.now.total_steps
        if unfinished:
            # Before the save in the background is waited for: whoever asked to stop has to know what takes so long.
            recorder.state(status="stopping", phase="saving", message="Saving before the end")
        meter.close()
        saver.wait()
        if unfinished and step > saver.saved_step and not recorder.stop_now.is_set():
            saver.save_last(step, meter.elapsed_seconds)
    return "stopped" if unfinished else "finished"


def prepare_dataset(run: Run) -> Dataset:
    """The run's dataset, made at the first start, with its progress shown."""

    def report(progress: Progress) -> None:
        run.recorder.state(phase="data", message=progress.message, progress=progress.share)

    dataset = ensure_dataset(run.home, run.config, report, run.recorder.stop.is_set)
    # A copy of its own: what the model says must stay readable when the dataset is gone.
    own = run.home.tokenizer(run.id)
    if not own.exists():
        tokenizer.copy(dataset.tokenizer_path, own, dataset.card.get("separator", tokenizer.END))
    return dataset


def resume(run: Run, dataset: Dataset, learner: Learner) -> tuple[int, float]:
    """Go on from the run's checkpoint; returns its step and seconds worked, or zeros without one."""
    state: dict[str, Any] = {"step": 0, "elapsed_seconds": 0.0}
    if run.checkpoint is None and run.forked:
        raise store.Refused("No checkpoint of this fork is whole, so there is nothing it could begin with; fork again.")
    if run.checkpoint is not None:
        state = load_checkpoint(run.checkpoint, learner.model, learner.optimizers)
        # Unknown in a fork whose parent has left neither its text nor a checkpoint that could name it.
        if state["dataset_sha256"] not in (None, dataset_sha256(dataset)):
            raise store.Refused(
                f"The dataset {dataset.name} is not the one this run began with, so it cannot go on "
                "exactly; put the old one back, or start a new run."
            )
        if state["scaler"]:  # empty where the attempt before needed no scaler: it ran in another precision
            learner.scaler.load_state_dict(state["scaler"])
    step = int(state["step"])
    run.unasked = bool(state.get("unasked", False))
    learner.text_from = int(state.get("text_from", 0))
    # A run that was killed before its first save after a roll-back has to remember it too.
    learner.rate = min(float(state.get("rate", 1.0)), 0.5**run.roll_backs)
    run.recorder.state(step=step, tokens=step * run.config.train.batch_tokens)
    return step, float(state["elapsed_seconds"])


def dataset_sha256(dataset: Dataset) -> str:
    """What the training tokens are, as their card says."""
    return str(dataset.card["files"]["train.bin"]["sha256"])


def explain(error: BaseException, config: RunConfig, micro_batch: int = 0) -> str:
    """One sentence on why a run failed and what to do; `micro_batch`: rows of a forward pass, where it chose them."""
    if isinstance(error, (CannotSave, ConfigError, CorruptCheckpoint, store.Refused, store.StoreError)):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return out_of_memory(config, micro_batch or config.train.micro_batch or config.rows_per_step)
    # torch's own allocator on a CPU raises a plain RuntimeError with this word in it.
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return "The machine ran out of memory; choose a smaller model.width, model.layers or train.micro_batch."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full; free some space, then resume. The last checkpoint is whole."
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"[:500]


def out_of_memory(config: RunConfig, rows: int) -> str:
    """What would fit: at most half of the rows, a number that divides those of a step; or else keeping less."""
    if rows == 1:
        less = "" if config.train.recompute else "set train.recompute to true, or "
        return (
            f"The GPU ran out of memory with a single row in a forward pass; {less}choose a smaller model.context "
            f"(it is {config.model.context}), model.width or model.layers."
        )
    fits = max(part for part in range(1, rows // 2 + 1) if config.rows_per_step % part == 0)
    return (
        f"The GPU ran out of memory with {rows} rows in one forward pass; "
        f"set train.micro_batch to {fits} or less (the result stays the same)."
    )


def one_attempt(run: Run, work: Callable[[Run], str]) -> tuple[str, str | None, RollBack | None]:
    """The status `work` ends with, why in a sentence, and the request to go back where there is one."""
    try:
        return work(run), None, None
    except Stopped:
        return "stopped", None, None
    except Diverged as reason:
        # Without its traceback, which would keep this attempt's model in memory during the next one.
        again = reason.with_traceback(None) if isinstance(reason, RollBack) else None
        return "diverged", str(reason), again
    except Exception as reason:  # noqa: BLE001 - the boundary of the process: whatever it was is told and kept
        with contextlib.suppress(OSError):  # the log may lie on a disk that is full
            traceback.print_exc()
        return "failed", explain(reason, run.config, run.micro_batch), None


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
    run = begin(home, db, run_id)
    recorder = run.recorder
    signal.signal(signal.SIGTERM, lambda *_: recorder.stop.set())
    status, error, again = one_attempt(run, work)
    while again and (next_run := roll_back(run, again)):
        run = next_run
        status, error, again = one_attempt(run, work)
    recorder.close()
    if error:
        patiently(lambda: store.add_event(db, run_id, status, error))
    patiently(lambda: store.end_run(db, run_id, status, error, attempt=run.attempt))
    db.close()
    lock.release()
    return 0 if error is None else 1


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)
