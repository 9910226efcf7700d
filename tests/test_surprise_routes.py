"""The token view's route: which text is looked at, by which weights, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from ui_helpers import FakeTalker, Page, add_answer, make_run, served

from engine import store

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning", "ignore:.*future.no_silent.*", "ignore::ResourceWarning"
)  # Gradio's own
TALKER = FakeTalker()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served(tmp_path_factory.mktemp("page"), talker=TALKER) as opened:
        yield opened


@pytest.fixture(scope="module")
def sample(page: Page) -> store.Row:
    db = store.connect(page.home.database)
    found = store.get_sample(db, add_answer(db, make_run(db), " there was", 10, "Once", weights_sha256="5" * 64))
    db.close()
    return found


def asked(page: Page, **what: Any) -> tuple[Any, dict[str, Any]]:
    """What the page is answered, and what the model was asked for that."""
    TALKER.asked.clear()
    answer = page.post_json("/api/surprise", what)
    assert answer.status_code == 200, answer.text
    (question,) = TALKER.asked
    del question["cancel"]
    return answer.json(), question


def test_a_text_is_looked_at_by_the_age_that_is_named(page: Page, sample: store.Row) -> None:
    seen, question = asked(page, run=sample["run_id"], step=10, prompt="Once", text=" upon")
    _, newest = asked(page, run=sample["run_id"], step=-1, text="alone")

    assert question == {"run_id": sample["run_id"], "step": 10, "prompt": "Once", "text": " upon", "weights": ""}
    assert (newest["step"], newest["prompt"], newest["text"]) == (None, "", "alone")
    assert (seen["run"], seen["prompt"], seen["text"]) == (sample["run_id"], "Once", " upon")
    assert seen["tokens"] and seen["finish"] == "looked"


def test_an_answer_is_looked_at_by_the_weights_that_said_it(page: Page, sample: store.Row) -> None:
    seen, question = asked(page, sample=sample["id"])

    assert question == {
        "run_id": sample["run_id"],
        "step": 10,
        "prompt": "Once",
        "text": " there was",
        "weights": sample["weights_sha256"],
        "sample": sample["id"],
    }
    assert (seen["run"], seen["prompt"], seen["text"]) == (sample["run_id"], "Once", " there was")


def test_an_answer_is_looked_at_by_another_age_too(page: Page, sample: store.Row) -> None:
    _, question = asked(page, sample=sample["id"], step=400)

    assert (question["step"], question["weights"], question["sample"]) == (400, "", sample["id"])


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({}, "The run must be text."),
        ({"run": "nobody", "text": "a"}, "There is no run"),
        ({"run": store.REFERENCE_ID, "text": "a"}, "The published model's weights are not part of this home"),
        ({"sample": 999_999}, "There is no sample 999999."),
        ({"sample": "1"}, "The sample must be a whole number"),
        ({"sample": 1, "step": -5}, "The age must be a whole number"),
        ({"run": "OWN", "text": 5}, "The text must be text."),
        ({"run": "OWN", "text": ""}, "Write a text first."),
        ({"run": "OWN", "text": "\0"}, "Write a text first."),
        ({"run": "OWN", "text": "a" * 60_001}, "60,000 at most"),
        ({"run": "OWN", "text": "a", "weights": [1]}, "The weights' sha256 must be text."),
        ({"run": "OWN", "prompt": "a" * 8193}, "8,192 at most"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    page: Page, sample: store.Row, what: dict[str, Any], why: str
) -> None:
    TALKER.asked.clear()
    answer = page.post_json("/api/surprise", what | ({"run": sample["run_id"]} if what.get("run") == "OWN" else {}))

    assert answer.status_code == 400 and why in answer.json()["error"]
    assert TALKER.asked == []
