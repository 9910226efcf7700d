"""The settings a run was started with: the immutable snapshot, and the command that starts another run with them."""

import json
import shlex
from dataclasses import replace
from typing import Any

from sqlite_utils import Database

from engine import store
from engine.config import DEFAULT_PRESET, ConfigError, RunConfig, from_json, load_preset, presets
from engine.settings import parse_value, settings


def snapshot(db: Database, run: store.Row) -> dict[str, Any]:
    """What was asked for when a run was made, whatever became of presets and defaults since.

    `config` is the stored snapshot, `settings` the same by dotted name, `changed` those in which it differs from its
    preset as that is now, `command` what starts such a run again, and `remark` what is to be known about the command,
    in a sentence, or "". A published run has its `config` only.
    """
    stored = store.get_config(db, run["id"])
    found: dict[str, Any] = {"run": run["id"], "name": run["name"], "preset": run["preset"]}
    if run["kind"] == "published":
        remark = "Published elsewhere: these are its figures, not settings of this studio."
        return found | {"config": json.loads(stored), "settings": {}, "changed": [], "command": "", "remark": remark}
    config = from_json(stored)
    preset, remark = run["preset"], ""
    if preset not in presets():
        remark = f"The preset {preset} is not there any more; the command sets everything in which it differed from "
        preset, remark = DEFAULT_PRESET, f"{remark}{DEFAULT_PRESET}."
    base = load_preset(preset)
    config = replace(config, title=base.title)  # a line for the form, which no run looks at
    changed = changes(config, base)
    try:
        same = load_preset(preset, {key: parse_value(_spoken(value)) for key, value in changed.items()}) == config
    except ConfigError:
        same = False
    if not same:
        remark = "The command line cannot say every setting of this run; the JSON has them all."
    command = ["python -m engine start --preset", shlex.quote(preset), "--name", shlex.quote(run["name"])]
    return found | {
        "config": json.loads(stored),
        "settings": settings(config),
        "changed": list(changed),
        "command": " ".join([*command, *setting_words(changed)]),
        "remark": remark,
    }


def changes(config: RunConfig, preset: RunConfig) -> dict[str, Any]:
    """The settings in which a config differs from its preset."""
    before = settings(preset)
    return {key: value for key, value in settings(config).items() if value != before[key]}


def setting_words(changed: dict[str, Any]) -> list[str]:
    """Settings as the command line takes them, with `--set` before them; none where nothing is set."""
    words = [shlex.quote(f"{key}={_spoken(value)}") for key, value in changed.items()]
    return ["--set", *words] if words else []


def _spoken(value: Any) -> str:
    """A value as `--set` takes it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
