"""ui/curve_files.py: every measured step as CSV."""

import csv
import io

import pytest
from sqlite_utils import Database
from ui_helpers import add_points, make_run

from engine import store
from engine.store import Refused
from ui import curve_files
from ui.columns import SeriesCache
from ui.curves import Look


def table(db: Database, runs: list[str], metric: str, evaluation: str, **look: object) -> list[dict[str, str]]:
    found = [store.get_run(db, run_id) for run_id in runs]
    text = "".join(curve_files.lines(db, SeriesCache(), found, metric, evaluation, Look(**look)))  # type: ignore[arg-type]
    return list(csv.DictReader(io.StringIO(text)))


def test_every_step_of_every_run(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make_run(db, f"run-{number}", f"cuda:{number}") for number in range(2)]
    for run_id in runs:
        add_points(db, run_id, 1, 25)
    db.conn.execute("UPDATE metrics SET train_loss = NULL WHERE run_id = ? AND step = 7", [runs[1]])
    monkeypatch.setattr(curve_files, "ROWS", 10)

    rows = table(db, runs, "loss", "loss")

    measured = [row for row in rows if row["curve"] == "train_loss"]
    assert len(measured) == 50 and len(rows) == 54
    assert measured[0] | {"value": ""} == {
        "run": "run-0",
        "run_id": runs[0],
        "curve": "train_loss",
        "step": "1",
        "tokens": "4096",
        "seconds_worked": "0.100",
        "value": "",
    }
    assert float(measured[0]["value"]) == pytest.approx(8 - 1e-6, abs=1e-6)
    assert measured[31]["value"] == ""
    assert rows[-1]["curve"] == "val_loss" and rows[-1]["value"] == "8"


def test_a_part_is_what_is_looked_at(db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 100)

    steps = [row["step"] for row in table(db, [run_id], "norm", "", axis="tokens", low=4096 * 10, high=4096 * 12)]

    assert steps == ["9", "10", "11", "12", "13"]  # with a neighbour on each side, as drawn


@pytest.mark.parametrize(("metric", "evaluation"), [("", ""), ("taste", ""), ("loss", "rate")])
def test_what_is_not_measured_is_refused(db: Database, metric: str, evaluation: str) -> None:
    with pytest.raises(Refused, match="metric is one of loss, rate"):
        table(db, [], metric, evaluation)
