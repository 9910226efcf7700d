"""A real Chromium, real app.py processes, and homes with something in them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import launch, store
from engine.home import PROJECT, Home
from helpers import end_trainers, wait_for

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
NAMES = ("chromium", "chromium-browser", "google-chrome")
HINT = "no Chromium here: apt-get install chromium, or python -m playwright install --with-deps chromium"
TINY = {"train.tokens": 40_960, "model.layers": 1, "model.width": 64, "model.heads": 2, "model.kv_heads": 1,
        "model.mlp_width": 128, "eval.tokens": 4096, "eval.every": 5, "sample.every": 5, "sample.max_tokens": 12,
        "checkpoint.every": 5, "sample.suites": "stories"}
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
    found = next(filter(None, map(shutil.which, NAMES)), None)
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        path = found or driver.chromium.executable_path
        if not Path(path).exists():
            pytest.skip(HINT)
        opened = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


class App:
    """An app.py process that can be restarted on the same port."""

    def __init__(self, home: Home) -> None:
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "app.py", "--home", str(self.home.path), "--port", str(self.port), "--no-open"]
        with (self.home.path / "app.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=os.environ | {"BLUEBERRY_PASSWORD": ""})
        wait_for(self.answers, timeout=30)

    def answers(self) -> bool:
        """Whether the page can be read."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/api/runs", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=10)
            self.process = None


@contextlib.contextmanager
def app_for(home: Home) -> Iterator[App]:
    """A started app."""
    app = App(home)
    app.start()
    try:
        yield app
    finally:
        app.stop()


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
    ended = launch.wait_until_ended(home, run_id, 90)
    assert ended["status"] == "finished", ended["error"]
    with app_for(home) as started:
        yield started


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


def visit(page: Any, app: App, query: str = "") -> None:
    """Open the page and wait until it is drawn."""
    page.goto(f"{app.address}/{query}")
    page.wait_for_selector("body.ready")


def newest_run(home: Home) -> store.Row:
    """The run that was made last."""
    db = store.connect(home.database)
    run = store.list_runs(db)[0]
    db.close()
    return run
