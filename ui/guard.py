"""The one door: every request to Gradio's routes and ours passes here before anything else sees it."""

import base64
import binascii
import hmac
import ipaddress
import json
import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
BODY_LIMIT = 1_000_000
"""Bytes of a request; the largest honest one is a prompt of 8,192 characters with its settings."""
UPLOAD, UPLOAD_LIMIT = "/api/capsule/upload", 8_000_000_000
"""Where a capsule is brought, which may carry weights, and how many bytes that may be."""
CLOSED = (
    "/gradio_api/upload",
    "/gradio_api/proxy=",
    "/gradio_api/file",
    "/gradio_api/stream",
    "/gradio_api/vibe",
    "/gradio_api/undo-vibe",
    "/gradio_api/deep_link",
    "/gradio_api/process_recording",
    "/gradio_api/dev",
    "/gradio_api/custom_component",
    "/gradio_api/component_server",
    "/gradio_api/run-history",
    "/monitoring",
    "/gradio_api/profiling",
    "/gradio_api/runs",
)
"""Parts of Gradio that this page does not use: files, uploads, proxying, editing."""
HEADERS = {
    # Gradio starts from an inline script and compiles its templates, so both must be allowed; nothing from elsewhere.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
DATA_HEADERS = {
    # Of what is no page: a browser that is led here shows text, and runs nothing of it.
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """ASGI middleware: Host list, Origin equal to Host, password, size of the body, clean errors, safe headers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (),
        user: str = "",
        password: str = "",
        body_limit: int = BODY_LIMIT,
    ) -> None:
        self.app = app
        self.hosts = {*LOOPBACK, *(host.lower().strip("[]") for host in hosts if host)}
        self.credentials = f"{user}:{password}".encode() if password else b""
        self.body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, pass on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if scope["type"] == "websocket":
            # Nothing here speaks websocket.
            await send({"type": "websocket.close", "code": 1008})
        elif refusal:
            await answer(send, *refusal)
        else:
            await self._pass_on(scope, receive, send)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence of why a request is refused, None if it is welcome."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if hostname(host) not in self.hosts:
            return 421, "This address does not belong to Blueberry Studio; --allow-host adds a name."
        origin = headers.get("origin")
        if origin is not None and place(origin) != host.lower():
            return 403, "Another site may not use this page."
        if self.credentials and not self._known(headers.get("authorization", "")):
            return 401, "Name and password, please."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > self._limit(scope):
            return self._too_large(scope)
        if scope["path"].startswith(CLOSED):
            return 404, "There is nothing here."
        return None

    def _limit(self, scope: Scope) -> int:
        return UPLOAD_LIMIT if scope["path"] == UPLOAD else self.body_limit

    def _too_large(self, scope: Scope) -> tuple[int, str]:
        return 413, f"A request may have {self._limit(scope):,} bytes at most."

    def _known(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, self.credentials)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen, over, started, replaced = 0, False, False, False
        limit = self._limit(scope)

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            over = over or seen > limit
            return {"type": "http.disconnect"} if over else message

        async def guarded(message: Message) -> None:
            nonlocal started, replaced
            if message["type"] == "http.response.start":
                started = True
                if over:
                    replaced = True
                    await answer(send, *self._too_large(scope))
                    return
                if message["status"] >= 400 and _foreign(scope["path"]):
                    replaced = True
                    await answer(send, message["status"], "This request cannot be answered.")
                    return
                ours = DATA_HEADERS if _is_data(scope["path"], message) else HEADERS
                message["headers"] = [*_without(message["headers"], HEADERS), *_encoded(ours)]
            if not replaced:
                await send(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if not over:
                # The boundary of this process: the terminal gets the trace, the browser a sentence.
                log.exception("unforeseen error at %s", scope["path"])
            if not started and over:
                await answer(send, *self._too_large(scope))
            elif not started:
                await answer(send, 500, "Something went wrong here; the terminal that runs app.py shows what.")


def place(origin: str) -> str:
    """Host and port of an Origin header in lower case; "" if it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def hostname(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case; "" if it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "") if host and "@" not in host and "/" not in host else ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def answer(send: Send, status: int, message: str) -> None:
    """A whole JSON answer with one sentence."""
    body = json.dumps({"error": message}).encode()
    headers = HEADERS | {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="Blueberry Studio", charset="UTF-8"'
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body})


def _is_data(path: str, message: Message) -> bool:
    """Whether an answer is JSON, or says that the browser has that already."""
    kind = dict(message["headers"]).get(b"content-type", b"")
    return bool(kind.startswith(b"application/json")) or (message["status"] == 304 and path.startswith("/api/"))


def _foreign(path: str) -> bool:
    """Gradio's error answers can hold paths; its queue's are sentences that its client shows."""
    return not path.startswith(("/api/", "/gradio_api/queue"))


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _without(headers: Iterable[tuple[bytes, bytes]], names: Iterable[str]) -> list[tuple[bytes, bytes]]:
    dropped = {name.encode() for name in names}
    return [(name, value) for name, value in headers if name.lower() not in dropped]
