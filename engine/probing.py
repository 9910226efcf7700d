"""Measurements before a run: which settings they hold for, and the process that makes one. No torch.

One at a time for a home and a device, never while a run is on there; a run that starts ends it (`make_way`).
"""

import contextlib
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from importlib import metadata
from typing import IO, Any

from sqlite_utils import Database

from engine import process, store
from engine.config import RunConfig, settings
from engine.gpu import choose_device, device_name
from engine.home import PROJECT, Home

COMMAND = (sys.executable, "-m", "engine.preflight")
PATIENCE, PATIENCE_GPU = 180.0, 300.0
"""Seconds a measurement may take; the first one on a GPU compiles kernels."""
SCRATCH = "scratch"
"""Folder beside the lock for weights that are only written for the clock."""
LOOK = 0.1
"""Seconds between two looks whether somebody still waits for it."""
WITHOUT_EFFECT = ("model.rope_base", "model.norm_eps", "model.init")
"""Settings of a model that change neither its speed nor its memory."""
TRAIN = ("batch_tokens", "micro_batch", "precision", "compile", "recompute", "attention", "documents")
SWITCHES = ("weight_decay", "adamw_weight_decay", "neuron_memory", "cautious", "ema")
"""Settings of the optimizer that cost something where they are not 0, whatever else they are."""
BUSY = "Another measurement is going on on {}; wait some seconds for its end, or cancel it."
Message = dict[str, Any]


def measure(
    home: Home,
    config: RunConfig,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    command: Sequence[str] = COMMAND,
    patience: float = 0.0,
) -> Generator[Message, None, None]:
    """Measure what a run of `config` would need; yields what it is doing, at last {"probe": ...}, which is then stored.

    Its process ends with the iterator, when `cancelled` says so, or after `patience` seconds. Raises Refused with a
    sentence: while a run or another measurement is on there, where memory does not suffice, when it was ended.
    """
    device = choose_device(config.train.device)
    refuse_beside_a_run(home, device)
    if process.is_held(home.probe(device) / "lock"):
        raise store.Refused(BUSY.format(device))
    limit = patience or (PATIENCE_GPU if device.startswith("cuda") else PATIENCE)
    child = _spawn(home, device, command, limit)
    try:
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already, and how is told below
            child.stdin.write(json.dumps({"config": config.to_json()}).encode() + b"\n")
            child.stdin.flush()
        for line in _lines(child.stdout, cancelled, limit):
            message: Message = json.loads(line)
            if "error" in message:
                raise store.Refused(str(message["error"]))
            if "probe" in message:
                yield {"probe": _kept(home, config, device, message["probe"])}
                return
            yield message
        raise store.Refused(_why_it_ended(home, device, child.wait()))
    finally:
        _bury(child)
        shutil.rmtree(home.probe(device) / SCRATCH, ignore_errors=True)


def stored(db: Database, config: RunConfig, device: str) -> Message | None:
    """What was measured for these settings on this machine, with `measured_at`; None where nothing was."""
    found = store.get_probe(db, key_of(decisive(config, device)))
    return found and found["result"] | {"measured_at": found["measured_at"]}


def decisive(config: RunConfig, device: str) -> dict[str, Any]:
    """All that speed and memory depend on: settings by their names, and the machine."""
    every = settings(config)
    found = {key: value for key, value in every.items() if key.startswith("model.") and key not in WITHOUT_EFFECT}
    found |= {f"train.{name}": every[f"train.{name}"] for name in TRAIN}
    found |= {f"optimizer.{name}": bool(every[f"optimizer.{name}"]) for name in SWITCHES}
    found["optimizer.orthogonalizer"] = config.optimizer.orthogonalizer
    machine = {"device": device_name(device), "kind": device.partition(":")[0], "torch": metadata.version("torch")}
    return found | machine | {"cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0}


def key_of(found: dict[str, Any]) -> str:
    """One name for all of `decisive`."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def make_way(home: Home, device: str) -> bool:
    """End a measurement on `device` for a run that starts there; whether it has yet to be gone.

    For whoever starts trainers, right before and until it is gone: by then the run is in runs.db, which a measurement
    that begins looks at.
    """
    folder = home.probe(device)
    if not process.is_held(folder / "lock"):
        return False
    with contextlib.suppress(OSError, ValueError, TypeError):  # it has just begun: the next look finds who it is
        who = json.loads((folder / "process.json").read_text(encoding="utf-8"))
        process.send(signal.SIGKILL, who["pid"], who["process_started_at"], who["boot_id"], group=True)
    return True


def refuse_beside_a_run(home: Home, device: str) -> None:
    """Raise Refused while a run owns `device`: both would be slower, and the measurement wrong."""
    if run := _run_on(home, device):
        raise store.Refused(
            f"{run['name']} is {run['status']} on {device}; measure when it has ended, for both would be slower."
        )


def _run_on(home: Home, device: str) -> store.Row | None:
    with closing(store.connect(home.database)) as db:
        owners = (run for run in store.open_runs(db) if run["device"] == device and run["status"] in store.ACTIVE)
        return next(owners, None)


def _spawn(home: Home, device: str, command: Sequence[str], limit: float) -> "subprocess.Popen[bytes]":
    folder = home.probe(device)
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--home", str(home.path), "--device", device, "--limit", str(limit)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,  # stays open: its end tells the process that nobody waits any more
            stdout=subprocess.PIPE,
            stderr=log,
            env=process.torch_environment(),
            start_new_session=True,
        )


def _lines(output: IO[bytes], cancelled: Callable[[], bool], limit: float) -> Iterator[bytes]:
    """The lines of `output` until its end; raises Refused when nobody wants them any more, or after `limit` seconds."""
    heard: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def listen() -> None:
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in output:
                heard.put(line)
        heard.put(None)

    threading.Thread(target=listen, name="probe-listener", daemon=True).start()
    until = time.monotonic() + limit
    while True:
        if cancelled():
            raise store.Refused("The measurement was cancelled.")
        if time.monotonic() > until:
            raise store.Refused(f"The measurement was ended, because it took longer than {limit:.0f} seconds.")
        with contextlib.suppress(queue.Empty):
            line = heard.get(timeout=LOOK)
            if line is None:
                return
            yield line


def _kept(home: Home, config: RunConfig, device: str, result: Message) -> Message:
    found, now = decisive(config, device), time.time()
    with closing(store.connect(home.database)) as db:
        store.put_probe(db, key_of(found), device, found, result, now)
    return result | {"measured_at": now}


def _why_it_ended(home: Home, device: str, returncode: int) -> str:
    if run := _run_on(home, device):
        return f"The measurement was ended, because {run['name']} starts on {device}."
    return (
        f"The measurement {process.describe_exit(returncode)}; {home.probe(device).name}/log in the home folder has "
        "the details."
    )


def _bury(child: "subprocess.Popen[bytes]") -> None:
    """End the process and all that it started."""
    if child.returncode is None:  # until it is waited for, its number is its own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
