"""The byte-level BPE tokenizer."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from engine.config import ConfigError
from engine.store import Refused
from engine.tokenizer import END, bpe_size, byte_lengths, load, train_bpe, vocabulary_size

TEXTS = [
    'The cat sat on the mat, and the cat was fat.\n\n"Mew," said the cat.',
    "In 1812 the mat was flat; in 1813 not.",
]


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return train_bpe(TEXTS, 290)


def test_any_text_survives_the_round_trip(small: Tokenizer) -> None:
    for text in ["the cat", " two  spaces\n\n\ttab\r\n", "naïve — 你好 🫐 \u202eabc", "\x00\x7f", ""]:
        assert small.decode(small.encode(text).ids, skip_special_tokens=False) == text


def test_the_separator_is_id_0_and_text_that_spells_it_is_text(small: Tokenizer) -> None:
    assert small.token_to_id(END) == 0
    ids = small.encode(f"one{END}two").ids
    assert 0 not in ids
    assert small.decode(ids) == f"one{END}two"


def test_no_space_is_added_in_front(small: Tokenizer) -> None:
    assert small.encode("cat").ids != small.encode(" cat").ids


def test_digits_stand_alone(small: Tokenizer) -> None:
    assert small.encode("1812").tokens == ["1", "8", "1", "2"]


def test_byte_lengths_add_up_to_the_text(small: Tokenizer) -> None:
    lengths = byte_lengths(small)
    assert lengths.shape == (290,)
    assert lengths[0] == 0
    assert lengths[1:].min() == 1
    for text in [*TEXTS, "naïve 🫐"]:
        assert lengths[small.encode(text).ids].sum() == len(text.encode())


def test_training_twice_gives_the_same_vocabulary(small: Tokenizer) -> None:
    assert train_bpe(iter(TEXTS), 290).to_str() == small.to_str()


def test_a_text_too_short_for_the_vocabulary_is_refused_with_what_it_gives() -> None:
    with pytest.raises(ConfigError, match=r"too short for data.tokenizer = bpe:4096: it gives 258 pieces"):
        train_bpe(["ab"], 4096)


def test_saved_and_loaded_it_is_the_same(small: Tokenizer, tmp_path: Path) -> None:
    small.save(str(tmp_path / "tokenizer.json"))
    loaded = load(tmp_path / "tokenizer.json")
    assert vocabulary_size(loaded) == 290
    assert loaded.encode(f"the cat{END}").ids == small.encode(f"the cat{END}").ids


def test_a_missing_damaged_or_foreign_tokenizer_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(
        Refused, match=r"^The tokenizer tokenizer.json is not there; put it back, or prepare its dataset again.$"
    ):
        load(path)
    for content, sentence in [
        (b'{"version": ', "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b'{"a": 1}', "no tokenizer that the tokenizers library knows"),
    ]:
        path.write_bytes(content)
        with pytest.raises(Refused, match=sentence):
            load(path)
    Tokenizer(models.BPE()).save(str(path))
    with pytest.raises(Refused, match=r"has no <\|endoftext\|> piece"):
        load(path)


def test_a_vocabulary_that_is_not_of_bytes_has_no_byte_lengths() -> None:
    words = Tokenizer(models.WordLevel({"naïve": 0, "你": 1}, unk_token="naïve"))
    with pytest.raises(Refused, match="not byte-level"):
        byte_lengths(words)


@pytest.mark.parametrize(
    "setting", ["bpe:", "bpe:abc", "bpe:-5", "bpe:256", "bpe:65537", "bpe:4096.0", "bpe:²", "bpe:" + "9" * 50]
)
def test_an_unusable_size_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="must be bpe:SIZE with a whole number from 257 to 65536"):
        bpe_size(setting)


def test_sizes_and_other_settings() -> None:
    assert bpe_size("bpe:4096") == 4096
    assert bpe_size("smollm2") is None
    assert bpe_size("folder/tokenizer.json") is None
