"""Where a model answers: on a GPU if it was trained on one and there is room beside what trains, else on the processor.

A processor and a GPU round otherwise, so the same seed has other words on each. What was said on one is asked again
there.
"""

import torch

from engine.store import Row

MARGIN = 2 * 2**30
"""Bytes that stay free beside a model's weights: CUDA's own, its cache, and what a run that trains may still take."""
BYTES = 2
"""Of a parameter in bf16, the format of answers on a GPU."""


def seat(run: Row, said_on: str = "") -> str:
    """The device, "cpu" or "cuda:0" and so on, on which a run of `store.get_run` answers.

    `said_on`: the kind of device, cpu or cuda, on which an answer was given that is to be given again.
    """
    kind, _, index = str(run["device"]).partition(":")
    if (said_on or kind) != "cuda" or not torch.cuda.is_available():
        return "cpu"
    number = int(index) if index.isdecimal() and int(index) < torch.cuda.device_count() else 0
    free, _ = torch.cuda.mem_get_info(number)
    return f"cuda:{number}" if free >= BYTES * run["parameters"] + MARGIN else "cpu"
