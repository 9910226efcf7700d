"""What stands in a capsule, checked field by field: a stranger may have written it, and none of it is believed.

Each function takes what JSON gave and returns rows as they may be stored, or raises Refused with a sentence. What a
capsule of a later version tells besides is left out.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from engine import capsule
from engine.ask import Ask
from engine.capsule import HASH, ID
from engine.config import ConfigError, RunConfig, from_json
from engine.store import LONGEST_TAG, MOST_TAGS, Refused, Row, check_tag

MOST = 2**63 - 1
"""Of whole numbers, as SQLite holds them."""
LATEST = 4e9
"""Seconds since 1970, the year 2096."""
ENDED = ("finished", "stopped", "failed", "diverged", "crashed")
SOURCES = ("periodic", "playground", "live")
_BAD = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Told:
    """What a capsule tells of one run."""

    row: Row
    """For `runs`, without its id."""
    state: Row
    """For `run_state`."""
    config: RunConfig
    tokenizer: str | None
    end: str
    weights: tuple[Row, ...]
    """sha256, attempt, step, tokens."""


def checked_manifest(tree: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    """The manifest of a capsule whose members have these sizes."""
    tree = _group(tree, "manifest.json")
    if tree.get("format") != capsule.FORMAT:
        raise Refused("manifest.json does not say that this is a capsule of Blueberry Studio.")
    if tree.get("version") != capsule.VERSION:
        raise Refused(
            f"This capsule has version {str(tree.get('version'))[:20]}; this program knows {capsule.VERSION}. "
            "Update Blueberry Studio."
        )
    members = _group(tree.get("members"), "members in manifest.json")
    if set(members) != set(sizes):
        odd = sorted(set(members) ^ set(sizes))[0]
        raise Refused(f"The capsule and its manifest do not have the same members: {odd[:80]!r}.")
    for name, entry in members.items():
        where = f"{name} in manifest.json"
        if _whole(_group(entry, where), "bytes", where) != sizes[name]:
            raise Refused(f"{name} has {sizes[name]:,} bytes, and the manifest says another size.")
        _hash(entry, "sha256", where)
        by_name = capsule.WEIGHTS.fullmatch(name) or capsule.TOKENIZER.fullmatch(name)
        if by_name and by_name[1] != entry["sha256"]:
            raise Refused(f"{name} is not called after its sha256.")
    for name in (capsule.RUNS, capsule.EXHIBITS, capsule.CURVES):
        if name not in members:
            raise Refused(f"The capsule has no {name}.")
    where = "manifest.json"
    names = tree.get("runs")
    if not isinstance(names, list) or not 1 <= len(names) <= capsule.MOST_RUNS:
        raise Refused(f"manifest.json must name 1 to {capsule.MOST_RUNS} runs.")
    day = tree.get("sealed_until")
    told = {
        "title": _text(tree, "title", where, capsule.LONGEST_TITLE, least=1),
        "from": _text(tree, "from", where, capsule.LONGEST_SENDER),
        "sealed_until": None if day is None else capsule.read_date(str(day)),
        "exhibits": _whole(tree, "exhibits", where, high=capsule.MOST_ROWS),
        "samples": _whole(tree, "samples", where, high=capsule.MOST_ROWS),
        "runs": [_text({"name": name}, "name", where, 64, least=1) for name in names],
        "created_at": _real(tree, "created_at", where, 0, LATEST),
        "id": _hash(tree, "id", where),
        "members": members,
    }
    if told["id"] != capsule.identity(tree):
        raise Refused("The capsule's id is not that of what is in it: its manifest was changed.")
    return told


def checked_runs(tree: Any) -> dict[str, Told]:
    """The runs in runs.json by the ids they have there."""
    if not isinstance(tree, list) or not 1 <= len(tree) <= capsule.MOST_RUNS:
        raise Refused(f"runs.json must be a list of 1 to {capsule.MOST_RUNS} runs.")
    found: dict[str, Told] = {}
    for number, one in enumerate(tree, 1):
        where = f"run {number} in runs.json"
        run_id = _text(_group(one, where), "id", where, 64)
        if not ID.fullmatch(run_id) or run_id in found:
            raise Refused(f"The id {run_id[:80]!r} of {where} is none, or is there twice.")
        found[run_id] = _told(one, where)
    return found


def _told(one: dict[str, Any], where: str) -> Told:
    try:
        config = from_json(json.dumps(_group(one.get("config"), f"config of {where}")))
    except ConfigError as error:
        raise Refused(f"The settings of {where} cannot be used: {error}") from error
    state = _group(one.get("state"), f"state of {where}")
    status = _text(state, "status", where, 20)
    tokenizer = one.get("tokenizer")
    weights = one.get("weights")
    if not isinstance(weights, list) or len(weights) > capsule.MOST_MEMBERS:
        raise Refused(f"weights of {where} must be a list.")
    return Told(
        row={
            "name": clean_name(_text(one, "name", where, 200)),
            "preset": clean_name(_text(one, "preset", where, 200)),
            "config": config.to_json(),
            "parameters": config.model.parameters,
            "target_tokens": _whole(one, "target_tokens", where),
            "total_steps": _whole(one, "total_steps", where),
            "dataset": clean_name(_text(one, "dataset", where, 200)),
            "note": _text(one, "note", where, 4000),
            "created_at": _real(one, "created_at", where, 0, LATEST),
        },
        state={
            # A run that still trained when it was packed has stopped, as far as this home will ever know.
            "status": status if status in ENDED else "stopped",
            "step": _whole(state, "step", where),
            "tokens": _whole(state, "tokens", where),
            **{name: _maybe(state, name, where) for name in ("train_loss", "val_loss", "tokens_per_second")},
            "elapsed_seconds": _real(state, "elapsed_seconds", where, 0, LATEST),
            **{name: _maybe(state, name, where, 0, LATEST) for name in ("started_at", "ended_at")},
            "environment": json.dumps(_facts(state.get("environment"), where)),
        },
        config=config,
        tokenizer=None if tokenizer is None else _hash(one, "tokenizer", where),
        end=_text(one, "end", where, 100, least=1),
        weights=tuple(
            {
                "sha256": _hash(_group(entry, f"weights of {where}"), "sha256", where),
                "attempt": _whole(entry, "attempt", where, high=10**6),
                "step": _whole(entry, "step", where, high=10**12),
                "tokens": _whole(entry, "tokens", where),
            }
            for entry in weights
        ),
    )


def checked_sample(line: Any, columns: Mapping[str, str], runs: Collection[str], where: str) -> tuple[str, Row]:
    """The run and the row of one answer; `columns` are those of `samples`, with their types."""
    run, sample = _text(_group(line, where), "run", where, 64), _group(line.get("sample"), where)
    if run not in runs:
        raise Refused(f"{where} belongs to a run that is not in the capsule.")
    row = {name: _stored(sample, name, columns[name], where) for name in columns if sample.get(name) is not None}
    for name in ("id", "run_id"):
        row.pop(name, None)
    row["superseded"] = int(bool(row.get("superseded")))
    for name in ("step", "tokens", "attempt"):
        row[name] = _whole(sample, name, where)
    row["prompt"], row["text"] = (_text(sample, name, where, capsule.LONGEST_TEXT) for name in ("prompt", "text"))
    row["created_at"] = _real(sample, "created_at", where, 0, LATEST)
    source = _text(sample, "source", where, 20)
    row["source"] = source if source in SOURCES else "playground"
    if row.get("weights_sha256") is not None:
        _hash(row, "weights_sha256", where)
    for name, (low, high) in LIMITS.items():
        if row.get(name) is not None:
            _real(row, name, where, low, high)
    _check_question(row, where)
    return run, row


def _check_question(row: Row, where: str) -> None:
    """Raise Refused for settings with which nobody can have asked; those of before they were kept are null."""
    known = [row.get(name) is not None for name in ASKED]
    try:
        if any(known) != all(known):
            raise ValueError("some settings are missing")
        Ask.from_sample(ANY | (row if all(known) else {name: row[name] for name in LATER if name in row}))
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        raise Refused(f"The capsule cannot be taken: how {where} was asked makes no sense.") from error


ASKED = ("seed", "temperature", "top_k", "top_p", "max_tokens")
"""Settings of which an answer knows all or, from before they were kept, none."""
LATER = ("min_p", "repetition_penalty", "stop")
ANY = {"prompt": "Any", "seed": 7, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_tokens": 1}
ANY |= {"min_p": 0.0, "repetition_penalty": 1.0, "stop": "[]"}
"""A question that makes sense, for what a row does not say."""
LIMITS = {
    "max_tokens": (1, 8192),
    "new_tokens": (0, 10**6),
    "temperature": (0, 10),
    "top_k": (0, 10**6),
    "top_p": (0, 1),
    "seed": (0, 2**63 - 1),
}
"""Of the settings of an answer; others are within what their column can hold."""


def checked_kept(line: Any, where: str) -> Row:
    """How an exhibit is kept."""
    kept = _group(line.get("kept"), where)
    return {
        "category": _text(kept, "category", where, 40, least=1),
        "title": _text(kept, "title", where, 200, least=1),
        "note": _text(kept, "note", where, 4000),
        "created_at": _real(kept, "created_at", where, 0, LATEST),
        "tags": _tags(kept.get("tags", []), where),
        "pinned": None if kept.get("pinned") is None else _whole(kept, "pinned", where),
    }


def checked_point(
    line: Any, columns: Mapping[str, Mapping[str, str]], runs: Collection[str], where: str
) -> tuple[str, str, Row]:
    """The run, the table and the row of one point of a curve; `columns` by table."""
    run, table = _text(_group(line, where), "run", where, 64), _text(line, "curve", where, 20)
    if run not in runs or table not in columns:
        raise Refused(f"{where} belongs to no run or to no curve that there is.")
    names = [name for name in columns[table] if name not in ("id", "run_id", "attempt", "superseded")]
    row = {name: _stored(line, name, columns[table][name], where) for name in names if line.get(name) is not None}
    row |= {name: _whole(line, name, where) for name in ("step", "tokens")}
    row.pop("expert_load", None)  # a structure that charts read; its figures are not worth the risk
    return run, table, row | {"elapsed_seconds": _real(line, "elapsed_seconds", where, 0, LATEST)}


def clean_name(text: str) -> str:
    """What a run may be called: the letters of a stranger's name that names have here."""
    return _BAD.sub("-", text).strip("-._")[:64] or "imported"


def _facts(tree: Any, where: str) -> dict[str, str]:
    """Short texts about the machine that trained."""
    found = _group(tree, f"environment of {where}")
    if len(found) > 40:
        raise Refused(f"environment of {where} has {len(found)} entries; 40 are the most.")
    known = ("device_name", "precision", "attention", "torch", "python")
    return {name: _text(found, name, where, 200) for name in known if name in found}


def _stored(tree: Mapping[str, Any], name: str, kind: str, where: str) -> Any:
    """A value as a column of this type takes it."""
    if kind == "TEXT":
        return _text(tree, name, where, capsule.LONGEST_TEXT)
    return _whole(tree, name, where, low=-MOST) if kind == "INTEGER" else _real(tree, name, where)


def _tags(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MOST_TAGS:
        raise Refused(f"The capsule cannot be taken: tags of {where} must be a list of up to {MOST_TAGS} texts.")
    named = [_text({"tag": one}, "tag", where, LONGEST_TAG, least=1) for one in value]
    try:
        return [check_tag(one) for one in named]
    except Refused as error:
        raise Refused(f"The capsule cannot be taken: {where} has a wrong tag. {error}") from error


def _group(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"The capsule cannot be taken: {where} is not a group of values.")
    return value


def _text(tree: Mapping[str, Any], name: str, where: str, longest: int, least: int = 0) -> str:
    value = tree.get(name)
    if not isinstance(value, str) or not least <= len(value) <= longest:
        raise Refused(
            f"The capsule cannot be taken: {name} of {where} must be text of {least} to {longest:,} characters."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"The capsule cannot be taken: {name} of {where} has half a character in it.") from error
    return value


def _whole(tree: Mapping[str, Any], name: str, where: str, low: int = 0, high: int = MOST) -> int:
    value = tree.get(name)
    if type(value) is not int or not low <= value <= high:
        raise Refused(
            f"The capsule cannot be taken: {name} of {where} must be a whole number from {low:,} to {high:,}."
        )
    return value


def _real(tree: Mapping[str, Any], name: str, where: str, low: float = -1e300, high: float = 1e300) -> float:
    value = tree.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not (low <= value <= high):  # no NaN either
        raise Refused(f"The capsule cannot be taken: {name} of {where} must be a number from {low:g} to {high:g}.")
    return float(value)


def _maybe(tree: Mapping[str, Any], name: str, where: str, low: float = -1e300, high: float = 1e300) -> float | None:
    return None if tree.get(name) is None else _real(tree, name, where, low, high)


def _hash(tree: Mapping[str, Any], name: str, where: str) -> str:
    value = tree.get(name)
    if not isinstance(value, str) or not HASH.fullmatch(value):
        raise Refused(f"The capsule cannot be taken: {name} of {where} must be a sha256 in 64 hexadecimal digits.")
    return value
