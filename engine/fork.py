"""A new run from the weights of another one, with changed settings: what may change, and what goes on. No torch."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine import launch, store
from engine.config import ConfigError, RunConfig, changed, from_json, settings
from engine.gpu import choose_device
from engine.home import Home
from engine.inheritance import Heritage, hand_over, has_optimizer, text_of
from engine.schedule import learning_rate_factor
from engine.space import check_disk
from engine.store import Refused

FLEXIBLE = ("model.context", "model.window", "model.rope_base")
"""Settings of the model that no weight depends on."""
SHOWN = 8
"""Steps that a refusal names."""


@dataclass(frozen=True)
class Origin:
    """Weights of a run that a fork can begin with."""

    row: store.Row
    """Of `checkpoints`."""
    exact: bool
    """Whether the optimizer is there too, so that a fork goes on exactly."""

    @property
    def step(self) -> int:
        """Their age."""
        return int(self.row["step"])


@dataclass(frozen=True)
class Plan:
    """What a fork would be."""

    parent: store.Row
    origin: Origin
    config: RunConfig
    changes: dict[str, tuple[Any, Any]]
    """Settings that differ from the parent's: before and now."""
    heritage: Heritage
    notes: tuple[str, ...]
    """Sentences on what goes on, what begins anew, and what the learning rate does."""


def origins(home: Home, db: Database, run_id: str) -> list[Origin]:
    """The best weights of each step of a run, oldest first; the model before it learned anything is none."""
    best: dict[int, store.Row] = {}
    for kind in ("kept", "sampling", "full"):
        best |= {row["step"]: row for row in store.list_checkpoints(db, run_id, kind) if row["step"] > 0}
    return [Origin(best[step], has_optimizer(home, run_id, best[step])) for step in sorted(best)]


def plan_fork(
    home: Home, db: Database, parent: store.Row, step: int | None = None, overrides: Mapping[str, Any] | None = None
) -> Plan:
    """What a fork of `parent` at `step` (None: its newest whole checkpoint) would be, with nothing made or changed.

    Raises Refused or ConfigError, naming the setting, for what these weights cannot do.
    """
    if parent["kind"] != "trained":
        raise Refused(f"{parent['name']} is a published run: its weights are not in this home, so it has no forks.")
    origin = _choose(home, db, parent, step)
    before = from_json(store.get_config(db, parent["id"]))
    config = changed(before, overrides or {})
    was, now = settings(before), settings(config)
    changes = {key: (was[key], now[key]) for key in now if was[key] != now[key]}
    for key in changes:
        _check_change(parent, key, was[key], now[key])
    if config.total_steps <= origin.step:
        least = origin.step * config.train.batch_tokens
        raise ConfigError(
            f"train.tokens = {config.train.tokens:,} ends at step {config.total_steps:,}, but the fork begins at step "
            f"{origin.step:,}; set train.tokens above {least:,}."
        )
    heritage = text_of(home, db, parent, origin.row, before, config)
    return Plan(parent, origin, config, changes, heritage, _notes(parent, origin, before, config, heritage))


def fork_run(
    home: Home, run: str, step: int | None = None, name: str = "", overrides: Mapping[str, Any] | None = None
) -> str:
    """Begin a detached run with the weights of another one, and return its id; raises ConfigError or Refused.

    Its steps and tokens are counted on from there. What it needs is copied: the parent may go. Waits up to 30 s for a
    run on the same device that is stopping.
    """
    with closing(store.connect(home.database, durable=True)) as db:
        parent = store.find_run(db, run)
        plan = plan_fork(home, db, parent, step, overrides)
        name = name or launch.next_name(db, f"{parent['name'][:50]}-fork")
        store.check_run_name(name)
        device = choose_device(plan.config.train.device)
        check_disk(home, plan.config, plan.origin.step)
        launch.wait_for_device(home, db, device)
        store.refuse_second_run(db, device)  # before anything is copied; the last word is said when the run is made
        with hand_over(home, parent, plan.origin.row, plan.config, plan.heritage) as inherited, store.writing(db):
            run_id = store.add_run(db, plan.config, parent["preset"], name, device)
            store.make_fork(db, run_id, parent["id"], inherited.row)
            store.add_event(db, run_id, "forked", _told(plan), plan.origin.step)
            inherited.move_to(home.run(run_id))
    launch.ensure_supervisor(home)
    return run_id


def _choose(home: Home, db: Database, parent: store.Row, step: int | None) -> Origin:
    there = origins(home, db, parent["id"])
    if not there:
        raise Refused(f"{parent['name']} has no weights to begin with: none were saved yet, or they are gone.")
    if step is None:
        return next((one for one in reversed(there) if one.exact), there[-1])
    if step == 0:
        raise Refused("Step 0 is a model that has learned nothing: start a new run in place of a fork.")
    found = next((one for one in there if one.step == step), None)
    if found is None:
        near = sorted(sorted(there, key=lambda one: abs(one.step - step))[:SHOWN], key=lambda one: one.step)
        named = ", ".join(f"{one.step:,}" for one in near)
        which = "there are" if len(near) == len(there) else f"of {len(there)} the nearest are"
        raise Refused(f"{parent['name']} has no weights of step {step:,}; {which} {named}.")
    return found


def is_fixed(key: str) -> bool:
    """Whether a setting cannot change in a fork."""
    return (key.startswith("model.") and key not in FLEXIBLE) or key in ("data.tokenizer", "train.batch_tokens")


def _check_change(parent: store.Row, key: str, was: Any, now: Any) -> None:
    """Raise ConfigError where the weights do not allow a setting to change."""
    if not is_fixed(key):
        return
    reason = f"the weights of {parent['name']} are made for {was}; start a new run for another model"
    if key == "data.tokenizer":
        reason = f"the weights know the pieces of {parent['name']}'s tokenizer, {was}"
    if key == "train.batch_tokens":
        reason = f"steps and tokens are counted on from those of {parent['name']}, with {was:,} tokens in a step"
    raise ConfigError(f"{key} = {now} cannot be set in a fork: {reason}.")


def _notes(
    parent: store.Row, origin: Origin, before: RunConfig, config: RunConfig, heritage: Heritage
) -> tuple[str, ...]:
    name, step = parent["name"], origin.step
    if heritage.optimizer:
        notes = [f"Weights and optimizer go on exactly as they were in {name} at step {step:,}."]
    else:
        notes = [
            f"Of step {step:,} there are only the bf16 weights that answered: they go on, the optimizer begins anew, "
            "and the loss may rise for some steps."
        ]
    if heritage.optimizer:
        anew = [
            label
            for key, label in (("ema", "The average of the weights"), ("neuron_memory", "NorMuon's memory"))
            if getattr(config.optimizer, key) and not getattr(before.optimizer, key)
        ]
        notes += [f"{label} begins anew." for label in anew]
    if heritage.text_anew:
        notes.append(f"The text begins anew at step {step:,}, in an order of its own, because {heritage.text_anew}.")
    if heritage.rate != 1.0:
        notes.append(f"{name} had gone back after losses that were no numbers: its rates stay at {heritage.rate:g}.")
    notes.append(_rate(name, step, before, config, heritage.rate))
    return tuple(notes)


def _rate(name: str, step: int, before: RunConfig, config: RunConfig, carried: float) -> str:
    """What the learning rate does from here on."""
    old, new = (
        carried * one.optimizer.muon_lr * learning_rate_factor(step, one.total_steps, one.schedule)
        for one in (before, config)
    )
    last = carried * config.optimizer.muon_lr * config.schedule.final
    falls = f"falls to {last:.3g} by step {config.total_steps:,}" if config.schedule.decay else "stays until its end"
    if new == old:
        return f"Muon's learning rate goes on at {new:.3g}, and {falls}."
    return f"Muon's learning rate goes from {old:.3g} in {name} to {new:.3g}, and {falls}."


def _told(plan: Plan) -> str:
    """The event that the fork begins with."""
    different = "; ".join(f"{key} is {now}, was {was}" for key, (was, now) in plan.changes.items())
    what = f"Changed: {different}." if different else "No setting was changed."
    return " ".join([f"Forked from {plan.parent['name']} at step {plan.origin.step:,}.", what, *plan.notes])
