"""The routes below /api that name, label, put away and delete runs, and show the settings they were started with."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import deleting, store
from engine.snapshot import snapshot
from engine.store import Refused
from ui.answers import reply
from ui.reading import Reader

SHOWN = 5
"""Exhibits and forks that are named before a run is deleted; of the others the number is told."""


def make_labels(reader: Reader) -> APIRouter:
    """The routes for one home. What changes something is a POST, whose origin the guard has checked."""
    router = APIRouter(prefix="/api/run")

    @router.get("/settings")
    def settings(request: Request, run: str) -> Response:
        return reply(request, snapshot(reader.db(), reader.run(run)))

    @router.get("/frees")
    def frees(request: Request, run: str) -> Response:
        found = asdict(deleting.what_it_frees(reader.home, reader.run(run)["id"]))
        shown = {"exhibits": found["exhibits"][:SHOWN], "children": found["children"][:SHOWN]}
        return reply(request, found | shown | {f"{name}_count": len(found[name]) for name in shown})

    @router.post("/rename")
    def rename(request: Request, what: dict[str, Any]) -> Response:
        store.rename_run(reader.db(), _run(what), _text(what, "name", 200).strip())
        return reply(request, {})

    @router.post("/tags")
    def tags(request: Request, what: dict[str, Any]) -> Response:
        add, remove = _tags(what, "add"), _tags(what, "remove")
        return reply(request, {"tags": store.change_tags(reader.db(), _run(what), add, remove)})

    @router.post("/notes")
    def notes(request: Request, what: dict[str, Any]) -> Response:
        store.set_notes(reader.db(), _run(what), _text(what, "notes", 3 * store.LONGEST_NOTE))
        return reply(request, {})

    @router.post("/put-away")
    def put_away(request: Request, what: dict[str, Any]) -> Response:
        store.put_away(reader.db(), _run(what), _flag(what, "away"))
        return reply(request, {})

    @router.post("/delete")
    def delete(request: Request, what: dict[str, Any]) -> Response:
        run, exhibits = reader.run(_run(what)), _flag(what, "exhibits")
        return reply(request, {"bytes": deleting.delete_run(reader.home, run["id"], exhibits).bytes})

    return router


def _run(what: dict[str, Any]) -> str:
    return _text(what, "run", 200).encode("utf-8", "replace").decode()


def _text(what: dict[str, Any], name: str, longest: int) -> str:
    value = what.get(name)
    if not isinstance(value, str):
        raise Refused(f"{name} must be text.")
    if len(value) > longest:
        raise Refused(f"{name} has {len(value):,} characters; {longest:,} at most.")
    return value


def _tags(what: dict[str, Any], name: str) -> list[str]:
    """Tags to add or to remove; none where they are not named."""
    value = what.get(name, [])
    if not isinstance(value, list) or len(value) > store.MOST_TAGS or not all(isinstance(one, str) for one in value):
        raise Refused(f"{name} must be a list of up to {store.MOST_TAGS} tags.")
    return value


def _flag(what: dict[str, Any], name: str) -> bool:
    value = what.get(name)
    if not isinstance(value, bool):
        raise Refused(f"{name} must be true or false.")
    return value
