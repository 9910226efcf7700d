"""The time capsule's part of /api: find, open, keep, change and take out exhibits."""

from typing import Any

from fastapi import APIRouter, Request, Response

from engine import store
from ui.actions import Actions
from ui.answers import reply
from ui.columns import SeriesCache
from ui.curves import miniature
from ui.reading import Reader


def make_exhibits(reader: Reader, actions: Actions, cache: SeriesCache) -> APIRouter:
    """The routes of exhibits for one home. What changes something is a POST, whose origin the guard has checked."""
    router = APIRouter(prefix="/api")

    @router.get("/exhibits")
    def exhibits(
        request: Request,
        q: str = "",
        category: str = "",
        run: str = "",
        page: int = 0,
        young: int | None = None,
        old: int | None = None,
    ) -> Response:
        db, ages = reader.db(), (_age(young), _age(old))
        found, total = store.search_archive(db, q[:1000], category[:200], run[:200], min(max(page, 0), 10**6), *ages)
        published = 0
        if run in ("", store.REFERENCE_ID):
            published = store.search_archive(db, q[:1000], category[:200], store.REFERENCE_ID, 0, *ages)[1]
        curves = {
            run_id: miniature(db, cache, store.get_run(db, run_id)) for run_id in {row["run_id"] for row in found}
        }
        return reply(
            request,
            {
                "total": total,
                "published": published,
                "page_size": store.PAGE,
                "exhibits": found,
                "curves": curves,
                "categories": store.categories(db),
            },
        )

    @router.get("/exhibit")
    def exhibit(request: Request, id: int) -> Response:
        db = reader.db()
        found = store.get_exhibit(db, _id(id))
        curve = miniature(db, cache, store.get_run(db, found["run_id"]))
        return reply(request, {"exhibit": found, "curve": curve})

    @router.post("/keep")
    def keep(request: Request, what: dict[str, Any]) -> Response:
        kept = actions.archive_sample(
            what.get("sample", 0), what.get("category", ""), what.get("title", ""), what.get("note", "")
        )
        return reply(request, {"exhibit": kept})

    @router.post("/remove")
    def remove(request: Request, what: dict[str, Any]) -> Response:
        actions.remove_exhibit(what.get("exhibit", 0))
        return reply(request, {})

    return router


def _age(tokens: int | None) -> int | None:
    """Within what SQLite can compare."""
    return None if tokens is None else min(max(tokens, 0), 2**62)


def _id(value: int) -> int:
    return value if 0 < value < 2**62 else 0
