"""The report of a run for the page: as it is shown, its picture, its files, and the blocks that people write."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import report, store
from engine.report_curves import read_curves
from engine.report_facts import Facts, gather, refuse_unless_trained
from engine.report_plot import LOOKS, plot, size_of
from engine.report_sections import document
from engine.store import Refused, Row
from ui.answers import reply
from ui.checks import text
from ui.reading import Reader

KEPT = 8
"""Pictures that are kept: drawing one takes half a second."""


class Pictures:
    """Training plots, drawn when they are asked for and kept until a run has gone on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def of(self, db: Any, run: Row, look: str) -> bytes:
        """The plot of a run as a PNG, b"" where there is nothing to draw."""
        key = (run["id"], look, *version(run))
        with self._lock:
            found = self._drawn.get(key)
        if found is None:
            found = plot(read_curves(db, run["id"]), look)
            with self._lock:
                self._drawn[key] = found
                while len(self._drawn) > KEPT:
                    self._drawn.popitem(last=False)
        return found


def version(run: Row) -> tuple[Any, ...]:
    """What changes with the curves of a run."""
    return run["attempt"], run["status"], run["step"], run["val_loss"]


def make_reports(reader: Reader) -> APIRouter:
    """The routes for one home. What changes something is a POST, whose origin the guard has checked."""
    router, pictures = APIRouter(prefix="/api/report"), Pictures()

    @router.get("")
    def shown(request: Request, run: str) -> Response:
        row = reader.run(run)
        return reply(request, drawn(gather(reader.home, reader.db(), row, time.time())))

    @router.get("/plot")
    def picture(request: Request, run: str, look: str = "light") -> Response:
        if look not in LOOKS:
            raise Refused(f"look = {look[:20]!r} must be one of {', '.join(LOOKS)}.")
        found = pictures.of(reader.db(), trained(reader, run), look)
        if not found:
            raise Refused("Nothing was measured yet that could be drawn.")
        return Response(found, media_type="image/png", headers={"cache-control": "no-cache"})

    @router.get("/file")
    def file(request: Request, run: str, form: str = "html") -> Response:
        """The report to keep: `html` is a page, `zip` is Markdown with its picture and the card, `card` the card."""
        endings = {"html": "report.html", "zip": "report.zip", "card": "MODEL_CARD.md"}
        kinds = {"html": "text/html", "zip": "application/zip", "card": "text/markdown"}
        if form not in endings:
            raise Refused(f"form = {form[:20]!r} must be one of {', '.join(endings)}.")
        row = trained(reader, run)
        made = report.make_report(reader.home, reader.db(), row, time.time())
        makers: dict[str, Callable[[], str | bytes]] = {"html": made.html, "zip": made.zipped, "card": made.card}
        content = makers[form]()
        name = report.file_name(row, endings[form])
        body = content if isinstance(content, bytes) else content.encode()
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        return Response(body, media_type=kinds[form], headers=headers)

    @router.post("/block")
    def block(request: Request, what: dict[str, Any]) -> Response:
        run, name = (text(what.get(key), key, 200).encode("utf-8", "replace").decode() for key in ("run", "block"))
        written = text(what.get("text"), "text", 20_000).encode("utf-8", "replace").decode()
        before = what.get("before")
        if before is not None:
            before = text(before, "before", 20_000)
        db = reader.db()
        store.set_report_block(db, trained(reader, run)["id"], name, written, before)
        return reply(request, {"text": store.report_blocks(db, run).get(name, "")})

    return router


def trained(reader: Reader, run_id: str) -> Row:
    """A run that has a report here."""
    run = reader.run(run_id)
    refuse_unless_trained(run)
    return run


def drawn(facts: Facts) -> dict[str, Any]:
    """What the page draws: the document, what people may write, and what else there is to see of the run."""
    width, height = size_of(facts.curves)
    return {
        "run": facts.run["id"],
        **document(facts).as_json(),
        "blocks": {name: [facts.blocks.get(name, ""), longest] for name, longest in store.REPORT_BLOCKS.items()},
        "picture": {"version": "-".join(map(str, version(facts.run))), "width": width, "height": height},
        "ages": facts.ages,
        "kept": facts.kept,
    }
