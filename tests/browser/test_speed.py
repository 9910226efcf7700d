"""How fast the page is there, how still it stands, and how little it asks."""

from collections.abc import Iterator
from typing import Any

import pytest
from pages import App, app_for, visit

from docs import scenes
from engine import launch
from engine.home import Home

SHIFTS = """
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) {
      if (!one.hadRecentInput) window.shifts.push([one.value, ...one.sources.map((source) => {
        const node = source.node?.nodeType === 1 ? source.node : source.node?.parentElement;
        return `${node?.tagName}#${node?.id}.${node?.className} ${source.previousRect.y}>${source.currentRect.y}`; })]);
    }
  }).observe({type: 'layout-shift', buffered: true});
"""
PLACES = """(header) => [...document.querySelectorAll(`${header} svg.mark, ${header} .tabs button`)]
  .map((part) => part.getBoundingClientRect()).map((box) => [box.x, box.y, box.width, box.height].map(Math.round))"""
SWITCH = """async (to) => {
  const began = performance.now();
  const select = document.querySelector('#run-select select');
  select.value = to;
  select.dispatchEvent(new Event('change'));
  const plot = document.querySelector('#loss-chart .plot');
  const name = select.selectedOptions[0].textContent.split(',')[0];
  while (!plot.data?.[0]?.name.startsWith(name) || !plot.data[0].x.length) {
    if (performance.now() - began > 5000) throw Error('the curve never came');
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - began;
}"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, dict[str, str]]]:
    """An app with twenty runs that have ended and none that is on."""
    home = Home.at(tmp_path_factory.mktemp("archive"))
    launch.open_home(home)
    runs = scenes.fill(home, runs=20, exhibits=12, live=False)
    with app_for(home) as started:
        yield started, runs


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("state", ["first", "finished"])
def test_first_paint_and_a_layout_that_stands_still(
    archive: tuple[App, dict[str, str]], cold: Any, width: int, state: str
) -> None:
    app, runs = archive
    cold.set_viewport_size({"width": width, "height": 860})
    cold.add_init_script(SHIFTS)
    visit(cold, app, f"?run={runs[state]}" if state in runs else "?run=blueberry-nano-2025")
    cold.wait_for_selector("#feed .answer", state="attached")
    cold.wait_for_timeout(1500)  # whatever still moves by then is counted

    paint = cold.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    shifts = cold.evaluate("window.shifts")
    assert paint < 2500
    assert sum(one[0] for one in shifts) < 0.02, shifts


def test_the_frame_is_there_from_the_first_paint_and_where_the_page_will_be(
    archive: tuple[App, dict[str, str]], cold: Any
) -> None:
    app, runs = archive
    cold.emulate_media(color_scheme="dark")
    held: list[Any] = []
    waiting = True
    cold.route("**/assets/*.js", lambda route: held.append(route) if waiting else route.continue_())
    cold.goto(f"{app.address}/?tab=capsule&run={runs['finished']}", wait_until="commit")
    cold.wait_for_selector("#opening [aria-selected] >> text=Time capsule")
    colour = "(part) => getComputedStyle(document.querySelector(part)).backgroundColor"
    ground = cold.evaluate(colour, "#opening")
    frame = {width: cold.evaluate(PLACES, "#opening") for width in widths(cold)}

    waiting = False
    for route in held:
        route.continue_()
    cold.wait_for_selector("body.ready")

    assert cold.locator("#opening").count() == 0
    page = {width: cold.evaluate(PLACES, "#topbar") for width in widths(cold)}
    assert page == frame and len(frame[390]) == 8
    assert ground == cold.evaluate(colour, "body") == "rgb(17, 18, 26)"


def widths(page: Any) -> Iterator[int]:
    """A desk's and a phone's, one after the other."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 860})
        yield width


def test_switching_runs(archive: tuple[App, dict[str, str]], cold: Any) -> None:
    app, runs = archive
    visit(cold, app, f"?run={runs['finished']}")
    cold.wait_for_function("document.querySelector('#loss-chart .plot').data?.[0]?.x.length > 0")
    took = sorted(
        cold.evaluate(SWITCH, runs[name]) for name in ("stopped", "failed", "crashed", "history", "long-name")
    )

    assert took[2] < 1000, took  # a quarter of that where nothing else runs


def test_a_page_at_rest_asks_nothing_but_a_slow_heartbeat(archive: tuple[App, dict[str, str]], cold: Any) -> None:
    app, runs = archive
    cold.clock.install()
    visit(cold, app, f"?run={runs['finished']}")
    cold.wait_for_selector("#feed .answer", state="attached")
    cold.wait_for_selector("#machine .gauge", state="attached")
    cold.wait_for_load_state("networkidle")
    asked: list[str] = []
    cold.on("request", lambda request: asked.append(request.url))
    for _ in range(12):  # seconds of the page's own clock
        cold.clock.run_for(1000)
        cold.wait_for_timeout(50)  # an answer, if it asked

    beats = [url for url in asked if "/api/live" in url]
    looks = [url for url in asked if "/api/machine" in url]  # what it does now, and once what it did before
    assert 1 <= len(beats) <= 2 and len(looks) <= 3 and len(beats) + len(looks) == len(asked), asked
