"""The JSON that the page's scripts read. Texts leave as JSON and are shown with textContent only."""

import json
from typing import Annotated, Any

import psutil
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlite_utils import Database

from engine import config, store
from engine.config import ConfigError
from engine.store import Refused, Row
from ui import curve_files, datasets, describe, health, live, recipes
from ui.actions import Launch, check_data
from ui.answers import reply
from ui.columns import SeriesCache
from ui.curves import CURVES, SMOOTHING, Look
from ui.curves import series as whole_curves
from ui.probe_routes import measurement
from ui.reading import Reader

SAMPLE_FIELDS = (
    "id",
    "run_id",
    "suite",
    "prompt",
    "text",
    "step",
    "tokens",
    "seed",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "stop",
    "max_tokens",
    "new_tokens",
    "finish",
    "source",
    "device",
    "dtype",
    "weights_sha256",
    "exhibit",
)


Id = Annotated[int, Query(ge=0, le=2**62)]
"""A row's number as SQLite can compare it."""


def make_router(reader: Reader, launch: Launch, cache: SeriesCache) -> APIRouter:
    """The routes below /api for one home."""
    router = APIRouter(prefix="/api")

    @router.get("/runs")
    def runs(request: Request) -> Response:
        rows = reader.runs()
        return reply(
            request, {"v": live.version(rows, store.held_lines(reader.db())), "runs": describe.summaries(rows)}
        )

    @router.get("/live")
    def refresh(
        request: Request, runs: str = "", x: str = "tokens", selected: str = "", events: Id = 0, curves: str = ""
    ) -> Response:
        shown, wanted = live.parse_shown(runs), listed(curves) or CURVES
        return reply(request, live.live(reader.db(), reader.runs(), shown, x, selected, events, wanted))

    @router.get("/series")
    def series(
        request: Request,
        runs: str = "",
        run: str = "",
        x: str = "steps",
        lo: float | None = None,
        hi: float | None = None,
        points: int = 2000,
        smooth: float = SMOOTHING,
        curves: str = "",
    ) -> Response:
        look = Look(axis=x, low=lo, high=hi, points=points, smoothing=smooth, curves=listed(curves) or CURVES)
        db = reader.db()
        if run:
            return reply(request, {"x": x, **whole_curves(db, cache, reader.run(run), look)})
        wanted = live.parse_ids(runs)
        found = [row for row in reader.runs() if row["id"] in wanted]
        return reply(request, {"x": x, "runs": [whole_curves(db, cache, row, look) for row in found]})

    @router.get("/curves.csv")
    def every_step(
        runs: str,
        metric: str = "",
        evaluation: str = "",
        x: str = "steps",
        lo: float | None = None,
        hi: float | None = None,
    ) -> Response:
        wanted = live.parse_ids(runs)
        found = [row for row in reader.runs() if row["id"] in wanted]
        lines = curve_files.lines(reader.db(), cache, found, metric, evaluation, Look(axis=x, low=lo, high=hi))
        return StreamingResponse(lines, media_type="text/csv", headers={"cache-control": "no-store"})

    @router.get("/run")
    def one_run(request: Request, run: str) -> Response:
        return reply(request, run_facts(reader, run))

    @router.get("/events")
    def events(request: Request, run: str, limit: int = 200) -> Response:
        rows = store.list_events(reader.db(), run, 0, min(max(limit, 1), 1000))
        return reply(request, {"events": [live.event(row) for row in rows]})

    @router.get("/feed")
    def feed(request: Request, run: str) -> Response:
        db = reader.db()
        return reply(
            request,
            {
                "said": store.newest_sample_id(db, run),
                "every": asked_every(db, run),
                "samples": [spoken(row) | {"ages": row["ages"]} for row in store.newest_samples(db, run)],
            },
        )

    @router.get("/ages")
    def ages(request: Request, sample: Id) -> Response:
        db = reader.db()
        row = store.get_sample(db, sample)
        return reply(
            request, {"samples": [spoken(one) for one in store.answers(db, row["run_id"], row["suite"], row["prompt"])]}
        )

    @router.get("/presets")
    def presets(request: Request) -> Response:
        return reply(request, preset_cards(reader, launch))

    @router.get("/check")
    def check(request: Request, preset: str, overrides: str = "{}", name: str = "") -> Response:
        return reply(request, check_settings(reader, launch, preset, overrides, name))

    return router


def listed(text: str) -> tuple[str, ...]:
    """The words of a comma-separated list."""
    return tuple(filter(None, text.split(",")))


def spoken(row: Row) -> dict[str, Any]:
    """A sample as the page shows it."""
    return {name: row[name] for name in SAMPLE_FIELDS} | {"same_as": row.get("same_as")}


def asked_every(db: Database, run_id: str) -> int | None:
    """Steps between two rounds of prompts; None for a published run."""
    found: int | None = json.loads(store.get_config(db, run_id)).get("sample", {}).get("every")
    return found


def run_facts(reader: Reader, run_id: str) -> dict[str, Any]:
    """One run as it ran: its settings, its machine, the ages at which it can be asked, its latest evaluation."""
    row, db = reader.run(run_id), reader.db()
    found = json.loads(store.get_config(db, run_id))
    newest = store.last_eval(db, run_id)
    settings = config.settings(config.from_json(json.dumps(found))) if row["kind"] != "published" else {}
    return {
        "id": run_id,
        "settings": settings,
        "published": found if row["kind"] == "published" else None,
        "environment": row["environment"],
        "ages": store.ages(db, run_id),
        "evaluation": newest and {name: newest[name] for name in store.EVALS if name != "id"},
    }


def preset_cards(reader: Reader, launch: Launch) -> dict[str, Any]:
    """All presets with what they need on this machine, and the form's fields."""
    device = launch.default_device()
    flops, measured = speed_here(reader, device)
    chosen = {name: config.load_preset(name) for name in config.presets()}
    cards = [
        describe.preset_card(name, one, reader.home, device, flops, measurement(reader.home, reader.db(), one, device))
        for name, one in chosen.items()
    ]
    return {
        "presets": cards,
        "fields": describe.form_fields(),
        "default": config.DEFAULT_PRESET,
        "memory_here": psutil.virtual_memory().total if device == "cpu" else None,
        "measured": measured,
        "preparable": recipes.costs(),
        "categories": store.CATEGORIES,
        "warnings": health.warnings(reader.home),
    }


def check_settings(reader: Reader, launch: Launch, preset: str, overrides: str, name: str) -> dict[str, Any]:
    """What would run with these settings and this name, or what is wrong and at which field."""
    if wrong := describe.name_problem(name):
        return {"error": wrong, "key": "name"}
    try:
        chosen = config.load_preset(preset, describe.parse_overrides(overrides))
        check_data(chosen.data)
    except ConfigError as error:
        return {"error": str(error), "key": describe.offending_key(str(error))}
    missing, unfit = describe.data_problems(reader.home, chosen)
    if unfit:
        return {"error": unfit, "key": describe.offending_key(unfit) or "data.dataset"}
    device = launch.default_device()
    flops, measured = speed_here(reader, device)
    return {
        "error": "",
        "missing": missing,
        "measured": measured,
        "values": config.settings(chosen),
        "parameters": chosen.model.parameters,
        "active_parameters": chosen.model.active_parameters,
        "tokens": chosen.train.tokens,
        "epochs": epochs(reader, chosen),
        **describe.plan(chosen, flops, device, measurement(reader.home, reader.db(), chosen, device)),
    }


def epochs(reader: Reader, chosen: config.RunConfig) -> float | None:
    """How often the run will read its dataset; None where that has not been prepared yet."""
    cards = {card["name"]: card.get("train_tokens") for card in datasets.cards(reader.home)}
    size = cards.get(chosen.data.dataset)
    return round(chosen.train.tokens / size, 2) if isinstance(size, int) and size > 0 else None


def speed_here(reader: Reader, device: str) -> tuple[float, bool]:
    """FLOP/s on this device from the newest run that measured it, else an assumption."""
    db = reader.db()
    rows = store.list_runs(db)
    recent = [row for row in rows if row["kind"] == "trained" and row["device"] == device and row["tokens_per_second"]]
    recent = [row for row in recent if row["parameters"] >= describe.SMALLEST_MEASURE]
    try:
        configs = {row["id"]: store.get_config(db, row["id"]) for row in recent[:1]}
        return describe.machine_flops(device, recent, configs)
    except (ConfigError, Refused):
        return describe.machine_flops(device, [], {})
