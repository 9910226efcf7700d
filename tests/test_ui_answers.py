"""ui/answers.py: JSON that is packed where that pays, and not sent twice."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.answers import ZIPPED, reply


async def numbers(request: Request) -> Response:
    """As many numbers as are asked for."""
    return reply(request, list(range(int(request.path_params["count"]))))


CLIENT = TestClient(Starlette(routes=[Route("/{count}", numbers)]))


def test_an_answer_of_some_size_is_packed_and_reads_the_same() -> None:
    packed = CLIENT.get("/1000")
    plain = CLIENT.get("/1000", headers={"accept-encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.json() == plain.json() == list(range(1000))
    assert packed.headers["etag"] == plain.headers["etag"]


def test_short_and_long_ones_go_as_they_are() -> None:
    for count in (10, ZIPPED[1]):
        assert "content-encoding" not in CLIENT.get(f"/{count}").headers


def test_what_the_browser_has_is_not_sent_again() -> None:
    tag = CLIENT.get("/1000").headers["etag"]

    again = CLIENT.get("/1000", headers={"if-none-match": tag})

    assert again.status_code == 304 and not again.content
