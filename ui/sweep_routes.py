"""The routes below /api about sweeps: what one would be, putting its runs in line, and what came of it."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import store, sweep
from engine.config import ConfigError
from engine.store import Refused
from ui import describe
from ui.actions import check_data
from ui.answers import reply
from ui.reading import Reader

LONGEST_VALUES = 1000
"""Characters in which the values of one setting are given."""
TEXTS = {"preset": 80, "name": 200, "overrides": 20_000}
"""What the form sends besides the values, with the most characters of each."""


def make_sweeps(reader: Reader) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api/sweep")

    @router.get("/plan")
    def plan(request: Request, preset: str, vary: str, overrides: str = "{}", name: str = "") -> Response:
        try:
            preset, name, overrides = read_form({"preset": preset, "name": name, "overrides": overrides})
            found = planned(reader, preset, name, overrides, read_vary(_parsed(vary)))
        except (ConfigError, Refused) as error:
            return reply(request, {"error": str(error), "runs": [], "seconds": 0})
        return reply(request, found | {"error": ""})

    @router.post("")
    def start(request: Request, what: dict[str, Any]) -> Response:
        preset, name, overrides = read_form(what)
        vary = read_vary(what.get("vary"))
        planned(reader, preset, name, overrides, vary)
        made = sweep.start(reader.home, preset, vary, name, describe.parse_overrides(overrides))
        return reply(request, {"sweep": made, "runs": [run["id"] for run in store.runs_of_sweep(reader.db(), made)]})

    @router.post("/take-out")
    def take_out(request: Request, what: dict[str, Any]) -> Response:
        name = what.get("name")
        if not isinstance(name, str):
            raise Refused("The name must be text.")
        return reply(request, {"taken_out": sweep.take_out(reader.home, name)})

    @router.get("s")
    def listed(request: Request) -> Response:
        return reply(request, {"sweeps": store.list_sweeps(reader.db())})

    @router.get("")
    def one(request: Request, name: str) -> Response:
        reader.settle()
        return reply(request, sweep.result_of(reader.db(), name))

    return router


def planned(reader: Reader, preset: str, name: str, overrides: str, vary: dict[str, list[Any]]) -> dict[str, Any]:
    """What the sweep would be; raises ConfigError or Refused, also for what the page may not name."""
    if name:
        store.check_run_name(name)
    chosen = describe.parse_overrides(overrides)
    for run in sweep.planned(preset, name or "sweep", vary, chosen):
        check_data(run.config.data)
    return sweep.preview(reader.db(), preset, vary, name, chosen)


def read_form(what: dict[str, Any]) -> tuple[str, str, str]:
    """Preset, name and overrides as text of a sensible length; raises Refused."""
    for name, longest in TEXTS.items():
        value = what.get(name, "")
        if not isinstance(value, str) or len(value) > longest:
            raise Refused(f"{name} must be text of at most {longest:,} characters.")
    return what.get("preset", ""), what.get("name", "").replace("\x00", "").strip(), what.get("overrides", "{}")


def read_vary(vary: Any) -> dict[str, list[Any]]:
    """The values by setting, from texts by setting; raises ConfigError or Refused."""
    if not isinstance(vary, dict) or len(vary) > 2 or not all(isinstance(text, str) for text in vary.values()):
        raise Refused('vary must be one or two settings with their values: {"train.seed": "1..4"}.')
    if any(len(text) > LONGEST_VALUES for text in vary.values()):
        raise Refused(f"The values of a setting have at most {LONGEST_VALUES:,} characters.")
    return {key: sweep.parse_values(key, text) for key, text in vary.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
