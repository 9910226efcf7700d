"""A question to a model: a prompt, and how it is to be answered."""

import random
from dataclasses import dataclass

from engine.config import ConfigError, SampleConfig

PROMPT_CHARACTERS = 8192


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A prompt and how to answer it; raises ConfigError for values that make no sense."""

    prompt: str
    max_tokens: int = 80
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    seed: int = 7

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
        # A lone surrogate cannot be encoded, and NUL ends a text in many programs.
        clean = self.prompt.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
        object.__setattr__(self, "prompt", clean or " ")

    def dice(self, position: int) -> float:
        """The one draw, 0 <= x < 1, of the answer's token number `position`."""
        return random.Random(f"{self.seed}:{position}").random()

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
