"""Data: datasets are read and deleted, jobs followed, recipes looked at and started, texts seen as tokens."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pages import App, visit
from shelves import TEXTS, make_dataset
from test_accessibility import faults
from test_hostile import BREAKERS, HOSTILE
from test_keyboard import tab_to
from test_phone import SMALL, WIDE

PHONE = {"width": 360, "height": 780}
JOB = {
    "id": "j1",
    "name": "letters",
    "status": "running",
    "open": True,
    "message": "Turning text into tokens",
    "progress": 0.4,
    "documents": 512,
    "tokens": 412_345_678,
    "target_tokens": 1_000_000_000,
    "tokens_per_second": 612_345.0,
    "eta_seconds": 960,
    "dropped": {"too short": 88},
    "error": "",
    "sources": ["letters.jsonl"],
    "tokenizer": "smollm2",
}
SEEN = {
    "documents": [
        {"file": "a.txt", "text": "It is a truth universally acknowledged. " * 20, "bytes": 800, "dropped": ""},
        {"file": "b.txt", "text": "Yes.", "bytes": 4, "dropped": "too short"},
    ],
    "read": 1234,
    "dropped": {"too short": 31},
    "bytes_per_token": 4.41,
    "tokens_per_second": 584_321.0,
    "estimate": {
        "tokens": 18_400_000,
        "documents": 41_200,
        "bytes_on_disk": 37_200_000,
        "seconds": 33.5,
        "exact": False,
    },
    "note": "",
}


class Answers:
    """Answers of the server that a test decides on; remembers what was asked."""

    def __init__(self, page: Any) -> None:
        self.page, self.asked = page, list[tuple[str, Any]]()

    def give(self, path: str, what: Any, status: int = 200) -> None:
        """From now on `path` answers so."""

        def answer(route: Any) -> None:
            self.asked.append((path, json.loads(route.request.post_data or "null")))
            route.fulfill(status=status, json=what)

        self.page.unroute(f"**{path}")
        self.page.route(f"**{path}", answer)

    def jobs(self, *jobs: Any) -> None:
        """Nothing but these jobs is there."""
        self.give("/api/datasets?", {"datasets": [], "jobs": list(jobs)})


@pytest.fixture
def answers(page: Any) -> Iterator[Answers]:
    """Answers to the page's questions about jobs and previews."""
    yield Answers(page)
    page.unroute_all()


def test_a_dataset_is_opened_read_and_deleted(app: App, page: Any) -> None:
    lengths, dropped = {"16": 3, "32": 1}, {"too short": 3}
    make_dataset(app.home, "books", licence="public domain", lengths=lengths, dropped=dropped, train_tokens=99)
    visit(page, app, "?tab=data")
    page.click("#datasets >> text=Open")
    page.wait_for_selector("#dataset >> text=of sitting by her sister")
    assert "Too short: 3" in page.inner_text("#dataset") and page.locator("#dataset .bars i").count() == 2
    page.click("#dataset >> text=Validation")
    page.wait_for_selector("#dataset >> text=the end")

    page.click("#dataset >> text=Delete it")
    assert page.evaluate("document.activeElement.textContent") == "Leave it"
    page.click("#dataset .ask-first >> text=Delete it")

    page.wait_for_selector("#data-count >> text=books is deleted")
    page.wait_for_selector("#datasets >> text=Nothing is prepared yet")
    assert not app.home.dataset("books").exists()


def test_a_dataset_is_one_press_from_training(app: App, page: Any) -> None:
    make_dataset(app.home, "notes", [text * 200 for text in TEXTS], "the end" * 50, train_tokens=9999)
    visit(page, app, "?tab=data")
    page.click("#datasets [data-name=notes] >> text=Open")
    page.click("#dataset >> text=Train on it")

    page.wait_for_selector("#setup [data-key='data.dataset']")
    assert page.input_value("#setup [data-key='data.dataset']") == "notes"
    assert page.input_value("#setup [data-key='model.vocab_size']") == "257"
    assert page.locator("#datasets-here option[value=notes]").count() == 1
    page.wait_for_selector("#plan >> text=steps")
    assert page.is_enabled("#start")


def test_texts_of_a_folder_become_a_dataset(grown: App, page: Any) -> None:
    """With the real preview, supervisor and job."""
    folder = grown.home.path / "texts"
    folder.mkdir()
    letters = [
        f"Letter {number}: the boat waited for rain, and looked up at the {number}th gull." for number in range(90)
    ]
    (folder / "letters.txt").write_text("\f".join([*letters, "Short.", letters[0]]))
    visit(page, grown, "?tab=data")
    page.click("#prepare-open")
    page.fill("#prepare-name", "letters")
    page.fill("[data-key=path]", "texts")
    page.click("#filters summary")
    page.fill("#prepare-min_characters", "20")
    page.select_option("#prepare-tokenizer", "bpe")
    page.fill("#prepare-size", "270")
    page.press("#prepare-size", "Enter")
    page.wait_for_selector("#preview >> text=Of the first 92 documents 2 are left out")
    page.click("#prepare >> text=Start preparing")
    page.wait_for_selector("#data-count >> text=letters is ready")
    page.click("[aria-label='Open letters']")
    page.wait_for_selector("#dataset >> text=the boat waited for rain")

    told = page.inner_text("#dataset")
    assert "Too short: 1" in told or "too short: 1" in told
    assert "letters.txt" in told and str(grown.home.path) not in told
    assert grown.home.dataset("letters").is_dir()


def test_a_recipe_is_looked_at_and_started(app: App, page: Any, answers: Answers) -> None:
    answers.give("/api/prepare/preview", SEEN)
    answers.give("/api/prepare", {"job": "j1"})
    visit(page, app, "?tab=data")
    page.click("#prepare-open")
    page.fill("#prepare-name", "letters")
    page.fill("[data-key=path]", "texts/letters.jsonl")
    page.fill("#prepare-tokens", "20M")
    page.click("#filters summary")
    page.fill("#prepare-max_symbol_share", "25")
    page.click("#add-source")
    page.locator(".source").nth(1).locator("select").select_option("starter")
    page.wait_for_selector("#preview >> text=Left out: too short")
    assert "about 18.4 M" in page.inner_text("#preview") and "34 s" in page.inner_text("#preview")

    answers.jobs(JOB)
    page.click("#prepare >> text=Start preparing")
    page.wait_for_selector(".job >> text=412 M of 1 B")

    started = next(what for path, what in answers.asked if path == "/api/prepare")
    assert started["name"] == "letters" and started["recipe"]["tokens"] == 20_000_000
    assert [one["where"] for one in started["recipe"]["sources"]] == ["texts/letters.jsonl", "starter"]
    assert [one["weight"] for one in started["recipe"]["sources"]] == [0.5, 0.5]
    assert started["recipe"]["filters"]["max_symbol_share"] == 0.25
    assert page.is_hidden("#prepare") and "16 min" in page.inner_text(".job")


def test_a_refusal_is_shown_where_it_was_asked_for(app: App, page: Any) -> None:
    """By the real server."""
    visit(page, app, "?tab=data")
    page.click("#prepare-open")
    page.fill("[data-key=path]", "../../etc/passwd")
    page.press("[data-key=path]", "Enter")
    page.wait_for_selector("#preview .problem >> text=no file or folder")
    page.click("#prepare >> text=Start preparing")
    page.wait_for_selector("#prepare-form .problem >> text=Give it a name")
    page.fill("#prepare-name", "a")
    page.fill("#prepare-tokens", "many")
    page.click("#prepare >> text=Start preparing")
    page.wait_for_selector("#prepare-form .problem >> text=must be a number")
    page.fill("#prepare-tokens", "")
    page.click("#prepare >> text=Start preparing")
    page.wait_for_selector("#prepare-form .problem >> text=no file or folder")


def test_a_job_is_followed_stopped_and_discarded(app: App, page: Any, answers: Answers) -> None:
    answers.jobs(JOB)
    for what in ("stop", "discard"):
        answers.give(f"/api/prepare/{what}", {})
    visit(page, app, "?tab=data")
    page.wait_for_selector(".job >> text=Preparing")
    page.focus(".job button")
    answers.jobs(JOB | {"progress": 0.5, "tokens": 500_000_000})
    page.wait_for_selector(".job >> text=500 M of 1 B")
    assert page.evaluate("document.activeElement.textContent") == "Stop"
    assert page.get_attribute(".job .bar", "aria-valuenow") == "50"

    answers.jobs(JOB | {"status": "stopped", "open": False})
    page.keyboard.press("Enter")
    page.wait_for_selector(".job >> text=Resume")
    page.click(".job >> text=Discard")
    answers.jobs()
    page.click(".job button:text-is('Discard it')")
    page.wait_for_selector(".job", state="detached")

    assert [one for one in answers.asked if one[0].startswith("/api/prepare/")] == [
        ("/api/prepare/stop", {"job": "j1"}),
        ("/api/prepare/discard", {"job": "j1"}),
    ]


def test_a_preset_without_its_text_offers_to_prepare_it(app: App, page: Any, answers: Answers) -> None:
    answers.give("/api/prepare/preview", {"error": "The hub does not answer; connect to the internet."}, 400)
    visit(page, app)
    page.locator("#preset .card", has_text="blueberry-nano").first.click()
    page.wait_for_selector("#plan >> text=about 2 GB on disk")
    assert page.is_disabled("#start")
    page.click("#offer button")

    page.wait_for_selector("#preview >> text=The hub does not answer")
    page.wait_for_selector("#preview >> text=1 B tokens take about 2 GB")
    assert page.input_value("#prepare-name") == "smollm-1b"
    shares = page.locator(".source [data-key=weight]").evaluate_all("(all) => all.map((one) => one.value)")
    assert shares == ["70", "30"]
    (_, asked), *_ = answers.asked
    assert asked["recipe"]["sources"][1]["config"] == "cosmopedia-v2" and asked["recipe"]["tokens"] == 10**9
    assert asked["recipe"]["sources"][1]["streaming"] is True

    answers.jobs(JOB | {"name": "smollm-1b"})
    page.click("#tab-train")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when one comes back to the page
    page.wait_for_selector("#plan >> text=is being prepared: 40%, 16 min left")
    page.click("#offer >> text=See how far it is")
    page.wait_for_selector(".job:visible")


def test_a_text_as_tokens_by_keyboard(app: App, page: Any) -> None:
    make_dataset(app.home, "books", tokenizer="bpe:257", disk=1)
    visit(page, app, "?tab=data")
    page.wait_for_selector("#tokens [data-side=right] [role=option]")
    tab_to(page, "#tokens-text")
    page.keyboard.press("Control+A")
    page.keyboard.type("Alice was")
    page.wait_for_selector("#tokens [data-side=right] .totals >> text=9 tokens")
    tab_to(page, "#tokens [data-side=left] [role=option]")
    page.keyboard.press("ArrowRight")

    left = page.inner_text("#tokens [data-side=left]")
    assert "2 tokens, 4.50 bytes per token" in left and "Token 2, “ was”: number" in left


def test_everything_is_accessible_and_fits_a_phone(app: App, page: Any, answers: Answers) -> None:
    make_dataset(app.home, "books", lengths={"16": 3, "32": 1}, command="python -m engine prepare books")
    answers.give("/api/prepare/preview", SEEN)
    datasets = [{"name": "books", "disk": 999, "licence": "CC0", "sources": [], "dropped": {}, "tokenizer": "bpe:257"}]
    jobs = [JOB, JOB | {"id": "j2", "name": "b", "status": "failed", "open": False, "error": "a.parquet is damaged."}]
    answers.give("/api/datasets?", {"datasets": datasets, "jobs": jobs})
    visit(page, app, "?tab=data")
    page.click("#prepare-open")
    page.locator("#begin-with button").nth(2).click()
    page.wait_for_selector("#preview li")
    page.evaluate("for (const fold of document.querySelectorAll('#prepare details')) fold.open = true")

    assert faults(page) == {}
    page.set_viewport_size(PHONE)
    assert page.evaluate(WIDE) == [] and page.evaluate(SMALL) == []
    page.click("#datasets >> text=Open")
    page.wait_for_selector("#dataset .documents article")
    assert page.evaluate(WIDE) == [] and page.evaluate(SMALL) == []
    assert faults(page) == {}


def test_no_text_of_a_dataset_is_ever_a_script(app: App, page: Any, answers: Answers) -> None:
    evil = HOSTILE + BREAKERS
    documents = [{"file": evil, "text": evil * 9, "bytes": 4, "dropped": evil}]
    answers.give("/api/prepare/preview", SEEN | {"documents": documents, "note": evil, "dropped": {evil: 1}})
    answers.jobs(JOB | {"name": evil, "message": evil, "sources": [evil], "dropped": {evil: 3}})
    visit(page, app, "?tab=data")
    page.wait_for_selector(".job")
    page.fill("#tokens-text", evil)
    page.click("#prepare-open")
    page.locator("#begin-with button").nth(1).click()
    page.wait_for_selector("#preview li")
    page.wait_for_selector("#tokens .totals >> text=tokens")

    assert HOSTILE in page.inner_text("#preview") and HOSTILE in page.inner_text("#jobs")
    assert page.evaluate("window.hurt") is None
    assert page.locator("img[src=x], svg[onload]").count() == 0
