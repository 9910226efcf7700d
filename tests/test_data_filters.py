"""Which documents are left out, in any script."""

import lzma
from pathlib import Path

import numpy as np
import pytest

from engine.data import filters
from engine.data.filters import LONG, REPETITION, SHORT, SYMBOLS, dropped, repetition, symbol_share
from engine.data.recipe import Filters
from engine.home import PROJECT

PROSE = {
    "English": "It was a bright cold day, and the clocks struck thirteen. “Really?” — she asked (twice); 7.",
    "Russian": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.",
    "Chinese": "北冥有鱼，其名为鲲。鲲之大，不知其几千里也；化而为鸟，其名为鹏。鹏之背，不知其几千里也。",
    "Japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。「ニャーニャー」",
    "Arabic": "كان يا ما كان، في قديم الزمان؛ هل تعرف القصة؟ نعم.",
    "Persian": "می‌خواهم کتاب‌ها را بخوانم.",
    "Hindi": "एक समय की बात है, एक गाँव में एक किसान रहता था।",
    "Thai": "กาลครั้งหนึ่งนานมาแล้ว มีชาวนาคนหนึ่งอาศัยอยู่ในหมู่บ้าน",
    "Greek": "Ἄνδρα μοι ἔννεπε, Μοῦσα, πολύτροπον, ὃς μάλα πολλὰ",
    "Korean": "옛날 옛적에 한 농부가 살았습니다.",
}


@pytest.fixture(scope="module")
def chapters() -> list[str]:
    book = PROJECT / "data" / "starter" / "austen_emma.txt.xz"
    return lzma.decompress(book.read_bytes()).decode().split("\f")


def words(count: int, seed: int = 1) -> str:
    """Words that mean nothing and hardly ever come again."""
    dice = np.random.default_rng(seed)
    letters = dice.choice(list("abcdefghijklmnopqrstuvwxyz"), (count, 7))
    return " ".join("".join(word) for word in letters)


def test_without_filters_everything_stays() -> None:
    for text in ["", "x", "#" * 1000, "\x00", "\ufffd" * 50]:
        assert dropped(text, Filters()) == ""


def test_length_is_counted_in_characters_and_both_ends_belong_to_it() -> None:
    limits = Filters(min_characters=3, max_characters=5)
    assert [dropped("你" * length, limits) for length in (2, 3, 5, 6)] == [SHORT, "", "", LONG]


@pytest.mark.parametrize("language", PROSE)
def test_prose_of_any_script_has_hardly_a_symbol(language: str) -> None:
    assert symbol_share(PROSE[language]) < 0.02
    assert dropped(PROSE[language] + "\n\t\r\n", Filters(max_symbol_share=0.02, max_repetition=0.1)) == ""


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("abcd", 0.0),
        ("ab$+", 0.5),
        ("🫐🫐ab", 0.5),
        ("{\\_*#@}", 1.0),
        ("\ufffdabc", 0.25),  # what a damaged character became
        ("a\x00\x07b", 0.5),
        ("\ue000\U000fffff", 1.0),  # nobody's characters
        ("a\u200db\u00adc", 0.0),  # invisible, but part of words
        ("\ud800abc", 0.25),  # half of a surrogate pair, which no reader lets through
        ("", 0.0),
    ],
)
def test_symbols_are_what_prose_does_without(text: str, share: float) -> None:
    assert symbol_share(text) == share


def test_code_and_tables_are_dropped_for_their_symbols() -> None:
    code = (PROJECT / "ui" / "static" / "charts.js").read_text(encoding="utf-8")
    table = "+------+------+\n|  12  |  $3  |\n" * 3
    for text in (code, table):
        assert dropped(text, Filters(max_symbol_share=0.02)) == SYMBOLS


def test_a_share_at_the_limit_stays() -> None:
    assert dropped("abc$", Filters(max_symbol_share=0.25)) == ""
    assert dropped("abc$$", Filters(max_symbol_share=0.25)) == SYMBOLS


def test_novels_hardly_repeat_themselves_and_have_hardly_a_symbol(chapters: list[str]) -> None:
    limits = Filters(min_characters=200, max_symbol_share=0.01, max_repetition=0.1)
    assert len(chapters) > 50
    assert {dropped(chapter, limits) for chapter in chapters} == {""}


def test_text_without_repetition_has_none() -> None:
    assert repetition(words(500)) == 0
    assert repetition("short") == 0
    assert repetition("") == 0


@pytest.mark.parametrize("copies", [2, 3, 5])
def test_a_text_said_again_counts_from_the_second_time_on(copies: int) -> None:
    text = words(300)
    assert repetition(" ".join([text] * copies)) == pytest.approx((copies - 1) / copies, abs=0.01)


def test_part_of_a_text_said_again_counts_with_its_length() -> None:
    text = words(400)
    assert repetition(f"{text}, {text[:500]}") == pytest.approx(500 / (len(text) + 502), abs=0.01)


@pytest.mark.parametrize(
    "text", ["a" * 1000, "ha " * 300, "你好，" * 200, "buy now cheap " * 90, "....." * 100, "\n".join(["same"] * 200)]
)
def test_words_that_go_on_and_on_are_repetition(text: str) -> None:
    assert repetition(text) > 0.9
    assert dropped(text, Filters(max_repetition=0.3)) == REPETITION


def test_short_lines_that_come_again_count_whatever_blanks_are_around_them() -> None:
    menu = "Home\n  About us\nContact\r\nHome\nAbout us  \nContact\n"
    assert repetition(menu) == pytest.approx(19 / len(menu))


def test_empty_lines_are_no_repetition() -> None:
    assert repetition("one\n\n\n\n\ntwo\n \n \nthree") == 0


def test_a_phrase_is_found_at_any_place_but_only_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    phrase = words(10, seed=2)
    for distance in (1, 7, 100, 1000):
        text = f"{phrase}{words(distance, seed=3)}{phrase}"
        assert repetition(text) * len(text) == pytest.approx(len(phrase), abs=2)
    far = f"{phrase}{words(filters.WINDOW // 8, seed=3)}{phrase}"
    assert len(far) > filters.WINDOW
    assert repetition(far) == 0


def test_phrases_across_windows_count_in_each(tmp_path: Path) -> None:
    sentence = "The same sentence of fifty characters comes again. "
    text = sentence * (3 * filters.WINDOW // len(sentence))
    assert repetition(text) > 0.99


def test_unlike_phrases_are_never_taken_for_one() -> None:
    """Many windows of random text, and every phrase of them another one."""
    dice = np.random.default_rng(5)
    for _ in range(20):
        codes = dice.integers(0x4E00, 0x9FFF, filters.WINDOW, dtype=np.uint32)
        assert filters._repeated_in_window(codes) == 0


def test_the_same_text_gives_the_same_shares(chapters: list[str]) -> None:
    assert [repetition(text) for text in chapters[:5]] == [repetition(text) for text in chapters[:5]]


def test_the_first_reason_is_given() -> None:
    limits = Filters(min_characters=10, max_characters=20, max_symbol_share=0.1, max_repetition=0.1)
    assert dropped("#", limits) == SHORT
    assert dropped("#" * 100, limits) == LONG
    assert dropped("#" * 15, limits) == SYMBOLS
    assert dropped("a\n" * 9, limits) == REPETITION
