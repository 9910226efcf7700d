"""The trainer's side of talking to a run that trains: some tokens after each step, and what that costs.

A step is followed by at most SHARE of its time spent on words, but by one token at least while somebody listens. An
answer is made by one age: a copy of the weights as they are when its turn comes, so that what is learned meanwhile does
not change it. Training's own weights and dice are never touched, and nothing that goes wrong here reaches the loop.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from engine.config import ConfigError
from engine.live import Door, Question
from engine.store import Refused, Row

SHARE = 0.25
"""Of a step's time, that words may take after it: training keeps at least four fifths of its pace."""
STEPS = 64
"""Steps without a word whose pace is remembered."""
BETWEEN = 0.05
"""Seconds between two pieces of an answer: more than 20 a second nobody can read."""
PAUSED = "It holds still, so nobody answers; let it go on, or ask it at an age that was saved."
ENDING = "It has come to its end and trains no more; ask it at an age that was saved."
BROKEN = "It cannot be talked to while it trains any more; the events say why."


class Voice(Protocol):
    """What speaks with the weights as they are now."""

    def settle(self) -> None:
        """Wait until the device has done the step, so that its time is not taken for that of words."""

    def begin(self, ask: Any, step: int) -> Iterator[Row]:
        """The answer as it grows, a token at a time: rows of `samples`, the last with a `finish`."""


class Events(Protocol):
    """The part of a recorder that is told what went wrong."""

    def event(self, kind: str, message: str, step: int | None = None) -> None: ...


@dataclass
class _Talk:
    """The answer that is being made."""

    question: Question
    rows: Iterator[Row]
    began: float
    alone: float | None
    """Seconds of a step before somebody spoke."""
    steps: int = 0
    seconds: float = 0.0
    """Of its steps, and of what was said after each."""
    said: float = 0.0


class Speaking:
    """Answers between the steps of one training loop."""

    def __init__(
        self,
        door: Door | None,
        voice: Voice,
        events: Events,
        batch_tokens: int,
        elsewhere: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`elsewhere`: the seconds so far in which the loop did something else than train. `door`: None for nobody."""
        self.door, self.voice, self.events, self.batch_tokens = door, voice, events, batch_tokens
        self._elsewhere, self._clock = elsewhere, clock
        self._alone: deque[float] = deque(maxlen=STEPS)
        self._left: float | None = None
        self._away = 0.0
        self._talk: _Talk | None = None

    def between(self, step: int) -> None:
        """Say the next words, after `step` steps. Never raises: what goes wrong costs an answer and nothing else."""
        if self.door is None:
            return
        try:
            self._speak(self.door, step)
        except (ConfigError, Refused) as error:
            self._drop(str(error))
        except Exception as error:  # noqa: BLE001 - training is worth more than an answer, whatever went wrong with it
            self._fail(error, step)
        self._left, self._away = self._clock(), self._elsewhere()

    def hush(self, reason: str) -> None:
        """Tell everybody who waits or listens that nobody speaks now; the next step opens the door again."""
        if self.door is not None:
            self._drop(reason)
            self.door.shut(reason)

    def close(self) -> None:
        """The end of the loop."""
        if self.door is not None:
            self._drop(ENDING)
            self.door.close(ENDING)
            self.door = None

    def _speak(self, door: Door, step: int) -> None:
        door.open()
        if self._talk is None and not door.wanted:
            self._note_pace()
            return
        self.voice.settle()
        seconds = self._step_seconds()
        now = began = self._clock()
        until = began + SHARE * (self._pace() or seconds or 0.0)
        if self._talk:
            self._talk.steps, self._talk.seconds = self._talk.steps + 1, self._talk.seconds + (seconds or 0.0)
        while (talk := self._talk or self._begin(door, step, seconds)) is not None:
            row = None if talk.question.cancelled.is_set() else next(talk.rows, None)
            before, now = now, self._clock()
            talk.seconds += now - before
            if row is None:
                self._drop("It said nothing.")  # or nobody listens any more
            else:
                self._tell(talk, row, now)
            if now >= until:
                break

    def _begin(self, door: Door, step: int, seconds: float | None) -> _Talk | None:
        """The next question's turn; the step before it is the first of its time."""
        question = door.next()
        if question is None:
            return None
        self._talk = _Talk(question, iter(()), self._clock(), self._pace(), 1, seconds or 0.0)
        self._talk.rows = self.voice.begin(question.ask, step)
        return self._talk

    def _tell(self, talk: _Talk, row: Row, now: float) -> None:
        """Pass a piece on, the first and the last at once, others so often as they can be read."""
        if row["finish"]:
            self._talk = None
        elif talk.said and now - talk.said < BETWEEN:
            return
        talk.said = now
        talk.question.messages.put(
            {name: row[name] for name in ("text", "new_tokens", "finish", "step", "tokens")}
            | {"tokens_per_second": row["new_tokens"] / max(now - talk.began, 1e-6), "row": row}
            | {"training": self._cost(talk)}
        )

    def _cost(self, talk: _Talk) -> dict[str, float] | None:
        """Training's tokens a second while it spoke and before; None before a step was measured without a word."""
        if not talk.alone or not talk.seconds:
            return None
        return {"while": talk.steps * self.batch_tokens / talk.seconds, "alone": self.batch_tokens / talk.alone}

    def _step_seconds(self) -> float | None:
        """How long the step took that was just made; None for the first."""
        if self._left is None:
            return None
        return max(self._clock() - self._left - (self._elsewhere() - self._away), 0.0)

    def _note_pace(self) -> None:
        seconds = self._step_seconds()
        if seconds is not None:
            self._alone.append(seconds)

    def _pace(self) -> float | None:
        """Seconds of a step in which nobody speaks; None where none was measured."""
        return sum(self._alone) / len(self._alone) if self._alone else None

    def _drop(self, reason: str) -> None:
        """End the answer that is being made with a sentence."""
        talk, self._talk = self._talk, None
        if talk:
            talk.question.messages.put({"error": reason})

    def _fail(self, error: Exception, step: int) -> None:
        lacked = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        why = "there was not enough memory" if lacked else f"{type(error).__name__}"
        if self._talk is None:  # not an answer went wrong, but what leads to one
            self.close()
            self.events.event("note", f"{BROKEN.partition(';')[0]} ({why}); training goes on.", step)
            return
        self._drop(f"It could not answer ({why}); training goes on. Ask again, or ask it at an age that was saved.")
        self.events.event("note", f"A question to the run could not be answered ({why}); training goes on.", step)
