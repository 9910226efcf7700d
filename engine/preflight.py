"""A measurement before a run, in a process of its own: some real steps of the real model, of which nothing stays.

`python -m engine.preflight --home DIR --device cpu`; engine/probing.py is the other end. A line of JSON comes on stdin,
{"config": "..."}; lines of JSON go to stdout: {"message": "Warming up"}, at last {"probe": {...}} or {"error": "..."}.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from engine import process
from engine.affordable import Share, affordable
from engine.attention import in_use
from engine.config import RunConfig, from_json
from engine.device import Place, choose_place
from engine.estimate import training_bytes, training_flops
from engine.home import Home
from engine.phrases import size
from engine.probing import BUSY, SCRATCH, refuse_beside_a_run
from engine.space import age_bytes, checkpoint_bytes, free_memory
from engine.store import Refused
from engine.train import explain, out_of_memory
from engine.trial import Company, Trial, memory_taken

Tell = Callable[..., object]
"""Sends one message, given by its fields."""


def probe(config: RunConfig, device: str, scratch: Path, tell: Tell) -> dict[str, Any]:
    """Measure what a run of `config` needs, for engine/projection.py; `scratch` is a folder for weights.

    On a processor a model that is too slow is measured in part, which `scaled` names, and the whole is worked out.
    Raises what a run would raise, and Refused where memory would not suffice.
    """
    began = time.perf_counter()
    place = choose_place(config.train, device)
    slow = place.device.type == "cpu"
    share = affordable(config, training_flops(device)) if slow else Share(config)
    if slow:
        check_memory(share.config)

    def step_seconds(passing: float, updating: float) -> float:
        return passing * share.passes + updating * share.update

    def show_speed(passing: float, updating: float) -> None:
        tell(message="Measuring", tokens_per_second=config.train.batch_tokens / step_seconds(passing, updating))

    tell(message="Building the model")
    trial = Trial.of(share.config, place)
    if place.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place.device)
        tell(message="Getting the kernels ready for this GPU")
    try:
        trial.choose_rows()
        tell(message="Warming up")
        company = Company()
        pace = trial.pace(show_speed)
    except torch.OutOfMemoryError as error:
        raise Refused(out_of_memory(config, trial.rows)) from error
    found: dict[str, Any] = {"step_seconds": step_seconds(*pace)}
    found |= {"cores_taken": company.cores_taken(), "cores": os.cpu_count() or 1}
    tell(message="Evaluating, asking, saving")
    found |= {"eval_token_seconds": trial.reading() * share.token} | besides(trial, config, share, scratch)
    model = trial.learner.model
    attention = in_use(model.attention, config.model, config.train.documents, place.device, place.dtype)
    return (
        found
        | memory(config, share.config, place)
        | place.describe(attention)
        | {
            "micro_batch": (config.train.micro_batch or config.rows_per_step) if share.words else trial.rows,
            "fused": model.fused,
            "recorded": trial.gradients.recorded,
            "scaled": share.words,
            "notes": trial.notes,
            "took_seconds": time.perf_counter() - began,
        }
    )


def besides(trial: Trial, config: RunConfig, share: Share, scratch: Path) -> dict[str, float]:
    """Seconds of a round of prompts and of a save, for the whole of `config`."""
    prompts, first, more = trial.answering()
    age, copy = (seconds * age_bytes(config) / age_bytes(share.config) for seconds in trial.keeping(scratch))
    # On a processor the thread that writes a checkpoint takes a core from training, elsewhere nothing.
    written = age * checkpoint_bytes(config) / age_bytes(config) if trial.place.device.type == "cpu" else 0.0
    return {
        "prompts": prompts,
        "answer_seconds": first * share.token,
        "answer_token_seconds": more * share.token,
        "age_seconds": age,
        "save_seconds": copy + written,
    }


def memory(config: RunConfig, part: RunConfig, place: Place) -> dict[str, int]:
    """What `memory_taken` says, for the whole of `config` where only a part was measured."""
    found = memory_taken(place)
    if place.device.type == "cpu":
        found["memory"] += training_bytes(config) - training_bytes(part)
    return found


def check_memory(config: RunConfig) -> None:
    """Raise Refused where the measurement itself would not fit: the system would kill whom it likes."""
    needed, free = training_bytes(config), free_memory()
    if needed > free:
        raise Refused(
            f"Measuring this needs about {size(needed)} of memory, and {size(free)} are free; close what else uses "
            "memory, or choose a smaller model.width, model.layers or train.micro_batch."
        )


def answer(home: Home, device: str, config: RunConfig, tell: Tell) -> int:
    """Measure alone on `device`; tells the result, or one sentence on why there is none. Returns the exit status."""
    folder = home.probe(device)
    lock = process.hold_lock(folder / "lock")
    if lock is None:
        tell(error=BUSY.format(device))
        return 1
    scratch = folder / SCRATCH
    with lock:
        (folder / "process.json").write_text(json.dumps(process.identity()), encoding="utf-8")
        try:
            refuse_beside_a_run(home, device)  # one that begins from now on ends this process
            tell(probe=probe(config, device, scratch, tell))
        except Exception as error:  # noqa: BLE001 - the boundary of the process
            traceback.print_exc()
            tell(error=explain(error, config))
            return 1
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Answer one question; whatever prints goes to stderr, because stdout is for messages alone."""
    parser = argparse.ArgumentParser(prog="python -m engine.preflight")
    parser.add_argument("--home", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--limit", type=float, required=True, help="seconds after which it ends in any case")
    given = parser.parse_args(argv)
    # Not by Python, which a call into a driver that hangs would keep waiting.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(round(given.limit) + 5)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    config = from_json(json.loads(sys.stdin.readline())["config"])
    threading.Thread(target=end_with_the_reader, name="reader", daemon=True).start()
    # Denormal numbers cost a hundred times a normal one on a CPU; a run does without them too.
    torch.set_flush_denormal(True)
    return answer(Home.at(given.home), given.device, config, tell)


def end_with_the_reader() -> None:
    """End this process when stdin does: nobody waits for it any more."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
