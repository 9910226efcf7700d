"""An app.py that can be stopped and started again, and how tests open its page."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

from helpers import wait_for

from engine import store
from engine.home import PROJECT, Home

FORM = "?run=blueberry-nano-2025"
"""Where the form to start a run is in front, whatever ran before."""

SEEN = {
    "train": "#loss-chart .plot svg",
    "growing": "#growing-stage .words",
    "compare": "#runs-table tbody tr",
    "play": "#play-age option",
    "capsule": "#gallery > *",
    "data": "#health li[data-state]",
    "report": "#report h1",
}
"""What a tab shows once it is drawn."""


START_SECONDS = 120
"""An app.py takes two of them to start, and thirty where many processes share the cores."""


class App:
    """An app.py process that can be restarted on the same port."""

    def __init__(self, home: Home) -> None:
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.program = ["app.py"]

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, *self.program, "--home", str(self.home.path), "--port", str(self.port), "--no-open"]
        with (self.home.path / "app.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"BLUEBERRY_PASSWORD": ""},
            )
        try:
            wait_for(self.answers, timeout=START_SECONDS)
        except BaseException:
            self.stop()
            raise

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


def visit(page: Any, app: App, query: str = "") -> None:
    """Open the page and wait until it is drawn."""
    page.goto(f"{app.address}/{query}")
    page.wait_for_selector("body.ready")


def switch(page: Any, run_id: str) -> None:
    """Choose another run in the header and wait until its words are here, which takes less than a new visit."""
    page.select_option("#run-select select", run_id)
    page.wait_for_function(f"location.search.includes('run={run_id}')")
    page.wait_for_selector("#feed .answer", state="attached")


def newest_run(home: Home) -> store.Row:
    """The run that was made last."""
    db = store.connect(home.database)
    run = store.list_runs(db)[0]
    db.close()
    return run
