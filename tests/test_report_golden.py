"""The report of a finished seedling run, word for word as in tests/golden/.

Where a change of the words is meant, `BLUEBERRY_RENEW_GOLDEN=1 python -m pytest tests/test_report_golden.py` writes the
golden files anew; read the difference before it is committed. All dates of the run are fixed.
"""

import os
import re
from pathlib import Path

import pytest
from report_runs import NOW, seedling
from sqlite_utils import Database

from engine import store
from engine.home import Home
from engine.report import MARKDOWN, Report, make_report

GOLDEN = Path(__file__).parent / "golden"
PICTURES = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")


@pytest.fixture
def report(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> Report:
    run = seedling(home, db, monkeypatch)
    store.set_report_block(db, run["id"], "author", "Ada")
    store.set_report_block(db, run["id"], "licence", "mit")
    store.set_report_block(db, run["id"], "introduction", "It reads **novels**.\n\n- [one](https://example.com/a_b)")
    return make_report(home, db, run, NOW)


@pytest.mark.parametrize("name", ["report.md", "report.html", "MODEL_CARD.md"])
def test_the_report_of_a_finished_seedling(report: Report, name: str) -> None:
    made = {MARKDOWN: report.markdown, "report.html": report.html, "MODEL_CARD.md": report.card}[name]()
    told = PICTURES.sub("data:image/png;base64,PICTURE", made)
    if os.environ.get("BLUEBERRY_RENEW_GOLDEN"):
        (GOLDEN / name).write_text(told, encoding="utf-8")

    assert told == (GOLDEN / name).read_text(encoding="utf-8")
