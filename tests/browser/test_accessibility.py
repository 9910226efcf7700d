"""Nothing that axe-core calls serious or critical, on every tab, light and dark, wide and narrow."""

from importlib.resources import files
from typing import Any

import pytest
from pages import SEEN, App, switch, visit

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
FOUND = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter((one) => ['serious', 'critical'].includes(one.impact))
  .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target.join(' ')}: ${node.failureSummary}`))"""
LOOKS = [("light", 1280), ("dark", 1280), ("dark", 390)]


def faults(page: Any) -> dict[str, list[str]]:
    """What axe-core finds in each look of the page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = {}
    for theme, width in LOOKS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 860})
        page.wait_for_function(f"document.body.classList.contains('dark') === {str(theme == 'dark').lower()}")
        page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        found[f"{theme} {width}"] = page.evaluate(FOUND)
    return {look: findings for look, findings in found.items() if findings}


def every_tab(page: Any) -> dict[str, dict[str, list[str]]]:
    """The same on each tab."""
    found = {}
    names = page.locator("[role=tab]").evaluate_all("(tabs) => tabs.map((tab) => tab.dataset.tab)")
    assert set(names) == set(SEEN)
    for name in names:
        page.click(f"#tab-{name}")
        page.wait_for_selector(SEEN[name], state="attached")
        found[name] = faults(page)
    return {name: findings for name, findings in found.items() if findings}


def test_first_open(app: App, page: Any) -> None:
    visit(page, app)
    page.wait_for_selector("#feed .answer")

    assert every_tab(page) == {}


def test_a_home_with_runs(full: tuple[App, dict[str, str]], page: Any) -> None:
    app, runs = full
    visit(page, app, f"?run={runs['finished']}")
    page.wait_for_selector("#facts dl")

    assert every_tab(page) == {}


def test_a_run_in_its_states(full: tuple[App, dict[str, str]], page: Any) -> None:
    app, runs = full
    visit(page, app, f"?run={runs['finished']}")
    for status in ("running", "paused", "failed"):
        switch(page, runs[status])
        page.wait_for_selector(f"body[data-status={status}] #facts dl")

        assert faults(page) == {}, status


@pytest.mark.parametrize(
    ("tab", "opener"), [("train", ".answer >> text=Keep this"), ("capsule", ".exhibit .read:visible")]
)
def test_an_open_dialog(full: tuple[App, dict[str, str]], page: Any, tab: str, opener: str) -> None:
    app, runs = full
    visit(page, app, f"?run={runs['finished']}&tab={tab}&q=boat")
    page.locator(opener).first.click()
    page.wait_for_selector("dialog[open]")

    assert faults(page) == {}
