"""engine/report_words.py: the little Markdown of people, and texts without what acts unseen."""

import time

from engine.phrases import plain
from engine.report_words import Paragraph, Points, Span, clean, line, parse


def test_paragraphs_lists_and_marks() -> None:
    found = parse("It **reads** *old* `novels`.\nSlowly.\n\n- one\n- [two](https://example.com/a)\nThe end.")

    assert found == (
        Paragraph(
            (
                Span("It "),
                Span("reads", "strong"),
                Span(" "),
                Span("old", "em"),
                Span(" "),
                Span("novels", "code"),
                Span("."),
                Span("", "break"),
                Span("Slowly."),
            )
        ),
        Points(((Span("one"),), (Span("two", "link", "https://example.com/a"),))),
        Paragraph((Span("The end."),)),
    )


def test_no_other_address_becomes_a_link() -> None:
    for text in (
        "[x](javascript:alert(1))",
        "[x](data:text/html,hi)",
        '[x](https://a"onclick=b)',
        "[x](https://a b)",
        "<a href=x>y</a>",
        "[a](//b)",
    ):
        assert [span.kind for part in parse(text) if isinstance(part, Paragraph) for span in part.spans] == ["text"], (
            text
        )


def test_what_is_unfinished_stays_text() -> None:
    for text in ("2 * 3 * 4", "a ** b", "`", "**", "[", "- "):
        found = parse(text)
        assert found and "".join(span.text for span in found[0].spans) == text.strip()  # type: ignore[union-attr]


def test_control_characters_and_turned_directions_are_shown_as_such() -> None:
    assert clean("a\x00b\u202ec\r\nd\te") == "a\ufffdb\ufffdc\nd\te"
    assert clean("🚣‍♀️ می‌رود") == "🚣‍♀️ می‌رود", "emoji and Persian words keep their joiners"
    assert line(" a\n  b ") == "a b"
    assert clean("\ud800") == "\ufffd", "can be written as UTF-8"


def test_every_blank_is_kept_and_separators_of_lines_are_not() -> None:
    blanks = "5\u00a0km, 10\u202fkg\u3000\u2009x"
    assert clean(blanks) == plain(blanks) == blanks
    for sign in "\x1b\x7f\x85\u061c\u200b\u200e\u2028\u2029\u202e\u2066\ufeff":
        assert clean(f"a{sign}") == plain(f"a{sign}") == "a\ufffd"


def test_the_worst_text_is_read_at_once() -> None:
    began = time.perf_counter()
    for sign in ("[", "*", "**", "`", "[a](https://", "- ", "\n"):
        parse(sign * (8000 // len(sign)))

    assert time.perf_counter() - began < 2
