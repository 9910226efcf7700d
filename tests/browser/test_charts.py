"""The charts: many runs at once, spikes at every zoom, a crosshair for mouse and keys, and what is saved of them."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from pages import App, visit
from ui_helpers import add_points, make_run

from engine import store

STEPS = 6000
SPIKE, BROKEN = 2500, 4000
PLOT = "document.querySelector('#loss-chart .plot')"
TRACES = f"({PLOT}.data || []).map((trace) => trace.name)"
HIGHEST = f"""Math.max(...{PLOT}.data.filter((trace) => trace.yaxis !== 'y2')
  .flatMap((trace) => trace.y).filter(Number.isFinite))"""
SPOKEN = "[...document.querySelectorAll('#watch > p.sr')].at(-1).textContent"
LINES = "[...document.querySelectorAll('#watch .crosshair')].filter((line) => !line.hidden).length"


@pytest.fixture
def runs(app: App) -> list[str]:
    """A long run with a spike and a step that was no number, and eleven short ones; newest first."""
    db = store.connect(app.home.database)
    short = [make_run(db, f"short-{number:02d}", f"cuda:{number}") for number in range(11)]
    for run_id in short:
        add_points(db, run_id, 1, 40)
    long = make_run(db, "long")
    add_points(db, long, 1, STEPS)
    db.conn.execute("UPDATE metrics SET train_loss = 50 WHERE run_id = ? AND step = ?", [long, SPIKE])
    db.conn.execute("UPDATE metrics SET train_loss = NULL WHERE run_id = ? AND step = ?", [long, BROKEN])
    store.add_event(db, long, "spike", "The loss rose to 50 at once.", SPIKE)
    for run_id in (long, *short):
        store.end_run(db, run_id, "finished")
    db.close()
    return [long, *reversed(short)]


def drawn(page: Any, name: str) -> None:
    page.wait_for_function(f"{TRACES}.includes('{name}')")


def test_charts_come_though_their_script_does_not_at_first(app: App, cold: Any, runs: list[str]) -> None:
    away = [True]
    cold.route("**/plotly.min.js", lambda route: route.abort() if away else route.continue_())
    visit(cold, app, f"?run={runs[0]}&x=steps")
    cold.wait_for_selector("#watch .cut >> text=their script did not come")

    away.clear()
    drawn(cold, "long smoothed")


def test_many_runs_come_in_few_requests_and_can_be_hidden(app: App, page: Any, runs: list[str]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/series" in request.url else None)
    visit(page, app, f"?run={runs[0]}&x=steps&with={','.join(runs[1:])}")
    page.wait_for_function(f"{TRACES}.filter((name) => name.endsWith('smoothed')).length === 12")

    assert len(asked) <= 6, asked
    keys = page.locator("#watch .legend .key")
    assert keys.count() == 12
    keys.nth(3).click()
    page.wait_for_function(f"{TRACES}.filter((name) => name.endsWith('smoothed')).length === 11")
    assert f"hide={runs[3]}" in page.url and keys.nth(3).get_attribute("aria-pressed") == "false"
    keys.nth(0).focus()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(f"{TRACES}.filter((name) => name.endsWith('smoothed')).join() === 'long smoothed'")
    page.click("#watch .legend >> text=Show all runs")
    page.wait_for_function(f"{TRACES}.filter((name) => name.endsWith('smoothed')).length === 12")
    assert "hide=" not in page.url


@pytest.mark.parametrize("smooth", ["0", "2.5", "20"])
@pytest.mark.parametrize("zoom", ["", "1_5900", "2400_4100", "2490_2510"])
def test_a_spike_stays_at_every_zoom(app: App, page: Any, runs: list[str], smooth: str, zoom: str) -> None:
    visit(page, app, f"?run={runs[0]}&x=steps&smooth={smooth}&zoom={zoom}")
    page.wait_for_function(f"{TRACES}.some((name) => name.startsWith('long each step'))")

    assert page.evaluate(HIGHEST) == 50
    assert ("long not a number" in page.evaluate(TRACES)) == (zoom != "2490_2510")


def test_keys_read_zoom_and_find_events(app: App, page: Any, runs: list[str]) -> None:
    visit(page, app, f"?run={runs[0]}&x=steps&with={runs[1]}")
    drawn(page, "long smoothed")
    page.focus("#loss-chart .plot")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"{SPOKEN} === 'step 1: long 8.000, short-10 8.000.'")
    page.keyboard.press("ArrowUp")
    page.wait_for_function(
        f"{SPOKEN}.startsWith('spike at step 2,500: The loss rose to 50 at once. step 2,500: long ')"
    )
    assert "spike at step 2,500" in page.inner_text("#watch .readout")
    assert page.evaluate(LINES) >= 1

    page.keyboard.press("+")
    page.wait_for_function("location.search.includes('zoom=')")
    page.keyboard.press("Home")
    page.wait_for_function("!location.search.includes('zoom=')")
    page.keyboard.press("Escape")
    assert page.evaluate(LINES) == 0 and not page.locator("#watch .readout").is_visible()


def test_the_mouse_reads_all_charts_at_once(app: App, page: Any, runs: list[str]) -> None:
    page.set_viewport_size({"width": 1280, "height": 1600})
    visit(page, app, f"?run={runs[0]}&x=steps")
    drawn(page, "long smoothed")
    page.wait_for_function("document.querySelector('#speed-chart .plot').data?.length")
    box = page.locator("#loss-chart .plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)

    page.wait_for_selector("#loss-chart .readout >> text=long")
    page.wait_for_function(f"{LINES} === 7")
    page.mouse.move(2, 2)
    page.wait_for_function(f"{LINES} === 0")


def test_what_is_being_marked_is_read_before_it_is_let_go(app: App, page: Any, runs: list[str]) -> None:
    visit(page, app, f"?run={runs[0]}&x=steps")
    drawn(page, "long smoothed")
    page.wait_for_load_state("networkidle")
    box = page.locator("#loss-chart .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 60)
    page.mouse.down()
    with page.expect_response(lambda answer: "/api/series" in answer.url and "lo=" in answer.url) as ahead:
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 60)
    assert ahead.value.ok and "zoom=" not in page.url

    page.mouse.up()
    page.wait_for_function("location.search.includes('zoom=')")
    page.wait_for_function(f"{PLOT}.data.some((trace) => trace.name === 'long smoothed' && trace.x[0] > 2000)")

    assert len([url for url in reads(page) if "lo=" in url]) == 1


def reads(page: Any) -> list[str]:
    """What was asked of /api/series."""
    script = (
        "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/api/series'))"
    )
    found: list[str] = page.evaluate(script)
    return found


def test_how_it_is_looked_at_is_in_the_address(app: App, page: Any, runs: list[str]) -> None:
    visit(page, app, f"?run={runs[0]}&x=steps")
    drawn(page, "long smoothed")
    page.click("#axis >> text=Time")
    page.click("#watch summary >> text=View")
    page.focus("#watch .slide input")
    page.keyboard.press("End")
    page.check("text=Logarithmic y")
    page.check("text=Cut off outliers")
    page.wait_for_selector("#watch .cut >> text=up to 50")
    for part in ("x=time", "smooth=20", "logy=1", "clip=1"):
        assert part in page.url

    page.reload()
    page.wait_for_selector("#watch .cut >> text=up to 50")
    layout = page.evaluate(f"[{PLOT}.layout.yaxis.type, 10 ** {PLOT}.layout.yaxis.range[1]]")
    assert layout[0] == "log" and layout[1] < 10
    assert "beyond the edge" in page.evaluate(TRACES)
    page.click("#watch summary >> text=View")
    assert "20% of the steps" in page.inner_text("#watch .slide")


def saved(page: Any, label: str, root: str = "#watch") -> bytes:
    """What a choice of "Save as" gives."""
    if page.locator(f"{root} details.menu[open]").count() == 0:
        page.click(f"{root} summary >> text=Save as")
    with page.expect_download() as found:
        page.click(f"{root} details[open] button >> text=/^{label}/")
    return Path(found.value.path()).read_bytes()


def test_what_is_shown_can_be_saved(app: App, page: Any, runs: list[str]) -> None:
    visit(page, app, f"?run={runs[0]}&x=steps&with={runs[1]}")
    drawn(page, "long smoothed")

    every = list(csv.DictReader(io.StringIO(saved(page, "CSV, every step").decode())))
    assert sum(row["run"] == "long" and row["curve"] == "train_loss" for row in every) == STEPS
    assert next(row for row in every if row["step"] == str(SPIKE))["value"] == "50"
    assert next(row for row in every if row["step"] == str(BROKEN) and row["curve"] == "train_loss")["value"] == ""
    some = list(csv.DictReader(io.StringIO(saved(page, "CSVas drawn").decode())))
    assert {row["run"] for row in some} == {"long", "short-10"} and len(some) < STEPS
    assert saved(page, "PNG").startswith(b"\x89PNG")
    assert b"short-10" in saved(page, "SVG")


def test_a_saved_page_needs_no_network(app: App, page: Any, runs: list[str], tmp_path: Path, browser: Any) -> None:
    visit(page, app, f"?run={runs[0]}&x=steps&with={runs[1]}")
    drawn(page, "long smoothed")
    file = tmp_path / "chart.html"
    file.write_bytes(saved(page, "Web page"))

    context = browser.new_context(offline=True)
    alone = context.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(file.as_uri())
    alone.wait_for_function("document.querySelectorAll('#chart .legendtext').length === 2", timeout=60_000)
    names = alone.locator("#chart .legendtext").all_text_contents()
    context.close()

    assert sorted(names) == ["long", "short-10"]
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []


def test_the_compare_tab_has_the_same_chart(app: App, page: Any, runs: list[str]) -> None:
    visit(page, app, f"?tab=compare&chosen={','.join(runs[:3])}&x=steps")
    lines = "(document.querySelector('#compare-chart .plot').data || []).map((trace) => trace.name).sort().join()"
    page.wait_for_function(f"{lines} === 'long,short-09,short-10'")
    page.click("#compare-what >> text=Training loss")
    page.wait_for_function(f"{lines}.includes('long smoothed')")
    assert page.locator("#compare-figure .legend .key").count() == 3
    assert saved(page, "PNG", "#compare-figure").startswith(b"\x89PNG")
