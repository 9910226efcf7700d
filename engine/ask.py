"""A question to a model: a prompt, and how it is to be answered."""

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.config import ConfigError, SampleConfig

PROMPT_CHARACTERS = 8192
MOST_STOPS, STOP_CHARACTERS = 8, 100
"""Strings that may end an answer, and how long one may be."""
PENALTIES = (0.1, 10.0)
"""Between these a repetition penalty makes sense; 1 changes nothing."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A prompt and how to answer it; raises ConfigError for values that make no sense."""

    prompt: str
    max_tokens: int = 80
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    seed: int = 7
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.prompt) <= PROMPT_CHARACTERS:
            raise ConfigError(f"A prompt has 1 to {PROMPT_CHARACTERS:,} characters; this one has {len(self.prompt):,}.")
        if not 1 <= self.max_tokens <= 8192:
            raise ConfigError(f"max_tokens = {self.max_tokens} must be between 1 and 8192.")
        if not 0 <= self.temperature <= 10:
            raise ConfigError(f"temperature = {self.temperature} must be between 0 (always the likeliest) and 10.")
        if self.top_k < 0:
            raise ConfigError(f"top_k = {self.top_k} must be 0 (all tokens) or more.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p = {self.top_p} must be above 0 and at most 1.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed = {self.seed} must be a whole number from 0 to 2^63 - 1.")
        if not 0 <= self.min_p <= 1:
            raise ConfigError(f"min_p = {self.min_p} must be between 0 (all tokens) and 1 (the likeliest alone).")
        low, high = PENALTIES
        if not low <= self.repetition_penalty <= high:
            raise ConfigError(
                f"repetition_penalty = {self.repetition_penalty} must be between {low} and {high:g}; 1 changes nothing."
            )
        object.__setattr__(self, "stop", check_stops(self.stop))
        # A lone surrogate cannot be encoded, and NUL ends a text in many programs.
        clean = self.prompt.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
        object.__setattr__(self, "prompt", clean or " ")

    def dice(self, position: int) -> float:
        """The one draw, 0 <= x < 1, of the answer's token number `position`."""
        return random.Random(f"{self.seed}:{position}").random()

    @property
    def least(self) -> float:
        """How far below the likeliest token's logarithm of chance one may be: the logarithm of `min_p`."""
        return math.log(self.min_p) if self.min_p else -math.inf

    def several(self, count: int) -> "list[Ask]":
        """The same question `count` times, with this seed and those after it."""
        return [replace(self, seed=(self.seed + number) % 2**63) for number in range(count)]

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any]) -> "Ask":
        """The question that a row of the table `samples` answers."""
        fields = ("prompt", "max_tokens", "temperature", "top_k", "top_p", "seed", "min_p", "repetition_penalty")
        return cls(**{name: sample[name] for name in fields}, stop=tuple(json.loads(sample["stop"])))

    @classmethod
    def from_config(cls, prompt: str, config: SampleConfig) -> "Ask":
        """A periodic sample's question."""
        return cls(
            prompt=prompt,
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=config.top_p,
            seed=config.seed,
        )


def check_stops(stops: Any) -> tuple[str, ...]:
    """The strings that end an answer, each once; raises ConfigError for what is none."""
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
        raise ConfigError("stop must be a list of texts, each of which ends the answer.")
    clean = (stop.encode("utf-8", "replace").decode("utf-8").replace("\0", "") for stop in stops)
    kept = tuple(dict.fromkeys(filter(None, clean)))
    if len(kept) > MOST_STOPS:
        raise ConfigError(f"stop has {len(kept)} texts; at most {MOST_STOPS} can end an answer.")
    if kept and (longest := max(map(len, kept))) > STOP_CHARACTERS:
        raise ConfigError(f"A text that ends an answer has at most {STOP_CHARACTERS} characters; one has {longest:,}.")
    return kept
