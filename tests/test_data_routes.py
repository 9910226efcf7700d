"""ui/datasets.py, ui/recipes.py, ui/previews.py and their routes: documents to read, jobs, previews, tokens."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import psutil
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from helpers import wait_for
from hostile import assert_clean
from shelves import TEXTS, make_dataset
from ui_helpers import FakePreparing

from engine import preparing as real_preparing
from engine.home import Home
from engine.store import Refused
from ui import datasets, recipes
from ui.data_routes import make_data
from ui.previews import Previewer
from ui.server import add_error_answers

STARTER = {"sources": [{"where": "starter"}], "tokenizer": "bpe:512"}


@pytest.fixture
def preparing() -> FakePreparing:
    """What the routes ask of jobs."""
    return FakePreparing()


@pytest.fixture
def client(home: Home, preparing: FakePreparing) -> Iterator[TestClient]:
    """The routes of datasets without the page around them."""
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_data(home, preparing, Previewer(answering({"read": 3, "documents": []}))))
    with TestClient(app) as opened:
        yield opened


def answering(what: Any) -> list[str]:
    """A preview's process that says `what`, with the question it was given."""
    return [sys.executable, "-c", f"import json, sys; print(json.dumps(dict({what!r}, asked=json.load(sys.stdin))))"]


def refusal(answer: Any, home: Home) -> str:
    """The sentence of an answer that says no."""
    assert answer.status_code == 400, answer.text
    assert_clean(answer.text, home.path)
    return str(answer.json()["error"])


def test_datasets_are_what_their_cards_say(client: TestClient, home: Home) -> None:
    assert client.get("/api/datasets").json() == {"datasets": [], "jobs": []}
    sources = [{"file": "/somewhere/alice.txt", "documents": 3}, "odd", {"dataset": "a/b", "config": "c", "split": "d"}]
    make_dataset(home, "books", licence="public domain", train_tokens=900, sources=sources, dropped={"too short": 2})
    for name, text in (("broken", "{"), ("list", "[]"), (".making", "{}")):
        home.dataset(name).mkdir(parents=True)
        (home.dataset(name) / "card.json").write_text(text)

    books, broken, listed = client.get("/api/datasets").json()["datasets"]

    assert books["name"] == "books" and books["train_tokens"] == 900 and books["val_tokens"] is None
    assert books["disk"] == sum(path.stat().st_size for path in home.dataset("books").iterdir())
    assert books["dropped"] == {"too short": 2}
    assert books["sources"] == [
        {"name": "alice.txt", "documents": 3, "licence": ""},
        {"name": "a/b, c, d", "documents": None, "licence": ""},
    ]
    assert broken == {"name": "broken", "problem": "Its card.json cannot be read.", "disk": 1}
    assert listed["problem"] == broken["problem"]


def test_one_dataset_with_its_lengths_its_filters_and_its_command(client: TestClient, home: Home) -> None:
    make_dataset(
        home,
        "books",
        lengths={"4": 1, "16": 2, "32": 7},
        recipe={"filters": {"min_characters": 200, "max_characters": 0}},
        command="python -m engine prepare books --source /srv/secret/texts",
        created_at="2026-11-23T04:00:00+00:00",
    )

    one = client.get("/api/dataset", params={"name": "books"}).json()

    assert [(bar["least"], bar["most"], bar["documents"]) for bar in one["lengths"]["bars"]] == [
        (3, 4, 1),
        (5, 8, 0),
        (9, 16, 2),
        (17, 32, 7),
    ]
    assert one["lengths"]["half"] == 32 == one["lengths"]["longest"]
    assert one["filters"] == [{"name": "min_characters", "value": 200}]
    assert one["command"] == "python -m engine prepare books --source …/texts"
    assert one["created"] == 1_795_406_400


def test_random_documents_are_whole_and_the_same_for_the_same_seed(client: TestClient, home: Home) -> None:
    make_dataset(home, "books")

    def read(**asked: Any) -> list[dict[str, Any]]:
        found = client.get("/api/dataset/documents", params={"name": "books"} | asked).json()["documents"]
        assert isinstance(found, list)
        return found

    assert [one["text"] for one in read()] == list(TEXTS)
    assert [one["number"] for one in read()] == [1, 2, 3, 4]
    assert read(split="val") == [{"number": 1, "tokens": 7, "text": "the end", "cut": False}]
    many = [f"text {number}" for number in range(500)]
    make_dataset(home, "many", many)
    first, again, other = (read(name="many", seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 5 and all(one["text"] == many[one["number"] - 1] for one in first)


def test_a_long_document_is_cut(client: TestClient, home: Home) -> None:
    make_dataset(home, "long", ["x" * 50_000, "y" * 4000, "世" * 4001])

    found = client.get("/api/dataset/documents", params={"name": "long"}).json()["documents"]

    assert [(len(one["text"]), one["cut"], one["tokens"]) for one in found] == [
        (4000, True, 50_000),
        (4000, False, 4000),
        (4000, True, 12_003),
    ]


@pytest.mark.parametrize(
    ("path", "asked", "told"),
    [
        ("/api/dataset", {"name": "nowhere"}, "nowhere"),
        ("/api/dataset", {"name": "../../etc"}, "letters, digits"),
        ("/api/dataset/documents", {"name": "old"}, "prepare it again"),
        ("/api/dataset/documents", {"name": "short"}, "prepare it again"),
        ("/api/dataset/documents", {"name": "books", "split": "test"}, "train or val"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(
    client: TestClient, home: Home, path: str, asked: dict[str, str], told: str
) -> None:
    make_dataset(home, "books")
    (make_dataset(home, "old") / "train.documents").unlink()
    np.array([10**9], np.uint64).tofile(make_dataset(home, "short") / "train.documents")
    for name in ("old", "short"):
        card = json.loads((home.dataset(name) / "card.json").read_text())
        card["files"].pop("train.documents")
        (home.dataset(name) / "card.json").write_text(json.dumps(card))

    assert told in refusal(client.get(path, params=asked), home)


def test_a_name_is_judged_with_and_without_a_recipe(client: TestClient, home: Home, preparing: FakePreparing) -> None:
    for recipe, wanted in ((STARTER, "bpe:512"), (None, None), ({"sources": [{"where": "/etc/passwd"}]}, "smollm2")):
        answer = client.post("/api/prepare/name", json={"name": " mine ", "recipe": recipe})
        assert answer.json() == {"kind": "", "sentence": ""}
        asked = preparing.asked[-1]
        assert asked[:2] == ("judge", "mine") and (asked[2] and asked[2].tokenizer) == wanted
    assert "name must be text" in refusal(client.post("/api/prepare/name", json={"name": 3}), home)
    assert "200 at most" in refusal(client.post("/api/prepare/name", json={"name": "x" * 201}), home)


def test_only_true_starts_anew(client: TestClient, preparing: FakePreparing) -> None:
    for anew in (True, False, "yes", 1, None):
        assert client.post("/api/prepare", json={"name": "mine", "recipe": STARTER, "anew": anew}).status_code == 200
        assert (preparing.asked[-1][-1] == "anew") == (anew is True)


def test_an_error_with_an_offer_reaches_the_reader(home: Home, preparing: FakePreparing) -> None:
    told = {"error": "a.txt is not UTF-8.", "offer": {"skip_unreadable": True}}
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_data(home, preparing, Previewer(answering(told))))
    with TestClient(app) as opened:
        found = opened.post("/api/prepare/preview", json={"recipe": STARTER}).json()
    assert found["error"] == told["error"] and found["offer"] == told["offer"]


def test_a_text_as_tokens(client: TestClient, home: Home) -> None:
    make_dataset(home, "books")
    text = "a 世"

    asked = {"text": text, "tokenizers": ["smollm2", "books"]}
    smollm2, books = client.post("/api/tokenize", json=asked).json()["tokenized"]

    assert smollm2["vocabulary"] == 49_152 and books["vocabulary"] == 257
    assert smollm2["bytes"] == books["bytes"] == 5
    assert [piece[1:] for piece in books["pieces"]][:2] == [["a", 1, True], [" ", 1, True]]
    assert [piece[1] for piece in books["pieces"]][2:] == ["E4", "B8", "96"]
    assert sum(piece[2] for piece in smollm2["pieces"]) == 5


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"text": "x" * 20_001, "tokenizers": ["smollm2"]}, "20,000 at most"),
        ({"text": "x", "tokenizers": []}, "one or two"),
        ({"text": "x", "tokenizers": ["smollm2"] * 3}, "one or two"),
        ({"text": "x", "tokenizers": [1]}, "one or two"),
        ({"text": 1, "tokenizers": ["smollm2"]}, "must be text"),
        ({"text": "x", "tokenizers": ["/etc/passwd"]}, "letters, digits"),
        ({"text": "x", "tokenizers": ["nowhere"]}, "not there"),
    ],
)
def test_a_text_that_cannot_be_shown_as_tokens(
    client: TestClient, home: Home, asked: dict[str, Any], told: str
) -> None:
    assert told in refusal(client.post("/api/tokenize", json=asked), home)


def test_lone_surrogates_are_tokens_of_their_replacement(client: TestClient) -> None:
    body = '{"text": "a\\ud800", "tokenizers": ["smollm2"]}'

    answer = client.post("/api/tokenize", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 200 and answer.json()["tokenized"][0]["pieces"]


def test_a_dataset_is_asked_for_stopped_resumed_discarded_and_deleted(
    client: TestClient, home: Home, preparing: FakePreparing
) -> None:
    started = client.post("/api/prepare", json={"name": " mine ", "recipe": STARTER | {"tokens": 10_000}})
    for what in ("stop", "resume", "discard"):
        assert client.post(f"/api/prepare/{what}", json={"job": "abc"}).status_code == 200
    deleted = client.post("/api/dataset/delete", json={"name": "mine"})

    (_, name, recipe, roots), *others = preparing.asked
    assert started.json() == {"job": "job"} and deleted.json() == {"bytes": 1_234_567}
    assert name == "mine" and recipe.tokens == 10_000 and recipe.sources[0].where == "starter"
    assert home.path in roots and any(root.name == "data" for root in roots)
    assert others == [("stop", "abc"), ("resume", "abc"), ("discard", "abc"), ("delete", "mine")]


def test_a_path_is_looked_for_in_the_folders_that_may_be_read_and_nowhere_else(
    client: TestClient, home: Home, preparing: FakePreparing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, given = tmp_path / "outside", tmp_path / "given"
    for folder in (outside, given, home.path / "texts"):
        folder.mkdir()
    (outside / "secret.txt").write_text("secret")
    (given / "letters.txt").write_text("letters")
    (home.path / "link").symlink_to(outside)
    monkeypatch.setenv("BLUEBERRY_DATA_ROOTS", str(given))

    for where in ("texts", "letters.txt"):
        body = {"name": "a", "recipe": {"sources": [{"where": where}]}}
        assert client.post("/api/prepare", json=body).status_code == 200
    found = [call[2].sources[0].where for call in preparing.asked]
    assert found == [str(home.path / "texts"), str(given / "letters.txt")]

    for where in ("../outside", "link", "link/secret.txt", "../../etc/passwd", "x" * 5000, "nothing", "~root"):
        body = {"name": "a", "recipe": {"sources": [{"where": where}]}}
        assert "no file or folder" in refusal(client.post("/api/prepare", json=body), home)
    assert len(preparing.asked) == 2


def test_a_whole_path_or_a_link_that_leads_elsewhere_is_refused_by_preview_and_start(
    home: Home, tmp_path: Path
) -> None:
    """By the real ones."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (home.path / "link").symlink_to(outside)
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_data(home, real_preparing, Previewer()))
    with TestClient(app) as client:
        for where in (outside / "secret.txt", home.path / "link" / "secret.txt"):
            body = {"name": "a", "recipe": {"sources": [{"where": str(where)}]}}
            for path in ("/api/prepare", "/api/prepare/preview"):
                assert "outside the folders" in refusal(client.post(path, json=body), home)
        body = {"name": "a", "recipe": STARTER | {"tokenizer": str(outside / "secret.txt")}}
        assert "outside the folders" in client.post("/api/prepare", json=body).json()["error"]

        assert client.get("/api/datasets").json() == {"datasets": [], "jobs": []}


@pytest.mark.parametrize(
    "recipe",
    [
        None,
        [],
        {},
        "starter",
        {"sources": []},
        {"sources": [{"where": ""}]},
        {"sources": [{"where": "starter", "colour": "blue"}]},
        STARTER | {"tokens": "many"},
        STARTER | {"tokens": -1},
        STARTER | {"filters": {"max_repetition": 7}},
        STARTER | {"licence": "\x00"},
        STARTER | {"licence": "x" * 20_001},
        {"sources": [{"where": "starter"}] * 2000},
    ],
    ids=lambda recipe: repr(recipe)[:40],
)
@pytest.mark.parametrize("path", ["/api/prepare", "/api/prepare/preview"])
def test_what_is_no_recipe_is_refused(
    client: TestClient, home: Home, preparing: FakePreparing, path: str, recipe: Any
) -> None:
    assert refusal(client.post(path, json={"name": "a", "recipe": recipe}), home)
    assert not preparing.asked


@pytest.mark.parametrize("text", ['{"tokens": NaN}', '{"licence": "\\ud800"}', '{"tokens": 1e999}'])
def test_numbers_and_signs_that_cannot_be_kept_are_refused(client: TestClient, home: Home, text: str) -> None:
    body = f'{{"name": "a", "recipe": {text}}}'

    answer = client.post("/api/prepare", content=body, headers={"content-type": "application/json"})

    assert "cannot be kept" in refusal(answer, home)


def test_a_job_is_shown_without_paths(home: Home) -> None:
    row = {
        "id": "1",
        "name": "mine",
        "status": "failed",
        "error": f"{home.path}/texts/a.txt is not UTF-8.",
        "message": "",
        "dropped": {"too short": 3},
        "recipe": {"tokenizer": "/srv/x/tokenizer.json", "sources": [{"where": "/srv/y/a.txt"}, {"where": "hub:a/b"}]},
    }

    shown = recipes.job(home, row)

    assert shown["id"] == "1" and not shown["open"] and shown["dropped"] == {"too short": 3}
    assert shown["sources"] == ["a.txt", "a/b"] and shown["tokenizer"] == "tokenizer.json"
    assert shown["recipe"] is None
    assert_clean(json.dumps(shown), home.path)


def test_the_recipe_of_a_job_comes_back_as_it_was_typed(home: Home) -> None:
    sources = [{"where": str(home.path / "texts" / "a.txt"), "column": "text"}, {"where": "starter"}]
    row = {"id": "1", "name": "mine", "status": "failed", "recipe": {"tokenizer": "bpe:512", "sources": sources}}

    shown = recipes.job(home, row)["recipe"]

    assert [source["where"] for source in shown["sources"]] == ["texts/a.txt", "starter"]


def test_a_preview_asks_its_process_with_the_roots(client: TestClient, home: Home) -> None:
    answer = client.post("/api/prepare/preview", json={"recipe": STARTER}).json()

    assert answer["read"] == 3
    assert answer["asked"]["recipe"]["tokenizer"] == "bpe:512" and answer["asked"]["documents"] == 20
    assert str(home.path) in answer["asked"]["roots"]


def preview(command: list[str], gone: Any = None, patience: float = 20.0) -> dict[str, Any]:
    """What a previewer answers."""

    async def listening() -> bool:
        return False

    async def asked() -> dict[str, Any]:
        return await Previewer(command, patience).ask({}, gone or listening)

    with ThreadPoolExecutor(1) as pool:  # a browser test of the same process may have left its loop in this thread
        found: dict[str, Any] = pool.submit(anyio.run, asked).result()
    return found


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ('print(\'{"error": "The hub does not answer."}\')', "The hub does not answer."),
        ("print('{\"read\": ')", "without an answer"),
        ("print('[]')", "without an answer"),
        ("raise SystemExit('broken')", "without an answer"),
    ],
)
def test_a_preview_that_fails_is_a_sentence(code: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        preview([sys.executable, "-c", code])


def test_a_preview_that_takes_too_long_or_that_nobody_waits_for_is_ended(tmp_path: Path) -> None:
    """With all that it started."""
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys, time; from pathlib import Path;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"Path({str(pid)!r}).write_text(str(child.pid)); time.sleep(60)"
    )

    async def left() -> bool:
        return pid.is_file() and pid.read_text() != ""

    with pytest.raises(Refused, match="nobody waits"):
        preview([sys.executable, "-c", code], left)
    wait_for(lambda: has_ended(int(pid.read_text())))
    with pytest.raises(Refused, match="did not answer within"):
        preview([sys.executable, "-c", "import time; time.sleep(60)"], patience=0.3)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that nobody has taken note of."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_one_preview_at_a_time(tmp_path: Path) -> None:
    """Each process finds nobody else at work."""
    mark = tmp_path / "busy"
    code = (
        "import json, time; from pathlib import Path;"
        f"mark = Path({str(mark)!r}); alone = not mark.exists(); mark.touch(); time.sleep(0.2); mark.unlink();"
        "print(json.dumps({'alone': alone}))"
    )
    previewer, found = Previewer([sys.executable, "-c", code]), []

    async def listening() -> bool:
        return False

    async def one() -> None:
        found.append(await previewer.ask({}, listening))

    async def three() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(anyio.run, three).result()

    assert found == [{"alone": True}] * 3


def test_lengths_that_are_none_are_none() -> None:
    assert datasets.lengths(None) is None and datasets.lengths({}) is None
