"""What the commands do and print that are about what is in a home besides runs: datasets, backups, its health."""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from engine import backups, doctor, launch, preparing, store
from engine.config import ConfigError
from engine.follow import print_json
from engine.follow_job import ended, follow_job, progress
from engine.home import PROJECT, Home
from engine.phrases import count, duration, plain, size, table
from engine.settings import parse_value

if TYPE_CHECKING:
    from engine.data.recipe import Recipe  # numpy and tokenizers: not for every command

Arguments = argparse.Namespace
STOP_WAIT = 60.0
"""Seconds until a job that was asked to stop is given up; the supervisor kills it before."""
NUMBERS: dict[str, type] = {
    "tokens": int,
    "min_characters": int,
    "max_characters": int,
    "max_symbol_share": float,
    "max_repetition": float,
}
"""Options of `prepare` that are numbers."""


def prepare(given: Arguments) -> int:
    """Make a dataset from texts and follow that; again: follow it, or go on where it ended early."""
    home = Home.at(given.home)
    launch.open_home(home)
    if given.stop:
        preparing.stop(home, given.name)
        return ended(preparing.wait_until_ended(home, given.name, STOP_WAIT), given.json)
    if given.discard:
        freed = preparing.discard(home, given.name)
        return _freed(given, f"What was made of {given.name} is removed", freed)
    recipe = recipe_of(given)
    if given.preview:
        return _preview(_wanted(recipe, given.name), given)
    job = _begun(home, given.name, recipe, given.anew)
    if given.detach:
        return print_json(preparing.status(home, job)) if given.json else _say(job)
    return follow_job(home, job, given.json)


def datasets(given: Arguments) -> int:
    """List the datasets and what is being prepared; with --delete, remove one."""
    home = Home.at(given.home)
    launch.open_home(home)
    if given.delete:
        return _freed(given, f"{given.delete} is removed", preparing.delete_dataset(home, given.delete))
    found = preparing.datasets(home)
    jobs = [job for job in preparing.listed(home) if job["status"] != "finished"]
    if given.json:
        return print_json({"datasets": found, "jobs": jobs})
    if found:
        head = ("NAME", "TOKENS", "UNSEEN", "DOCUMENTS", "BYTES/TOKEN", "DISK", "TOKENIZER", "MADE")
        print(table(head, [_row(one) for one in found], right=head[1:6]))
    for job in jobs:
        error = f": {job['error']}" if job["error"] else ""
        print(f"{job['name']} is {job['status']}{error or ', ' + progress(job)}")
    if not found and not jobs:
        print("There are no datasets yet; `python -m engine prepare NAME --source FOLDER` makes one.")
    return 0


def recipe_of(given: Arguments) -> "Recipe | None":
    """The recipe that the options ask for; None where they name no source and the name is not known."""
    from engine.data.recipe import KNOWN, Recipe, Source

    changes = {key: _number(key, kind, getattr(given, key)) for key, kind in NUMBERS.items()}
    changes |= {key: getattr(given, key) for key in ("tokenizer", "separator", "licence", "skip_unreadable")}
    changes |= {"deduplicate": None if given.keep_duplicates is None else not given.keep_duplicates}
    changes = {key: value for key, value in changes.items() if value is not None}
    sources = tuple(Source.parse(words) for words in given.source)
    if given.text_column:
        sources = tuple(replace(one, column=given.text_column) if one.column == "text" else one for one in sources)
    recipe = Recipe(sources) if sources else KNOWN.get(given.name)
    if recipe is None:
        if changes or given.text_column:
            _wanted(None, given.name)
        return None
    filters = {key: changes.pop(key) for key in [one.name for one in fields(recipe.filters)] if key in changes}
    return replace(recipe, filters=replace(recipe.filters, **filters), **changes)


def _wanted(recipe: "Recipe | None", name: str) -> "Recipe":
    if recipe is None:
        raise ConfigError(f"Give --source FILE, FOLDER or hub:OWNER/NAME: there is no known dataset {name[:80]!r}.")
    return recipe


def _begun(home: Home, name: str, recipe: "Recipe | None", anew: bool = False) -> str:
    """The job that makes `name`: the one that works on it, the one that ended early, or a new one."""
    from engine.data.recipe import Recipe

    old = next((job for job in preparing.listed(home) if job["name"] == name), None)
    same = old is not None and (
        recipe is None or Recipe.from_json(json.dumps(old["recipe"])) == preparing.with_whole_paths(recipe)
    )
    if old and same and old["status"] in store.OPEN_JOBS:
        return str(old["id"])
    if old and recipe is None and old["status"] in store.RESUMABLE_JOBS:
        preparing.resume(home, old["id"])
        return str(old["id"])
    if recipe is None and home.dataset(name).exists():
        raise store.Refused(f"The dataset {name} exists already; `python -m engine datasets` shows it.")
    return preparing.start(home, name, _wanted(recipe, name), anew=anew)


def _preview(recipe: "Recipe", given: Arguments) -> int:
    """What the first documents are, what becomes of them, and how large the dataset would be."""
    question = {"recipe": asdict(preparing.with_whole_paths(recipe)), "roots": None, "documents": 5}
    done = subprocess.run(
        [sys.executable, "-m", "engine.data.preview"],
        input=json.dumps(question),
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError as error:
        raise store.Refused("The preview ended without an answer; what it said is above.") from error
    if found.get("error"):
        raise store.Refused(found["error"])
    if given.json:
        return print_json(found)
    for document in found["documents"]:
        fate = document["dropped"] or ("duplicate" if document["duplicate"] else "")
        text = " ".join(document["text"].split())[:200]
        print(f"{document['file']}, {document['bytes']:,} bytes{f', dropped: {fate}' if fate else ''}\n  {plain(text)}")
    estimate, dropped = found["estimate"], ", ".join(f"{number:,} {why}" for why, number in found["dropped"].items())
    print(f"{found['read']:,} documents were looked at; dropped: {dropped or 'none'}.")
    about = "" if estimate["exact"] else "about "
    if estimate["tokens"] is not None:
        print(
            f"{given.name} would have {about}{count(estimate['tokens'])} tokens of {count(estimate['documents'])} "
            f"documents, take {size(estimate['bytes_on_disk'])} of disk and {duration(estimate['seconds'])}."
        )
    for why in found.get("unreadable", ()):
        print(f"Left out: {plain(why)}")
    if found["note"]:
        print(found["note"])
    return 0


def _row(dataset: dict[str, Any]) -> tuple[str, ...]:
    """A dataset in the words of the table."""
    if dataset.get("damaged"):
        return dataset["name"], "–", "–", "–", "–", size(dataset["bytes_on_disk"]), "its card cannot be read", ""
    return (
        dataset["name"],
        count(dataset.get("train_tokens")),
        count(dataset.get("val_tokens")),
        count(dataset.get("documents")),
        f"{dataset.get('bytes_per_token', 0):.2f}",
        size(dataset["bytes_on_disk"]),
        str(dataset.get("tokenizer", "")).rpartition("/")[2],
        str(dataset.get("created_at", ""))[:10],
    )


def _number(option: str, kind: type, text: str | None) -> Any:
    """The value of an option, 1M and 1B allowed; raises ConfigError."""
    if text is None:
        return None
    value = parse_value(text)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        name = option.replace("_", "-")
        example = "--tokens 100M" if kind is int else f"--{name} 0.3"
        raise ConfigError(f"--{name} = {text[:40]!r} must be a number, for example {example}.")
    return value


def _freed(given: Arguments, sentence: str, freed: int) -> int:
    if given.json:
        return print_json({"bytes": freed})
    return _say(f"{sentence}: {size(freed)} are free again.")


def _say(line: str) -> int:
    print(line)
    return 0


def backup(given: Arguments) -> int:
    """Copy runs.db, also while runs train."""
    shown = sys.stderr.isatty() and not given.json

    def report(share: float) -> None:
        if shown:
            print(f"\r{share:4.0%}", end="", file=sys.stderr, flush=True)

    made = backups.back_up(Home.at(given.home), given.file or given.to, report)
    if given.json:
        return print_json({"path": str(made.path), "bytes": made.bytes})
    print(f"{chr(13) if shown else ''}{made.path} ({size(made.bytes)})")
    return 0


def check_up(given: Arguments) -> int:
    """Check machine and home, and say what to do; exit status 1 where there is a problem."""
    found = []
    for finding in doctor.examine(Home.at(given.home), hashes=not given.quick):
        found.append(finding)
        if not given.json:
            print(f"{finding.state:8} {finding.name:9} {finding.sentence}", flush=True)
    if given.json:
        print_json([asdict(finding) for finding in found])
    return int(any(finding.state == "problem" for finding in found))
