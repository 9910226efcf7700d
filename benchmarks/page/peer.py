"""trackio beside ours: its dashboard with the same losses, growing likewise, in the same Chromium."""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.page.homes import CHUNK, SPIKE, Big, losses_of
from benchmarks.page.server import PATIENCE, Failed
from benchmarks.page.window import PATIENCE_MS, SIZE, browsing, costs_of

HERE = Path(__file__).parent
SETTLE = 3.0
"""Seconds between its first curves and what is measured next."""


def measure(python: str, folder: Path, big: Big, seconds: float, rate: int) -> dict[str, Any]:
    """Its figures by the keys of report.LINES; raises Failed."""
    home = folder / f"trackio-{len(big.curves)}x{big.points}"
    environment = os.environ | {"TRACKIO_DIR": str(home)}
    with process_of(python, ["write"], environment) as writer:
        if not (home / "made").exists():
            fill(writer, big)
            (home / "made").touch()
        with process_of(python, ["serve", str(port := free_port())], environment) as served:
            await_answer(served, f"http://127.0.0.1:{port}/")
            counters = psutil.Process(served.pid)
            figures = watched(f"http://127.0.0.1:{port}/?project=bench", counters, writer, big, seconds, rate)
    version = [python, "-c", "import importlib.metadata as m; print(m.version('trackio'))"]
    found = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    return {"name": f"trackio {found}", "figures": figures}


def watched(
    address: str, counters: psutil.Process, writer: "subprocess.Popen[str]", big: Big, seconds: float, rate: int
) -> dict[str, Any]:
    """Open it three times, then let it refresh while the runs grow."""
    names = [curve.name for curve in big.curves]
    with browsing() as browser:
        times = []
        for fresh in (True, True, False):
            if fresh:
                context = browser.new_context(viewport=SIZE)
                page = context.new_page()
                page.add_init_script(path=str(HERE / "trackio_probe.js"))
            page.goto(address, wait_until="commit")
            drawn = page.evaluate("a => probe.first(...a)", [names, 2 * PATIENCE_MS])
            times.append(None if drawn is None else drawn / 1000)
        cost = costs_of(context, page)
        page.wait_for_timeout(SETTLE * 1000)
        before, cpu, count = cost(), cpu_of(counters), page.evaluate("probe.count()")
        grow(writer, big, page, seconds, rate)
        after, used = cost(), cpu_of(counters) - cpu
        refreshes = page.evaluate("probe.count()") - count
        spikes = page.evaluate("value => probe.values(value)", SPIKE)
    return {
        "first_cold": times[0],
        "first_new": times[1],
        "first_again": times[2],
        "refreshes_a_minute": 60 * refreshes / seconds,
        "server_ms": 1000 * used / max(1, refreshes),
        "kilobytes": (after.bytes - before.bytes) / max(1, refreshes) / 1000,
        "main_ms": (after.thread_ms - before.thread_ms) / max(1, refreshes),
        "spikes": 100 * min(1.0, spikes / len(big.curves)),
    }


def fill(writer: "subprocess.Popen[str]", big: Big) -> None:
    """Give it all steps that our home had when it was made."""
    for curve in big.curves:
        for first in range(1, big.points + 1, CHUNK):
            steps = np.arange(first, min(first + CHUNK, big.points + 1))
            tell(writer, {"run": curve.name, "first": first, "losses": losses_of(curve, steps)})


def grow(writer: "subprocess.Popen[str]", big: Big, page: Any, seconds: float, rate: int) -> None:
    """Go on by `rate` steps a second, in which the page goes on too."""
    begun, done = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        wanted = int(now * rate)
        if wanted > done:
            steps = np.arange(big.points + done + 1, big.points + wanted + 1)
            for curve in big.curves:
                tell(writer, {"run": curve.name, "first": int(steps[0]), "losses": losses_of(curve, steps)})
            done = wanted
        page.wait_for_timeout(200)


def tell(writer: "subprocess.Popen[str]", chunk: dict[str, Any]) -> None:
    """Have one chunk stored; raises Failed."""
    given, said = writer.stdin, writer.stdout
    assert given and said
    try:
        given.write(json.dumps(chunk) + "\n")
        given.flush()
        answer = said.readline()
    except BrokenPipeError:
        answer = ""
    if answer.strip() != "stored":
        raise Failed("The Python of --trackio could not store anything; does `import trackio` work there?")


@contextlib.contextmanager
def process_of(python: str, words: list[str], environment: dict[str, str]) -> "Iterator[subprocess.Popen[str]]":
    """One of its processes; raises Failed where there is no such Python."""
    pipe = subprocess.PIPE if words[0] == "write" else subprocess.DEVNULL
    command = [python, str(HERE / "trackio_side.py"), *words]
    try:
        child = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
    except OSError as error:
        raise Failed(f"--trackio {Path(python).name}: {error.strerror}") from error
    try:
        yield child
    finally:
        child.terminate()
        child.wait()
        for stream in filter(None, (child.stdin, child.stdout)):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def await_answer(child: "subprocess.Popen[str]", address: str) -> None:
    """Until it answers; raises Failed."""
    until = time.monotonic() + PATIENCE
    while child.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.05)
    raise Failed("trackio's dashboard did not answer.")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def cpu_of(counters: psutil.Process) -> float:
    """Seconds of CPU so far."""
    used = counters.cpu_times()
    return float(used.user + used.system)
