"""Runs, presets and settings in the words and numbers the page shows. Pure functions: rows and configs in, JSON out."""

import json
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from engine import config, store
from engine.config import ConfigError, RunConfig
from engine.estimate import training_bytes, training_flops
from engine.home import Home
from engine.store import Row

FRONT = ("train.tokens", "optimizer.muon_lr", "train.seed", "sample.every")
"""The settings that matter; all others are folded away."""
SMALLEST_MEASURE = 1_000_000
"""Parameters from which on a run's speed says something about larger models."""
LABELS = {
    "train.tokens": "Train on",
    "optimizer.muon_lr": "Muon learning rate",
    "train.seed": "Seed",
    "sample.every": "Sample every",
    "optimizer.adamw_lr": "AdamW learning rate",
    "eval.every": "Evaluate every",
    "eval.tokens": "Validate on",
    "checkpoint.every": "Save every",
    "checkpoint.keep": "Checkpoints kept",
    "checkpoint.keep_every": "Keep one every",
    "checkpoint.keep_best": "Keep the best",
    "checkpoint.keep_ages": "Ages kept",
    "train.auto_resume": "Go on by itself",
    "train.on_nonfinite": "When the loss is no number",
    "train.batch_tokens": "A step reads",
    "model.kv_heads": "Key/value heads",
    "model.mlp_width": "Feed-forward width",
    "model.vocab_size": "Vocabulary",
    "model.rope_base": "RoPE base",
    "model.norm_eps": "Norm epsilon",
    "model.window": "Attention window",
    "model.init": "First weights",
    "train.documents": "Stay within documents",
    "sample.suites": "Prompt suites",
    "sample.seed": "Sampling seed",
    "sample.top_k": "Top-k",
    "sample.top_p": "Top-p",
    "sample.max_tokens": "Answer length",
    "optimizer.beta1": "AdamW beta 1",
    "optimizer.beta2": "AdamW beta 2",
    "optimizer.adamw_eps": "AdamW epsilon",
    "optimizer.adamw_weight_decay": "AdamW weight decay",
    "optimizer.momentum": "Muon momentum",
    "optimizer.momentum_start": "First momentum",
    "optimizer.momentum_warmup": "Momentum rises over",
    "optimizer.neuron_memory": "NorMuon memory",
    "optimizer.cautious": "Cautious weight decay",
    "optimizer.ema": "Average of the weights",
    "optimizer.orthogonalizer": "Muon's iteration",
    "train.balance_loss": "Weight of the balance",
    "train.recompute": "Compute again, keep less",
    "schedule.final": "Final rate",
    "train.compile": "Fused GPU kernels",
    "train.micro_batch": "Micro-batch",
}
GROUPS = {
    "data": "Data",
    "model": "Model",
    "train": "Training",
    "optimizer": "Optimizers",
    "schedule": "Schedule",
    "eval": "Evaluation",
    "sample": "Samples",
    "checkpoint": "Checkpoints",
}


def summary(run: Row, order: int) -> dict[str, Any]:
    """One run for the switcher, the header and the facts; `order` counts runs by age and fixes the colour."""
    names = (
        "id",
        "name",
        "preset",
        "kind",
        "status",
        "parameters",
        "target_tokens",
        "total_steps",
        "dataset",
        "note",
        "device",
        "attempt",
        "step",
        "tokens",
        "error",
        "parent_run_id",
        "parent_step",
        "tags",
        "place",
        "sweep",
    )
    environment = run["environment"]
    return {name: run[name] for name in names} | {
        "colour": order,
        "created": round(run["created_at"]),
        "ended": run["ended_at"] and round(run["ended_at"]),
        "away": run["put_away_at"] is not None,
        "active": run["status"] in store.OPEN,
        "resumable": run["status"] in store.RESUMABLE,
        "device_name": environment.get("device_name", run["device"]),
        "precision": environment.get("precision", ""),
        "currency": run["currency"],
        "epoch_tokens": environment.get("epoch_tokens"),
    }


def summaries(runs: list[Row]) -> list[dict[str, Any]]:
    """All runs in the order given; colours follow the order of creation, so that a new run changes no other's."""
    own = sorted((run for run in runs if run["kind"] != "published"), key=lambda run: run["created_at"])
    order = {run["id"]: number for number, run in enumerate(own)}
    return [summary(run, order.get(run["id"], -1)) for run in runs]


def form_fields() -> list[dict[str, Any]]:
    """Every setting a person can choose, with label, unit, help, limits and choices, from the config dataclasses."""
    found = []
    for group, kind in typing.get_type_hints(RunConfig).items():
        if not is_dataclass(kind):
            continue
        hints = typing.get_type_hints(kind)
        for item in fields(kind):
            key, hint = f"{group}.{item.name}", hints[item.name]
            choices = list(typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else []
            found.append(
                {
                    "key": key,
                    "group": GROUPS.get(group, group.capitalize()),
                    "front": key in FRONT,
                    "choices": choices,
                    "label": LABELS.get(key, item.name.replace("_", " ").capitalize()),
                    "help": item.metadata["help"],
                    "unit": item.metadata["unit"],
                    "type": "choice" if choices else hint.__name__ if isinstance(hint, type) else "str",
                }
            )
    return sorted(found, key=lambda field: FRONT.index(field["key"]) if field["front"] else len(FRONT))


def preset_card(
    name: str, chosen: RunConfig, home: Home, device: str, flops: float, measurement: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a preset is, what it needs, whether its data is here, and all its values."""
    missing = next(filter(None, data_problems(home, chosen)), "")
    return {
        "name": name,
        "dataset": chosen.data.dataset,
        "title": chosen.title,
        "parameters": chosen.model.parameters,
        "active_parameters": chosen.model.active_parameters,
        "tokens": chosen.train.tokens,
        "ready": not missing,
        "missing": missing,
        "values": config.settings(chosen),
        "device": device,
        **plan(chosen, flops, device, measurement),
    }


def name_problem(name: str) -> str:
    """Why a run cannot be called that; "" where it can, and for no name, which will be made up."""
    try:
        if name:
            store.check_run_name(name)
    except store.Refused as error:
        return str(error)
    return ""


def data_problems(home: Home, chosen: RunConfig) -> tuple[str, str]:
    """Why this home cannot feed the run yet, and which setting does not suit a dataset that is here; "" where fine."""
    from engine.data import check_available  # tokenizers and numpy: not for who only reads

    try:
        check_available(home, chosen)
    except ConfigError as error:
        return "", str(error)
    except store.Refused as error:
        return str(error), ""
    return "", ""


def plan(chosen: RunConfig, flops: float, device: str, measurement: dict[str, Any] | None = None) -> dict[str, Any]:
    """What will run: steps, seconds and bytes, the last two as measured, or else as estimates."""
    if measurement:
        found = {name: measurement[name] for name in ("seconds", "memory")}
        return {"steps": chosen.total_steps, "measurement": measurement} | found
    return {
        "measurement": None,
        "steps": chosen.total_steps,
        "seconds": chosen.train.tokens * chosen.model.flops_per_token / flops,
        "memory": training_bytes(chosen, device),
    }


def speed(run: Row) -> float:
    """Tokens a second: as measured last while a run is on, over its whole time, evaluations and all, once it ended."""
    ended = run["status"] not in store.OPEN and run["kind"] == "trained"
    if ended and run["elapsed_seconds"] and run["tokens"]:
        return float(run["tokens"] / run["elapsed_seconds"])
    return float(run["tokens_per_second"] or 0)


def machine_flops(device: str, runs: list[Row], configs: dict[str, str]) -> tuple[float, bool]:
    """FLOP/s that training reaches on `device`, and whether a run of this home measured it.

    A model below SMALLEST_MEASURE leaves most of a processor idle and would make every estimate far too long.
    """
    for run in runs:
        if run["parameters"] < SMALLEST_MEASURE:
            continue
        if run["kind"] == "trained" and run["device"] == device and run["tokens_per_second"] and run["id"] in configs:
            return speed(run) * config.from_json(configs[run["id"]]).model.flops_per_token, True
    return training_flops(device), False


def parse_overrides(text: str) -> dict[str, Any]:
    """Overrides as JSON: one object of plain values, no key twice, no NaN; texts like "1M" become numbers."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, _ in pairs if [name for name, _ in pairs].count(key) > 1]
        if twice:
            raise ConfigError(f"{twice[0][:80]} is given twice; give it once.")
        return dict(pairs)

    def constant(name: str) -> Any:
        raise ConfigError(f"{name} is not a setting's value; it must be a finite number.")

    if len(text) > 20_000:
        raise ConfigError(f"The settings have {len(text):,} characters; 20,000 at most.")
    try:
        values = json.loads(text or "{}", object_pairs_hook=once, parse_constant=constant)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no JSONDecodeError
        raise ConfigError('The settings must be a JSON object, for example {"train.tokens": 1000000}.') from error
    if not isinstance(values, dict) or not all(isinstance(value, str | int | float) for value in values.values()):
        raise ConfigError('The settings must be one JSON object of plain values: {"train.tokens": 1000000}.')
    kinds = {field["key"]: field["type"] for field in form_fields()}
    return {
        key: config.parse_value(value)
        if isinstance(value, str) and kinds.get(key) in ("int", "float", "bool")
        else value
        for key, value in values.items()
    }


def offending_key(message: str) -> str:
    """The setting that an error sentence speaks of, so that the form can show it there."""
    keys = [field["key"] for field in form_fields()]
    at = {key: message.find(key) for key in keys if key in message}
    return min(at, key=lambda key: (at[key], -len(key))) if at else ""
