"""trackio's processes, run by a Python that has it: `python trackio_side.py write`, or `... serve PORT`.

`write` takes lines of JSON from standard input (run, first step, losses) and answers each with a line; null is NaN.
"""

import json
import math
import sys

PROJECT = "bench"


def write() -> None:
    """Store losses as `trackio.log` does, without the queue before it."""
    from trackio.sqlite_storage import SQLiteStorage

    for line in sys.stdin:
        chunk = json.loads(line)
        losses = [{"loss": math.nan if loss is None else loss} for loss in chunk["losses"]]
        steps = list(range(chunk["first"], chunk["first"] + len(losses)))
        SQLiteStorage.bulk_log(PROJECT, chunk["run"], losses, steps=steps)
        print("stored", flush=True)


def serve(port: int) -> None:
    """Show the dashboard until the process ends."""
    import trackio

    trackio.show(project=PROJECT, open_browser=False, block_thread=True, host="127.0.0.1", server_port=port)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write()
    else:
        serve(int(sys.argv[2]))
