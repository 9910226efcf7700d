"""ui/guard.py: who may come in, and what they are told otherwise."""

import base64
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.guard import Guard, hostname, is_loopback

HOME = "http://127.0.0.1:7860"


async def hello(request: Request) -> Response:
    """Answers with the size of the body."""
    return PlainTextResponse(str(len(await request.body())))


async def broken(request: Request) -> Response:
    """Fails with a path in the message."""
    raise RuntimeError("/secret/place/runs.db")


async def foreign(request: Request) -> Response:
    """An error answer of Gradio's kind."""
    return JSONResponse({"detail": "/secret/place is not there"}, 400)


async def data(request: Request) -> Response:
    """An answer of our own kind."""
    return JSONResponse({"step": 1})


def client(**options: object) -> TestClient:
    """A client of a small app behind the guard."""
    app = Starlette(
        routes=[
            Route("/", hello, methods=["GET", "POST"]),
            Route("/api/x", hello, methods=["POST"]),
            Route("/api/data", data),
            Route("/broken", broken),
            Route("/gradio_api/info", foreign),
        ]
    )
    return TestClient(Guard(app, **options), base_url=HOME)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:80", "[::1]:7860"])
def test_loopback_names_may_come_in(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "localhost/x", "[::1", "192.168.0.7:7860"],
)
def test_other_names_are_told_421(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 421


def test_allowed_names_may_come_in() -> None:
    assert client(hosts=["train.example"]).get("/", headers={"host": "train.example:443"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:7861", ""])
def test_other_origins_are_told_403(origin: str) -> None:
    assert client().post("/", headers={"origin": origin}).status_code == 403


def test_the_own_origin_may_come_in() -> None:
    assert client().post("/", headers={"origin": HOME}).status_code == 200


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_password_is_asked_for_and_accepted() -> None:
    guarded = client(user="berry", password="schön")

    asked = guarded.get("/")
    assert asked.status_code == 401 and asked.headers["www-authenticate"].startswith("Basic")
    assert guarded.get("/", headers=basic("berry", "schön")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("berry", "wrong"),
        basic("other", "right"),
        {"authorization": "Basic !!!"},
        {"authorization": "Bearer right"},
        {"authorization": ""},
    ],
)
def test_wrong_passwords_are_told_401(headers: dict[str, str]) -> None:
    assert client(user="berry", password="right").get("/", headers=headers).status_code == 401


def test_large_bodies_are_told_413() -> None:
    guarded = client(body_limit=100)

    assert guarded.post("/", content=b"x" * 101).status_code == 413
    assert guarded.post("/", content=b"x" * 100).text == "100"


def test_a_body_without_a_length_is_counted() -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 10

    assert client(body_limit=100).post("/", content=pieces()).status_code == 413


def test_an_unforeseen_error_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    answer = client().get("/broken")

    assert answer.status_code == 500
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert "/secret/place" in caplog.text


def test_gradios_error_answers_are_replaced() -> None:
    answer = client().get("/gradio_api/info")

    assert answer.status_code == 400 and "secret" not in answer.text


@pytest.mark.parametrize(
    "path", ["/gradio_api/file=/etc/passwd", "/gradio_api/upload", "/gradio_api/proxy=http://x", "/monitoring"]
)
def test_unused_parts_of_gradio_are_closed(path: str) -> None:
    assert client().get(path).status_code == 404


def test_every_answer_has_the_safe_headers() -> None:
    for path in ("/", "/broken", "/nowhere"):
        headers = client().get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_data_has_short_ones_under_which_nothing_runs() -> None:
    headers = client().get("/api/data").headers
    assert headers["content-security-policy"].startswith("default-src 'none'") and "referrer-policy" not in headers
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_loopback_addresses(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


def test_host_headers() -> None:
    assert hostname("LocalHost:1") == "localhost"
    assert hostname("[::1]:5") == "::1"
    assert hostname("a@b") == "" and hostname("") == ""
