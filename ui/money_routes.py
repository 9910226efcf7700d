"""The routes below /api about money: what the machine costs, and what a run may cost."""

from typing import Any

from fastapi import APIRouter, Request, Response

from engine import money, store
from engine.store import Refused
from ui import costs
from ui.answers import reply
from ui.reading import Reader


def make_money(reader: Reader) -> APIRouter:
    """The routes for one home."""
    router = APIRouter(prefix="/api/money")

    @router.get("")
    def prices(request: Request, run: str = "") -> Response:
        own = costs.price(reader.run(run)) if run else None
        return reply(request, {"home": costs.price(store.home_price(reader.db())), "run": own})

    @router.post("/price")
    def price(request: Request, what: dict[str, Any]) -> Response:
        given, db = read_price(what.get("price")), reader.db()
        run, home = what.get("run", ""), what.get("home", False)
        if not isinstance(run, str) or not isinstance(home, bool) or not (run or home):
            raise Refused("Say whose price it is: a run's, or that of runs to come, or both.")
        if run:
            money.set_price(db, given, reader.run(run)["id"])
        if home:
            money.set_price(db, given)
        return reply(request, {"price": given and costs.price(given.columns)})

    @router.post("/budget")
    def budget(request: Request, what: dict[str, Any]) -> Response:
        run = what.get("run")
        if not isinstance(run, str):
            raise Refused("run must be the id of a run.")
        money.set_budget(reader.db(), reader.run(run)["id"], what.get("amount"))
        return reply(request, {})

    return router


def read_price(given: Any) -> money.Price | None:
    """A price from the page, None to forget one; raises Refused."""
    if given is None:
        return None
    if not isinstance(given, dict) or not set(given) <= set(costs.NAMES):
        raise Refused(f"A price has {', '.join(costs.NAMES)}, and nothing else.")
    return money.read_price(**given)
