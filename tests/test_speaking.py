"""What a run says between its steps: so much as fits, counted and told, and never anything that harms the loop."""

from collections.abc import Iterator
from typing import Any

import pytest

from engine.ask import Ask
from engine.config import ConfigError
from engine.live import Question
from engine.speaking import BROKEN, PAUSED, SHARE, Speaking
from engine.store import Row


class Clock:
    """Time that passes when somebody works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Hall:
    """A door without sockets."""

    def __init__(self, *questions: Question) -> None:
        self.questions = list(questions)
        self.reason = ""

    @property
    def wanted(self) -> bool:
        return bool(self.questions)

    def next(self) -> Question | None:
        return self.questions.pop(0) if self.questions else None

    def shut(self, reason: str) -> None:
        self.reason = reason

    def open(self) -> None:
        self.reason = ""

    def close(self, reason: str) -> None:
        self.reason = f"closed: {reason}"


class Voice:
    """A token takes a hundredth of a second."""

    def __init__(self, clock: Clock, broken: Exception | None = None) -> None:
        self.clock, self.broken, self.settled = clock, broken, 0

    def settle(self) -> None:
        self.settled += 1

    def begin(self, ask: Any, step: int) -> Iterator[Row]:
        for count in range(1, ask.max_tokens + 1):
            self.clock.now += 0.01
            if self.broken:
                raise self.broken
            finish = "length" if count == ask.max_tokens else ""
            yield {"text": "a" * count, "new_tokens": count, "finish": finish, "step": step, "tokens": step * 100}


class Events:
    """What was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def event(self, kind: str, message: str, step: int | None = None) -> None:
        self.told.append(message)


def asked(max_tokens: int = 5) -> Question:
    return Question(Ask(prompt="Once", max_tokens=max_tokens))


def heard(question: Question) -> list[dict[str, Any]]:
    found = []
    while not question.messages.empty():
        found.append(question.messages.get())
    return found


class Loop:
    """Steps of 0.2 s and 1,000 tokens."""

    def __init__(self, *questions: Question, broken: Exception | None = None) -> None:
        self.clock, self.events, self.step = Clock(), Events(), 0
        self.hall, self.voice, self.away = Hall(), Voice(self.clock, broken), 0.0
        self.speaking = Speaking(self.hall, self.voice, self.events, 1000, lambda: self.away, self.clock)  # type: ignore[arg-type]
        self.steps(4)
        self.hall.questions += questions

    def steps(self, count: int, otherwise: float = 0.0) -> None:
        for _ in range(count):
            self.step += 1
            self.clock.now += 0.2 + otherwise
            self.away += otherwise
            self.speaking.between(self.step)


def test_a_step_is_followed_by_words_for_a_share_of_its_time() -> None:
    question = asked(12)
    loop = Loop(question)
    began = loop.clock.now

    loop.steps(1)

    assert loop.clock.now - began == pytest.approx(0.2 + SHARE * 0.2)  # five tokens
    loop.steps(1)
    assert not any(message["finish"] for message in heard(question))
    loop.steps(1)
    (*_, last) = heard(question)
    assert (last["finish"], last["new_tokens"], last["step"]) == ("length", 12, 5)


def test_what_it_costs_is_told_from_the_times_of_the_steps() -> None:
    question = asked(10)
    loop = Loop(question)

    loop.steps(1)
    loop.steps(1, otherwise=7.0)  # an evaluation in between is no step

    (*_, last) = heard(question)
    assert last["training"]["alone"] == pytest.approx(1000 / 0.2)
    assert last["training"]["while"] == pytest.approx(2 * 1000 / (2 * 0.2 + 10 * 0.01))


def test_one_token_at_least_follows_a_step_however_long_it_takes() -> None:
    question = asked(3)
    loop = Loop(question)
    loop.speaking._alone.clear()
    loop.speaking._left = None

    loop.steps(1)

    (first,) = heard(question)
    assert first["new_tokens"] == 1 and first["training"] is None


def test_nobody_asks_and_nothing_waits_for_the_device() -> None:
    loop = Loop()
    loop.steps(3)

    assert loop.voice.settled == 0


def test_questions_are_answered_in_order_and_share_the_time() -> None:
    first, second = asked(2), asked(2)
    loop = Loop(first, second)

    loop.steps(1)

    assert heard(first)[-1]["finish"] == heard(second)[-1]["finish"] == "length"


def test_who_has_cancelled_is_left_for_the_next() -> None:
    first, second = asked(100), asked(2)
    loop = Loop(first, second)
    loop.steps(1)
    first.cancelled.set()
    heard(first)

    loop.steps(2)

    assert not [message for message in heard(first) if "text" in message]
    assert heard(second)[-1]["finish"] == "length"


def test_holding_still_and_the_end_are_told() -> None:
    question = asked(100)
    loop = Loop(question)
    loop.steps(1)

    loop.speaking.hush(PAUSED)

    assert heard(question)[-1] == {"error": PAUSED} and loop.hall.reason == PAUSED
    loop.steps(1)
    assert loop.hall.reason == ""
    loop.speaking.close()
    assert loop.hall.reason.startswith("closed: ")
    loop.speaking.close()
    loop.speaking.hush(PAUSED)
    loop.steps(1)


@pytest.mark.parametrize("error", [MemoryError("none left"), RuntimeError("a mistake of ours"), KeyError("x")])
def test_whatever_goes_wrong_costs_one_answer_and_is_told(error: Exception) -> None:
    question, other = asked(5), asked(2)
    loop = Loop(question, broken=error)

    loop.steps(1)

    assert "training goes on" in heard(question)[-1]["error"] and len(loop.events.told) == 1
    loop.voice.broken = None
    loop.hall.questions.append(other)
    loop.steps(1)
    assert heard(other)[-1]["finish"] == "length"


def test_what_cannot_be_asked_is_a_sentence_and_no_event() -> None:
    question = asked(5)
    loop = Loop(question, broken=ConfigError("The prompt has 99 tokens."))

    loop.steps(1)

    assert heard(question)[-1] == {"error": "The prompt has 99 tokens."} and not loop.events.told


def test_a_mistake_outside_an_answer_closes_the_door_and_nothing_else() -> None:
    loop = Loop(asked(2))

    def broken() -> None:
        raise RuntimeError("the device has gone")

    loop.voice.settle = broken  # type: ignore[method-assign]
    loop.steps(2)

    assert loop.hall.reason.startswith("closed: ") and len(loop.events.told) == 1
    assert loop.events.told[0].startswith(BROKEN.partition(";")[0])
