"""What runs leave behind, for the page: the end of the log, comparisons, looks at how they learn."""

import json
import math
import re
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from engine import config, store
from engine.home import PROJECT, Home
from engine.store import Row
from ui import costs, describe
from ui.series import number

LOG_BYTES, LOG_LINES = 16_384, 30
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)+([^\s/:'\",)]+)")
"""A path of this machine in a line of a log; an address like http://x/y is none."""
QUOTED = re.compile(r"(?<=[\"'])/[^\"']*/([^/\"']+)")
MOST_COMPARED = 50
"""Runs whose settings are laid beside each other at once; as many as one chart takes."""
MOST_LOOKS = 100


def log_tail(home: Home, run: Row) -> list[str]:
    """The last lines that a run's trainer printed, without any path of this machine."""
    path = home.log(run["id"])
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - LOG_BYTES))
            text = log.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    lines = [clean(line, home) for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-LOG_LINES:]


def clean(line: str, home: Home, longest: int = 500) -> str:
    """A line of a log with paths below the home or the project made relative, and of others the last part only."""
    for folder in sorted({str(home.path), str(PROJECT), str(Path.home())}, key=len, reverse=True):
        if folder != "/":
            line = line.replace(folder + "/", "").replace(folder, ".")
    return ABSOLUTE.sub(r"…/\1", QUOTED.sub(r"…/\1", line))[:longest]


def compared(db: Database, runs: list[Row]) -> list[dict[str, Any]]:
    """One row a run for the table of all runs."""
    newest = store.last_evals(db)
    return [
        {
            "id": run["id"],
            "seconds": number(run["elapsed_seconds"], 4),
            "tokens": run["tokens"],
            "speed": number(describe.speed(run), 3),
            "val_loss": number(run["val_loss"], 5),
            "bits": number(newest[run["id"]]["val_bits_per_byte"], 5) if run["id"] in newest else None,
            "started": round(run["started_at"] or run["created_at"]),
            "notes": run["notes"],
            **costs.compared(run),
        }
        for run in runs
    ]


def differences(db: Database, run_ids: list[str]) -> list[dict[str, Any]]:
    """The settings in which these runs differ, with their values in the order of the ids; raises Refused."""
    if len(run_ids) > MOST_COMPARED:
        raise store.Refused(f"{len(run_ids)} runs are too many to compare; {MOST_COMPARED} at most.")
    if store.REFERENCE_ID in run_ids:
        raise store.Refused("The published run has no settings in the form of this studio's runs.")
    stored = store.get_configs(db, run_ids)
    if missing := [run_id for run_id in run_ids if run_id not in stored]:
        raise store.Refused(f"There is no run {missing[0][:80]!r}.")
    found = [config.settings(config.from_json(stored[run_id])) for run_id in run_ids]
    keys = list(dict.fromkeys(key for settings in found for key in settings))
    labels = {field["key"]: field["label"] for field in describe.form_fields()}
    return [
        {"key": key, "label": labels.get(key, key), "values": [settings.get(key) for settings in found]}
        for key in keys
        if len({json.dumps(settings.get(key)) for settings in found}) > 1
    ]


def diagnosis(db: Database, run: Row) -> dict[str, Any]:
    """What looked wrong about how a run learns at the newest look, and how its groups of weights moved at each."""
    looks = store.looks(db, run["id"])
    if not looks:
        return {"run": run["id"], "step": None, "findings": [], "groups": []}
    thin = looks[:: math.ceil(len(looks) / MOST_LOOKS)]
    newest = looks[-1]
    groups = [
        {
            "name": name,
            "gradient": number(group["gradient"], 3),
            "ratio": number(group["ratio"], 3),
            "ratios": [number(look["groups"].get(name, {}).get("ratio"), 3) for look in thin],
        }
        for name, group in newest["groups"].items()
    ]
    return {
        "run": run["id"],
        "step": newest["step"],
        "findings": [finding["sentence"] for finding in newest["findings"]],
        "attention": number(max(newest["attention"], default=None), 3),
        "steps": [look["step"] for look in thin],
        "groups": groups,
    }
