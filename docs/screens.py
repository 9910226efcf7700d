"""Photograph every state of the page, light and dark, wide and narrow, for a reviewer's eyes.

python docs/screens.py --out DIR                  # all pictures, about 10 minutes on two cores
python docs/screens.py --out DIR --only paused    # those whose name contains `paused`
python docs/screens.py --out DIR --looks 390-light
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from docs import scenes, screenshots  # noqa: E402
from engine import launch  # noqa: E402
from engine.config import load_preset  # noqa: E402
from engine.data import ensure_dataset  # noqa: E402
from engine.home import Home  # noqa: E402

SIZES = {"1280": {"width": 1280, "height": 860}, "390": {"width": 390, "height": 844}}
SCROLL = """async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 500) {
    scrollTo({top: y, behavior: "instant"});
    await new Promise((done) => setTimeout(done, 60));
  }
  scrollTo({top: 0, behavior: "instant"});
}"""
YOUNGEST = """() => {
  for (const slider of document.querySelectorAll("#feed .ages")) {
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
  }
}"""
LOOKS = tuple(f"{size}-{theme}" for size in SIZES for theme in ("light", "dark"))
Do = Callable[[Any], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Write DIR/STATE-WIDTH-THEME.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder for the pictures")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of the states wanted")
    parser.add_argument("--looks", nargs="+", default=list(LOOKS), choices=LOOKS, help="widths and themes wanted")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, screenshots.opened() as browser:
        first, one, full = (Home.at(f"{folder}/{name}") for name in ("first", "one", "full"))
        for home in (first, one, full):
            launch.open_home(home)
        only = scenes.one_run(one)
        runs = scenes.fill(full, exhibits=10_000)
        ensure_dataset(full, load_preset("seedling"), lambda progress: None, lambda: False)
        with screenshots.served(first) as address:
            shoot_all(browser, address, first_open(), args)
        with screenshots.served(one) as address:
            shoot_all(browser, address, one_run(only), args)
        with screenshots.served(full) as address:
            shoot_all(browser, address, states(runs), args)
            contexts = away_pages(browser, address, runs, args)
        for name, page in contexts:
            page.wait_for_selector("body.away")
            picture(page, args.out / f"{name}.png")
    return 0


def first_open() -> dict[str, tuple[str, Do | None]]:
    """States of a home in which nothing was trained yet."""
    return {
        "first-open": ("", None),
        "first-settings": ("", lambda page: page.click("#setup summary >> text=More settings")),
        "first-wrong-setting": ("", wrong_setting),
        "first-play": ("?tab=play", None),
        "first-capsule": ("?tab=capsule", None),
        "first-capsule-nothing-found": ("?tab=capsule", nothing_found),
        "first-paint": ("", first_paint),
    } | {f"first-{tab}": (f"?tab={tab}", None) for tab in ("growing", "compare", "data", "report")}


def one_run(run_id: str) -> dict[str, tuple[str, Do | None]]:
    """A home with one run, of which nothing is kept."""
    found: dict[str, tuple[str, Do | None]] = {"one-run": (f"?run={run_id}", None)}
    return found | {
        "one-run-compare": (f"?tab=compare&run={run_id}", None),
        "one-run-report": (f"?tab=report&run={run_id}", None),
        "one-run-capsule-empty": (f"?tab=capsule&run={run_id}&of={run_id}", None),
    }


def states(runs: dict[str, str]) -> dict[str, tuple[str, Do | None]]:
    """Every state of a run, and the tabs of a full home."""
    # A stopping run first: a minute later the supervisor has ended it, as it should.
    order = sorted(runs, key=lambda name: (name != "stopping", name not in scenes.LIVE))
    found: dict[str, tuple[str, Do | None]] = {
        name: (f"?run={runs[name]}", whole_feed if name == "finished" else None) for name in order
    }
    found["stop-hint"] = (f"?run={runs['running']}", lambda page: page.hover("#stop"))
    done = runs["finished"]
    found |= {
        f"full-{tab}": (f"?tab={tab}&run={done}", None)
        for tab in ("growing", "play", "capsule", "compare", "data", "report")
    }
    found["growing-two-ages"] = (f"?tab=growing&run={done}&beside=0", None)
    found["growing-one-age"] = (f"?tab=growing&run={done}&each=1", None)
    found["data-form"] = (f"?tab=data&run={done}", look_at_a_recipe)
    found["dataset"] = (f"?tab=data&run={done}", open_dataset)
    found["exhibit"] = (f"?tab=capsule&run={done}", read_on)
    found["capsule-search"] = (f"?tab=capsule&run={done}&q=boat+lou", None)
    found["young-words"] = (f"?run={done}", young_words)
    found["form-again"] = (f"?run={done}", lambda page: page.click("text=Start another"))
    found["keep"] = (f"?run={done}", lambda page: page.locator(".answer >> text=Keep this").first.click())
    found["log"] = (f"?run={runs['failed']}", lambda page: page.click("text=Read the log"))
    return found


def first_paint(page: Any) -> None:
    """What is seen before anything is there."""
    page.route("**/assets/*.js", lambda route: route.abort())
    page.reload(wait_until="commit")
    page.wait_for_selector("#opening .boxes")


def wrong_setting(page: Any) -> None:
    """A number that cannot be."""
    page.locator("[data-key='optimizer.muon_lr']").fill("-1")
    page.wait_for_selector("[aria-invalid]")


def nothing_found(page: Any) -> None:
    """A search without an answer."""
    page.fill("#gallery-search input", "zebra")
    page.wait_for_selector("#gallery .empty")


def whole_feed(page: Any) -> None:
    """All prompts, among them the long and the right-to-left ones."""
    page.wait_for_selector("#feed .answer")
    if page.locator("#all-answers").is_visible():
        page.click("#all-answers")


def young_words(page: Any) -> None:
    """Every prompt's first answer: the same words, with signs that are no letters."""
    page.wait_for_selector("#feed .answer")
    page.evaluate(YOUNGEST)


def read_on(page: Any) -> None:
    """A long exhibit, opened."""
    page.locator(".exhibit .read:visible").first.click()
    page.wait_for_selector("dialog[open]")


def look_at_a_recipe(page: Any) -> None:
    """The form to prepare a dataset, with what its recipe would give."""
    page.click("text=Prepare a dataset")
    page.click("#begin-with >> text=The starter novels")
    page.wait_for_selector("#preview li")


def open_dataset(page: Any) -> None:
    """One dataset, whole."""
    page.locator(".dataset button").first.click()
    page.wait_for_selector("#dataset .documents article")


def shoot_all(browser: Any, address: str, wanted: dict[str, tuple[str, Do | None]], args: argparse.Namespace) -> None:
    """Every state in every look."""
    for name, (query, do) in wanted.items():
        if not any(part in name for part in args.only):
            continue
        for look, page in looks(browser, args.looks):
            page.goto(f"{address}/{query}")
            page.wait_for_selector("body.ready")
            page.wait_for_timeout(1500)  # charts have no event to wait for
            if do:
                do(page)
                page.wait_for_timeout(400)
            picture(page, args.out / f"{name}-{look}.png")
            page.context.close()


def looks(browser: Any, wanted: list[str]) -> Any:
    """A window for each look wanted, with its name."""
    for look in wanted:
        size, theme = look.split("-")
        context = browser.new_context(viewport=SIZES[size], color_scheme=theme, reduced_motion="reduce")
        yield look, context.new_page()


def away_pages(browser: Any, address: str, runs: dict[str, str], args: argparse.Namespace) -> list[tuple[str, Any]]:
    """Open pages whose server is about to go."""
    found = []
    if any(part in "away" for part in args.only):
        for look, page in looks(browser, args.looks):
            page.goto(f"{address}/?run={runs['running']}")
            page.wait_for_selector("body.ready")
            page.wait_for_timeout(1500)
            found.append((f"away-{look}", page))
    return found


def picture(page: Any, target: Path) -> None:
    """The whole page, however long, scrolled through first because charts are drawn when seen."""
    page.evaluate(SCROLL)
    page.wait_for_timeout(300)
    page.screenshot(path=str(target), full_page=True)
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    print(target.name, f"{over} px too wide" if over > 0 else "", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
