"""Hostile requests to every door of the page: a right answer or one sentence, nothing half-written, page alive."""

import collections
import inspect
import random
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hostile import VALUES, assert_clean, fuzz, values
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database
from starlette.applications import Starlette
from ui_helpers import FakeLaunch, FakeTalker, Page, add_answer, make_run, served

from engine import store
from engine.home import Home
from ui.actions import CLEAR, Actions
from ui.guard import LOOPBACK, Guard, hostname
from ui.reading import Reader

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

# Gradio 6.31 uses parts of starlette and pandas that these call deprecated, and leaves event loops open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning", "ignore:.*future.no_silent.*", "ignore::ResourceWarning"
)
POSTS = {
    "/api/keep": ("sample", "category", "title", "note", "tags", "anew"),
    "/api/pin": ("exhibit", "pinned"),
    "/api/place": ("exhibit", "beside", "after"),
    "/api/remove": ("exhibit",),
    "/api/arena/vote": ("pair", "winner"),
    "/api/pause": ("run",),
    "/api/unpause": ("run",),
    "/api/sample": ("run",),
    "/api/fork": ("run", "step", "name", "overrides", "queue"),
    "/api/changes": ("run", "changes"),
    "/api/run/rename": ("run", "name"),
    "/api/run/tags": ("run", "add", "remove"),
    "/api/run/notes": ("run", "notes"),
    "/api/run/put-away": ("run", "away"),
    "/api/report/block": ("run", "block", "text", "before"),
    "/api/run/delete": ("run", "exhibits"),
    "/api/money/price": ("run", "home", "price"),
    "/api/money/budget": ("run", "amount"),
    "/api/dataset/delete": ("name",),
    "/api/tokenize": ("text", "tokenizers"),
    "/api/prepare": ("name", "recipe"),
    "/api/prepare/preview": ("recipe",),
    "/api/prepare/stop": ("job",),
    "/api/prepare/resume": ("job",),
    "/api/prepare/discard": ("job",),
    "/api/queue": ("preset", "name", "overrides"),
    "/api/queue/resume": ("run",),
    "/api/queue/move": ("run", "to"),
    "/api/queue/take-out": ("run",),
    "/api/sweep": ("preset", "name", "overrides", "vary"),
    "/api/sweep/take-out": ("name",),
    "/api/queue/hold": ("device", "held"),
    "/api/queue/after-failure": ("hold",),
    "/api/preflight": ("preset", "overrides"),
    "/api/prompts/check": ("name", "text"),
    "/api/prompts/save": ("name", "text", "before"),
    "/api/prompts/delete": ("name", "before"),
    "/api/surprise": ("sample", "run", "step", "prompt", "text", "weights"),
    "/api/capsule/plan": ("run", "samples"),
    "/api/capsule/export": ("run", "weights", "samples", "title", "sender", "seal"),
    "/api/capsule/cancel": ("job",),
    "/api/capsule/take": ("job",),
    "/api/capsule/open": ("capsule",),
    "/api/capsule/forget": ("capsule",),
    "/api/replay": ("exhibit",),
}
DEEP = [b"[" * 50_000, b'{"run":' * 50_000, b'{"run": ' + b"9" * 5000 + b"}"]
BODIES = [b"", b"[", b"[1]", b'"x"', b"\xff\xfe\x00", *DEEP]
NAMES = {
    "start_run": 3,
    "fork_run": 4,
    "queue_fork": 4,
    "change_run": 2,
    "stop_run": 1,
    "resume_run": 1,
    "queue_run": 3,
    "queue_resume": 1,
    "run_status": 1,
    "list_runs": 0,
    "search_samples": 3,
    "list_samples": 2,
    "archive_sample": 4,
    "generate": 8,
    "generate_with": 4,
}
"""API names of the page with their number of arguments."""
WRITERS = {"back_up"}
"""Actions that take nothing from the browser."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served(tmp_path_factory.mktemp("page")) as served_page:
        db = store.connect(served_page.home.database)
        add_answer(db, make_run(db), " a b")
        db.close()
        yield served_page


def parameters(page: Page) -> dict[str, list[str]]:
    """The addresses below /api that can be read, with the names of their parameters."""
    paths = {path: of["get"] for path, of in page.app.openapi()["paths"].items() if "get" in of}
    return {path: [one["name"] for one in of.get("parameters", [])] for path, of in paths.items() if "/api/" in path}


def as_query(value: Any) -> str:
    """A hostile value as it can be part of an address."""
    return str(value)[:2000].encode("utf-8", "replace").decode()


def check_home(home: Home) -> None:
    """The database is sound, every run has its state, and nothing lies where nothing belongs."""
    db = store.connect(home.database)
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db["runs"].count == db["run_state"].count
    db.close()
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in home.path.iterdir()} <= {
        "runs.db",
        "backups",
    }
    assert not (home.path.parent / "owned").exists()


def check_alive(page: Page) -> None:
    assert page.get("/").status_code == 200
    assert page.get("/api/runs").json()["runs"][-1]["id"] == store.REFERENCE_ID
    assert "event: complete" in page.call("list_runs")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_our_routes_as_their_schema_allows_and_forbids(page: Page, mode: schemathesis.GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(page.app.openapi())
    answers: collections.Counter[int] = collections.Counter()
    for operation in (found.ok() for found in schema.get_all_operations()):
        takes = [*operation.query, *operation.body]
        if operation.path.startswith("/static/") or not takes:
            continue  # nothing to vary; the addresses of static files have a test of their own

        @fuzz(8)
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            request = case.as_transport_kwargs(base_url=str(page.base_url))
            request = {key: value for key, value in request.items() if key != "cookies"}
            request["headers"] = dict(request.get("headers") or {})
            answer = page.request(**request)
            assert answer.status_code < 500, (case.operation.label, request, answer.text)
            assert_clean(answer.text, page.home.path)
            answers[answer.status_code] += 1

        ask()
    assert answers.total() > 50 and set(answers) <= {200, 304, 400, 404, 422}
    check_home(page.home)


def test_every_parameter_of_our_routes_with_every_hostile_value(page: Page) -> None:
    right = {"run": store.REFERENCE_ID, "sample": "1", "preset": "seedling", "id": "1"}
    for path, names in parameters(page).items():
        for name in names:
            for value in map(as_query, VALUES):
                asked = {key: right[key] for key in names if key in right} | {name: value}
                answer = page.get(path, params=asked)
                assert answer.status_code < 500, (path, asked, answer.text)
                assert_clean(answer.text, page.home.path)


@fuzz(60)
@given(st.sampled_from(sorted(POSTS)), st.data())
def test_what_is_posted_to_our_routes(page: Page, path: str, data: st.DataObject) -> None:
    body = data.draw(st.fixed_dictionaries(dict.fromkeys(POSTS[path], values)))

    answer = page.post_json(path, body)

    assert answer.status_code in (200, 400, 422), answer.text
    assert_clean(answer.text, page.home.path)


@pytest.mark.parametrize("path", [*POSTS, "/gradio_api/call/run_status", "/gradio_api/queue/join"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:8]))
def test_a_body_that_is_no_json_object(page: Page, path: str, body: bytes) -> None:
    answer = page.post_json(path, body)

    assert 400 <= answer.status_code < 500, answer.text
    assert_clean(answer.text, page.home.path)


@fuzz(100)
@given(st.data())
def test_every_action_does_it_or_says_why_not(home: Home, db: Database, data: st.DataObject) -> None:
    actions = Actions(home, FakeLaunch(), FakeTalker(), Reader(home, lambda home, db: None))
    methods = {
        name: method
        for name, method in inspect.getmembers(actions, inspect.ismethod)
        if not name.startswith("_") and name not in WRITERS
    }
    assert len(methods) > 10
    name = data.draw(st.sampled_from(sorted(methods)))
    arguments = [data.draw(values) for _ in inspect.signature(methods[name]).parameters]
    try:
        answer = methods[name](*arguments)
        if inspect.isgenerator(answer):
            next(answer, None)
    except CLEAR as error:
        assert 10 < len(str(error)) < 1500
        assert_clean(str(error), home.path)
    for run in store.open_runs(db):
        store.end_run(db, run["id"], "stopped")


@fuzz(100)
@given(st.data())
def test_one_wrong_argument_among_right_ones(home: Home, db: Database, data: st.DataObject) -> None:
    talker = FakeTalker()
    actions = Actions(home, FakeLaunch(), talker, Reader(home, lambda home, db: None))
    run_id = make_run(db, device=f"cuda:{len(store.list_runs(db))}")
    right = {
        "run": run_id,
        "step": -1,
        "prompt": "hi",
        "max_tokens": 2,
        "temperature": 0.8,
        "top_k": 0,
        "top_p": 0.9,
        "seed": 7,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "stop": ["."],
        "count": 2,
        "who": [{"run": run_id, "step": 3, "weights": ""}],
    }
    name = data.draw(st.sampled_from(sorted(right)))
    try:
        next(actions.ask(**(right | {name: data.draw(values)})))  # type: ignore[arg-type]
    except CLEAR as error:
        assert_clean(str(error), home.path)
        assert not talker.asked


headers = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from(["127.0.0.1:7860", "localhost", "[::1", "[", "a@b", "::", "x" * 9000]) | st.text(),
        "origin": st.sampled_from(["http://[", "http://[::1", "null", "//", "http://127.0.0.1:7860"]) | st.text(),
        "authorization": st.sampled_from(["Basic", "Basic =", "Basic " + "A" * 9000]) | st.text(),
        "content-length": st.sampled_from(["9" * 5000, "-1", "1e3", "0x10", ""]) | st.text(),
    },
)


@fuzz(200)
@given(headers, st.booleans())
def test_no_header_is_an_unforeseen_error(sent: dict[str, str], closed: bool) -> None:
    guard = Guard(Starlette(), password="quiet" if closed else "")
    scope = {
        "type": "http",
        "path": "/api/runs",
        "headers": [(name.encode(), value.encode("utf-8", "replace")) for name, value in sent.items()],
    }

    refused = guard.refusal(scope)

    if refused is None:
        assert not closed and hostname(sent["host"]) in LOOPBACK
        assert sent.get("origin", sent["host"]).endswith(sent["host"])
    else:
        assert refused[0] in (401, 403, 413, 421) and "\n" not in refused[1]


@pytest.mark.parametrize("question", [*DEEP, b"", b"[1]", b"null", b"{}", b"x" * 200_000])
def test_a_question_that_is_none_is_answered_in_a_sentence(page: Page, question: bytes) -> None:
    answer = page.post("/api/ask", content=question, headers={"content-type": "application/json"})

    assert answer.status_code in (200, 400, 413, 422) and '"error"' in answer.text
    assert_clean(answer.text, page.home.path)


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.drill)])
def test_hostile_payloads_leave_no_trace_and_the_page_alive(page: Page, count: int) -> None:
    """Gradio's API names, its own routes and ours, by turns; the drill sends a thousand."""
    dice, handled = random.Random(count), 0
    for number in range(count):
        name = dice.choice(sorted(NAMES))
        sent = [dice.choice(VALUES) for _ in range(NAMES[name] + dice.choice((-1, 0, 0, 0, 0, 1)))]
        match number % 4:
            case 0 | 1:
                answer = page.call(name, *sent)
                handled += "event: " in answer
            case 2:
                path = dice.choice(sorted(parameters(page)))
                query = {key: as_query(dice.choice(VALUES)) for key in parameters(page)[path]}
                answer = page.get(path, params=query).text
            case _:
                path = dice.choice(("queue/join", "cancel", "reset", f"run/{name}", f"api/{name}", f"call/{name}"))
                body = {"data": sent, "fn_index": dice.choice(VALUES), "session_hash": dice.choice(VALUES)}
                answer = page.post_json(f"/gradio_api/{path}", body).text
        assert_clean(answer, page.home.path)
    assert handled > count / 3
    check_alive(page)
    check_home(page.home)
