"""A run that is only tried: built and stepped as engine/train.py does it, on tokens at random, and timed."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import torch

from engine.accelerate import accelerate, some_batch
from engine.attempt import Learner
from engine.batches import Batch
from engine.checkpoint import Snapshot, sampling_weights, save_sampling
from engine.config import RunConfig
from engine.device import Place
from engine.generate import Ask, Speaker, make_speaker
from engine.gradients import Gradients
from engine.prompts import load_suite

SECONDS, LEAST, MOST = 2.5, 2, 2000
"""How long steps are measured, and how many of them at least and at most."""
CHUNK = 0.25
"""Seconds between two reads of the device, as in engine/meter.py."""
LENGTH = 8
"""Tokens of the answers that are timed after their first; each further one costs about the same."""
LETTERS = 4
"""Characters of a prompt that are taken for one token: what a learned vocabulary reaches on prose."""
GENTLE = 0.01
"""Share of the learning rates: random tokens teach nothing, and weights that ran away would cost another time."""


@dataclass
class Trial:
    """What trains."""

    config: RunConfig
    place: Place
    learner: Learner
    gradients: Gradients
    notes: list[str] = field(default_factory=list)
    """What could not be had here, in the sentences of a run."""
    rows: int = 1
    """Of one forward pass; until they are chosen, the fewest that may not fit."""
    batch: Batch | None = None

    @classmethod
    def of(cls, config: RunConfig, place: Place) -> "Trial":
        """A model with its first weights, at `place`, and what trains it."""
        learner = Learner.new(config, place)
        gradients = Gradients(learner.model, config.rows_per_step, config.train.balance_loss, learner.scaler.scale)
        return cls(config, place, learner, gradients)

    def choose_rows(self) -> None:
        """As many rows in a pass as a run would choose; raises what it would raise."""
        model, optimizers = self.learner.model, self.learner.optimizers
        self.rows = self.config.train.micro_batch or 1
        self.rows = accelerate(model, optimizers, self.gradients, self.config, self.place, self.notes.append)
        self.batch = some_batch(model, self.rows, self.config.train.documents)

    def steps(self, count: int) -> tuple[float, float]:
        """Take some steps; the seconds of their passes, and of the rest (on a GPU only the sum means something)."""
        assert self.batch is not None, "choose_rows comes first"
        began, passing = time.perf_counter(), 0.0
        for _ in range(count):
            at = time.perf_counter()
            loss, _ = self.gradients.of([self.batch] * (self.config.rows_per_step // self.rows))
            passing += time.perf_counter() - at
            grad_norm = self.learner.clip_gradients(self.config.train.grad_clip)
            self.learner.update(loss, grad_norm, GENTLE, self.config.optimizer.momentum)
        wait(self.place)
        return passing, time.perf_counter() - began - passing

    def pace(self, heard: Callable[[float, float], object]) -> tuple[float, float]:
        """The same for one step, as a mean over some seconds; `heard` gets it again and again meanwhile."""
        self.steps(1)  # allocates
        chunk = max(1, round(CHUNK / sum(self.steps(1))))
        count, passing, updating = 0, 0.0, 0.0
        while count < LEAST or (passing + updating < SECONDS and count < MOST):
            more = self.steps(chunk)
            count, passing, updating = count + chunk, passing + more[0], updating + more[1]
            heard(passing / count, updating / count)
        return passing / count, updating / count

    @torch.no_grad()
    def reading(self) -> float:
        """Seconds that an evaluation takes for a token."""
        assert self.batch is not None, "choose_rows comes first"
        for _ in range(2):  # the first one allocates
            began = time.perf_counter()
            loss, hits, _ = self.learner.model.loss(self.batch.inputs, self.batch.targets, self.batch.bounds)
            loss.cpu(), hits.cpu()
            seconds = time.perf_counter() - began
        return seconds / self.batch.inputs.numel()

    def keeping(self, scratch: Path) -> tuple[float, float]:
        """Seconds in which the weights of an age are written to `scratch`, and in which a checkpoint is copied."""
        began = time.perf_counter()
        save_sampling(scratch, 0, sampling_weights(self.learner.model))
        written = time.perf_counter()
        Snapshot.of(self.learner.model, self.learner.optimizers, copy=True)
        return written - began, time.perf_counter() - written

    def answering(self) -> tuple[int, float, float]:
        """How many prompts are asked, the seconds until each has one token, and for one more token of all of them."""
        context, sample = self.config.model.context, self.config.sample
        prompts = [one for suite in sample.suites.split(",") for one in load_suite(suite.strip())]
        asks = [Ask.from_config(prompt, sample) for prompt in prompts if Words.length(prompt) + LENGTH < context]
        if not asks:
            return 0, 0.0, 0.0
        speaker = make_speaker(
            self.config.model,
            sampling_weights(self.learner.model),
            Words(),  # type: ignore[arg-type]  # all that an answer needs of a tokenizer
            self.place.device,
            run_id="",
            attempt=0,
            step=0,
            tokens=0,
            weights_sha256="",
        )
        if self.place.device.type == "cuda":
            timed(speaker, asks, 1)  # gets its kernels ready
        first = timed(speaker, asks, 1)
        return len(asks), first, max(0.0, timed(speaker, asks, 1 + LENGTH) - first) / LENGTH


class Words:
    """In place of a tokenizer, for a trial needs no dataset: any tokens, as many as a prompt might have, and no end."""

    @staticmethod
    def length(text: str) -> int:
        """About how many tokens a text has."""
        return -(-len(text) // LETTERS)

    def encode(self, text: str) -> Any:
        """Tokens that every vocabulary has."""
        return SimpleNamespace(ids=[position % 2 for position in range(self.length(text))])

    def decode(self, ids: Sequence[int]) -> str:
        """Nothing: who reads it?"""
        return ""

    def token_to_id(self, piece: str) -> None:
        """No answer ends before its length."""


def timed(speaker: Speaker, asks: Sequence[Ask], tokens: int) -> float:
    """Seconds in which all are answered with so many tokens."""
    began = time.perf_counter()
    speaker.answer([replace(ask, max_tokens=tokens) for ask in asks])
    return time.perf_counter() - began


class Company:
    """How busy other programs keep the processor from its making on."""

    def __init__(self) -> None:
        self.began, self.own, self.all = time.perf_counter(), time.process_time(), _busy_seconds()

    def cores_taken(self) -> float:
        """Cores that others had on average."""
        own, every = time.process_time() - self.own, _busy_seconds() - self.all
        return max(0.0, (every - own) / max(time.perf_counter() - self.began, 1e-6))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def wait(place: Place) -> None:
    """Return when the device has done all it was told."""
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)
    elif place.device.type == "mps":
        torch.mps.synchronize()


def memory_taken(place: Place) -> dict[str, int]:
    """Bytes: the most that this process took (`memory`), what the device shows in use, and what it has.

    On a processor the peak resident size of the process; on a GPU what torch held of it at most.
    """
    if place.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(place.device)
        peak = torch.cuda.max_memory_reserved(place.device)
        return {"memory": peak, "memory_shown": total - free, "memory_there": total}
    machine = psutil.virtual_memory()
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"memory": peak, "memory_shown": machine.total - machine.available, "memory_there": machine.total}
