"""The members of a capsule that are text: exhibits with all their settings, the runs, their curves and tokenizers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlite_utils import Database

from engine import capsule, store
from engine.capsule import dumped
from engine.config import RunConfig, from_json
from engine.home import Home
from engine.store import Row
from engine.tokenizer import END, end_of

FACTS = ("device_name", "precision", "attention", "torch", "python")
"""What a capsule tells of the machine that trained a run."""


class Weights(Protocol):
    """What is told of weights (engine.capsule_pack.Source)."""

    @property
    def run_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def tokens(self) -> int: ...


def texts(
    home: Home,
    db: Database,
    packed: Sequence[Row],
    kept: Sequence[tuple[Row, Row]],
    samples: Sequence[Row],
    weights: Mapping[tuple[str, str], Weights],
) -> dict[str, bytes]:
    """The members that are text, in the order in which they are packed; `weights` by run and sha256."""
    points = min(store.POINTS, capsule.MOST_ROWS // (2 * len(packed)) - 1)
    runs, cards, curves, tokenizers = [], [], list[Row](), dict[str, bytes]()
    for run in packed:
        config = from_json(store.get_config(db, run["id"]))
        words = home.tokenizer(run["id"])
        digest = None
        if words.is_file():
            data = words.read_bytes()
            digest = _hash(data)
            tokenizers[f"tokenizers/{digest}.json"] = data
        own = {digest: one for (whose, digest), one in weights.items() if whose == run["id"]}
        runs.append(_run(run, config, digest, end_of(words) if digest else END, own))
        cards.append(_card(run, config, store.last_eval(db, run["id"])))
        for table in ("metrics", "evals"):
            curves += [
                {"run": run["id"], "curve": table, **store.portable(row)}
                for row in store.thin_curve(db, table, run["id"], points)
            ]
    exhibits = [
        {"run": row["run_id"], "sample": store.portable(row) | {"superseded": row["superseded"]}, "kept": how}
        for row, how in kept
    ]
    said = [{"run": row["run_id"], "sample": store.portable(row)} for row in samples]
    members = {capsule.RUNS: dumped(runs), capsule.EXHIBITS: _lines(exhibits)}
    members |= {capsule.SAMPLES: _lines(said)} if said else {}
    return members | {capsule.CURVES: _lines(curves), capsule.CARDS: dumped(cards)} | tokenizers


def _run(run: Row, config: RunConfig, tokenizer: str | None, end: str, weights: Mapping[str, Weights]) -> Row:
    """What a capsule tells of a run."""
    same = ("id", "name", "preset", "parameters", "target_tokens", "total_steps", "dataset", "note", "created_at")
    state = (
        *("status", "step", "tokens", "train_loss", "val_loss", "tokens_per_second", "elapsed_seconds"),
        *("started_at", "ended_at"),
    )
    return {name: run[name] for name in same} | {
        "config": json.loads(config.to_json()),
        "state": {name: run[name] for name in state} | {"environment": _facts(run)},
        "tokenizer": tokenizer,
        "end": end,
        "weights": [
            {"sha256": digest, "attempt": one.attempt, "step": one.step, "tokens": one.tokens}
            for digest, one in sorted(weights.items(), key=lambda item: (item[1].step, item[0]))
        ],
    }


def _card(run: Row, config: RunConfig, evaluation: Row | None) -> Row:
    """The facts of a model card; what was not measured is null."""
    model = config.model
    measured = ("step", "tokens", "val_loss", "val_accuracy", "val_perplexity", "val_bits_per_byte")
    return {
        "run": run["id"],
        "name": run["name"],
        "architecture": json.loads(config.to_json())["model"],
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "tokens": run["tokens"],
        "dataset": run["dataset"],
        "tokenizer": config.data.tokenizer,
        "evaluation": {name: evaluation[name] for name in measured} if evaluation else None,
        "seconds": run["elapsed_seconds"],
        "environment": _facts(run),
    }


def _facts(run: Row) -> Row:
    return {name: str(run["environment"][name]) for name in FACTS if run["environment"].get(name)}


def _lines(rows: Sequence[Row]) -> bytes:
    return b"".join(dumped(row) + b"\n" for row in rows)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
