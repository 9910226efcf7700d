"""Settings that may change while a run trains: what they may become, from which step they hold, what a person is told.

A change holds from the step in which the trainer takes it. It is kept with that step, so that a run that goes back to
an earlier checkpoint makes the same changes at the same steps, and ends with the same weights. The config itself never
changes. The learning rate keeps to the schedule it began with: a run that ends earlier leaves it early, and one that
ends later goes on at its last rate, unless the schedule is given another length too.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine import store
from engine.config import ConfigError, RunConfig, changed
from engine.recorder import Recorder
from engine.schedule import learning_rate_factor
from engine.settings import brief, did_you_mean, named

LOW, HIGH = 0.01, 100.0
"""The smallest and the largest factor of the learning rates."""
KEYS = ("rate_factor", "eval.every", "sample.every", "checkpoint.every", "train.tokens", "schedule.tokens")


@dataclass(frozen=True)
class Course:
    """What may change about a run, as it is in one step."""

    rate_factor: float
    """What all learning rates are multiplied with."""
    eval_every: int
    sample_every: int
    checkpoint_every: int
    total_steps: int
    """Where it ends."""
    schedule_steps: int
    """Over how many steps its learning rate rises and falls."""

    @classmethod
    def planned(cls, config: RunConfig) -> "Course":
        """What the config says."""
        total = config.total_steps
        return cls(1.0, config.eval.every, config.sample.every, config.checkpoint.every, total, total)

    def changed(self, key: str, value: float, config: RunConfig) -> "Course":
        """The same with one of KEYS changed."""
        if key == "rate_factor":
            return replace(self, rate_factor=float(value))
        if key in ("train.tokens", "schedule.tokens"):
            steps = math.ceil(int(value) / config.train.batch_tokens)
            return replace(self, **{"total_steps" if key == "train.tokens" else "schedule_steps": steps})
        return replace(self, **{key.replace(".", "_"): int(value)})

    def rate(self, step: int, config: RunConfig) -> float:
        """Muon's learning rate in step `step` (0-based)."""
        share = learning_rate_factor(step, self.schedule_steps, config.schedule)
        return config.optimizer.muon_lr * self.rate_factor * share


def course(config: RunConfig, changes: Iterable[store.Row], step: float = math.inf) -> Course:
    """What holds when a run has made `step` steps; at infinity also what is to come and what waits for its step."""
    now = Course.planned(config)
    for change in changes:
        since = math.inf if change["step"] is None else change["step"]
        if since <= step:
            now = now.changed(change["key"], change["value"], config)
            if now.total_steps <= since < math.inf:  # it had come too far by then: one more step, and the end
                now = replace(now, total_steps=int(since) + 1)
    return now


def check_changes(config: RunConfig, now: Course, done: int, wanted: Mapping[str, Any]) -> dict[str, float]:
    """The values as they may be set when `done` steps are made; raises ConfigError, naming the key."""
    if not wanted:
        raise ConfigError(f"Nothing was given to change; for example rate_factor=0.5, or one of {', '.join(KEYS[1:])}.")
    values = {key: _checked(config, key, value) for key, value in wanted.items()}
    after = now
    for key, value in values.items():
        after = after.changed(key, value, config)
        if key in ("train.tokens", "schedule.tokens") and value <= done * config.train.batch_tokens:
            raise ConfigError(
                f"{key} = {value:,} is behind the run, which has read {done * config.train.batch_tokens:,} tokens; "
                "give more, or stop the run."
            )
    moved = "train.tokens" in values and after.total_steps > after.schedule_steps
    if moved and after.rate(after.schedule_steps, config) == 0:
        raise ConfigError(
            f"train.tokens = {values['train.tokens']:,} goes beyond step {after.schedule_steps:,}, where the learning "
            "rate has fallen to 0 and nothing is learned any more; "
            f"set schedule.tokens={values['train.tokens']} too, which stretches the schedule."
        )
    return values


def told(config: RunConfig, before: Course, after: Course, key: str, step: int) -> str:
    """What a change does, in a sentence; `step` steps are made."""
    since = f"from step {step + 1:,} on"
    if key == "rate_factor":
        ratio = after.rate_factor / before.rate_factor
        verb = {0.5: "halved", 2.0: "doubled"}.get(ratio, "raised" if ratio > 1 else "lowered")
        verb = verb if ratio != 1 else "left as it is"
        return (
            f"Learning rate {verb}: factor {after.rate_factor:g} (was {before.rate_factor:g}) {since}; Muon's is "
            f"{after.rate(step, config):.3g}."
        )
    if key == "train.tokens":
        tokens, last = after.total_steps * config.train.batch_tokens, after.rate(after.total_steps - 1, config)
        return (
            f"It ends at step {after.total_steps:,} ({tokens:,} tokens), was step {before.total_steps:,}; the learning "
            f"rate keeps to its schedule over {after.schedule_steps:,} steps, so Muon's last is {last:.3g}."
        )
    if key == "schedule.tokens":
        return (
            f"The learning rate's schedule is over {after.schedule_steps:,} steps (was {before.schedule_steps:,}) "
            f"{since}: Muon's goes from {before.rate(step, config):.3g} to {after.rate(step, config):.3g}."
        )
    does = {"eval.every": "Evaluates", "sample.every": "Asks the prompts", "checkpoint.every": "Saves"}[key]
    was, now = (getattr(one, key.replace(".", "_")) for one in (before, after))
    return f"{does} every {now:,} steps (was {was:,}) {since}."


class InFlight:
    """The trainer's side: takes changes between two steps, and makes those of earlier attempts again at theirs."""

    def __init__(self, config: RunConfig, recorder: Recorder, changes: list[store.Row], step: int) -> None:
        """`changes`: the run's so far. Those of no step yet, taken by an attempt that ended before its next step,
        hold from `step` on."""
        self.config, self.recorder = config, recorder
        self._due = math.inf
        self.changes = [change for change in changes if change["step"] is not None]
        for change in changes:
            if change["step"] is None:
                self._take(change, step)
        self._look(step)

    def at(self, step: int) -> Course:
        """What holds in the step that follows `step` steps, with what was asked for meanwhile."""
        while self.recorder.changes:
            self._take(self.recorder.changes.popleft(), step)
            self._due = step
        if step >= self._due:
            self._look(step)
        return self.now

    def _take(self, change: store.Row, step: int) -> None:
        if any(one["id"] == change["id"] for one in self.changes):
            return  # this attempt has read it as one of those before it
        before = course(self.config, self.changes, step)
        # What an attempt that came further had changed later is superseded (store.date_change).
        kept = [one for one in self.changes if one["key"] != change["key"] or one["step"] <= step]
        self.changes = sorted([*kept, change | {"step": step}], key=lambda one: (one["step"], one["id"]))
        self.recorder.dated(change["id"], step)
        after = course(self.config, self.changes, step)
        self.recorder.event("changed", told(self.config, before, after, change["key"], step), step)

    def _look(self, step: int) -> None:
        """What holds now, when that will change again, and where the run ends as far as is known."""
        self.now = course(self.config, self.changes, step)
        self._due = min((one["step"] for one in self.changes if one["step"] > step), default=math.inf)
        self.end = course(self.config, self.changes).total_steps
        moved = self.end != self.config.total_steps
        tokens = self.end * self.config.train.batch_tokens
        self.recorder.state(end_step=self.end if moved else None, end_tokens=tokens if moved else None)


def _checked(config: RunConfig, key: str, value: Any) -> float:
    """One value in its type and within its limits."""
    if key not in KEYS:
        raise ConfigError(
            f"{named(key)} cannot change while a run trains{did_you_mean(key, KEYS)}; {', '.join(KEYS)} can."
        )
    if key == "rate_factor":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not LOW <= value <= HIGH:
            raise ConfigError(f"rate_factor = {brief(repr(value))} must be a number from {LOW:g} to {HIGH:g}.")
        return float(value)
    setting = "train.tokens" if key == "schedule.tokens" else key
    try:
        section, name = setting.split(".")
        return int(getattr(getattr(changed(config, {setting: value}), section), name))
    except ConfigError as error:
        raise ConfigError(str(error).replace(setting, key, 1)) from None
