"""A side in a process of its own, asked by lines of JSON: its memory, its start and its failures are its own."""

import contextlib
import json
import select
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.config import ConfigError, RunConfig, load_preset
from engine.home import PROJECT
from engine.process import torch_environment

START_LIMIT, ANSWER_LIMIT, END_LIMIT = 900.0, 600.0, 30.0
"""Seconds for a process to make its first step, to answer later, and to end."""
PATIENCE = 10.0
"""Seconds between two lines that say what is waited for."""
KEPT = "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"
"""Where Triton and torch.compile keep what they compiled."""


class Failed(Exception):
    """A side could not do what it was asked for; says why in a sentence."""


class OutOfMemory(Failed):
    """It does not fit, now."""


@dataclass(frozen=True)
class Spec:
    """What a process is to run."""

    side: str
    """blueberry or transformers"""
    preset: str
    settings: dict[str, Any]
    rows: int
    compiled: str
    """How the peer is compiled on a GPU."""
    asked_at: float = 0.0
    """`time.monotonic()` when the process was started."""

    def config(self) -> RunConfig:
        """The preset with the settings and a step of `rows` rows; raises ConfigError."""
        context = self.settings.get("model.context")
        if not isinstance(context, int):
            context = load_preset(self.preset).model.context
        return load_preset(self.preset, self.settings | {"train.batch_tokens": self.rows * context})

    def __str__(self) -> str:
        return f"{self.side}, {self.rows} {'row' if self.rows == 1 else 'rows'}"


def tell(line: str) -> None:
    """Say where the work stands, beside the report."""
    print(line, file=sys.stderr, flush=True)


class Process:
    """A running side. Its constructor returns after the first optimizer step."""

    def __init__(self, spec: Spec, caches: Path) -> None:
        """`caches`: where compiled kernels are kept. Raises Failed, OutOfMemory or ConfigError."""
        self.spec = spec
        started = Spec(**asdict(spec) | {"asked_at": time.monotonic()})
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.training.worker", json.dumps(asdict(started))],
            cwd=PROJECT,
            env=torch_environment() | {name: str(caches / name.lower()) for name in KEPT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the other
        )
        try:
            self.begun = self._answer("its first step", START_LIMIT)
        except BaseException:
            self.close()
            raise

    def turn(self, steps: int) -> dict[str, Any]:
        """`steps`: seconds of so many steps and of their parts; `memory`: peak bytes since the process began."""
        return self._ask({"do": "turn", "steps": steps}, "a turn")

    def block(self, steps: int, observed: bool) -> dict[str, float]:
        """How long so many steps take with or without all that a run observes and stores (observed.py)."""
        return self._ask({"do": "block", "steps": steps, "observed": observed}, "a block of steps")

    def close(self) -> None:
        """End the process and wait until its memory is free."""
        assert self._child.stdin and self._child.stdout
        try:
            self._child.stdin.close()
            self._child.wait(END_LIMIT)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], waiting_for: str) -> dict[str, Any]:
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended; the missing answer tells
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        return self._answer(waiting_for, ANSWER_LIMIT)

    def _answer(self, waiting_for: str, limit: float) -> dict[str, Any]:
        assert self._child.stdout
        start = time.monotonic()
        while not select.select([self._child.stdout], [], [], PATIENCE)[0]:
            waited = time.monotonic() - start
            if waited > limit:
                self._child.kill()
                raise Failed(f"{self.spec}: {waiting_for} took more than {limit:.0f} s.")
            tell(f"{self.spec}: waiting for {waiting_for}, {waited:.0f} s")
        line = self._child.stdout.readline()
        if not line:
            raise Failed(f"{self.spec}: its process ended with status {self._child.wait()}; its last words are above.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kinds: dict[str, type[Exception]] = {"memory": OutOfMemory, "settings": ConfigError}
            raise kinds[answer["kind"]](answer["error"])
        return answer
