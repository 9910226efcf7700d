"""A real Chromium, real app.py processes, and homes with something in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import end_trainers
from pages import App, app_for

from docs import chromium, scenes
from engine import launch
from engine.home import Home

HINT = "no Chromium here: apt-get install chromium, or python -m playwright install --with-deps chromium"
TINY = {
    "train.tokens": 40_960,
    "model.layers": 1,
    "model.width": 64,
    "model.heads": 2,
    "model.kv_heads": 1,
    "model.mlp_width": 128,
    "model.context": 2048,
    "eval.tokens": 4096,
    "eval.every": 5,
    "sample.every": 5,
    "sample.max_tokens": 12,
    "checkpoint.every": 5,
    "sample.suites": "stories",
}
"""A real model that is made in seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        if not Path(chromium.path(driver)).exists():
            pytest.skip(HINT)
        opened = chromium.launch(driver)
        yield opened
        opened.close()


@pytest.fixture
def app(home: Home) -> Iterator[App]:
    """An app with an empty home of its own."""
    with app_for(home) as started:
        yield started
        end_trainers(home)


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app whose home has a finished run of a tiny real model."""
    home = Home.at(tmp_path_factory.mktemp("grown"))
    launch.open_home(home)
    run_id = launch.start_run(home, "seedling", "tiny", TINY)
    ended = launch.wait_until_ended(home, run_id, 180)
    assert ended["status"] == "finished", ended["error"]
    with app_for(home) as started:
        yield started


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, dict[str, str]]]:
    """An app whose home has a run in every state, and the ids of these runs."""
    home = Home.at(tmp_path_factory.mktemp("full"))
    launch.open_home(home)
    runs = scenes.fill(home, runs=0, exhibits=12)
    with app_for(home) as started:
        yield started, runs


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A window of its own; the test fails when a script of the page does."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not errors, errors
