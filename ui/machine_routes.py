"""The routes below /api about the machine: what it does now, and what it did while a run trained."""

import os
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import gpu, machine, store
from engine.machine import Background, GpuProbe, GpuState, HostProbe, HostState
from engine.metering import GREATEST
from engine.store import Row
from ui.answers import reply
from ui.reading import Reader
from ui.series import number

OLDEST, PATIENCE = 1.0, 0.5
"""Seconds for which one measurement answers everybody, and that an answer waits for one."""
POINTS = 120
"""Points of a curve in the history of a run."""
NO_GPU = "No NVIDIA GPU here: models train on the processor, or on an Apple GPU."
SILENT = "The GPU's driver does not answer, so what the GPU does is not known now."


class Machine:
    """This machine as the page sees it; measured when somebody asks, for all of them together."""

    def __init__(
        self,
        reader: Reader,
        gpus: Callable[[], tuple[GpuState, ...]] | None = None,
        host: Callable[[], HostState] | None = None,
    ) -> None:
        """`gpus` and `host` measure (fakes in tests)."""
        self.reader = reader
        self._gpus, self._host = Background(gpus or GpuProbe()), Background(host or HostProbe(reader.home.path))

    def now(self) -> dict[str, Any]:
        """What is known of this machine now; the rest is left out."""
        self._gpus.ask(OLDEST)  # both at once; what hangs is waited for only once
        host, gpus = self._host.fresh(OLDEST, PATIENCE), self._gpus.fresh(OLDEST, PATIENCE)
        self.reader.settle()
        runs = [run for run in store.open_runs(self.reader.db()) if run["status"] in store.ACTIVE]
        found: dict[str, Any] = {"gpus": [_gpu(one, runs) for one in gpus or ()]}
        if not gpus:
            found["no_gpu"] = SILENT if gpus is None else NO_GPU
        if host:
            found |= {
                "cores": host.cores,
                "cpu": number(host.cpu_use, 3),
                "memory": _filled(host.memory_used, host.memory_total),
                "disk": {"free": host.disk_free, "total": host.disk_total},
            }
        holders = [{"name": run["name"], "run": run["id"], "bytes": machine.resident(run["pid"])} for run in runs]
        holders.append({"name": "this page", "bytes": machine.resident(os.getpid())})
        return _known(found) | {"holders": [one for one in holders if one["bytes"]]}

    def close(self) -> None:
        """Measure no more."""
        self._gpus.close()
        self._host.close()


def make_machine(reader: Reader, here: Machine) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api/machine")

    @router.get("")
    def now(request: Request) -> Response:
        return reply(request, here.now())

    @router.get("/history")
    def past(request: Request, run: str) -> Response:
        rows = store.list_machine(reader.db(), reader.run(run)["id"])
        return reply(request, {"run": run, "rows": len(rows), **history(rows)})

    return router


def history(rows: Sequence[tuple[float | None, ...]], points: int = POINTS) -> dict[str, Any]:
    """The columns of `machine` in about `points` pieces of equal many rows; what was never measured is left out."""
    if not rows:
        return {}
    size = -(-len(rows) // points)
    pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
    curves: dict[str, Any] = {"from": rows[0][0], "to": rows[-1][0]}
    for at, name in enumerate(store.MACHINE[1:], start=1):
        together: Callable[[Any], float] = max if name in GREATEST else fmean
        columns = [[row[at] for row in piece if row[at] is not None] for piece in pieces]
        values = [number(together(column), 4) if column else None for column in columns]
        if any(value is not None for value in values):
            curves[name] = values
    return curves


def _gpu(one: GpuState, runs: Sequence[Row]) -> dict[str, Any]:
    holders = [
        {"pid": holder.pid, "name": holder.name[:80], "bytes": holder.bytes, "run": holder.run or None}
        for holder in gpu.with_runs(one.holders, runs)
    ]
    return _known(
        {
            "index": one.index,
            "name": one.name,
            "use": one.use,
            "memory": _filled(one.memory_used, one.memory_total),
            "temperature": one.temperature,
            "watts": number(one.watts, 4),
            "clock": one.clock,
            "holders": [_known(holder) for holder in holders],
        }
    )


def _filled(used: int | None, total: int | None) -> dict[str, int] | None:
    return None if used is None or total is None else {"used": used, "total": total}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
