"""Play with more than one answer: several seeds, several ages beside each other, moods, stops, and what was asked."""

from typing import Any

from pages import App, visit

from engine import store

HEARD = """import(document.querySelector("script[src$='app.js']").src.replace("app.js", "state.js"))
    .then((page) => { window.heard = []; page.on("answered", ({ place, ...one }) => {
        window.heard.push({ ...one, placed: place.matches("article.answer") }); }); })"""


def open_play(page: Any, app: App) -> None:
    visit(page, app, "?tab=play")
    page.wait_for_function("document.querySelectorAll('#play-age option').length > 2")


def ask(page: Any, prompt: str, length: int = 12) -> list[str]:
    """What each answer says, in the order in which they stand on the page, once all have ended."""
    page.fill("#prompt textarea", prompt)
    page.locator("[data-dial=max_tokens] input").evaluate(f"(dial) => {{ dial.value = {length}; }}")
    page.click("#generate")
    return answered(page)


def answered(page: Any) -> list[str]:
    page.wait_for_function(
        """() => !document.body.classList.contains("asking") && document.querySelector("#answer-facts")
            && [...document.querySelectorAll("#answers .facts")].every((one) => one.textContent.includes("ended"))""",
        timeout=90_000,
    )
    return list(page.locator("#answers .continuation").all_text_contents())


def test_several_answers_at_once_have_the_seeds_that_follow(grown: App, page: Any) -> None:
    open_play(page, grown)
    page.evaluate(HEARD)
    page.wait_for_function("window.heard")
    page.select_option("#count select", "3")

    three = ask(page, "The Queen of Hearts")

    assert len(three) == 3
    facts = page.locator("#answers .facts").all_text_contents()
    assert [f"seed {seed} · ended" in fact for seed, fact in zip((7, 8, 9), facts, strict=True)] == [True] * 3
    assert page.locator("#answers button:has-text('Keep this')").count() == 3
    heard = page.evaluate("window.heard")
    assert [(one["settings"]["seed"], one["text"], one["placed"]) for one in heard] == [
        (seed, text, True) for seed, text in zip((7, 8, 9), three, strict=True)
    ]
    assert all(len(one["weights"]) == 64 and one["sample"] > 0 and one["step"] > 0 for one in heard)

    page.select_option("#count select", "1")
    page.fill("#seed input", "8")
    assert ask(page, "The Queen of Hearts") == three[1:2]
    page.click("#another")
    page.wait_for_function("document.querySelector('#answer-facts').textContent.includes('seed 9')")
    assert answered(page) == three[2:]


def test_one_prompt_to_several_ages_side_by_side(grown: App, page: Any) -> None:
    open_play(page, grown)
    for number in (2, 3, 4):
        page.click("#beside")
        page.wait_for_function(
            f"document.querySelectorAll('.who').length === {number}"
            " && document.querySelector('.who:last-child label:nth-child(2) select').options.length > 2"
        )
    assert page.locator("#beside").is_disabled()
    page.locator(".who .leave").last.click()
    ages = page.locator(".who label:nth-child(2) select").evaluate_all("(all) => all.map((one) => one.value)")
    assert len(set(ages)) == 3

    said = ask(page, "Alice")

    assert len(said) == 3 and page.locator("#answers .column h2").count() == 3
    assert page.locator("#answers .facts:has-text('seed 7')").count() == 3
    tops = page.locator("#answers .column").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().top)")
    assert max(tops) - min(tops) < 2
    page.set_viewport_size({"width": 390, "height": 844})
    tops = page.locator("#answers .column").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().top)")
    assert tops == sorted(set(tops))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    # The second one alone, at its age, says what it said beside the others.
    for _ in (1, 2):
        page.locator(".who .leave").first.click()
    page.select_option("#play-age select", ages[1])
    assert ask(page, "Alice") == said[1:2]


def test_a_cancel_ends_all_that_were_asked(grown: App, page: Any) -> None:
    open_play(page, grown)
    page.click("#beside")
    page.wait_for_function("document.querySelectorAll('.who:last-child option').length > 2")
    page.fill("#prompt textarea", "The whale")
    page.locator("[data-dial=max_tokens] input").evaluate("(dial) => { dial.max = 4096; dial.value = 2000; }")
    page.click("#generate")
    page.wait_for_selector("body.asking", state="attached")
    page.keyboard.press("Escape")
    page.wait_for_selector("body:not(.asking)", timeout=60_000)

    assert page.locator("#answers [aria-busy=true]").count() == 0
    last = page.locator("#answers .facts").last.text_content()
    assert "cancelled" in last or "Not asked" in last or "ended" in last  # a young model may end by itself


def test_moods_and_what_ends_an_answer(grown: App, page: Any) -> None:
    open_play(page, grown)
    pressed = "[...document.querySelectorAll('[data-preset][aria-pressed=true]')].map((one) => one.dataset.preset)"
    assert page.evaluate(pressed) == ["balanced"]
    page.click("[data-preset=wild]")
    assert page.evaluate(pressed) == ["wild"] and page.inner_text("[data-dial=temperature] output") == "1.3"
    page.locator("[data-dial=temperature] input").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(pressed) == [] and page.inner_text("[data-dial=temperature] output") == "1.25"
    page.click("[data-preset=balanced]")

    (whole,) = ask(page, "There was a", 30)
    stop = next(letter for letter in whole[2:] if letter.isalpha())
    page.click("#fine summary")
    page.fill("#stops textarea", stop)
    page.click("#generate")
    page.wait_for_function("document.querySelector('#answer-facts').textContent.includes('a text that you named')")

    assert answered(page) == [whole[: whole.index(stop)]]
    db = store.connect(grown.home.database)
    newest = store.asked_samples(db, limit=1)[0]
    db.close()
    assert (newest["finish"], newest["stop"]) == ("stop", f'["{stop}"]')


def test_what_was_asked_is_there_after_a_reload_and_can_be_asked_again(grown: App, page: Any) -> None:
    open_play(page, grown)
    page.click("[data-preset=precise]")
    page.fill("#seed input", "41")
    said = ask(page, "The captain looked at the sea")
    page.reload()
    page.wait_for_selector("body.ready")
    first = page.locator("#asked li button").first
    first.wait_for()
    assert "The captain looked at the sea" in first.inner_text() and "seed 41" in first.inner_text()

    first.click()
    assert page.inner_text("#output").startswith("The captain looked at the sea")
    page.click("#answers button:has-text('Put it into the form')")
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'The captain looked at the sea'")
    assert page.input_value("#seed input") == "41"
    assert page.locator("[data-preset=precise]").get_attribute("aria-pressed") == "true"

    page.click("#answers button:has-text('Ask again')")
    page.wait_for_selector("#answer-facts:has-text('tok/s')")
    assert answered(page) == said
