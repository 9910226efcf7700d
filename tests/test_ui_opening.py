"""ui/opening.py: the frame is in the page's HTML, and nothing else is touched."""

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from ui.header import TABS
from ui.opening import Opening

HTML = '<html><head><title>t</title></head><body style="x"><p>1 &lt; 2, ü</p></body></html>'


@pytest.fixture
def client() -> TestClient:
    """A page in pieces, and other addresses."""
    app = FastAPI()

    @app.get("/")
    def page() -> Response:
        return StreamingResponse((part for part in (HTML[:20], HTML[20:])), media_type="text/html")

    @app.post("/")
    @app.get("/other")
    def other() -> Response:
        return Response(HTML, media_type="text/html")

    app.add_middleware(Opening, base="/static/1", scripts=["app.js"])
    return TestClient(app)


def test_the_frame_is_the_first_thing_in_the_body(client: TestClient) -> None:
    answer = client.get("/")
    head, _, body = answer.text.partition('<body style="x">')

    assert body.strip().startswith('<div id="opening"') and body.endswith("<p>1 &lt; 2, ü</p></body></html>")
    assert "/static/1/opening.css" in head and "/static/1/app.js" in head and "<title>t</title>" in head
    assert all(label in body for _, label in TABS)
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_other_answers_are_left_alone(client: TestClient) -> None:
    assert client.get("/other").text == client.post("/").text == HTML
