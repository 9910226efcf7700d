"""A generation worker whose models are fakes: the real protocol, no torch. For tests of the page and of engine.talk.

    Talker(home, worker=[sys.executable, "tests/fake_worker.py"])

A model answers with its step and counted words, ten a second times `SPEED`. Prompts that do more: "memory" fails for
lack of it, "die" kills the process, "bug" raises, "print" prints to stdout.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlite_utils import Database

from engine import store, worker
from engine.config import ConfigError
from engine.home import Home

SPEED = 20


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is asked."""

    prompt: str
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    seed: int
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: Sequence[str] = ()


@dataclass(frozen=True)
class Piece:
    """The answer so far."""

    text: str
    new_tokens: int
    finish: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class FakeSpeaker:
    """Counts instead of thinking."""

    run_id: str
    step: int
    tokens: int

    bytes = 0

    def stream_all(self, asks: Sequence[Ask], cancelled: Callable[[], bool]) -> Iterator[list[Piece]]:
        """One word of each after the other."""
        for pieces in zip(*(self.stream(ask, cancelled) for ask in asks), strict=True):
            yield list(pieces)

    def stream(self, ask: Ask, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        """One word after the other."""
        if ask.prompt == "memory":
            raise MemoryError
        if ask.prompt == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if ask.prompt == "bug":
            raise ZeroDivisionError("secret /path")
        if ask.prompt == "print":
            print("not for the protocol", flush=True)
        if len(ask.prompt) > 4000:
            raise ConfigError("The prompt has 1,024 tokens; this model sees 256 at once.")
        text = ""
        for number in range(1, ask.max_tokens + 1):
            time.sleep(0.1 / SPEED)
            text += f" {self.step}:{(ask.seed + number) % 10}"
            finish = "length" if number == ask.max_tokens else "cancelled" if cancelled() else ""
            yield Piece(text, number, finish, tuple(range(1, number + 1)))
            if finish:
                return

    def sample_row(self, ask: Ask, piece: Piece, source: str) -> store.Row:
        """As the real one."""
        return {
            "run_id": self.run_id,
            "attempt": 1,
            "step": self.step,
            "tokens": self.tokens,
            "prompt": ask.prompt,
            "text": piece.text,
            "seed": ask.seed,
            "temperature": ask.temperature,
            "top_k": ask.top_k,
            "top_p": ask.top_p,
            "min_p": ask.min_p,
            "repetition_penalty": ask.repetition_penalty,
            "stop": json.dumps(ask.stop),
            "max_tokens": ask.max_tokens,
            "new_tokens": piece.new_tokens,
            "finish": piece.finish,
            "weights_sha256": "0" * 64,
            "dtype": "float32",
            "device": "cpu",
            "source": source,
            "created_at": time.time(),
        }


class FakeVoice:
    """Every run has the ages that its checkpoint rows name, and age 0."""

    def __init__(self, home: Home | None = None) -> None:
        self.loads: list[tuple[str, int | None]] = []
        self.named: list[str] = []
        self.again: list[int] = []
        self.looked: list[str] = []

    def ask(self, **fields: Any) -> Ask:
        """A question."""
        return Ask(**fields)

    def load(self, db: Database, run_id: str, step: int | None, weights: str = "", said_on: str = "") -> FakeSpeaker:
        """A model."""
        self.loads.append((run_id, step))
        self.named.append(weights)
        run = store.get_run(db, run_id)
        if run["kind"] != "trained":
            raise store.Refused(f"The weights of {run['name']} were not published here.")
        return FakeSpeaker(run_id, step or 0, (step or 0) * 4096)

    def look(
        self,
        speaker: FakeSpeaker,
        prompt: str,
        text: str,
        ids: Sequence[int] | None,
        cancelled: Callable[[], bool],
    ) -> dict[str, Any]:
        """What it was asked; of a text that is "long" only once it is cancelled."""
        self.looked.append(prompt)
        if prompt == "memory":
            raise MemoryError
        while prompt == "long":
            if cancelled():
                return {}
            time.sleep(0.001)
        return {"step": speaker.step, "prompt": prompt, "text": text, "ids": ids}

    def said_again(
        self, speaker: FakeSpeaker, sample: store.Row, cancelled: Callable[[], bool]
    ) -> tuple[int, ...] | None:
        """Its number of tokens instead of them, for an answer that says "again"."""
        self.again.append(sample["id"])
        return (sample["new_tokens"],) if "again" in sample["text"] else None


if __name__ == "__main__":
    worker.run(FakeVoice)
