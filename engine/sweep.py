"""Sweeps: every combination of the values of one or two settings as a run in line, and what came of them. No torch."""

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine import launch, queue, store
from engine.config import ConfigError, RunConfig, load_preset
from engine.gpu import choose_device
from engine.home import Home
from engine.settings import brief, named, parse_value
from engine.space import check_disk

MOST = 64
"""Runs of a sweep at most."""
LARGEST = 10**15
"""Of a number in a range."""
GRAMMAR = "write 0.01,0.02,0.04, or 1..4, or 0.1..0.5 +0.2, or 0.01..0.08 x2"
RANGE = re.compile(r"(?P<low>[^\s.]\S*?)\.\.(?P<high>[^\sx+]+?)(?:\s*(?P<how>[x+])\s*(?P<by>\S+))?")
SHORT = {"optimizer.muon_lr": "lr", "optimizer.adamw_lr": "adamlr", "train.batch_tokens": "batch"}
"""What a setting is called in the name of a run; others by the last part of their key."""
OTHER_TEXT = ("data.", "model.vocab_size")
"""Settings whose values make losses in nats incomparable: those runs are ordered by bits per byte."""


@dataclass(frozen=True)
class Planned:
    """One run of a sweep: its name, the values that are its own, all overrides, and the config they make."""

    name: str
    values: tuple[Any, ...]
    overrides: dict[str, Any]
    config: RunConfig


def parse_vary(pairs: Sequence[str]) -> dict[str, list[Any]]:
    """Turn `key=values` words into values by setting; raises ConfigError."""
    found: dict[str, list[Any]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(
                f"--vary takes key=values, for example optimizer.muon_lr=0.01,0.02, not {brief(repr(pair))}."
            )
        if key in found:
            raise ConfigError(f"{named(key)} is varied twice; give all its values at once.")
        found[key] = parse_values(key, text)
    return found


def parse_values(key: str, text: str) -> list[Any]:
    """The values that `text` names for a setting: a list, whose parts may be ranges; raises ConfigError.

    `0.01,0.02` is a list, `1..4` counts by one, `0.1..0.5 +0.2` adds, `0.01..0.08 x2` multiplies; the end belongs to
    a range where it is met.
    """
    values: list[Any] = []
    for part in text.split(","):
        values += _range(key, part.strip()) if ".." in part else [parse_value(part.strip())]
        if len(values) > MOST:
            raise ConfigError(f"{named(key)} has more than {MOST} values; that many runs at most are a sweep.")
        if values[-1] == "":
            raise ConfigError(f"{named(key)}: {brief(repr(text))} has an empty value; {GRAMMAR}.")
    for at, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:at]):
            raise ConfigError(f"{named(key)} = {brief(str(value))} is given twice; give each value once.")
    return values


def planned(
    preset: str, name: str, vary: Mapping[str, Sequence[Any]], overrides: Mapping[str, Any] | None = None
) -> list[Planned]:
    """The runs of a sweep, the first setting varying slowest; a ConfigError names the combination that cannot be."""
    base = dict(overrides or {})
    if not 1 <= len(vary) <= 2:
        raise ConfigError(f"A sweep varies one or two settings, not {len(vary)}.")
    for key in vary:
        if key in base:
            raise ConfigError(f"{named(key)} is both set and varied; leave one of them out.")
    count = math.prod(len(values) for values in vary.values())
    if count > MOST:
        sizes = " x ".join(str(len(values)) for values in vary.values())
        raise ConfigError(f"{sizes} values are {count} runs; {MOST} at most are a sweep.")
    found = []
    for values in itertools.product(*vary.values()):
        combination = dict(zip(vary, values, strict=True))
        try:
            config = load_preset(preset, base | combination)
        except ConfigError as error:
            told = ", ".join(f"{named(key)} = {brief(str(value))}" for key, value in combination.items())
            raise ConfigError(f"The run with {told} cannot be: {error}") from error
        found.append(Planned(_name(name, combination), values, base | combination, config))
    return found


def start(
    home: Home,
    preset: str,
    vary: Mapping[str, Sequence[Any]],
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
) -> str:
    """Put a run for every combination in line, all of them or none; returns the sweep's name.

    Raises ConfigError or Refused, before anything is made, where one of them cannot be. Whoever reads the home next
    starts the supervisor that lets the first one begin, as `launch.reconcile` does.
    """
    from engine.data import check_available  # numpy and tokenizers: not for a table

    with closing(store.connect(home.database, durable=True)) as db:
        name = name or _next_name(db, preset)
        store.check_run_name(name)
        runs = planned(preset, name, vary, overrides)
        for run in runs:
            store.check_run_name(run.name)
            check_available(home, run.config)
            check_disk(home, run.config)
        devices = {run.name: choose_device(run.config.train.device) for run in runs}
        with store.writing(db):
            store.add_sweep(db, name, preset, {key: list(values) for key, values in vary.items()})
            for run in runs:
                store.add_run(db, run.config, preset, run.name, devices[run.name], queue=True, sweep=name)
    return name


def preview(
    db: Database,
    preset: str,
    vary: Mapping[str, Sequence[Any]],
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `start` would put in line: names and values of the runs, and about how many seconds they train in all."""
    runs, known = planned(preset, name or _next_name(db, preset), vary, overrides), store.list_runs(db)
    seconds = 0.0
    for run in runs:
        device, tokens = choose_device(run.config.train.device), run.config.total_steps * run.config.train.batch_tokens
        model = run.config.model
        seconds += queue.seconds_for(db, device, model.parameters, model.flops_per_token, tokens, known)
    return {
        "settings": {key: list(values) for key, values in vary.items()},
        "runs": [{"name": run.name, "values": list(run.values)} for run in runs],
        "seconds": seconds,
    }


def result(home: Home, name: str) -> dict[str, Any]:
    """What became of a sweep: its settings, and for each run its values, its status, its final and its best figure."""
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        return result_of(db, name)


def result_of(db: Database, name: str) -> dict[str, Any]:
    """The same from an open database. `measure` is what is compared, in nats a token or bits a byte; `best` the id of
    the run with the smallest figure, or None; `ended` how many runs have."""
    sweep = store.get_sweep(db, name)
    measure = "val_bits_per_byte" if any(key.startswith(OTHER_TEXT) for key in sweep["settings"]) else "val_loss"
    measured, runs = store.evals_of_sweep(db, name, measure), []
    for run in store.runs_of_sweep(db, name):
        figures = measured.get(run["id"], {"best": None, "best_step": None, "final": None})
        values = _values(db, run["id"], sweep["settings"])
        row = {key: run[key] for key in ("id", "name", "status", "step", "total_steps", "tokens", "error")}
        row |= {key: figures[key] for key in ("best", "best_step", "final")}
        runs.append(row | {"values": values, "seconds": run["elapsed_seconds"]})
    known = [run for run in runs if run["best"] is not None]
    return {
        "name": name,
        "preset": sweep["preset"],
        "settings": sweep["settings"],
        "measure": measure,
        "runs": runs,
        "best": min(known, key=lambda run: run["best"])["id"] if known else None,
        "ended": sum(run["status"] not in store.OPEN for run in runs),
    }


def take_out(home: Home, name: str) -> int:
    """Take the runs of a sweep that have not begun out of line; returns how many."""
    with closing(store.connect(home.database, durable=True)) as db, store.writing(db):
        store.get_sweep(db, name)
        return sum(store.leave_line(db, run["id"]) for run in store.queued_runs(db) if run["sweep"] == name)


def _values(db: Database, run_id: str, settings: Mapping[str, Any]) -> list[Any]:
    """A run's own values of the settings that vary."""
    config: Any = json.loads(store.get_config(db, run_id))
    found = []
    for key in settings:
        value = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found.append(value)
    return found


def _range(key: str, text: str) -> list[int | float]:
    """The numbers of one range; raises ConfigError."""
    match = RANGE.fullmatch(text)
    numbers = [_number(match[part] or "1") for part in ("low", "high", "by")] if match else []
    low, high, by = (number for number in (*numbers, None, None, None)[:3])
    if match is None or low is None or high is None or by is None:
        raise ConfigError(f"{named(key)}: {brief(repr(text))} is no range of numbers; {GRAMMAR}.")
    if match["how"] is None and not (isinstance(low, int) and isinstance(high, int)):
        raise ConfigError(f"{named(key)}: {brief(repr(text))} needs a step; {GRAMMAR}.")
    times = match["how"] == "x"
    if high < low or not (low > 0 and by > 1 if times else by > 0):
        raise ConfigError(f"{named(key)}: {brief(repr(text))} leads nowhere; {GRAMMAR}.")
    values = [low]
    while len(values) <= MOST:
        value = values[-1] * by if times else low + by * len(values)
        value = value if isinstance(value, int) else float(f"{value:.12g}")  # 0.30000000000000004 is meant as 0.3
        if value > high:
            break
        values.append(value)
    return values


def _number(text: str) -> int | float | None:
    """A number of a size that settings have; None for anything else."""
    value = parse_value(text)
    ordinary = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    return value if ordinary else None


def _name(name: str, combination: Mapping[str, Any]) -> str:
    """NAME-lr0.02-seed1: what tells the run from the others."""
    parts = [f"{SHORT.get(key, key.rpartition('.')[2])}{_short(value)}" for key, value in combination.items()]
    return re.sub(r"[^A-Za-z0-9._-]", "-", "-".join([name, *parts]))


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _next_name(db: Database, preset: str) -> str:
    taken = {sweep["name"] for sweep in store.list_sweeps(db)}
    return next(name for number in itertools.count(1) if (name := f"{preset}-sweep-{number}") not in taken)
