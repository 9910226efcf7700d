"""The routes below /api about alerts: the newest ones, what is told and where, and a test. The webhook stays here."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from engine import alerts, store
from ui.answers import reply
from ui.reading import Reader

NEWEST = 50
"""Alerts in one answer at most."""
Id = Annotated[int, Query(ge=0, le=2**62)]


def make_alerts(reader: Reader) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api/alerts")

    @router.get("")
    def newest(request: Request, after: Id = 0) -> Response:
        db = reader.db()
        kinds = alerts.settings(db).kinds
        found = store.list_alerts(db, kinds, after, NEWEST)
        return reply(request, {"newest": store.newest_alert_id(db), "alerts": [alerts.shown(alert) for alert in found]})

    @router.get("/settings")
    def settings(request: Request) -> Response:
        return reply(request, _described(alerts.settings(reader.db())))

    @router.post("/settings")
    def change(request: Request, what: dict[str, Any]) -> Response:
        return reply(request, _described(alerts.change(reader.db(), what)))

    @router.post("/test")
    def test(request: Request) -> Response:
        return reply(request, {"said": alerts.send_test(alerts.settings(reader.db()))})

    return router


def _described(found: alerts.Settings) -> dict[str, Any]:
    """The settings, and what else could be chosen."""
    return alerts.public(found) | {"known": alerts.KINDS, "placeholders": list(alerts.PLACEHOLDERS)}
