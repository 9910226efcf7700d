"""What an answer looks like through HTTP, and the process that the page has measure in the background."""

import json
import sys
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from helpers import wait_for
from shelves import make_dataset
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import store
from engine.data import open_dataset
from engine.home import Home
from engine.ngrams_build import build
from ui.judging import Judging
from ui.judging_routes import INDEXING, make_judging
from ui.reading import Reader
from ui.server import add_error_answers

STORY = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do"
NOTE = "import sys, pathlib; file = pathlib.Path(sys.argv[-1]) / 'ran'; file.open('a').write('x')"


class Woken(Judging):
    """Counts who waits, starts nothing."""

    times = 0

    def wake(self) -> None:
        self.times += 1


@pytest.fixture
def judging(home: Home) -> Woken:
    return Woken(home)


@pytest.fixture
def client(home: Home, judging: Woken) -> Iterator[TestClient]:
    """The routes without the page around them."""
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_judging(Reader(home, lambda home, db: None), judging))
    with TestClient(app) as opened:
        yield opened


def judged(client: TestClient, sample: int) -> dict[str, object]:
    answer = client.get("/api/judged", params={"sample": sample})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_an_answer_is_told_with_its_passage(client: TestClient, home: Home, db: Database, judging: Woken) -> None:
    make_dataset(home, "starter", (STORY,), separator_id=0)
    text = " 𝕊he got “Very tired of sitting by her sister", " on the bank."
    sample = add_answer(db, make_run(db), "".join(text), finish="end")
    waiting = judged(client, sample)
    assert (waiting["missing"], waiting["waiting"], waiting["copied"], judging.times) == (INDEXING, True, None, 1)

    assert build(home, open_dataset(home, "starter"))
    found = judged(client, sample)
    assert (found["proposal"], found["missing"], found["waiting"], judging.times) == ("memorised", "", False, 1)
    assert found["reason"] == "10 of 12 words stand in a row in the training text"
    assert found["copied"] == {
        "run": "Very tired of sitting by her sister on the bank",
        "passage": {
            "before": "Alice was beginning to get ",
            "run": "very tired of sitting by her sister on the bank",
            "after": ", and of having nothing to do",
            "document": 1,
            "documents": 1,
        },
    }


def test_why_nothing_was_looked_up(client: TestClient, home: Home, db: Database, judging: Woken) -> None:
    published = store.search_archive(db, run_id=store.REFERENCE_ID)[0][0]["sample_id"]
    assert "not part of this home" in str(judged(client, published)["missing"])
    sample = add_answer(db, make_run(db), " and the cat")
    assert "not in this home any more" in str(judged(client, sample)["missing"])
    make_dataset(home, "stories")
    other = add_answer(db, make_run(db, "two", "cuda:0"), " and the cat")
    db.execute("UPDATE runs SET dataset = 'stories' WHERE name = 'two'")
    db.execute("UPDATE samples SET created_at = 5.0 WHERE id = ?", [other])
    card = home.dataset("stories") / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"created_at": "2020-01-01T00:00:00+00:00"}))
    assert "was prepared again after this was said" in str(judged(client, other)["missing"])
    make_dataset(home, "starter")
    (home.dataset("starter") / "train.bin").write_bytes(b"")
    assert "is damaged" in str(judged(client, sample)["missing"])
    assert judging.times == 0


@pytest.mark.parametrize("number", [0, 10**9, 2**62, 2**70, "x"])
def test_what_is_no_sample_is_refused_in_a_sentence(client: TestClient, number: object) -> None:
    answer = client.get("/api/judged", params={"sample": number})  # type: ignore[dict-item]
    assert answer.status_code in (400, 422) and answer.json()["error"].endswith(".")


def test_the_page_has_measured_what_is_new_and_what_somebody_waits_for(home: Home, db: Database) -> None:
    ran = home.path / "ran"
    judging = Judging(home, [sys.executable, "-c", NOTE], look=0.01, rest=0.01, least_rest=0.01)

    def times() -> int:
        return len(ran.read_text()) if ran.exists() else 0

    judging.start()
    wait_for(lambda: times() == 1)
    add_answer(db, make_run(db), " new")
    wait_for(lambda: times() == 2)
    judging.wake()
    wait_for(lambda: times() == 3)
    judging.close()


def test_a_page_that_closes_ends_the_process(home: Home) -> None:
    endless = "import sys, time, pathlib; (pathlib.Path(sys.argv[-1]) / 'ran').touch(); time.sleep(600)"
    judging = Judging(home, [sys.executable, "-c", endless])
    judging.start()
    wait_for((home.path / "ran").exists)
    judging.close()
    wait_for(lambda: judging._process is None)
