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
from engine.inflight import Course, course
from engine.inheritance import Heritage, hand_over, has_optimizer, text_of
from engine.phrases import exact
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
    carried: dict[str, float]
    """What had been changed while the parent ran (engine/inflight.py), and goes on."""
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
        published = parent["kind"] == "published"
        why = "is a published run: its weights are not" if published else "was trained elsewhere: its text is not"
        raise Refused(f"{parent['name']} {why} in this home, so it has no forks.")
    origin = _choose(home, db, parent, step)
    before = from_json(store.get_config(db, parent["id"]))
    config = changed(before, overrides or {})
    was, now = settings(before), settings(config)
    changes = {key: (was[key], now[key]) for key in now if was[key] != now[key]}
    for key in changes:
        _check_change(parent, key, was[key], now[key])
    history = store.list_changes(db, parent["id"])
    carried = _carried(history, origin.step, overrides or {})
    was_on = course(before, history, origin.step)
    goes_on = course(config, [{"key": key, "value": carried[key], "step": 0} for key in carried])
    if goes_on.total_steps <= origin.step:
        least, given = origin.step * config.train.batch_tokens, int(carried.get("train.tokens", config.train.tokens))
        raise ConfigError(
            f"train.tokens = {given:,} ends at step {goes_on.total_steps:,}, but the fork begins at step "
            f"{origin.step:,}; set train.tokens above {least:,}."
        )
    heritage = text_of(home, db, parent, origin.row, before, config)
    notes = _notes(parent, origin, before, config, heritage)
    if carried:
        told = ", ".join(f"{key} = {exact(value)}" for key, value in carried.items())
        notes.append(f"What was changed while {parent['name']} ran goes on: {told}.")
    notes.append(_rate(parent["name"], origin.step, heritage.rate, (was_on, before), (goes_on, config)))
    return Plan(parent, origin, config, changes, heritage, carried, tuple(notes))


def fork_run(
    home: Home,
    run: str,
    step: int | None = None,
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
    queue: bool = False,
) -> str:
    """Begin a detached run with the weights of another one, and return its id; raises ConfigError or Refused.

    Its steps and tokens are counted on from there. What it needs is copied: the parent may go. Waits up to 30 s for a
    run on the same device that is stopping; with `queue` the run waits in line instead.
    """
    with closing(store.connect(home.database, durable=True)) as db:
        parent = store.find_run(db, run)
        plan = plan_fork(home, db, parent, step, overrides)
        name = name or launch.next_name(db, f"{parent['name'][:50]}-fork")
        store.check_run_name(name)
        device = choose_device(plan.config.train.device)
        check_disk(home, plan.config, plan.origin.step)
        if not queue:
            launch.wait_for_device(home, db, device)
            store.refuse_second_run(db, device)  # before anything is copied; the last word is said when the run is made
        with hand_over(home, parent, plan.origin.row, plan.config, plan.heritage) as inherited, store.writing(db):
            run_id = store.add_run(db, plan.config, parent["preset"], name, device, queue=queue)
            store.make_fork(db, run_id, parent["id"], inherited.row)
            store.add_changes(db, run_id, plan.origin.step, plan.carried)
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


def _notes(parent: store.Row, origin: Origin, before: RunConfig, config: RunConfig, heritage: Heritage) -> list[str]:
    """What goes on and what begins anew."""
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
    return notes


def _rate(name: str, step: int, carried: float, before: tuple[Course, RunConfig], now: tuple[Course, RunConfig]) -> str:
    """What the learning rate does from here on; `carried`: the factor that the checkpoint brings."""
    old, new = (carried * one.rate(step, config) for one, config in (before, now))
    last = carried * now[0].rate(now[0].total_steps, now[1])
    ends = f"is {last:.3g} at the end, step {now[0].total_steps:,}"
    if new == old:
        return f"Muon's learning rate goes on at {new:.3g}, and {ends}."
    return f"Muon's learning rate goes from {old:.3g} in {name} to {new:.3g}, and {ends}."


def _carried(history: list[store.Row], step: int, overrides: Mapping[str, Any]) -> dict[str, float]:
    """Values that were set while the parent ran and hold at `step`, but for what the fork sets anew."""
    held = [change for change in history if change["step"] is not None and change["step"] <= step]
    values = {change["key"]: change["value"] for change in held}
    anew = set(overrides)
    if any(key == "train.tokens" or key.startswith("schedule.") for key in overrides):
        anew |= {"train.tokens", "schedule.tokens"}
    return {key: value for key, value in values.items() if key not in anew}


def _told(plan: Plan) -> str:
    """The event that the fork begins with."""
    different = "; ".join(f"{key} is {now}, was {was}" for key, (was, now) in plan.changes.items())
    what = f"Changed: {different}." if different else "No setting was changed."
    return " ".join([f"Forked from {plan.parent['name']} at step {plan.origin.step:,}.", what, *plan.notes])
