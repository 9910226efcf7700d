"""Prompt suites: the files people edit."""

import json
from pathlib import Path

import pytest

from engine.config import DEFAULT_PRESET, ConfigError, load_preset
from engine.home import PROJECT
from engine.prompts import LONGEST, load_suite, suites


def test_the_published_suite_is_the_published_prompts() -> None:
    reference = json.loads((PROJECT / "data" / "reference" / "blueberry-nano.json").read_text(encoding="utf-8"))
    assert load_suite("published") == reference["prompts"]


def test_the_default_preset_asks_suites_that_are_there() -> None:
    for name in load_preset(DEFAULT_PRESET).sample.suites.split(","):
        assert name in suites()
        assert len(load_suite(name)) >= 6


def test_comments_blank_lines_repeats_and_windows_line_ends_are_not_prompts(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes("\ufeff# a comment\r\n\r\n  Call me \r\nIt was — dark\r\nCall me\r\n".encode())
    assert suites(tmp_path) == ["mine"]
    assert load_suite("mine", tmp_path) == ["Call me", "It was — dark"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"# only a comment\n\n", "prompts/mine.txt holds no prompt; write one a line."),
        (b"", "holds no prompt"),
        (b"fine\n\xff\n", "prompts/mine.txt is not UTF-8 text: byte 5 does not fit."),
        (b"fine\n" + b"x" * (LONGEST + 1), "line 2: a prompt has at most 8,192 characters; this one has 8,193."),
    ],
)
def test_an_unusable_file_is_explained(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_suite("mine", tmp_path)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("name", ["nope", "../secret", "", "mine.txt"])
def test_a_suite_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.txt").write_text("Call me\n")
    with pytest.raises(ConfigError, match="there are mine"):
        load_suite(name, tmp_path)
