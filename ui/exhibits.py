"""The time capsule's part of /api: find, open, keep, change, pin and take out exhibits."""

import dataclasses
import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from sqlite_utils import Database

from engine import gallery, store
from engine.store import Refused, Wanted
from ui.actions import Actions
from ui.answers import reply
from ui.checks import text, whole
from ui.columns import SeriesCache
from ui.curves import miniature
from ui.reading import Reader

MOST_CURVES = 1000
"""Curves in miniature that are kept in memory, some 3 kB each."""


def wanted(
    q: str = "",
    category: str = "",
    run: str = "",
    tag: str = "",
    young: int | None = None,
    old: int | None = None,
    since: float | None = None,
    until: float | None = None,
    pinned: bool = False,
    measured: str = "",
) -> Wanted:
    """What an address asks for, within what SQLite can compare."""
    return Wanted(
        query=q[:1000],
        category=category[:200],
        run_id=clean(run[:200]),
        tag=clean(tag[:200]),
        youngest=_age(young),
        oldest=_age(old),
        since=_moment(since),
        until=_moment(until),
        pinned=pinned,
        measured=measured[:40],
    )


Filters = Annotated[Wanted, Depends(wanted)]
"""The filters of an address, the same for every route that finds something."""


def make_exhibits(reader: Reader, actions: Actions, cache: SeriesCache) -> APIRouter:
    """The routes of exhibits for one home. What changes something is a POST, whose origin the guard has checked."""
    router = APIRouter(prefix="/api")
    ended: dict[tuple[str, int, int], Any] = {}

    def curve_of(db: Database, run_id: str) -> Any:
        """A run's curve in miniature, worked out once when it has ended."""
        run = store.get_run(db, run_id)
        if run["status"] in store.OPEN:
            return miniature(db, cache, run)
        key = (run_id, run["attempt"], run["step"])
        if key not in ended:
            if len(ended) >= MOST_CURVES:
                ended.clear()
            ended[key] = miniature(db, cache, run)
        return ended[key]

    @router.get("/exhibits")
    def exhibits(request: Request, filters: Filters, page: int = 0, sort: str = "newest") -> Response:
        db = reader.db()
        found, total = store.search_exhibits(db, filters, min(max(page, 0), 10**6), sort)
        published = 0
        if filters.run_id in ("", store.REFERENCE_ID):
            only = dataclasses.replace(filters, run_id=store.REFERENCE_ID)
            published = store.count_exhibits(db, only)
        curves = {run_id: curve_of(db, run_id) for run_id in {row["run_id"] for row in found}}
        return reply(
            request,
            {
                "total": total,
                "published": published,
                "page_size": store.PAGE,
                "exhibits": found,
                "curves": curves,
                "categories": store.categories(db),
                "tags": [{"tag": row["tag"], "exhibits": row["exhibits"]} for row in store.tags_in_use(db)],
            },
        )

    @router.get("/exhibit")
    def exhibit(request: Request, id: int) -> Response:
        db = reader.db()
        found = store.get_exhibit(db, _id(id))
        return reply(request, {"exhibit": found, "curve": curve_of(db, found["run_id"])})

    @router.get("/random-exhibit")
    def random_exhibit(request: Request, filters: Filters, other_than: int = 0) -> Response:
        answer = reply(request, {"exhibit": store.random_exhibit(reader.db(), filters, _id(other_than))})
        answer.headers["cache-control"] = "no-store"
        return answer

    @router.get("/gallery.html")
    def page_of_exhibits(filters: Filters, sort: str = "newest") -> Response:
        text = "".join(gallery.pages(reader.db(), filters, sort))
        names = {"content-disposition": 'attachment; filename="hall-of-fame.html"', "cache-control": "no-store"}
        return Response(text.encode("utf-8", "replace"), media_type="text/html", headers=names)

    @router.get("/kept")
    def kept(request: Request, sample: int) -> Response:
        return reply(request, {"exhibit": store.exhibit_of(reader.db(), _id(sample))})

    @router.post("/keep")
    def keep(request: Request, what: dict[str, Any]) -> Response:
        # Whoever keeps something anew has not seen how somebody else kept it already: that is not overwritten.
        there = store.exhibit_of(reader.db(), _whole(what, "sample")) if what.get("anew") is True else 0
        if there:
            return reply(request, {"exhibit": there, "already": True})
        kept = actions.archive_sample(
            what.get("sample", 0),
            what.get("category", ""),
            what.get("title", ""),
            what.get("note", ""),
            what.get("tags"),
        )
        return reply(request, {"exhibit": kept})

    @router.post("/pin")
    def pin(request: Request, what: dict[str, Any]) -> Response:
        store.pin(reader.db(), _whole(what, "exhibit"), _flag(what, "pinned"))
        return reply(request, {})

    @router.post("/place")
    def place(request: Request, what: dict[str, Any]) -> Response:
        store.place_beside(reader.db(), _whole(what, "exhibit"), _whole(what, "beside"), _flag(what, "after"))
        return reply(request, {})

    @router.post("/remove")
    def remove(request: Request, what: dict[str, Any]) -> Response:
        actions.remove_exhibit(what.get("exhibit", 0))
        return reply(request, {})

    return router


def clean(value: str) -> str:
    """Text that SQLite can take: a browser may send half of a letter."""
    return text(value, "A filter", 1000).encode("utf-8", "replace").decode()


def _age(tokens: int | None) -> int | None:
    """Within what SQLite can compare."""
    return None if tokens is None else min(max(tokens, 0), 2**62)


def _moment(seconds: float | None) -> float | None:
    return None if seconds is None or math.isnan(seconds) else seconds


def _id(value: int) -> int:
    return value if 0 < value < 2**62 else 0


def _whole(what: dict[str, Any], name: str) -> int:
    return whole(what.get(name), f"{name}", 1, 2**62)


def _flag(what: dict[str, Any], name: str) -> bool:
    value = what.get(name)
    if not isinstance(value, bool):
        raise Refused(f"{name} must be true or false.")
    return value
