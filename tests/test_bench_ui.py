"""`bench ui` writes big homes, lets them grow, asks as pages do, and says what is reached."""

import math
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for

from benchmarks import ui
from benchmarks.page import measures, report
from benchmarks.page.clients import live_path, moved
from benchmarks.page.homes import SPIKE, Big, big_home
from benchmarks.page.server import Failed, growing
from engine import store

REPORT: dict[str, Any] = {
    "about": "3 runs x 1,000,000 steps",
    "figures": {"first_again": 1.25, "kilobytes": 1.7, "spikes": 100.0, "main_ms": 60.0, "zoom_ms": None},
    "peer": {"name": "trackio 0.43", "figures": {"first_again": 50.0, "spikes": 0.0, "main_ms": 1500.0}},
    "load": {"first": 0.4},
    "notes": ["heap: too short to be judged"],
}


def losses(big: Big, run: int) -> list[float | None]:
    db = store.connect(big.home.database)
    try:
        return [row[store.METRICS.index("train_loss")] for row in store.metrics_after(db, big.ids[run], 0)]
    finally:
        db.close()


@pytest.mark.parametrize("together", [True, False])
def test_a_big_home_has_every_step_with_its_spike_and_its_hole_and_is_made_once(tmp_path: Path, together: bool) -> None:
    big = big_home(tmp_path, 3, 300, together)

    assert big_home(tmp_path, 3, 300, together) == big
    for number, curve in enumerate(big.curves):
        found = losses(big, number)
        assert len(found) == 300
        assert [step for step, loss in enumerate(found, 1) if loss == SPIKE] == [curve.spike]
        assert [step for step, loss in enumerate(found, 1) if loss is None] == [curve.broken]


def test_a_home_grows_as_one_that_trains_and_stops_with_its_writer(tmp_path: Path) -> None:
    big = big_home(tmp_path, 2, 300, True)
    db = store.connect(big.home.database)
    with growing(big, 2, 1000):
        running = {store.get_run(db, run_id)["status"] for run_id in big.ids}
        wait_for(lambda: store.get_run(db, big.ids[1])["step"] >= 600)
    ended = [store.get_run(db, run_id) for run_id in big.ids]
    db.close()

    assert running == {"running"} and {run["status"] for run in ended} == {"stopped"}
    assert len(losses(big, 0)) == len(losses(big, 1)) == ended[0]["step"]


def test_a_client_asks_for_what_came_after_what_it_has() -> None:
    cursors = moved({"a": (1, 10, 2), "b": (3, 5, 0)}, {"runs": {"a": {"m": {}, "at": [20, 4]}, "b": {"again": True}}})

    assert cursors == {"a": (1, 20, 4), "b": (3, 5, 0)}
    assert live_path(cursors) == "/api/live?runs=a:1:20:4,b:3:5:0&x=tokens&selected=a&events=0"


def test_a_table_for_people_says_what_is_reached_beside_the_peer() -> None:
    lines = report.shown(REPORT).splitlines()

    assert lines[2].split() == ["FIGURE", "MEASURED", "LIMIT", "TRACKIO", "0.43", "THEIRS/OURS"]
    assert lines[3].split()[-6:] == ["1.5", "s", "reached", "50.0", "s", "40.0x"]
    assert "1.70 kB" in lines[4] and "MISSED" in lines[4]
    assert "25.0x" in lines[5]
    assert "never" in lines[6] and "MISSED" in lines[6]
    assert lines[-2:] == ["load before each part: first 0.4", "heap: too short to be judged"]
    assert report.missed(REPORT["figures"]) == ["kilobytes", "zoom_ms"]


def test_what_never_happened_counts_in_a_median() -> None:
    assert report.middle([1.0, 3.0, None]) == 3.0
    assert report.middle([1.0, None, None]) is None
    assert report.percentile(range(1, 101)) == 95


def test_growth_is_a_slope_and_one_odd_reading_does_not_make_it() -> None:
    assert report.per_ten_minutes([20.0, 20.5, 21.0], 10) == pytest.approx(1.0)
    assert report.per_ten_minutes([20.0, 20.1, 24.0, 20.3, 20.4], 10) < 2.0
    assert math.isnan(report.per_ten_minutes([20.0], 1))


def test_a_zoom_shows_its_step_and_a_hundred_at_least() -> None:
    assert measures.around(310_000, 0.1, 1_000_000) == (300_000, 400_000)
    assert measures.around(3_100, 0.0001, 10_000) == (3_090, 3_190)


def test_what_cannot_be_measured_is_said_and_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(*_: object) -> Any:
        raise Failed("There is no Chromium here.")

    monkeypatch.setattr(measures, "many", without)

    assert ui.main(["--only", "many", "--runs", "2", "--many-points", "100", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "many: There is no Chromium here."
