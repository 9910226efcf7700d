"""Nothing that axe-core calls serious or critical, on every tab, light and dark, wide and narrow."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from pages import App, app_for, visit

from engine import launch
from engine.home import Home

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
FOUND = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter((one) => ['serious', 'critical'].includes(one.impact))
  .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target.join(' ')}: ${node.failureSummary}`))"""
LOOKS = [("light", 1280), ("dark", 1280), ("dark", 390)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app that was never used."""
    home = Home.at(tmp_path_factory.mktemp("fresh"))
    launch.open_home(home)
    with app_for(home) as started:
        yield started


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def window(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page of one theme and width."""
    theme, width = request.param
    size = {"width": width, "height": 860}
    context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def every_tab(page: Any) -> dict[str, list[str]]:
    """What axe-core finds on each tab that has something to find."""
    found = {}
    for name in page.locator("[role=tab]").evaluate_all("(tabs) => tabs.map((tab) => tab.dataset.tab)"):
        page.click(f"#tab-{name}")
        page.wait_for_timeout(300)
        found[name] = page.evaluate(FOUND)
    return {name: findings for name, findings in found.items() if findings}


def test_first_open(fresh: App, window: Any) -> None:
    visit(window, fresh)
    window.wait_for_selector("#feed .answer")
    window.evaluate(AXE)

    assert every_tab(window) == {}


def test_a_home_with_runs(full: tuple[App, dict[str, str]], window: Any) -> None:
    app, runs = full
    visit(window, app, f"?run={runs['finished']}")
    window.wait_for_selector("#facts dl")
    window.evaluate(AXE)

    assert every_tab(window) == {}


def test_a_run_in_its_states(full: tuple[App, dict[str, str]], window: Any) -> None:
    app, runs = full
    for status in ("running", "paused", "failed"):
        visit(window, app, f"?run={runs[status]}")
        window.wait_for_selector("#facts dl")
        window.evaluate(AXE)

        assert window.evaluate(FOUND) == [], status


@pytest.mark.parametrize(
    ("tab", "opener"), [("train", ".answer >> text=Keep this"), ("capsule", ".exhibit .read:visible")]
)
def test_an_open_dialog(full: tuple[App, dict[str, str]], window: Any, tab: str, opener: str) -> None:
    app, runs = full
    visit(window, app, f"?run={runs['finished']}&tab={tab}")
    window.locator(opener).first.click()
    window.wait_for_selector("dialog[open]")
    window.evaluate(AXE)

    assert window.evaluate(FOUND) == []
