"""From a measurement of some seconds to a whole run: how long, how much memory, how much disk. No torch."""

from contextlib import closing
from typing import Any

from engine import store
from engine.config import ConfigError, RunConfig
from engine.home import Home
from engine.money import Usage, price_of, spent
from engine.phrases import money
from engine.prompts import load_suite
from engine.space import free_disk, run_bytes

CROWDED = 0.25
"""Cores busy with other programs from which on a measurement says so."""


def project(home: Home, config: RunConfig, probe: dict[str, Any]) -> dict[str, Any]:
    """What a run of `config` takes by what `probe` measured (engine/preflight.py): seconds by activity, bytes."""
    steps, sample = config.total_steps, config.sample
    prompts = prompts_of(config) if probe["prompts"] else 0
    answer = probe["answer_seconds"] * prompts / max(probe["prompts"], 1)
    answer += probe["age_seconds"] + (sample.max_tokens - 1) * probe["answer_token_seconds"]
    parts = {
        "training": steps * probe["step_seconds"],
        "evaluating": rounds(steps, config.eval.every) * config.eval.tokens * probe["eval_token_seconds"],
        "answering": rounds(steps, sample.every) * answer,
        "saving": (rounds(steps, config.checkpoint.every) - 1) * probe["save_seconds"],
    }
    return {
        "seconds": sum(parts.values()),
        "parts": parts,
        "cost": cost(home, sum(parts.values())),
        "tokens_per_second": config.train.batch_tokens / probe["step_seconds"],
        "memory": probe["memory"],
        "disk": run_bytes(config),
        "disk_free": free_disk(home.path),
        "crowded": crowded(probe),
    }


def cost(home: Home, seconds: float) -> str:
    """What a run of so many seconds costs at this home's price, in words; empty where that is not known."""
    with closing(store.connect(home.database)) as db:
        price = price_of(store.home_price(db))
    if price is None:
        return ""
    # What a GPU will draw was not measured: for that the watts count that a person gave.
    amount = spent(price, Usage(seconds=seconds, joules=0.0, unmeasured_seconds=seconds))
    return "" if amount is None else f"{money(amount, price.currency)} at {price}"


def crowded(probe: dict[str, Any]) -> str:
    """What made the measurement slower than it would be alone, in a sentence; empty where nothing did."""
    if probe["cores_taken"] < CROWDED:
        return ""
    return (
        f"Other programs kept {probe['cores_taken']:.1f} of {probe['cores']} cores busy meanwhile; alone it is faster."
    )


def rounds(steps: int, every: int) -> int:
    """How often something is done that comes before the first step, at multiples of `every`, and after the last."""
    return steps // every + 1 + (steps % every > 0)


def prompts_of(config: RunConfig) -> int:
    """How many prompts a round has; 0 where a suite cannot be read, which the run will say."""
    try:
        return sum(len(load_suite(name.strip())) for name in config.sample.suites.split(","))
    except ConfigError:
        return 0
