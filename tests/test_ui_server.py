"""ui/server.py, ui/routes.py, ui/actions.py and ui/page.py through HTTP, as a browser and a script use them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from shelves import TEXTS, make_dataset
from sqlite_utils import Database
from ui_helpers import FakeLaunch, FakeTalker, add_answer, add_points, make_run, served

from engine import backups, store
from engine.config import load_preset, presets
from engine.home import Home
from engine.store import Refused
from ui import statics
from ui.actions import Actions, sentence
from ui.reading import Reader

# Gradio 6.31 uses parts of starlette and pandas that these call deprecated, and leaves event loops open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning", "ignore:.*future.no_silent.*", "ignore::ResourceWarning"
)
ADDRESS = "http://127.0.0.1:7860"
HOSTILE = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One page for all tests of this file: building it takes a second."""
    with served(tmp_path_factory.mktemp("page")) as client:
        yield client


@pytest.fixture
def there(page: TestClient) -> Iterator[Database]:
    """The database behind the page."""
    db = store.connect(page.home.database)  # type: ignore[attr-defined]
    yield db
    for run in store.open_runs(db):
        store.end_run(db, run["id"], "stopped")
    db.close()


def call(page: TestClient, name: str, *values: Any) -> str:
    """Call an API name as gradio_client does; the text of its event stream."""
    event = page.post(f"/gradio_api/call/{name}", json={"data": list(values)}).json()["event_id"]
    return page.get(f"/gradio_api/call/{name}/{event}").text


def result(stream: str) -> Any:
    """The value of the last event of a stream."""
    lines = stream.strip().splitlines()
    assert lines[-2] == "event: complete", stream
    return json.loads(lines[-1].removeprefix("data: "))[0]


def test_the_page_opens_and_fetches_nothing_from_elsewhere(page: TestClient) -> None:
    html = page.get("/").text

    assert "Blueberry Studio" in html and 'id="opening"' in html.partition("<body")[2]
    assert "fonts.googleapis" not in html and "cdn." not in html


def test_the_web_process_has_no_torch(page: TestClient) -> None:
    script = (
        "import sys; from engine.home import Home; from engine import launch, talk; import ui.server, ui.page; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'datasets')))"
    )

    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent).returncode == 0


def test_no_path_of_this_machine_is_in_the_page(page: TestClient) -> None:
    home = str(page.home.path)  # type: ignore[attr-defined]

    for path in ("/", "/config", "/gradio_api/info", "/api/presets", "/api/runs"):
        assert home not in page.get(path).text
        assert str(Path(__file__).parent.parent) not in page.get(path).text


def test_static_files_can_be_cached_for_ever(page: TestClient) -> None:
    html = page.get("/").text
    base = html[html.index("/static/studio/") :][:27]

    for name, kind in (("app.js", "text/javascript"), ("studio.css", "text/css"), ("plotly.min.js", "text/javascript")):
        answer = page.get(f"{base}/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        plain = page.get(f"{base}/{name}", headers={"accept-encoding": "identity"})
        assert plain.content == answer.content and "content-encoding" not in plain.headers
    assert page.get(f"{base}/..%2fpage.py").status_code == 404


def test_every_style_is_in_the_page(page: TestClient) -> None:
    files = {path.stem for path in statics.STATIC.glob("*.css")}

    assert files == {*statics.ORDER} | {name.removesuffix(".css") for name in statics.FIRST}
    rest = page.get(f"/static/studio/x/{statics.REST}").text
    assert all((statics.STATIC / f"{name}.css").read_text(encoding="utf-8") in rest for name in statics.ORDER)


def test_a_new_home_shows_the_published_run(page: TestClient) -> None:
    runs = page.get("/api/runs").json()["runs"]

    assert runs[-1]["id"] == store.REFERENCE_ID and runs[-1]["kind"] == "published"
    exhibits = page.get("/api/exhibits").json()
    assert exhibits["total"] >= 3
    assert len(exhibits["curves"][store.REFERENCE_ID]) > 10


def test_an_unchanged_answer_is_a_304(page: TestClient) -> None:
    address = f"/api/live?selected={store.REFERENCE_ID}"
    first = page.get(address)

    again = page.get(address, headers={"if-none-match": first.headers["etag"]})

    assert again.status_code == 304 and not again.content


def test_runs_series_feed_and_ages(page: TestClient, there: Database) -> None:
    run_id = make_run(there)
    add_points(there, run_id, 1, 20)
    add_answer(there, run_id, " a b", step=10)
    newest = add_answer(there, run_id, " a b c", step=20)

    series = page.get(f"/api/series?run={run_id}&x=steps").json()
    feed = page.get(f"/api/feed?run={run_id}").json()
    ages = page.get(f"/api/ages?sample={newest}").json()

    assert series["rows"] == 20
    assert [sample["text"] for sample in feed["samples"]] == [" a b c"] and feed["said"] == newest
    assert [sample["text"] for sample in ages["samples"]] == [" a b", " a b c"]
    assert feed["every"] == load_preset("seedling").sample.every
    store.update_state(there, run_id, environment={"precision": "bf16", "attention": "torch SDPA"})
    facts = page.get(f"/api/run?run={run_id}").json()
    assert facts["settings"]["train.seed"] == 1337
    assert facts["environment"] == {"precision": "bf16", "attention": "torch SDPA"}


@pytest.mark.parametrize(
    "address",
    [
        "/api/series?run=nobody",
        "/api/series?run=x&lo=abc",
        "/api/live?runs=nonsense",
        "/api/run?run=../../etc",
        "/api/ages?sample=999999999",
        "/api/series",
        "/api/check?preset=../seedling&overrides=%5B",
        "/api/exhibits?page=-5",
        "/api/feed?run=%00",
        "/api/nothing",
        "/api/series?run=blueberry-nano-2025&lo=nan&hi=inf",
    ],
)
def test_senseless_requests_get_a_sentence(page: TestClient, address: str) -> None:
    answer = page.get(address)

    assert answer.status_code in (200, 400, 404, 422)
    assert "Traceback" not in answer.text and "site-packages" not in answer.text


def test_an_answer_says_where_it_is_kept(page: TestClient, there: Database) -> None:
    run_id = make_run(there)
    first, newest = (add_answer(there, run_id, text, step) for text, step in ((" a", 10), (" b", 20)))
    exhibit = store.keep(there, first, "good", "First")

    ages = page.get(f"/api/ages?sample={newest}").json()["samples"]

    assert [sample["exhibit"] for sample in ages] == [exhibit, None]
    assert page.get(f"/api/feed?run={run_id}").json()["samples"][0]["exhibit"] is None


def test_a_vocabulary_that_does_not_suit_a_dataset_is_told_at_its_field(tmp_path: Path) -> None:
    make_dataset(Home(tmp_path), "notes", [text * 200 for text in TEXTS])
    with served(tmp_path) as client:

        def check(**overrides: Any) -> dict[str, Any]:
            found: dict[str, Any] = client.get(
                "/api/check", params={"preset": "seedling", "overrides": json.dumps(overrides)}
            ).json()
            return found

        wrong = check(**{"data.dataset": "notes"})
        right = check(**{"data.dataset": "notes", "model.vocab_size": 257})
        missing = check(**{"data.dataset": "nowhere"})["missing"]

    assert wrong["key"] == "model.vocab_size" and "set model.vocab_size=257" in wrong["error"]
    assert right.get("key") != "model.vocab_size"
    assert "nowhere" in missing


def test_settings_are_checked_as_one_types(page: TestClient) -> None:
    def check(overrides: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = page.get(
            "/api/check", params={"preset": "seedling", "overrides": json.dumps(overrides)}
        ).json()
        return found

    wrong = check({"optimizer.muon_lr": "-1"})
    assert wrong["key"] == "optimizer.muon_lr" and "> 0" in wrong["error"]
    assert (
        check({"train.tokens": "1M"})["tokens"] == check({"train.tokens": "1M"})["values"]["train.tokens"] == 1_000_000
    )
    assert "must be a whole number" in check({"train.tokens": "abc"})["error"]
    assert check({"data.tokenizer": "/etc/passwd"})["key"] == "data.tokenizer"
    assert check({"data.dataset": "../../etc"})["key"] == "data.dataset"


def test_the_form_has_every_setting_with_its_help(page: TestClient) -> None:
    form = page.get("/api/presets").json()

    assert [card["name"] for card in form["presets"]] == presets()
    assert all(field["help"] and field["label"] for field in form["fields"])
    assert [field["key"] for field in form["fields"][:4]] == [
        "train.tokens",
        "optimizer.muon_lr",
        "train.seed",
        "sample.every",
    ]
    assert set(form["presets"][0]["values"]) - {"title"} == {field["key"] for field in form["fields"]}
    assert all(card["missing"] for card in form["presets"] if card["name"].startswith("blueberry"))


def test_start_stop_resume_and_status_by_api_name(page: TestClient, there: Database) -> None:
    run_id = result(call(page, "start_run", "seedling", "by-api", '{"train.tokens": 100000}'))

    assert store.get_run(there, run_id)["name"] == "by-api"
    assert result(call(page, "run_status", run_id))["status"] == "preparing"
    assert result(call(page, "stop_run", "by-api")) == run_id
    assert result(call(page, "resume_run", run_id)) == run_id
    assert run_id in [run["id"] for run in result(call(page, "list_runs"))]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("start_run", ["../seedling", "", "{}"]),
        ("start_run", ["seedling", "../x", "{}"]),
        ("start_run", ["seedling", "a", '{"leraning": 1}']),
        ("start_run", ["seedling", "a", "[1]"]),
        ("start_run", ["seedling", "a", '{"train.seed": NaN}']),
        ("start_run", ["seedling", "a", '{"data.tokenizer": "../../secret"}']),
        ("start_run", ["seedling", "a", '{"train.seed": 1, "train.seed": 2}']),
        ("stop_run", ["nobody"]),
        ("stop_run", [{"a": 1}]),
        ("resume_run", [None]),
        ("run_status", ["' OR 1=1"]),
        ("archive_sample", [999_999, "good", "t", ""]),
        ("archive_sample", [1, "", "t", ""]),
        ("archive_sample", ["x", "good", "t", ""]),
        ("search_samples", ["x", "nobody", ""]),
        ("generate", [store.REFERENCE_ID, -1, "hi", 10, 0.8, 0, 0.9, 7]),
        ("generate", ["nobody", -1, "hi", 10, 0.8, 0, 0.9, 7]),
    ],
)
def test_what_is_wrong_is_refused_without_a_trace(
    page: TestClient, there: Database, name: str, values: list[Any]
) -> None:
    stream = call(page, name, *values)

    assert "event: error" in stream
    assert "Traceback" not in stream and "site-packages" not in stream and "/work" not in stream


def test_generate_streams_text_by_api_name(page: TestClient, there: Database) -> None:
    run_id = make_run(there)

    stream = call(page, "generate", run_id, -1, "Hello", 3, 0.8, 0, 0.95, 7)

    assert result(stream) == " word word word"


def test_any_setting_is_named_in_json_by_api_name(page: TestClient, there: Database) -> None:
    run_id = make_run(there)

    said = call(page, "generate_with", run_id, -1, "Hello", '{"max_tokens": 2, "min_p": 0.1, "stop": ["."]}')
    refused = call(page, "generate_with", run_id, -1, "Hello", '{"heat": 2}')

    assert result(said) == " word word"
    assert "there is no 'heat'" in refused


def test_keep_and_find_again_by_api_name(page: TestClient, there: Database) -> None:
    sample = add_answer(there, make_run(there), HOSTILE)

    kept = result(call(page, "archive_sample", sample, "strange", "An <b>odd</b> one", ""))
    found = result(call(page, "search_samples", "odd", "", "strange"))

    assert found["total"] == 1 and found["exhibits"][0]["id"] == kept
    assert found["exhibits"][0]["text"] == HOSTILE


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": ""},
        {"prompt": "x" * 8193},
        {"prompt": 5},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_k": 1.5},
        {"max_tokens": 0},
        {"max_tokens": 10**9},
        {"seed": -1},
        {"seed": True},
        {"step": "x"},
        {"run": None},
    ],
)
def test_what_cannot_be_asked_is_refused(home: Home, db: Database, change: dict[str, Any]) -> None:
    run_id = make_run(db)
    talker = FakeTalker()
    actions = Actions(home, FakeLaunch(), talker, Reader(home, lambda home, db: None))
    asked = {
        "run": run_id,
        "step": -1,
        "prompt": "hi",
        "max_tokens": 5,
        "temperature": 0.8,
        "top_k": 0,
        "top_p": 0.9,
        "seed": 7,
    } | change

    with pytest.raises(Refused):
        list(actions.ask(**asked))

    assert not talker.asked


def test_lone_surrogates_are_replaced(home: Home, db: Database) -> None:
    talker = FakeTalker()
    actions = Actions(home, FakeLaunch(), talker, Reader(home, lambda home, db: None))

    list(actions.ask(make_run(db), -1, "a\ud800b", 1, 0.8, 0, 0.9, 7))

    assert talker.asked[0]["prompt"] == "a?b" and talker.asked[0]["step"] is None


def test_cancel_ends_an_answer_and_one_that_has_not_begun(home: Home, db: Database) -> None:
    actions = Actions(home, FakeLaunch(), FakeTalker(), Reader(home, lambda home, db: None))
    run_id = make_run(db)
    answer = actions.ask(run_id, -1, "hi", 100, 0.8, 0, 0.9, 7, "token")
    next(answer)

    actions.cancel("token")
    actions.cancel("later")

    assert [piece["finish"] for piece in answer] == ["cancelled"]
    assert [piece["finish"] for piece in actions.ask(run_id, -1, "hi", 9, 0.8, 0, 0.9, 7, "later")] == ["cancelled"]


def test_a_deleted_database_is_a_visible_error(home: Home, db: Database) -> None:
    reader = Reader(home, lambda home, db: None)
    home.database.unlink()

    with pytest.raises(store.StoreError, match="not there any more"):
        reader.runs()


def test_a_database_that_was_put_back_is_read_anew(home: Home, db: Database) -> None:
    reader = Reader(home, lambda home, db: None)
    before = len(reader.runs())
    made = backups.back_up(home)
    make_run(db)
    db.close()
    assert len(reader.runs()) == before + 1

    made.path.replace(home.database)
    for left in ("runs.db-wal", "runs.db-shm"):
        (home.path / left).unlink(missing_ok=True)

    assert len(reader.runs()) == before


def test_statuses_are_made_true_at_most_once_a_second(home: Home, db: Database) -> None:
    seen = []
    reader = Reader(home, lambda home, db: seen.append(time.monotonic()))

    for _ in range(20):
        reader.runs()

    assert len(seen) == 1


def test_unforeseen_errors_are_not_told() -> None:
    assert "secret" not in sentence(RuntimeError("/secret/path"))
    assert sentence(Refused("Do this.")) == "Do this."
