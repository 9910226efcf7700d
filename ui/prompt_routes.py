"""The routes below /api/prompts: the prompt suites, one of them as text, saved and removed."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import suites
from engine.config import ConfigError
from engine.store import Refused
from engine.suites import Suite
from ui.answers import reply
from ui.checks import text
from ui.reading import Reader

SHOWN = 5
"""Runs that are named before a suite of theirs is removed; of the others the number is told."""


def make_prompts(reader: Reader, folder: Path) -> APIRouter:
    """The routes for the suites in `folder`."""
    router = APIRouter(prefix="/api/prompts")

    @router.get("")
    def listed(request: Request) -> Response:
        return reply(request, {"suites": [_told(one) for one in suites.listed(folder)]})

    @router.get("/suite")
    def one(request: Request, name: str) -> Response:
        return reply(request, _whole(suites.read(_name(name), folder)))

    @router.get("/uses")
    def uses(request: Request, name: str) -> Response:
        runs = suites.runs_asking(reader.db(), _name(name))
        presets = suites.presets_asking(_name(name))
        return reply(request, {"presets": presets, "runs": runs[:SHOWN], "runs_count": len(runs)})

    @router.post("/check")
    def check(request: Request, what: dict[str, Any]) -> Response:
        try:
            found = suites.check(_name(what.get("name")), _text(what))
        except (ConfigError, Refused) as error:
            return reply(request, {"error": str(error), "prompts": 0})
        return reply(request, {"error": "", "prompts": len(found)})

    @router.post("/save")
    def save(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, _whole(suites.save(_name(what.get("name")), _text(what), _before(what), folder)))

    @router.post("/delete")
    def delete(request: Request, what: dict[str, Any]) -> Response:
        suites.delete(_name(what.get("name")), _before(what), folder)
        return reply(request, {})

    return router


def _told(one: Suite) -> dict[str, Any]:
    return {"name": one.name, "prompts": one.prompts, "problem": one.problem}


def _whole(one: Suite) -> dict[str, Any]:
    return _told(one) | {"text": one.text, "sha256": one.sha256}


def _name(value: Any) -> str:
    return text(value, "The name", 200).strip()


def _text(what: dict[str, Any]) -> str:
    return text(what.get("text"), "The suite", suites.LARGEST)


def _before(what: dict[str, Any]) -> str:
    return text(what.get("before", ""), "The sha256 that was read", 64)
