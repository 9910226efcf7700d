"""The routes below /api about datasets: what there is, what is being made, previews, documents to read, tokens."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from engine.config import ConfigError
from engine.home import Home
from engine.store import Refused
from ui import datasets, recipes
from ui.answers import reply
from ui.previews import Previewer

SHOWN = 20
"""Documents of a preview."""


class Preparing(Protocol):
    """The part of engine.preparing that the page uses."""

    def start(
        self, home: Home, name: str, recipe: Any, roots: Sequence[Path] | None = ..., *, anew: bool = ...
    ) -> str: ...
    def judge_name(self, home: Home, name: str, recipe: Any = ...) -> dict[str, str]: ...
    def with_whole_paths(self, recipe: Any, roots: Sequence[Path] | None = ...) -> Any: ...
    def stop(self, home: Home, job: str) -> None: ...
    def resume(self, home: Home, job: str) -> None: ...
    def discard(self, home: Home, job: str) -> int: ...
    def listed(self, home: Home) -> list[dict[str, Any]]: ...
    def delete_dataset(self, home: Home, name: str) -> int: ...


def make_data(home: Home, preparing: Preparing, previewer: Previewer) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api")
    router.include_router(_reading(home, preparing))
    router.include_router(_preparing(home, preparing, previewer))
    return router


def _reading(home: Home, preparing: Preparing) -> APIRouter:
    router = APIRouter()

    @router.get("/datasets")
    def listed(request: Request) -> Response:
        jobs = [recipes.job(home, row) for row in preparing.listed(home)]
        return reply(request, {"datasets": datasets.cards(home), "jobs": jobs})

    @router.get("/dataset")
    def one(request: Request, name: str) -> Response:
        return reply(request, datasets.detail(home, name))

    @router.get("/dataset/documents")
    def read(
        request: Request, name: str, split: str = "train", seed: Annotated[int, Query(ge=0, le=2**62)] = 0
    ) -> Response:
        return reply(request, {"documents": datasets.documents(home, name, split, seed)})

    @router.post("/dataset/delete")
    def delete(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, {"bytes": preparing.delete_dataset(home, _text(what, "name"))})

    @router.post("/tokenize")
    def tokenize(request: Request, what: dict[str, Any]) -> Response:
        names = what.get("tokenizers")
        if not isinstance(names, list) or not 1 <= len(names) <= 2 or not all(isinstance(one, str) for one in names):
            raise Refused("Name one or two tokenizers: smollm2, or the name of a dataset.")
        text = _text(what, "text", datasets.LONGEST_TEXT)
        return reply(request, {"tokenized": datasets.tokenized(home, text, names)})

    return router


def _preparing(home: Home, preparing: Preparing, previewer: Previewer) -> APIRouter:
    from engine.data.roots import data_roots  # tokenizers: not before the page is built

    router = APIRouter()

    @router.get("/recipes")
    def known(request: Request) -> Response:
        return reply(request, recipes.known())

    @router.post("/prepare/preview")
    async def preview(request: Request, what: dict[str, Any]) -> Response:
        recipe = await run_in_threadpool(recipes.read_recipe, home, what.get("recipe"))
        question = {
            "recipe": asdict(recipe),
            "roots": [str(root) for root in data_roots(home)],
            "documents": SHOWN,
        }
        return reply(request, await previewer.ask(question, request.is_disconnected))

    @router.post("/prepare")
    def start(request: Request, what: dict[str, Any]) -> Response:
        recipe = recipes.read_recipe(home, what.get("recipe"))
        name = _text(what, "name").strip()
        anew = what.get("anew") is True
        return reply(request, {"job": preparing.start(home, name, recipe, data_roots(home), anew=anew)})

    @router.post("/prepare/name")
    def judge(request: Request, what: dict[str, Any]) -> Response:
        name, recipe = _text(what, "name").strip(), None
        with contextlib.suppress(Refused, ConfigError):  # the recipe is judged by the preview
            recipe = preparing.with_whole_paths(recipes.read_recipe(home, what.get("recipe")), data_roots(home))
        return reply(request, preparing.judge_name(home, name, recipe))

    @router.post("/prepare/stop")
    def stop(request: Request, what: dict[str, Any]) -> Response:
        preparing.stop(home, _text(what, "job"))
        return reply(request, {})

    @router.post("/prepare/resume")
    def resume(request: Request, what: dict[str, Any]) -> Response:
        preparing.resume(home, _text(what, "job"))
        return reply(request, {})

    @router.post("/prepare/discard")
    def discard(request: Request, what: dict[str, Any]) -> Response:
        preparing.discard(home, _text(what, "job"))
        return reply(request, {})

    return router


def _text(what: dict[str, Any], name: str, longest: int = 200) -> str:
    value = what.get(name)
    if not isinstance(value, str):
        raise Refused(f"{name} must be text.")
    if len(value) > longest:
        raise Refused(f"{name} has {len(value):,} characters; {longest:,} at most.")
    return value.replace("\x00", "").encode("utf-8", "replace").decode()
