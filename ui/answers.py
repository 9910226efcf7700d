"""How our routes answer."""

import gzip
import hashlib
import json
from typing import Any

from fastapi import Request, Response

ZIPPED = (400, 16_000)
"""Bytes of an answer between which packing it is worth its time: less than that is one packet anyway, more takes
milliseconds of a core that may be training, or that draws the chart which waits for it."""


def reply(request: Request, content: Any) -> Response:
    """JSON with an ETag: an answer that the browser has already is a 304 of a few bytes."""
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    tag = f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.method == "GET" and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if ZIPPED[0] <= len(body) <= ZIPPED[1] and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
    return Response(body, media_type="application/json", headers=headers)
