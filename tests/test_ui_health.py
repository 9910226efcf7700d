"""What the page tells about this machine and this home."""

from pathlib import Path

import pytest
from ui_helpers import served

from engine import store
from engine.home import Home
from ui import health

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning", "ignore:.*future.no_silent.*", "ignore::ResourceWarning"
)  # Gradio's own


def test_every_check_is_told_without_a_path(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        answer = page.get("/api/health")
        found = answer.json()["findings"]

    assert {"SQLite", "disk", "home", "runs.db"} <= {one["name"] for one in found}
    assert {one["state"] for one in found} <= {"ok", "warning", "problem"}
    assert str(tmp_path) not in answer.text


def test_what_is_wrong_is_known_before_the_first_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.warnings(home) == []
    monkeypatch.setattr(health, "network_file_system", lambda folder: "nfs4")
    monkeypatch.setattr(store, "soundness", lambda: "SQLite 3.40 can lose rows.")

    unsound, network = health.warnings(home)

    assert "SQLite" in unsound and "nfs4" in network
