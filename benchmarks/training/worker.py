"""One side in its own process: `python -m benchmarks.training.worker SPEC`, started by remote.py.

Makes the first step, answers with how long that took, then does what each line on its input asks for.
"""

import contextlib
import json
import os
import sys
import time
from typing import IO, Any

import torch

from benchmarks.training.observed import Loop, loop
from benchmarks.training.remote import Spec
from benchmarks.training.sides import our_side, peer_side
from benchmarks.training.turns import memory, synchronize, turn
from engine.config import ConfigError
from engine.device import choose_place


def serve(spec: Spec, orders: IO[str], answers: IO[str]) -> None:
    """Make the first step, then obey until there are no more orders."""

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    marks = [spec.asked_at, time.monotonic()]
    config = spec.config()
    place = choose_place(config.train)
    device = place.device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.set_flush_denormal(True)
    notes: list[str] = []
    ours = spec.side == "blueberry"
    side = our_side(config, place, notes.append) if ours else peer_side(config, place, spec.compiled)
    synchronize(device)
    marks.append(time.monotonic())
    side.step()
    synchronize(device)
    marks.append(time.monotonic())
    names = ("imports", "model", "step")
    parts = {name: later - earlier for name, earlier, later in zip(names, marks, marks[1:], strict=False)}
    answer(seconds=marks[-1] - marks[0], parts=parts, facts=side.facts, device=device.type, notes=notes)
    with contextlib.ExitStack() as stack:
        blocks: Loop | None = None
        for line in orders:
            order = json.loads(line)
            if order["do"] == "turn":
                answer(steps=turn(side, device, order["steps"]), memory=memory(device))
            else:
                blocks = blocks or stack.enter_context(loop(side, config, device))
                answer(**blocks.block(order["steps"], order["observed"]))


def does_not_fit(error: BaseException | None) -> bool:
    """Whether this, or what it came from, is a lack of memory: an interrupted recording hides it behind another."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "defaultcpuallocator" in text:
            return True
        if "out of memory" in text or "alloc_failed" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def main(argv: list[str]) -> int:
    """Serve on the standard input and output; returns the exit status."""
    # Libraries may print: what is no answer goes where people read.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    spec = Spec(**json.loads(argv[0]))
    try:
        serve(spec, sys.stdin, answers)
    except ConfigError as error:
        answers.write(json.dumps({"error": str(error), "kind": "settings"}) + "\n")
    except (RuntimeError, MemoryError) as error:
        if not does_not_fit(error):
            raise
        answers.write(json.dumps({"error": f"out of memory with {spec.rows} rows a step", "kind": "memory"}) + "\n")
    answers.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
