"""A trainer without a model or torch that keeps to the real one's protocol, for tests of everything around it.

python tests/fake_trainer.py --home DIR RUN_ID [--points N] [--speed STEPS_A_SECOND] [misbehaviour]
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine import store
from engine.config import RunConfig, from_json
from engine.home import Home
from engine.inflight import InFlight
from engine.live import Door, keep_in
from engine.process import hold_lock, identity
from engine.recorder import Recorder
from engine.speaking import PAUSED, Speaking

PROMPTS = ("Once upon a time", "The old house on the hill", "My dear sister,")
WORDS = ("the", "sea", "was", "and", "of", "she", "to", "green", "in", "morning", "he", "had", "it", "quietly", "house")


class Parrot:
    """Says one of WORDS a token, with the weights of nobody."""

    def __init__(self, recorder: Recorder, batch_tokens: int) -> None:
        self.recorder, self.batch_tokens = recorder, batch_tokens

    def settle(self) -> None:
        """Nothing is under way."""

    def begin(self, ask: Any, step: int) -> Iterator[store.Row]:
        """As many words as were asked for."""
        for count in range(1, ask.max_tokens + 1):
            words = (WORDS[(step + ask.seed + number) % len(WORDS)] for number in range(count))
            yield {
                "run_id": self.recorder.run_id,
                "attempt": self.recorder.attempt,
                "step": step,
                "tokens": step * self.batch_tokens,
                "prompt": ask.prompt,
                "text": " " + " ".join(words),
                "new_tokens": count,
                "max_tokens": ask.max_tokens,
                "seed": ask.seed,
                "finish": "length" if count == ask.max_tokens else "",
                "source": "live",
                "created_at": time.time(),
            }


def arguments() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("run_id")
    parser.add_argument("--points", type=int, help="steps in all; the run's own number when left out")
    parser.add_argument("--speed", type=float, default=200.0, help="steps a second")
    parser.add_argument("--prepare", type=float, default=0.0, help="seconds of pretended data preparation")
    parser.add_argument("--deaf", type=float, default=0.0, help="seconds before it takes its lock and hears signals")
    parser.add_argument("--crash-at", type=int, help="the step at which it dies, or the first after it")
    parser.add_argument("--crash", choices=("raise", "kill", "exit", "diverge"), default="raise", help="how it dies")
    parser.add_argument("--hang", action="store_true", help="hears neither the stop command nor SIGTERM")
    parser.add_argument("--linger", action="store_true", help="does not exit after it has ended its run")
    parser.add_argument("--worker", action="store_true", help="starts a child process and leaves it behind")
    return parser


def main(argv: list[str] | None = None) -> int:
    """One attempt, with the locks, rows and end status of a real one."""
    given = arguments().parse_args(argv)
    if given.deaf:
        time.sleep(given.deaf)
    home = Home.at(given.home)
    lock = hold_lock(home.run(given.run_id) / "lock")
    if lock is None:
        print("this run is being trained by another process", file=sys.stderr)
        return 1
    db = store.connect(home.database, durable=True)
    row, config = store.get_run(db, given.run_id), from_json(store.get_config(db, given.run_id))
    attempt = row["attempt"] + 1
    store.update_state(db, row["id"], attempt=attempt, heartbeat_at=time.time(), started_at=time.time(), **identity())
    recorder = Recorder(home.database, row["id"], attempt)
    heard = signal.SIG_IGN if given.hang else lambda *_: recorder.stop.set()
    signal.signal(signal.SIGTERM, heard)
    if given.worker:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    door = Door(home.run(row["id"]), keep_in(home.database))
    speaking = Speaking(door, Parrot(recorder, config.train.batch_tokens), recorder, config.train.batch_tokens)
    status = pretend(given, recorder, config, row, speaking)
    speaking.close()
    recorder.close()
    store.end_run(db, row["id"], status, "The loss is not a number." if status == "diverged" else None, attempt=attempt)
    db.close()
    if given.linger:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    return 0


def pretend(
    given: argparse.Namespace, recorder: Recorder, config: RunConfig, row: store.Row, speaking: Speaking
) -> str:
    """Count steps, with rows that look like learning; returns the end status."""
    until = time.monotonic() + given.prepare
    while time.monotonic() < until:
        if recorder.stop.wait(0.01):
            return "stopped"
        share = 1 - (until - time.monotonic()) / given.prepare
        recorder.state(phase="data", message="Learning a vocabulary", progress=share)
    step, steps, began = row["step"], given.points or config.total_steps, time.monotonic()
    recorder.state(status="running", phase="training", message="")
    recorder.flush()
    if row["attempt"]:
        recorder.event("resumed", f"Attempt {recorder.attempt} goes on from step {step:,}", step)
    else:
        measure(recorder, config, 0, 0.0)
    flight = InFlight(config, recorder, [], step)
    while step < steps and (given.hang or not recorder.stop.is_set()):
        if recorder.pause.is_set():
            speaking.hush(PAUSED)
            recorder.state(status="paused", phase="")
            recorder.flush()
            while recorder.pause.is_set() and not recorder.stop.is_set():
                time.sleep(0.02)
            recorder.state(status="running", phase="training")
            recorder.flush()
            continue
        steps = min(steps, flight.at(step).total_steps)
        time.sleep(1 / given.speed)
        step += 1
        seconds = time.monotonic() - began
        loss, tokens = 2.0 + 6.3 * math.exp(-step / 60) + 0.05 * math.sin(step * 1.7), step * config.train.batch_tokens
        pace = given.speed * config.train.batch_tokens
        recorder.add(
            "metrics",
            step=step,
            tokens=tokens,
            train_loss=loss,
            learning_rate=0.02,
            grad_norm=0.5,
            tokens_per_second=pace,
            elapsed_seconds=seconds,
        )
        recorder.state(
            step=step,
            tokens=tokens,
            train_loss=loss,
            progress=step / steps,
            tokens_per_second=pace,
            eta_seconds=(steps - step) / given.speed,
        )
        wishes = recorder.wishes()
        if wishes or step == steps or step % config.eval.every == 0:
            measure(recorder, config, step, seconds)
        recorder.granted(wishes, f"asked at step {step}")
        speaking.between(step)
        if given.crash_at and step >= given.crash_at:
            recorder.flush()
            die(given.crash)
            return "diverged"
    return "finished" if step == steps else "stopped"


def measure(recorder: Recorder, config: RunConfig, step: int, seconds: float) -> None:
    """An evaluation and an answer to each prompt."""
    tokens, loss = step * config.train.batch_tokens, 2.1 + 6.2 * math.exp(-step / 60)
    recorder.add(
        "evals",
        step=step,
        tokens=tokens,
        val_loss=loss,
        val_accuracy=0.4 * (1 - math.exp(-step / 60)),
        val_perplexity=math.exp(loss),
        val_bits_per_byte=loss / 2.6,
        elapsed_seconds=seconds,
    )
    recorder.state(val_loss=loss)
    for number, prompt in enumerate(PROMPTS):
        text = " ".join(WORDS[(step * 7 + number * 3 + word * (word + step)) % len(WORDS)] for word in range(24))
        recorder.add(
            "samples",
            step=step,
            tokens=tokens,
            suite="stories",
            prompt=prompt,
            text=f" {text}",
            seed=7,
            temperature=0.8,
            top_k=0,
            top_p=0.95,
            max_tokens=24,
            new_tokens=24,
            finish="length",
            weights_sha256="0" * 64,
            dtype="float32",
            device="cpu",
            source="periodic",
            created_at=time.time(),
        )


def die(how: str) -> None:
    """End like a trainer that had no time to say so."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    if how == "raise":
        raise ValueError("the pretended mistake")


if __name__ == "__main__":
    sys.exit(main())
