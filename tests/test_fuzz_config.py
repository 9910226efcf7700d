"""Whatever a person or a script writes as a setting, a name or a prompt: it is right, or refused in one sentence."""

import json
from typing import Any

import pytest
from hostile import fuzz, numbers, plain, texts, values
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from engine import config, store
from engine.config import ConfigError
from engine.home import Home
from engine.talk import clean_prompt
from ui import describe

SEEDLING = config.load_preset("seedling")
KEYS = list(config.settings(SEEDLING))
keys = (
    st.sampled_from(KEYS)
    | st.builds(lambda key, end: key + end, st.sampled_from(KEYS), texts)
    | st.sampled_from(["model", "train", "", ".", "train.", ".seed", "title.x", "model.layers.x"])
    | texts
)
near = st.sampled_from([1, 2, 3, 4, 8, 64, 256, 1024, 4096, "1M", "1_0", "3e-4", "true", "0x10", "١٢"])


def sentence(error: Exception) -> str:
    """The message of a refusal, which is one line of readable length."""
    message = str(error)
    assert 10 < len(message) < 1500 and "\n" not in message and message.rstrip().endswith((".", "?", ")")), message
    return message


@fuzz(150)
@given(st.dictionaries(keys, near | values, max_size=3))
def test_overrides_give_a_config_or_a_sentence(overrides: dict[str, Any]) -> None:
    try:
        made = config.load_preset("seedling", overrides)
    except ConfigError as error:
        sentence(error)
    else:
        assert config.from_json(made.to_json()) == made
        assert made.total_steps >= 1 and made.model.parameters > 0


@fuzz(80)
@given(st.sampled_from(KEYS), numbers)
def test_a_number_at_any_setting_is_kept_exactly_or_refused(key: str, value: float) -> None:
    try:
        made = config.settings(config.load_preset("seedling", {key: value}))
    except ConfigError as error:
        assert key in sentence(error) or "seedling" not in str(error)
    else:
        assert made[key] == value


@fuzz(80)
@given(texts)
def test_a_value_is_read_or_stays_text(text: str) -> None:
    value = config.parse_value(text)

    assert isinstance(value, int | float | bool | str)
    if isinstance(value, str):
        assert value == text


@fuzz(80)
@given(st.lists(st.builds(lambda key, value: f"{key}={value}", keys, plain) | texts, max_size=3))
def test_set_words_give_overrides_or_a_sentence(words: list[str]) -> None:
    try:
        config.load_preset("seedling", config.parse_overrides(words))
    except ConfigError as error:
        sentence(error)


@fuzz(80)
@given(texts | st.builds(json.dumps, values) | st.builds(json.dumps, st.dictionaries(keys, values, max_size=3)))
def test_settings_from_the_page_give_overrides_or_a_sentence(text: str) -> None:
    try:
        overrides = describe.parse_overrides(text)
        config.load_preset("seedling", overrides)
    except ConfigError as error:
        describe.offending_key(sentence(error))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, '{"train.seed": ' + "9" * 5000 + "}"])
def test_settings_that_want_to_exhaust_the_parser_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config.load_preset("seedling", describe.parse_overrides(text[:20_000]))


@fuzz(60)
@given(texts | st.builds(json.dumps, values) | st.dictionaries(texts | st.just("model"), values).map(json.dumps))
def test_a_stored_config_that_is_damaged_is_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.from_json(text)
    sentence(caught.value)


@fuzz(60)
@given(st.sampled_from(KEYS), values)
def test_a_stored_config_with_a_changed_value_is_whole_or_refused(key: str, value: Any) -> None:
    tree = json.loads(SEEDLING.to_json())
    branch, _, leaf = key.rpartition(".")
    (tree[branch] if branch else tree)[leaf] = value
    try:
        config.from_json(json.dumps(tree))
    except ConfigError as error:
        sentence(error)


@fuzz(60)
@given(texts)
def test_a_preset_by_any_name_is_a_preset_or_a_sentence(name: str) -> None:
    if name in config.presets():
        return
    with pytest.raises(ConfigError) as caught:
        config.load_preset(name)
    assert "There is no preset" in sentence(caught.value)


@fuzz(80)
@given(texts)
def test_a_run_name_is_safe_or_refused_and_leaves_nothing(home: Home, db: Database, name: str) -> None:
    before = len(store.list_runs(db))
    try:
        run_id = store.create_run(db, SEEDLING, "seedling", name, f"cuda:{before}")
    except store.Refused as error:
        sentence(error)
        assert len(store.list_runs(db)) == before
    else:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") and len(name) <= 64
        assert store.get_run(db, run_id)["name"] == name
    assert not (home.path / "checkpoints").exists()


@fuzz(80)
@given(texts | st.text(max_size=9000) | st.text(alphabet="\ud800\udc00\x00a", max_size=20))
def test_a_prompt_can_be_encoded_or_is_refused(prompt: str) -> None:
    try:
        clean = clean_prompt(prompt)
    except store.Refused as error:
        sentence(error)
    else:
        clean.encode("utf-8")
        assert "\0" not in clean and 1 <= len(clean) <= 8192


@fuzz(60)
@given(texts)
def test_any_words_can_be_searched(db: Database, query: str) -> None:
    found, total = store.search_archive(db, query)

    assert len(found) <= total
