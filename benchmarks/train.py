"""Training speed of our step beside transformers' same-size Qwen3ForCausalLM with torch's fused AdamW.

`python -m engine bench train [--preset P] [--device D] [--precision P] [--rows 8,32] [--steps N] [--overhead] [--json]`

Both sides see the same tokens, batch, device and number format (fp32 masters), each in a process of its own, so that
peak memory and the way to the first step are its own. They take turns of one step, or of five on a GPU, so that a
machine whose speed drifts is fair to both, or run one after the other where both do not fit into memory. Times are
medians. The first start of a side finds empty caches of compiled kernels (cold), the second those of the first (warm).
"""

import argparse
import contextlib
import json
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.training.remote import Failed, OutOfMemory, Process, Spec, tell
from benchmarks.training.report import header, overhead_facts, ratios, side_facts, table
from engine.config import ConfigError, RunConfig, load_preset, parse_overrides

TURN = {"cuda": 5}
"""Steps of one turn by device, one elsewhere: a GPU's host runs ahead, so that a step alone is not what a run makes."""
PATIENCE = 5.0
"""Seconds between two lines that say which turn it is."""
WARM_UP = 2
"""Steps of each side before the first turn that counts."""
PAIRS = 10
"""Pairs of blocks of steps with and without all that is observed."""
HOW = "micro_batch", "attention", "fused", "recorded"
"""How a side does it, as it says itself."""
Sides = dict[str, dict[str, Any]]
"""What each side reached at one batch size, or `error` with why not."""


class Benchmark:
    """One benchmark: starts processes, lets them take turns, and collects what they say in `report`."""

    def __init__(self, given: argparse.Namespace, caches: Path) -> None:
        """`caches`: an empty folder. Raises ConfigError where a setting makes no sense at one of the sizes."""
        self.given, self.caches, self.folders = given, caches, dict[str, Path]()
        self.settings = parse_overrides(given.set) | {"train.device": given.device, "train.precision": given.precision}
        rows = given.rows or [load_preset(given.preset, self.settings).rows_per_step]
        self.configs = {count: self._spec("blueberry", count).config() for count in rows}
        self.names, peer = sides_of(self.configs[rows[0]], given)
        self.report: dict[str, Any] = {"peer": peer, "batches": [], "first_step": {}}

    def run(self) -> dict[str, Any]:
        """Measure all batch sizes; raises ConfigError, or Failed when nothing could be measured."""
        for rows, config in self.configs.items():
            sides, together = self._batch(rows)
            batch = {"rows": rows, "tokens_per_step": config.train.batch_tokens, "together": together}
            self.report["batches"].append(batch | {"sides": sides, "ratios": ratios(sides)})
        if "device" not in self.report:
            raise Failed(next(iter(sides.values()))["error"])
        return self.report

    def _batch(self, rows: int) -> tuple[Sides, bool]:
        """Measure each side with so many rows a step; and whether they were there together."""
        found: Sides = {}
        alone: list[str] = []
        with contextlib.ExitStack() as stack:
            processes: dict[str, Process] = {}
            for name in self.names:
                try:
                    processes[name] = stack.enter_context(self._start(name, rows))
                except Failed as error:
                    found[name] = failure(error)
                    alone += [name] if processes and found[name]["out_of_memory"] else []
            found |= self._take_turns(processes)
            if len(processes) > 1:
                alone += [name for name in processes if found[name].get("out_of_memory")]
            if self.given.overhead and "overhead" not in self.report and "step" in found["blueberry"]:
                try:
                    self.report["overhead"] = self._overhead(processes["blueberry"], found["blueberry"]["step"])
                except Failed as error:
                    self.report["overhead"] = failure(error)
        for name in alone:
            tell(f"{name}, {rows} rows: once more, alone")
            try:
                with self._start(name, rows) as process:
                    found |= self._take_turns({name: process})
            except Failed as error:
                found[name] = failure(error)
        return {name: found[name] for name in self.names}, not alone

    def _spec(self, name: str, rows: int) -> Spec:
        return Spec(name, self.given.preset, self.settings, rows, self.given.peer_compile)

    def _start(self, name: str, rows: int) -> Process:
        """A process that has made its first step; the first one of a side is cold, and a warm one follows it."""
        spec, starts = self._spec(name, rows), self.report["first_step"].setdefault(name, {})
        if not starts:
            self.folders[name] = Path(tempfile.mkdtemp(prefix=name, dir=self.caches))
        tell(f"{spec}: starting{'' if starts else ' with empty caches'}")
        process = Process(spec, self.folders[name])
        if not starts:
            starts["cold"] = self._begun(process)
            if starts["cold"]["seconds"] <= self.given.warm_limit:
                process.close()
                process = Process(spec, self.folders[name])
                starts["warm"] = self._begun(process)
        return process

    def _begun(self, process: Process) -> dict[str, Any]:
        begun = process.begun
        tell(f"{process.spec}: first step after {begun['seconds']:.1f} s")
        if "device" not in self.report:
            config = self.configs[process.spec.rows]
            self.report |= header(config, self.given.preset, begun["facts"], begun["device"])
        return {"seconds": begun["seconds"], "parts": begun["parts"]}

    def _take_turns(self, processes: dict[str, Process]) -> Sides:
        """Let them make steps in turns; what each reached."""
        found: Sides = {}
        steps: dict[str, list[dict[str, float]]] = {name: [] for name in processes}
        memory: dict[str, dict[str, int]] = {}
        length = TURN.get(self.report.get("device", ""), 1)
        turns = [min(length, self.given.steps - done) for done in range(0, self.given.steps, length)]
        told = time.monotonic()
        for number, count in enumerate([WARM_UP, *turns]):
            for name, process in processes.items():
                if name in found:
                    continue
                if time.monotonic() - told > PATIENCE:
                    tell(f"{process.spec}: turn {number} of {len(turns)}")
                    told = time.monotonic()
                try:
                    answer = process.turn(count)
                except Failed as error:
                    found[name] = failure(error)
                    continue
                memory[name] = answer["memory"]
                steps[name] += answer["steps"] if number else []
        for name, process in processes.items():
            if name not in found:
                config, peak = self.configs[process.spec.rows], self.report["peak_tflops"]
                how = {key: process.begun["facts"].get(key) for key in HOW} | {"notes": process.begun["notes"]}
                found[name] = side_facts(config, steps[name], peak) | memory[name] | how
        return found

    def _overhead(self, process: Process, step: float) -> dict[str, Any]:
        """Tokens a second of the trainer's loop with and without all that it observes and stores."""
        count = max(1, round(self.given.overhead / PAIRS / step))
        blocks: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        for pair in range(PAIRS):
            tell(f"{process.spec}: observed and not, pair {pair + 1} of {PAIRS}, {count} steps each")
            for observed in (True, False) if pair % 2 else (False, True):
                blocks[observed].append(process.block(count, observed))
        return overhead_facts(count * self.configs[process.spec.rows].train.batch_tokens, blocks[True], blocks[False])


def failure(error: Failed) -> dict[str, Any]:
    """What the report says of a side that failed."""
    return {"error": str(error), "out_of_memory": isinstance(error, OutOfMemory)}


def sides_of(config: RunConfig, given: argparse.Namespace) -> tuple[list[str], str]:
    """Which sides there are, and what is to be said about the peer."""
    if given.no_peer:
        return ["blueberry"], "No peer, as asked."
    if config.model.activation != "swiglu" or config.model.experts > 1:
        return ["blueberry"], "No peer: transformers' Qwen3 is dense and has SwiGLU."
    if find_spec("transformers") is None:
        return ["blueberry"], "No peer: transformers is not installed."
    compiled = {"model": "model and loss", "layers": "layer by layer", "no": "not at all"}[given.peer_compile]
    return ["blueberry", "transformers"], (
        "blueberry: the step of engine/train.py with Muon and AdamW. transformers: Qwen3ForCausalLM with its own loss, "
        f"SDPA, autocast, torch.optim.AdamW(fused=True); compiled on a GPU: {compiled}."
    )


def counts(text: str) -> list[int]:
    """Whole numbers above zero, comma separated."""
    found = [int(word) for word in text.split(",")]
    if min(found) < 1:
        raise ValueError(text)
    return found


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m engine bench train", description=(__doc__ or "").split("\n")[0])
    made.add_argument("--preset", default="seedling")
    made.add_argument("--device", default="auto")
    made.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    made.add_argument("--rows", type=counts, default=[], help="rows of a step, like 8,32; default: the preset's")
    made.add_argument("--steps", type=int, default=15, help="timed steps of each side at each size (default 15)")
    made.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a setting")
    made.add_argument("--no-peer", action="store_true", help="without transformers")
    made.add_argument(
        "--peer-compile", default="model", choices=["model", "layers", "no"], help="what torch.compile gets on a GPU"
    )
    made.add_argument(
        "--warm-limit",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="a side whose cold start took longer is not started again to time a warm one; 0: none is",
    )
    made.add_argument(
        "--overhead",
        type=float,
        nargs="?",
        const=20.0,
        default=0.0,
        metavar="SECONDS",
        help="what observing and storing costs, from so many seconds with it and as many without (default 20)",
    )
    made.add_argument("--json", action="store_true", help="print data for programs")
    return made


def main(argv: list[str] | None = None) -> int:
    """Print one table (or JSON); returns 0, or 1 when nothing could be measured."""
    given = parser().parse_args(argv)
    if given.steps < 1:
        raise ConfigError(f"--steps {given.steps} must be at least 1.")
    with tempfile.TemporaryDirectory(prefix="blueberry-bench-", ignore_cleanup_errors=True) as caches:
        try:
            report = Benchmark(given, Path(caches)).run()
        except Failed as error:
            tell(str(error))
            return 1
    print(json.dumps(report) if given.json else table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
