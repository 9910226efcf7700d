"""The command line: `python -m engine COMMAND`. Exit status 0: done; 1: refused, with one line; 2: wrong usage."""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence

from engine import (
    commands,
    commands_alerts,
    commands_capsule,
    commands_fame,
    commands_fork,
    commands_judge,
    commands_queue,
    commands_report,
    commands_runs,
    commands_sweep,
    store,
)
from engine.config import DEFAULT_PRESET, ConfigError
from engine.home import PROJECT


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m engine", description="Blueberry Studio without a browser.")
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--home", help="folder with runs.db (default: $BLUEBERRY_HOME, else the project folder)")
    every.add_argument("--json", action="store_true", help="print data for programs")
    names = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, *, run: str = "") -> argparse.ArgumentParser:
        about = (commands.COMMANDS[name].__doc__ or "").partition("\n")[0]
        made = names.add_parser(name, parents=[every], help=about, description=about)
        if run:
            made.add_argument("run", metavar=run, help="an id, the start of one, or a name")
        return made

    add("presets")
    start = add("start")
    start.add_argument("--name", default="", help="default: the preset's name and a number")
    add("runs").add_argument("--all", action="store_true", help="also those that are put away")
    add("status", run="RUN")
    add("stop", run="RUN").add_argument("--now", action="store_true", help="end at once, without a save")
    add("pause", run="RUN")
    add("sample", run="RUN")
    fork = add("fork", run="RUN")
    fork.add_argument("--step", type=int, metavar="S", help="the age to begin with; default: the newest checkpoint")
    fork.add_argument("--name", default="", help="default: the run's name, fork, and a number")
    probe = add("preflight")
    for choosing in (start, probe):
        choosing.add_argument("--preset", default=DEFAULT_PRESET)
    for setting in (start, probe, fork):
        setting.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            help="change a setting, for example train.tokens=1M",
        )
    for waiting in (start, fork, add("resume", run="RUN")):
        waiting.add_argument("--wait", action="store_true", help="follow the run until it ends")
        waiting.add_argument("--queue", action="store_true", help="wait in line for the device instead of refusing")
    commands_queue.words(add("queue"))
    commands_sweep.words(add("sweep"))
    commands_fork.words(add("set", run="RUN"))
    ask = add("generate", run="RUN[@STEP|@live]")
    ask.add_argument("--prompt", required=True)
    for option, kind, value in (
        ("--seed", int, 7),
        ("--temperature", float, 0.8),
        ("--top-k", int, 0),
        ("--top-p", float, 0.95),
        ("--min-p", float, 0.0),
        ("--repetition-penalty", float, 1.0),
        ("--max-tokens", int, 80),
    ):
        ask.add_argument(option, type=kind, default=value, help=f"default {value}")
    ask.add_argument("--stop", action="append", default=[], metavar="TEXT", help="ends the answer; may be repeated")
    give = add("export", run="RUN[@STEP]")
    give.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    give.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32", help="numbers on disk (default fp32)")
    commands_report.words(add("report", run="RUN"))
    add("samples", run="RUN").add_argument("--limit", type=int, default=0, metavar="N", help="only the newest N")
    commands_judge.words(add("judge", run="RUN"))
    keep = add("archive")
    keep.add_argument("sample", type=int, metavar="SAMPLE", help="number of a sample")
    keep.add_argument("--category", required=True, help="good, strange, hallucination, loop, memorised, or your own")
    keep.add_argument("--title", required=True)
    keep.add_argument("--note", default="")
    keep.add_argument("--tag", action="append", default=None, metavar="TAG", help="as often as there are tags")
    commands_fame.words(add("gallery"))
    commands_capsule.words(add("capsule"))
    _labels(add)
    _of_the_home(add)
    names.add_parser("bench", help="Measure: " + ", ".join(benchmarks()), add_help=False)
    return top


def _labels(add: Callable[..., argparse.ArgumentParser]) -> None:
    """What people say about runs, and their end."""
    add("rename", run="RUN").add_argument("name", metavar="NAME", help="1 to 64 letters, digits or . _ -")
    label = add("tag", run="RUN")
    label.add_argument("--add", action="append", default=[], metavar="TAG", help="a tag that it gets; also +TAG")
    label.add_argument("--remove", action="append", default=[], metavar="TAG", help="one that it loses; also -TAG")
    add("note", run="RUN").add_argument("text", metavar="TEXT", help="in place of what was noted before")
    add("put-away", run="RUN").add_argument("--back", action="store_true", help="bring it back")
    add("settings", run="RUN")
    end = add("delete", run="RUN")
    end.add_argument("--yes", action="store_true", help="do it; without this it only says what it would free")
    end.add_argument("--exhibits", action="store_true", help="also what the time capsule has of it")


def _of_the_home(add: Callable[..., argparse.ArgumentParser]) -> None:
    """What is in a home besides runs."""
    make = add("prepare")
    make.add_argument("name", metavar="NAME", help="of the dataset; smollm-1b needs no --source")
    for option, word, about in (
        ("--tokenizer", "T", "smollm2 (default), bpe:SIZE to learn one, a tokenizer.json, or a name on the hub"),
        ("--tokens", "N", "training tokens after which it ends, for example 100M; default: all there is"),
        ("--text-column", "C", "of jsonl, csv, parquet and hub datasets (default: text)"),
        ("--min-characters", "N", "drop documents that are shorter"),
        ("--max-characters", "N", "drop documents that are longer"),
        ("--max-symbol-share", "X", "drop documents with a larger share of symbols, 0 to 1"),
        ("--max-repetition", "X", "drop documents that repeat a larger share of themselves, 0 to 1"),
        ("--separator", "PIECE", "of the tokenizer, ends every document"),
        ("--licence", "L", "of the texts, for the dataset's card"),
    ):
        make.add_argument(option, metavar=word, help=about)
    make.add_argument(
        "--source",
        nargs="+",
        action="extend",
        default=[],
        metavar="S",
        help="starter, a file or folder, or hub:OWNER/NAME; each with ,config=C ,split=S ,column=C ,weight=W",
    )
    make.add_argument(
        "--skip-unreadable", action="store_true", default=None, help="leave out files that cannot be read, and say so"
    )
    make.add_argument(
        "--anew", action="store_true", help="discard what a job with other settings has made under this name"
    )
    make.add_argument("--keep-duplicates", action="store_true", default=None, help="keep equal documents")
    does = make.add_mutually_exclusive_group()
    does.add_argument("--preview", action="store_true", help="show the first documents and an estimate, make nothing")
    does.add_argument("--detach", action="store_true", help="do not follow the job")
    does.add_argument("--stop", action="store_true", help="end the job; what is made stays, and it can be resumed")
    does.add_argument("--discard", action="store_true", help="remove what a job that ended early has made")
    add("datasets").add_argument("--delete", metavar="NAME", default="", help="remove a dataset")
    copy = add("backup")
    copy.add_argument("file", nargs="?", default="", metavar="FILE", help="default: a new file in the home's backups/")
    copy.add_argument("--to", default="", metavar="FILE", help="the same")
    cost = add("price")
    for option, word, about in (
        ("--per-hour", "X", "of a rented machine"),
        ("--per-kwh", "X", "of your own machine: energy is measured at the GPU"),
        ("--watts", "W", "with --per-kwh: what it takes while nothing measures"),
    ):
        cost.add_argument(option, type=float, metavar=word, help=about)
    cost.add_argument("--currency", metavar="S", help="a short text, default $")
    cost.add_argument("--run", metavar="RUN", default="", help="of one run, also of one that has ended")
    cost.add_argument("--none", action="store_true", help="forget the price")
    add("budget", run="RUN").add_argument("amount", metavar="AMOUNT", help="what it may cost in all, or none")
    commands_alerts.words(add("alerts"))
    add("doctor").add_argument("--quick", action="store_true", help="without reading all weights")


def benchmarks() -> list[str]:
    """Names of the scripts in benchmarks/."""
    return sorted(path.stem for path in (PROJECT / "benchmarks").glob("[a-z]*.py"))


def bench(argv: Sequence[str]) -> int:
    """Run one benchmark with its own options."""
    name = argv[0] if argv else ""
    if not re.fullmatch(r"[a-z_]+", name) or name not in benchmarks():
        print(f"python -m engine bench: choose one of {', '.join(benchmarks())}", file=sys.stderr)
        return 2
    return importlib.import_module(f"benchmarks.{name}").main(list(argv[1:])) or 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["bench"]:
            return bench(words[1:])
        if words[:1] == ["tag"]:
            words = commands_runs.signed(words)
        given = parser().parse_args(words)
        return commands.COMMANDS[given.command](given)
    except (ConfigError, store.Refused, store.StoreError) as error:
        message = str(error)
    except store.DatabaseError as error:
        message = f"runs.db cannot be used: {error}."
    except KeyboardInterrupt:
        message = "Interrupted."
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
