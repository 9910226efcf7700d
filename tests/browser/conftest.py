"""A real Chromium, real app.py processes, and homes with something in them.

Processes cost seconds, so tests share them: one window whose storage is cleared between tests, one app whose home is
emptied before each test, one with a supervisor whose runs are ended after each.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import end_trainers, supervised, wait_for
from pages import App, app_for
from rooms import clear_lines, empty, open_runs

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
WIDE = {"width": 1280, "height": 860}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            # A browser, a server and a trainer share two cores here. What fails twice is broken.
            item.add_marker(pytest.mark.flaky(reruns=1))


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


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The process behind `app`."""
    home = Home.at(tmp_path_factory.mktemp("house"))
    launch.open_home(home)
    with app_for(home) as started:
        yield started


@pytest.fixture
def app(house: App) -> App:
    """An app whose home is empty; nothing may train in it."""
    empty(house.home)
    return house


@pytest.fixture(scope="session")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The processes behind `workshop`."""
    home = Home.at(tmp_path_factory.mktemp("factory"))
    launch.open_home(home)
    with app_for(home) as started, supervised(home, "--speed", "40"):
        yield started


@pytest.fixture
def workshop(factory: App) -> Iterator[App]:
    """An app in which fake trainers make 40 steps a second, and nothing trains yet; there may be runs that ended."""
    yield factory
    clear_lines(factory.home)
    end_trainers(factory.home)
    wait_for(lambda: not open_runs(factory.home))


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app whose home has a finished run of a tiny real model."""
    home = Home.at(tmp_path_factory.mktemp("grown"))
    launch.open_home(home)
    run_id = launch.start_run(home, "seedling", "tiny", TINY)
    with app_for(home) as started:
        ended = launch.wait_until_ended(home, run_id, 180)
        assert ended["status"] == "finished", ended["error"]
        yield started


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, dict[str, str]]]:
    """An app whose home has a run in every state, and the ids of these runs."""
    home = Home.at(tmp_path_factory.mktemp("full"))
    launch.open_home(home)
    runs = scenes.fill(home, runs=0, exhibits=12)
    with app_for(home) as started:
        yield started, runs


@pytest.fixture(scope="session")
def window(browser: Any) -> Any:
    """The window behind `page`: a new one would compile Gradio's scripts anew, which takes two seconds."""
    return new_window(browser)


@pytest.fixture
def page(window: Any) -> Iterator[Any]:
    """A wide, light window without anything in its storage; the test fails when a script of the page does."""
    window.set_viewport_size(WIDE)
    window.emulate_media(color_scheme="light", reduced_motion="reduce")
    with no_errors(window):
        yield window
        if window.url.startswith("http"):
            window.evaluate("localStorage.clear(); sessionStorage.clear()")
        window.goto("about:blank")


@pytest.fixture
def cold(browser: Any) -> Iterator[Any]:
    """A window that has never seen the page."""
    opened = new_window(browser)
    with no_errors(opened):
        yield opened
    opened.context.close()


def new_window(browser: Any, **options: Any) -> Any:
    """A page in a context of its own."""
    opened = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce"} | options).new_page()
    opened.set_default_timeout(45_000)
    return opened


@contextlib.contextmanager
def no_errors(page: Any) -> Iterator[None]:
    """Fail at the end when a script of the page has failed meanwhile."""
    errors: list[str] = []

    def note(error: Any) -> None:
        errors.append(str(error))

    page.on("pageerror", note)
    yield
    page.remove_listener("pageerror", note)
    assert not errors, errors
