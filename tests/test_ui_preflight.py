"""Measuring before Start, for the page: estimates until it was measured, a stream that ends with its reader."""

import asyncio
import json
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ui_helpers import MEASURED, Page, served

from engine import config, probing, store
from engine.config import RunConfig
from engine.home import Home
from ui import probe_routes

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning", "ignore:.*future.no_silent.*", "ignore::ResourceWarning"
)  # Gradio's own


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served(tmp_path_factory.mktemp("home")) as page:
        yield page


def keep(page: Page, **overrides: Any) -> None:
    """A measurement of the seedling with these settings is stored."""
    chosen = config.load_preset("seedling", {name.replace("__", "."): value for name, value in overrides.items()})
    db, settings = store.connect(page.home.database), probing.decisive(chosen, "cpu")
    result = {name: value for name, value in MEASURED.items() if name != "measured_at"}
    store.put_probe(db, probing.key_of(settings), "cpu", settings, result, now=MEASURED["measured_at"])
    db.close()


def checked(page: Page, **overrides: Any) -> Any:
    return page.get("/api/check", params={"preset": "seedling", "overrides": json.dumps(overrides)}).json()


def test_an_estimate_becomes_a_measurement_and_an_estimate_again_with_other_settings(page: Page) -> None:
    layers = {"model.layers": 5}
    assert checked(page, **layers)["measurement"] is None

    keep(page, model__layers=5)

    found = checked(page, **layers)
    assert found["measurement"]["measured_at"] == MEASURED["measured_at"]
    assert found["memory"] == found["measurement"]["memory"] == 10**9
    assert found["seconds"] == found["measurement"]["seconds"] > found["steps"] * 0.2
    longer = checked(page, **layers | {"train.tokens": 30_000_000, "optimizer.muon_lr": 0.03})
    assert longer["seconds"] > 9 * found["seconds"], "how long it trains does not change how fast"
    assert checked(page, **layers | {"train.batch_tokens": 8192})["measurement"] is None


@pytest.mark.parametrize("device", ["cuda:0", "cuda:abc", "mps", "💥"])
def test_a_device_that_is_not_here_was_not_measured(page: Page, device: str) -> None:
    assert checked(page, **{"train.device": device})["measurement"] is None


def test_a_card_says_whether_it_was_measured(page: Page) -> None:
    def cards() -> dict[str, Any]:
        return {card["name"]: card["measurement"] for card in page.get("/api/presets").json()["presets"]}

    assert cards()["seedling"] is None
    keep(page)

    assert cards()["seedling"]["tokens_per_second"] == pytest.approx(4096 / 0.2)
    assert cards()["sprout"] is None


def test_a_measurement_comes_line_by_line(page: Page) -> None:
    answer = page.post_json("/api/preflight", {"preset": "seedling", "overrides": '{"train.tokens": "1M"}'})

    *doing, last = [json.loads(line) for line in answer.text.splitlines()]
    assert doing[1] == {"message": "Measuring", "tokens_per_second": 20_480.0}
    found = last["measurement"]
    assert set(found["parts"]) == {"training", "evaluating", "answering", "saving"}
    assert found["disk_free"] > 0 and found["disk"] > 0 and found["micro_batch"] == 16


@pytest.mark.parametrize(
    ("what", "part"),
    [
        ({}, "preset and overrides must be text"),
        ({"preset": "seedling", "overrides": {}}, "preset and overrides must be text"),
        ({"preset": "no\u0000body"}, "There is no preset"),
        ({"preset": "seedling", "overrides": "[1]"}, "one JSON object"),
        ({"preset": "seedling", "overrides": '{"model.heads": 3}'}, "must divide model.width"),
        ({"preset": "seedling", "overrides": '{"data.dataset": "../up"}'}, "must be the name of a folder"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(page: Page, what: dict[str, Any], part: str) -> None:
    answer = page.post_json("/api/preflight", what)

    assert answer.status_code == 400
    assert part in answer.json()["error"]


def read(home: Home, measure: Any, gone: bool) -> list[dict[str, Any]]:
    """All lines of a measurement whose reader is there or gone."""

    async def is_gone() -> bool:
        return gone

    async def collect() -> list[str]:
        return [line async for line in probe_routes.lines(home, config.load_preset("seedling"), measure, is_gone)]

    with ThreadPoolExecutor(1) as thread:  # this one may have the event loop of a browser test
        return [json.loads(line) for line in thread.submit(lambda: asyncio.run(collect())).result(20)]


def test_a_refusal_is_a_line_and_anything_unforeseen_a_sentence_without_its_cause(home: Home) -> None:
    def refused(home: Home, chosen: RunConfig, cancelled: Any) -> Generator[Any, None, None]:
        yield {"message": "Warming up"}
        raise store.Refused("The GPU ran out of memory.")

    def broken(home: Home, chosen: RunConfig, cancelled: Any) -> Generator[Any, None, None]:
        yield {"message": "Warming up"}
        raise ValueError("/a/path")

    assert read(home, refused, gone=False)[1:] == [{"error": "The GPU ran out of memory."}]
    assert "/a/path" not in str(read(home, broken, gone=False)[1:])


def test_a_measurement_whose_reader_has_gone_is_cancelled(home: Home) -> None:
    ended = threading.Event()

    def measure(home: Home, chosen: RunConfig, cancelled: Any) -> Generator[Any, None, None]:
        try:
            while not cancelled():
                ended.wait(0.02)
            raise store.Refused("The measurement was cancelled.")
            yield {}
        finally:
            ended.set()

    assert read(home, measure, gone=True) == [{"error": "The measurement was cancelled."}]
    assert ended.is_set()


def test_the_home_is_not_told_where_it_lies(page: Page, tmp_path: Path) -> None:
    answer = page.post_json("/api/preflight", {"preset": "seedling"})
    assert str(page.home.path) not in answer.text
