"""The Chromium that takes pictures, measures the page and runs its tests: found and started the same way everywhere."""

import shutil
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def path(driver: Any) -> str:
    """The machine's own Chromium, or where Playwright's would be."""
    return next(filter(None, map(shutil.which, NAMES)), None) or str(driver.chromium.executable_path)


def launch(driver: Any) -> Any:
    """A browser; raises Playwright's error where there is none."""
    return driver.chromium.launch(executable_path=path(driver), args=list(FLAGS))
