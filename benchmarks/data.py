"""From text to tokens to the device: how fast a dataset is prepared, beside `datasets.map`, and how fast it is read.

`python -m engine bench data [--source PATH] [--megabytes N] [--rounds N] [--resume-tokens N] [--no-peer] [--json]`

Every side reads the same JSON-lines file: documents of `--source` (default: the starter novels), repeated with a number
in front of each until there are `--megabytes`, so that no two are equal. Each works in a process of its own with all
cores, one after the other, `--rounds` times in turns; speeds are medians. CORE-S/M TOK, the seconds that cores worked
for a million tokens, hardly depends on what else the machine does. What is measured:

- *prepared*: `engine.data.prepare` from the call to the published dataset: reading, exact de-duplication, the split,
  encoding with SmolLM2's tokenizer, shards and checksums on the disk. Peak memory is the process's own, with Python.
- *tokenizers alone*: `encode_batch_fast` of texts that lie in memory, in batches of 4 MB. Nothing else is counted.
- *datasets.map*: transformers' fast tokenizer from the same tokenizer.json in batches of 1,000 documents, in one
  process whose tokenizer has all cores, and in as many processes as there are cores. The time is that of `map` alone,
  into its cache; what `load_dataset` took before it is told apart. The ratio is to the faster of the two.
- *loader*: the trainer's feed over the shards just made, in batches of 32 x 2,048 tokens, to the device, for 3 seconds.
- *resumed*: a job is killed with SIGKILL shortly before its end (or after `--resume-tokens`, with a
  vocabulary of bytes, so that a billion takes minutes), started again and killed again, three times; the longest time
  from the start of a process until it has written tokens of its own.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.options import tell, whole
from benchmarks.preparing.process import Failed, Process
from benchmarks.preparing.report import shown
from benchmarks.preparing.resume import go_on
from benchmarks.preparing.text import Text, write
from engine.config import ConfigError
from engine.home import PROJECT, Home
from engine.phrases import count, size

BYTES = "bpe:257"
"""A vocabulary of bytes, learned in no time: a token is a byte of text."""
KILLS, LEFT = 3, 300_000
"""How often a job is killed, and how many tokens before its end: what it reports comes every 120,000."""
LOADING = 3.0
"""Seconds."""


class Benchmark:
    """One benchmark in a folder of its own, which collects what its sides say in `report`."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder, self.home = given, folder, Home.at(folder / "home")
        self.report: dict[str, Any] = {"cores": os.cpu_count()}

    def run(self) -> dict[str, Any]:
        """Measure everything; raises Failed, Refused or ConfigError."""
        text = self._text(self.given.megabytes * 1_000_000, "text")
        self.report["text"] = {
            "source": self.given.source.name,
            "documents": text.documents,
            "bytes": text.bytes,
            "copies": text.copies,
        }
        rounds = [self._round(text, number) for number in range(self.given.rounds)]
        sides = {name: middle([one[name] for one in rounds]) for name in rounds[0]}
        self.report["sides"] = sides
        peers = [sides[name]["tokens_per_second"] for name in sides if name.startswith("datasets.map")]
        self.report["ratio"] = sides["prepared"]["tokens_per_second"] / max(peers) if peers else None
        tell("loader")
        loader = {"do": "loader", "home": str(self.home.path), "name": "round-0", "seconds": LOADING}
        self.report["loader"] = Process(loader).result()
        self.report["resume"] = self._resume(text, int(sides["prepared"]["tokens"]))
        return self.report

    def _text(self, wanted: int, name: str) -> Text:
        tell(f"writing {size(wanted)} of text")
        return write(self.given.source, wanted, self.folder / f"{name}.jsonl")

    def _round(self, text: Text, number: int) -> dict[str, dict[str, Any]]:
        """Each side once."""
        name, source = f"round-{number}", str(text.path)
        words = str(self.home.dataset(name) / "tokenizer.json")
        cache = str(self.folder / f"cache-{number}")
        specs: dict[str, dict[str, Any]] = {
            "prepared": {"do": "prepare", "home": str(self.home.path), "name": name, "tokenizer": "smollm2"},
            "tokenizers alone": {"do": "tokenizers", "tokenizer": words},
        }
        if not self.given.no_peer:
            peer = {"do": "map", "tokenizer": words}
            cores = os.cpu_count() or 1
            specs["datasets.map, 1 process"] = peer | {"cache": f"{cache}-one", "processes": 1}
            if cores > 1:
                specs[f"datasets.map, {cores} processes"] = peer | {"cache": f"{cache}-all", "processes": cores}
        found = {}
        for side, spec in specs.items():
            tell(f"{side}, round {number + 1} of {self.given.rounds}")
            result = Process(spec | {"source": source}).result()
            found[side] = result | {"tokens_per_second": result["tokens"] / result["seconds"]}
        return found

    def _resume(self, text: Text, tokens: int) -> dict[str, Any]:
        """How long a killed job needs to go on, after as many tokens as were asked for."""
        wanted, tokenizer = max(1, tokens - LEFT), "smollm2"
        if self.given.resume_tokens:
            # A tenth more, so that it is killed before its end.
            wanted, tokenizer = self.given.resume_tokens, BYTES
            text = self._text(int(wanted * 1.1), "long")
        tell(f"killing a job after {count(wanted)} tokens")
        spec = {"do": "prepare", "home": str(self.home.path), "name": "killed", "source": str(text.path)}
        return go_on(spec | {"tokenizer": tokenizer}, wanted, KILLS) | {"tokenizer": tokenizer}


def middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The round whose speed is in the middle."""
    return sorted(found, key=lambda one: float(one["tokens_per_second"]))[(len(found) - 1) // 2]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m engine bench data", description=(__doc__ or "").split("\n")[0])
    made.add_argument("--source", type=Path, default=PROJECT / "data" / "starter", help="a file or folder of texts")
    made.add_argument("--megabytes", type=whole, default=80, help="text that each side reads (default 80)")
    made.add_argument("--rounds", type=whole, default=1, help="how often, in turns (default 1)")
    made.add_argument(
        "--resume-tokens", type=whole, default=0, metavar="N", help="kill a job of so many tokens, like 1B"
    )
    made.add_argument("--no-peer", action="store_true", help="without datasets.map")
    made.add_argument("--json", action="store_true", help="print data for programs")
    return made


def main(argv: list[str] | None = None) -> int:
    """Print one table (or JSON); returns 0, or 1 when nothing could be measured."""
    given = parser().parse_args(argv)
    if not given.source.exists():
        raise ConfigError(f"--source: there is no file or folder {given.source.name!r}.")
    with tempfile.TemporaryDirectory(prefix="blueberry-bench-", ignore_cleanup_errors=True) as folder:
        try:
            report = Benchmark(given, Path(folder)).run()
        except Failed as error:
            tell(str(error))
            return 1
    print(json.dumps(report) if given.json else shown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
