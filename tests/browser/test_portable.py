"""Exhibits taken along: packed in one home's page, brought to another's, sealed, and asked again word for word."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from capsules import edited, packed
from pages import App, newest_run, visit
from rooms import furnished

from engine import capsule_unpack, launch, store
from engine.home import Home

HOSTILE = "<img src=x onerror='window.hurt = 1'><script>window.hurt = 1</script>"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    """Another home, with two runs and three exhibits."""
    home = Home.at(tmp_path / "elsewhere")
    launch.open_home(home)
    furnished(home)
    return home


@pytest.fixture
def kept(grown: App) -> Iterator[store.Row]:
    """A run of a real model, one answer of which is kept."""
    run = newest_run(grown.home)
    with closing(store.connect(grown.home.database)) as db:
        sample = next(row for row in store.list_samples(db, run["id"]) if row["source"] == "periodic" and row["step"])
        store.keep(db, sample["id"], "good", "Its own words", "")
        yield run
        for row in store.exhibits_of(db, run["id"]):
            store.remove_exhibit(db, row["id"])


def bring(page: Any, file: Path) -> None:
    """Choose a file in the sheet, and wait for what is said of it."""
    page.click("#bring")
    page.set_input_files("#bring-file", str(file))


def test_an_exhibit_is_packed_with_its_weights_and_comes_back_alive(
    grown: App, app: App, page: Any, kept: store.Row, tmp_path: Path
) -> None:
    visit(page, grown, "?tab=capsule")
    page.click("#pack")
    page.check("#pack-sheet input[value=run]")
    page.select_option("#pack-run", kept["id"])
    page.wait_for_selector(f"#pack-planned >> text=/[0-9] exhibits? of {kept['name']}/")  # other tests keep some, too
    page.wait_for_selector("#pack-size >> text=/[kM]B more/")
    page.check("#pack-weights")
    page.fill("#pack-sender", "Ada")
    page.fill("#pack-name", "A first word")
    page.click("#pack-go")
    page.wait_for_selector("#pack-save")
    with page.expect_download() as saved:
        page.click("#pack-save")
    file = tmp_path / saved.value.suggested_filename
    saved.value.save_as(file)
    assert file.name == "A-first-word.capsule"

    visit(page, app, "?tab=capsule")
    bring(page, file)
    page.wait_for_selector("#bring-sheet .cover >> text=from Ada")
    page.click("#bring-go")
    page.click("#bring-see")
    page.wait_for_selector("#gallery .exhibit >> text=Its own words")
    page.click("#gallery .exhibit h2 a >> text=Its own words")
    page.click("#replay")
    page.wait_for_selector(".replayed[data-state=same] >> text=Word for word the same.")
    page.keyboard.press("Escape")
    with closing(store.connect(app.home.database)) as db:
        run = store.list_runs(db)[0]
        assert (run["kind"], [row["step"] for row in store.ages(db, run["id"])] != []) == ("imported", True)

    visit(page, app, f"?tab=play&run={run['id']}")
    page.wait_for_selector("#play-age option", state="attached")
    page.fill("#prompt textarea", "Once")
    page.click("#generate")
    page.wait_for_function("document.querySelector('#output').textContent.trim().length > 10")


def test_a_sealed_capsule_shows_its_cover_until_its_day(app: App, cold: Any, elsewhere: Home, tmp_path: Path) -> None:
    packed(elsewhere, tmp_path / "one.capsule", title="For later", sender="You", sealed_until="2090-06-01")
    visit(cold, app, "?tab=capsule")
    bring(cold, tmp_path / "one.capsule")
    cold.wait_for_selector("#bring-go >> text=Keep it until then")
    cold.click("#bring-go")
    cold.wait_for_selector("#bring-title >> text=It is kept")
    cold.keyboard.press("Escape")
    cold.wait_for_selector(".cover.sealed >> text=Sealed until June 1, 2090")
    cold.fill("#gallery-search input", "marmalade")
    cold.wait_for_function("document.querySelector('#capsule-count').textContent === '0 exhibits'")
    assert cold.locator(".cover >> text=Open it").count() == 0

    # A window of its own: a clock that was set stays so.
    cold.clock.set_fixed_time("2090-06-02T12:00:00Z")  # the browser's clock alone opens nothing
    cold.reload()
    cold.click(".cover >> text=Open it")
    cold.wait_for_selector(".cover [role=status] >> text=is sealed until 2090-06-01")


def test_a_capsule_whose_day_has_come_is_opened(app: App, page: Any, elsewhere: Home, tmp_path: Path) -> None:
    packed(elsewhere, tmp_path / "one.capsule", title="A year ago", sealed_until="2020-01-01")
    capsule_unpack.take(app.home, tmp_path / "one.capsule", now=0)
    visit(page, app, "?tab=capsule")
    page.click(".cover.sealed >> text=Open it")
    page.wait_for_selector(".came summary >> text=A capsule came here")
    page.click(".came summary")
    page.click(".cover >> text=See its exhibits")
    page.wait_for_selector("#gallery .exhibit >> text=Cat 2")


def test_what_a_stranger_wrote_is_text(app: App, page: Any, elsewhere: Home, tmp_path: Path) -> None:
    def scripted(line: Any) -> Any:
        line["sample"] |= {"prompt": HOSTILE, "text": HOSTILE}
        line["kept"] |= {"title": HOSTILE, "note": HOSTILE, "category": HOSTILE[:40]}
        return line

    packed(elsewhere, tmp_path / "one.capsule", title=HOSTILE, sender=HOSTILE)
    visit(page, app, "?tab=capsule")
    bring(page, edited(tmp_path / "one.capsule", tmp_path / "two.capsule", "exhibits.jsonl", scripted))
    page.wait_for_selector("#bring-sheet .cover h3")
    assert page.inner_text("#bring-sheet .cover h3") == HOSTILE
    page.click("#bring-go")
    page.click("#bring-see")
    page.wait_for_selector("#gallery .exhibit >> text=onerror")
    page.wait_for_selector("#portable .came", state="attached")
    assert page.evaluate("window.hurt") is None


def test_what_is_no_capsule_is_said_and_another_can_be_chosen(app: App, page: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.capsule").write_bytes(b"PK but nothing more")
    visit(page, app, "?tab=capsule")
    bring(page, tmp_path / "bad.capsule")
    page.wait_for_selector("#bring-sheet .problem >> text=or only a part of one")
    assert page.is_visible("#bring-file")
