"""docs/api_example.py against a live app and a real model."""

import subprocess
import sys

from conftest import TINY
from pages import App

from engine.home import PROJECT


def test_the_example_goes_through_every_api_name(grown: App) -> None:
    settings = TINY | {"train.tokens": 60 * 4096, "eval.every": 100, "sample.every": 100, "checkpoint.every": 100}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]

    done = subprocess.run(
        [sys.executable, "docs/api_example.py", grown.address, *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    for line in (
        "asked to stop: stopped",
        "resumed: finished",
        "said: ",
        "found 1",
        "from-a-script",
        "Blueberry-Nano",
    ):
        assert line in done.stdout, done.stdout
