"""Losses, speed and progress of the training loop, read from the device now and then and never in between."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from engine.config import RunConfig
from engine.data import Epochs
from engine.diagnose import Diagnosis
from engine.guard import Diverged, Guard, Resumption
from engine.recorder import Recorder

PERIOD = 0.25
"""Seconds between two reads of the device: each waits for it, and a page shows no more."""


class Meter:
    """Collects what each step measured and hands it to the recorder; knows training time from time spent otherwise."""

    def __init__(
        self,
        recorder: Recorder,
        config: RunConfig,
        step: int,
        elapsed_seconds: float,
        guard: Guard,
        resumption: Resumption | None = None,
        epochs: Epochs | None = None,
        diagnosis: Diagnosis | None = None,
        end: Callable[[], int] | None = None,
    ) -> None:
        """`guard`, `resumption`, `epochs` and `diagnosis` are shown each step that is read, in order.

        `end` tells at which step the run will end, where that may differ from its config.
        """
        self.end = end or (lambda: config.total_steps)
        self.recorder, self.config = recorder, config
        self.guard, self.resumption, self.epochs, self.diagnosis = guard, resumption, epochs, diagnosis
        self.notice = ""
        self.elapsed_before, self.started = elapsed_seconds, time.perf_counter()
        self.first_step = self.last_step = step
        self._pending: list[tuple[int, float, tuple[Tensor, ...]]] = []
        self._begun = self._read_at = self.started
        self._away, self._paused = 0.0, 0.0
        self.elsewhere = 0.0
        """Seconds so far in which the loop did something else than train, or held still."""

    @property
    def elapsed_seconds(self) -> float:
        """Seconds this run has worked in all its attempts, without pauses."""
        return self.elapsed_before + time.perf_counter() - self.started - self._paused

    def begin(self) -> None:
        """The first step comes now: what was done before it (the first evaluation, the first words) will not return."""
        self._begun = self._read_at = time.perf_counter()
        self._away = 0.0

    def add(self, step: int, learning_rate: float, *measured: Tensor) -> None:
        """Note one finished step: its loss, gradient norm and, with experts, balance loss.

        They are scalars that stay on the device until `read`.
        """
        self._pending.append((step, learning_rate, measured))
        if time.perf_counter() - self._read_at >= PERIOD:
            self.read()

    def read(self) -> None:
        """Fetch what is pending and record it; raises what the guard raises at numbers that are not finite."""
        if not self._pending:
            return
        values = torch.stack([torch.stack(measured).float() for _, _, measured in self._pending]).tolist()
        now = time.perf_counter()
        steps, batch = len(self._pending), self.config.train.batch_tokens
        speed = steps * batch / max(now - self._read_at - self._away, 1e-9)
        for (step, rate, _), (loss, norm, *balance) in zip(self._pending, values, strict=True):
            self.recorder.add(
                "metrics",
                step=step,
                tokens=step * batch,
                learning_rate=rate,
                train_loss=loss if math.isfinite(loss) else None,
                grad_norm=norm if math.isfinite(norm) else None,
                balance_loss=balance[0] if balance and math.isfinite(balance[0]) else None,
                tokens_per_second=speed,
                elapsed_seconds=self.elapsed_seconds,
            )
            try:
                self.guard.look(step, loss, norm)
            except Diverged:
                self._tell()
                raise
            if self.resumption:
                self.resumption.look(loss)
            if self.epochs:
                self.epochs.look(step)
            if self.diagnosis:
                self.diagnosis.loss(step, loss)
        self.last_step = self._pending[-1][0]
        self._pending.clear()
        self._read_at, self._away = now, 0.0
        self.recorder.state(
            step=self.last_step,
            tokens=self.last_step * batch,
            train_loss=values[-1][0],
            tokens_per_second=speed,
            **self._progress(),
        )

    def close(self) -> None:
        """Read what is pending and tell what was waiting for more steps."""
        self.read()
        self._tell()

    def say(self, notice: str) -> None:
        """Show `notice` while the run trains, until there is another one."""
        self.notice = notice
        self.recorder.state(message=notice)

    @contextlib.contextmanager
    def phase(self, name: str, message: str) -> Iterator[None]:
        """Do something else than training: shown as `name`, and left out of the speed."""
        self.read()
        self.recorder.state(phase=name, message=message)
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self._away, self.elsewhere = self._away + spent, self.elsewhere + spent
            self.recorder.state(phase="training", message=self.notice, elapsed_seconds=self.elapsed_seconds)

    def wait_while_paused(self) -> None:
        """Hold the loop while the recorder's pause flag is set, or until it is asked to stop."""
        self.read()
        self.recorder.state(status="paused", message="Holding still")
        start = time.perf_counter()
        while self.recorder.pause.is_set() and not self.recorder.stop.wait(0.1):
            pass
        waited = time.perf_counter() - start
        self._paused, self._away = self._paused + waited, self._away + waited
        self.elsewhere += waited
        self.recorder.state(status="running", message=self.notice)

    def _tell(self) -> None:
        self.guard.close()
        if self.resumption:
            self.resumption.close()

    def _progress(self) -> dict[str, float]:
        done, total = self.last_step, self.end()
        # Evaluations and samples come at even intervals, so the whole time a step took so far is the best guess.
        worked = time.perf_counter() - self._begun - self._paused
        return {
            "progress": done / total,
            "elapsed_seconds": self.elapsed_seconds,
            "eta_seconds": (total - done) * worked / max(done - self.first_step, 1),
        }
