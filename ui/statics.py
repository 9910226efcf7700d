"""Our styles and scripts, and plotly's, packed once and kept in memory, below an address that changes with them."""

import gzip
import hashlib
import mimetypes
import threading
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

STATIC = Path(__file__).resolve().parent / "static"
YEAR = "public, max-age=31536000, immutable"
"""Static addresses contain a hash of all files, so what is behind one never changes."""
FIRST = ("studio.css", "opening.css")
"""Styles that the page's frame needs; all others come as one file after it."""
ORDER = (
    *("train", "money", "preflight", "charts", "words", "play", "surprise", "rooms", "runs", "data", "sheets", "fork"),
    *("queue", "sweep", "alerts", "asking", "fame", "growing", "report", "judging", "portable"),
)
"""The other styles; what a later one says of an element counts."""
REST = "rest.css"
"""The other styles, as one file."""


class Static:
    """One file for browsers."""

    def __init__(self, name: str, path: Path | None = None, data: bytes = b"") -> None:
        """`data`, or what stands in `path`, read when it is asked for."""
        self.kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
        self._path, self._data = path, data

    @cached_property
    def packed(self) -> bytes:
        """The file gzipped: a rented machine sends it over the internet, and plotly alone has 5 MB."""
        return gzip.compress(self.plain, compresslevel=6, mtime=0)

    @property
    def plain(self) -> bytes:
        """The file as it is, for programs that unpack nothing."""
        return self._path.read_bytes() if self._path else self._data

    @property
    def ready(self) -> bool:
        """Whether sending it is no work."""
        return "packed" in self.__dict__


def add_static(app: FastAPI, ahead: bool = False) -> str:
    """Serve them below /static/studio/VERSION/; returns the version. `ahead`: pack plotly before anybody asks."""
    paths = [path for path in sorted(STATIC.iterdir()) if path.is_file()]
    digest = hashlib.sha1(b"".join(path.read_bytes() for path in paths), usedforsecurity=False)
    files = {path.name: Static(path.name, path) for path in paths}
    files[REST] = Static(REST, data=b"\n".join((STATIC / f"{name}.css").read_bytes() for name in ORDER))
    files["plotly.min.js"] = Static("plotly.min.js", plotly_script())

    if ahead:  # half a second, while the rest of the page is still being built
        threading.Thread(target=lambda: files["plotly.min.js"].packed, name="packing", daemon=True).start()

    @app.get("/static/studio/{version}/{name}")
    async def static(request: Request, version: str, name: str) -> Response:
        file = files.get(name)
        if file is None:
            return JSONResponse({"error": "There is nothing here."}, 404)
        headers = {"cache-control": YEAR, "vary": "accept-encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(await run_in_threadpool(lambda: file.plain), media_type=file.kind, headers=headers)
        body = file.packed if file.ready else await run_in_threadpool(lambda: file.packed)
        return Response(body, media_type=file.kind, headers=headers | {"content-encoding": "gzip"})

    return digest.hexdigest()[:12]


def plotly_script() -> Path:
    """The script inside the plotly package, found without importing the package."""
    spec = find_spec("plotly")
    assert spec is not None and spec.origin is not None, "plotly is in requirements.txt"
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
