"""A question from the page or a script: its settings checked, and put to one checkpoint or to several in turn."""

import contextlib
import json
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, cast

from engine import overheard
from engine.ask import MOST_STOPS, PENALTIES, STOP_CHARACTERS
from engine.home import Home
from engine.store import Refused, Row
from ui.checks import real, text, whole
from ui.reading import Reader
from ui.toll import Toll, with_toll

LONGEST_PROMPT = 8192
LONGEST_ANSWER = 4096
MOST_AT_ONCE = 8
"""Answers to one question."""
MOST_BESIDE = 4
"""Checkpoints that are asked side by side."""
DEFAULTS: dict[str, Any] = {
    "max_tokens": 80,
    "temperature": 0.8,
    "top_k": 0,
    "top_p": 0.95,
    "seed": 7,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "stop": [],
}
NOW = "live"
"""In place of an age: the run that trains now, answered by its trainer between steps."""
Model = tuple[str, int | str | None, str]
"""A run's id, the step of its weights (None: the newest; or NOW) and their sha256 where no others will do."""


class Talker(Protocol):
    """The generation worker's client (engine.talk)."""

    def stream(
        self,
        run_id: str,
        step: int | None,
        prompt: str,
        *,
        max_tokens: int = ...,
        temperature: float = ...,
        top_k: int = ...,
        top_p: float = ...,
        seed: int = ...,
        min_p: float = ...,
        repetition_penalty: float = ...,
        stop: list[str] = ...,
        count: int = ...,
        weights: str = ...,
        cancel: threading.Event | None = ...,
    ) -> Iterator[dict[str, Any]]: ...
    def look(
        self,
        run_id: str,
        step: int | None,
        prompt: str,
        text: str,
        *,
        weights: str = ...,
        sample: int | None = ...,
        cancel: threading.Event | None = ...,
    ) -> dict[str, Any]: ...
    def close(self) -> None: ...


def checked(asked: dict[str, Any]) -> dict[str, Any]:
    """The settings of a question as the talker takes them; what is None is left as it is by default."""
    found: dict[str, Any] = {
        "max_tokens": whole(asked["max_tokens"], "The length", 1, LONGEST_ANSWER),
        "temperature": real(asked["temperature"], "The temperature", 0, 10),
        "top_k": whole(asked["top_k"], "Top-k", 0, 10**6),
        "top_p": real(asked["top_p"], "Top-p", 1e-6, 1),
        "seed": whole(asked["seed"], "The seed", 0, 2**63 - 1),
    }
    if asked["min_p"] is not None:
        found["min_p"] = real(asked["min_p"], "Min-p", 0, 1)
    if asked["repetition_penalty"] is not None:
        found["repetition_penalty"] = real(asked["repetition_penalty"], "The repetition penalty", *PENALTIES)
    if asked["stop"] is not None:
        found["stop"] = stops(asked["stop"])
    if asked["count"] is not None:
        found["count"] = whole(asked["count"], "The number of answers", 1, MOST_AT_ONCE)
    return found


def parse_settings(given: Any) -> dict[str, Any]:
    """Settings by name from JSON, on top of those by default; or Refused."""
    try:
        found = json.loads(text(given, "The settings", 20_000) or "{}")
    except (ValueError, RecursionError):
        raise Refused('The settings must be JSON, for example {"temperature": 0.5}.') from None
    if not isinstance(found, dict) or (unknown := [name for name in found if name not in DEFAULTS]):
        which = f"there is no {unknown[0][:40]!r}" if isinstance(found, dict) else "these are something else"
        raise Refused(f"The settings are {', '.join(DEFAULTS)}; {which}.")
    return DEFAULTS | found


def clean_prompt(prompt: Any) -> str:
    """What is asked, or Refused."""
    clean = text(prompt, "The prompt", LONGEST_PROMPT).encode("utf-8", "replace").decode("utf-8")
    if not clean.strip():
        raise Refused("Write a prompt first: 1 to 8,192 characters.")
    return clean


def stops(given: Any) -> list[str]:
    """The texts that end an answer, or Refused."""
    if not isinstance(given, list) or len(given) > MOST_STOPS:
        raise Refused(f"What ends an answer must be a list of at most {MOST_STOPS} texts.")
    return [text(one, "A text that ends an answer", STOP_CHARACTERS) for one in given]


def models(find: Callable[[Any], Row], run: Any, step: Any, weights: Any, who: Any) -> list[Model]:
    """Who is asked: those of the list `who`, each with run, step and weights, or else the one named; or Refused."""
    if who is None:
        return [_model(find, run, step, weights)]
    if not isinstance(who, list) or not 1 <= len(who) <= MOST_BESIDE or not all(isinstance(one, dict) for one in who):
        raise Refused(f"Side by side, one to {MOST_BESIDE} checkpoints can be asked.")
    return [_model(find, one.get("run"), one.get("step"), one.get("weights")) for one in who]


def _model(find: Callable[[Any], Row], run: Any, step: Any, weights: Any) -> Model:
    row = find(run)
    if row["kind"] == "published":
        raise Refused("The published model's weights are not part of this home, so it cannot be asked.")
    at = None if step is None or step == -1 else NOW if step == NOW else whole(step, "The age", 0, 10**15)
    return row["id"], at, text(weights or "", "The weights' sha256", 64)


class Either:
    """Answers of saved ages from the talker, and those of now from the trainer."""

    def __init__(self, talker: Talker, home: Home, reader: Reader) -> None:
        self.talker, self.home, self.reader = talker, home, reader

    def stream(
        self, run_id: str, step: int | str | None, prompt: str, *, weights: str = "", **asked: Any
    ) -> Iterator[dict[str, Any]]:
        """As a talker does."""
        if not isinstance(step, str):
            toll = Toll(self.reader.db(), self.reader.runs())
            pieces = self.talker.stream(run_id, step, prompt, weights=weights, **asked)
            with contextlib.closing(cast(Generator[dict[str, Any], None, None], pieces)):
                for piece in pieces:
                    yield with_toll(piece, toll)
            return
        if asked.pop("count", 1) > 1:
            raise Refused("A run that trains gives one answer at a time; ask for one.")
        yield from overheard.stream(self.home, self.reader.run(run_id), prompt, **asked)


def beside(
    talker: Either, asked: list[Model], prompt: str, settings: dict[str, Any], cancel: threading.Event
) -> Generator[dict[str, Any], None, None]:
    """The answers of several checkpoints, one after the other, as there is one worker; each piece names its `column`.

    One that cannot answer says why, and the next one is asked.
    """
    for column, (run_id, step, weights) in enumerate(asked):
        if cancel.is_set():
            return
        pieces = talker.stream(run_id, step, prompt, **settings, weights=weights, cancel=cancel)
        try:
            with contextlib.closing(cast(Generator[dict[str, Any], None, None], pieces)):
                for piece in pieces:
                    yield piece | {"column": column}
        except Refused as error:
            yield {"error": str(error), "column": column}
