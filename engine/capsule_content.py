"""All that is in a capsule, checked: runs, what they said, curves, tokenizers, weights. Nothing is stored here."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from engine import capsule, tokenizer
from engine.capsule_check import Told, checked_kept, checked_point, checked_runs, checked_sample
from engine.capsule_weights import check_weights
from engine.capsule_zip import Capsule
from engine.store import Refused, Row

TABLES = ("metrics", "evals")
Report = Callable[[int, int], None]
"""Hears how many of all bytes are looked at."""


def nobody(done: int, total: int) -> None:
    """A report that nobody hears."""


@dataclass(frozen=True)
class Content:
    """All that is in a capsule, checked."""

    told: dict[str, Told]
    """Runs by the id that they have in it."""
    words: dict[str, list[tuple[Row, Row | None]]]
    """By run: answers, and how they are kept where they are exhibits."""
    curves: dict[tuple[str, str], list[Row]]
    """By run and table."""


def read(packed: Capsule, columns: dict[str, dict[str, str]], report: Report = nobody) -> Content:
    """Everything in a capsule; raises Refused. `columns`: those of `samples`, `metrics` and `evals`, with their types.

    Each member's hash is right before it is looked at.
    """
    told = checked_runs(packed.json(capsule.RUNS))
    words: dict[str, list[tuple[Row, Row | None]]] = {run: [] for run in told}
    counts = {capsule.EXHIBITS: 0, capsule.SAMPLES: 0}
    for name in counts:
        for number, line in enumerate(packed.lines(name), 1):
            where = f"line {number:,} of {name}"
            run, row = checked_sample(line, columns["samples"], told, where)
            words[run].append((row, checked_kept(line, where) if name == capsule.EXHIBITS else None))
            counts[name] = number
    manifest = packed.manifest
    if [*counts.values(), len(told)] != [manifest["exhibits"], manifest["samples"], len(manifest["runs"])]:
        raise Refused("The capsule does not hold as many exhibits and runs as its cover says.")
    curves: dict[tuple[str, str], list[Row]] = {}
    tables = {name: columns[name] for name in TABLES}
    for number, line in enumerate(packed.lines(capsule.CURVES), 1):
        run, table, row = checked_point(line, tables, told, f"line {number:,} of {capsule.CURVES}")
        curves.setdefault((run, table), []).append(row)
    if capsule.CARDS in packed.entries:
        packed.json(capsule.CARDS)  # for other programs; here it only has to be sound
    _check_files(packed, told, report)
    return Content(told, words, curves)


def _check_files(packed: Capsule, told: dict[str, Told], report: Report) -> None:
    """Tokenizers and weights: each belongs to a run, and fits it."""
    left = {name for name in packed.entries if capsule.TOKENIZER.fullmatch(name) or capsule.WEIGHTS.fullmatch(name)}
    total, done = sum(packed.entries[name]["bytes"] for name in left), 0
    for one in told.values():
        name = f"tokenizers/{one.tokenizer}.json"
        if one.tokenizer is not None:
            if name not in packed.entries:
                raise Refused(f"The capsule has no {name}, which a run in it needs.")
            made = tokenizer.from_bytes(packed.text(name), name[:24], one.end)
            if tokenizer.vocabulary_size(made) > one.config.model.vocab_size:
                raise Refused(f"{name[:24]} has more pieces than the model of its run, {one.row['name']}.")
            left.discard(name)
        elif one.weights:
            raise Refused(f"{one.row['name']} has weights in the capsule, but no tokenizer.")
        for entry in one.weights:
            name = f"weights/{entry['sha256']}.safetensors"
            if name not in packed.entries:
                raise Refused(f"The capsule has no {name}, which a run in it needs.")
            size = packed.entries[name]["bytes"]
            with closing(packed.blocks(name)) as blocks:
                check_weights(blocks, size, one.config.model, name[:24])
            left.discard(name)
            done += size
            report(done, total)
    if left:
        raise Refused(f"{sorted(left)[0][:24]} in the capsule belongs to no run.")
