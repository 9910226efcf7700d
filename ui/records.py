"""What runs leave behind, for the page: marks on the chart, the end of the log, comparisons, figures."""

import json
import math
import re
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from engine import config, phrases, store
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


def report(db: Database, run: Row) -> dict[str, Any]:
    """Final figures of a run beside the published ones; what was not measured is None."""
    mine = figures(run, store.last_eval(db, run["id"]))
    published = figures(store.get_run(db, store.REFERENCE_ID), store.last_eval(db, store.REFERENCE_ID))
    return {
        "run": run["id"],
        "summary": summed_up(run, mine, published),
        "figures": mine,
        "published": published,
        "ages": len(store.ages(db, run["id"])),
        "kept": store.search_archive(db, run_id=run["id"])[1],
        "environment": {
            name: str(run["environment"][name]) for name in ("device_name", "precision") if run["environment"].get(name)
        },
    }


def summed_up(run: Row, mine: dict[str, Any], published: dict[str, Any]) -> str:
    """What was trained and how far, what it reached, and how that stands beside the published run, in sentences."""
    who = f"{run['name']}, a model of {phrases.count(mine['parameters'])} parameters,"
    if not mine["tokens"]:
        return f"{who} has read nothing yet."
    wanted, read, dataset = phrases.count(run["target_tokens"]), phrases.count(mine["tokens"]), mine["dataset"]
    time = f" in {phrases.duration(mine['seconds'])}" if mine["seconds"] else ""
    if run["status"] == "finished":
        first = f"{who} has read all of its {read} tokens of {dataset}{time}."
    elif run["status"] in store.OPEN:
        first = f"{who} has so far read {read} of {wanted} tokens of {dataset}{time}."
    else:
        ended = "was stopped" if run["status"] == "stopped" else run["status"]
        first = f"{who} read {read} of {wanted} tokens of {dataset}{time}, then it {ended}."
    if mine["val_loss"] is None:
        return f"{first} How well it does on unseen text was not measured yet."
    guesses = f"; it guesses {mine['accuracy']:.1%} of the tokens right" if mine["accuracy"] is not None else ""
    return (
        f"{first} On unseen text its loss is {phrases.loss(mine['val_loss'])}{guesses}. The published Blueberry-Nano, "
        f"{_times(published['parameters'], mine['parameters'])} its size and "
        f"{_times(published['tokens'], mine['tokens'])} its age, reached {phrases.loss(published['val_loss'])} and "
        f"{published['accuracy']:.1%} on a text of its own in tokens of its own."
    )


def _times(one: float, other: float) -> str:
    """How many times `other` goes into `one`, in sensible digits."""
    ratio = one / other
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def figures(run: Row, evaluation: Row | None) -> dict[str, Any]:
    """The figures of one run that a report shows."""
    loss = run["val_loss"] if run["kind"] == "published" or evaluation is None else evaluation["val_loss"]
    return {
        "parameters": run["parameters"],
        "tokens": run["tokens"],
        "seconds": number(run["elapsed_seconds"], 4),
        "speed": number(describe.speed(run), 3),
        "val_loss": number(loss, 5),
        "perplexity": number(math.exp(loss), 5) if loss is not None and loss < 50 else None,
        "accuracy": number(evaluation["val_accuracy"], 4) if evaluation else None,
        "bits": number(evaluation["val_bits_per_byte"], 5) if evaluation else None,
        "dataset": run["dataset"],
    }


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
