"""The byte-level BPE tokenizer."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from engine import tokenizer
from engine.config import ConfigError
from engine.store import Refused
from engine.tokenizer import (
    END,
    bpe_size,
    byte_alphabet,
    byte_lengths,
    copy,
    end_of,
    known_size,
    learn_bpe,
    load,
    read,
    separator_id,
    smollm2,
    spellings,
    train_bpe,
    vocabulary_size,
)

TEXTS = [
    'The cat sat on the mat, and the cat was fat.\n\n"Mew," said the cat.',
    "In 1812 the mat was flat; in 1813 not.",
]


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return train_bpe(TEXTS, 290)


def character_tokenizer() -> Tokenizer:
    """Like Llama 2's: a mark for the blank, also before the first word; bytes for unknown characters."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for piece in ("▁", "c", "a", "t", "▁c", "at", "▁cat"):
        vocabulary[piece] = len(vocabulary)
    merges = [("▁", "c"), ("a", "t"), ("▁c", "at")]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    return made


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


def test_a_file_too_large_for_a_tokenizer_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(tokenizer.LARGEST_FILE + 1)
    with pytest.raises(Refused, match=r"^tokenizer.json has 268,435,457 bytes, which is no tokenizer; "):
        load(path)


def test_a_folder_in_its_place_is_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is not there"):
        load(tmp_path)


def test_the_separator_is_looked_for_and_what_there_is_is_named(small: Tokenizer, tmp_path: Path) -> None:
    llama = character_tokenizer()
    assert separator_id(small, END) == 0
    assert separator_id(llama, "</s>") == 2
    with pytest.raises(
        Refused,
        match=r"^The tokenizer mine has no <\|endoftext\|> piece to put between documents; "
        r"it has <unk>, <s>, </s>: name one of them.$",
    ):
        separator_id(llama, END, "mine")
    llama.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(Refused, match=r"it has <unk>, <s>, </s>"):
        load(tmp_path / "tokenizer.json")
    assert load(tmp_path / "tokenizer.json", "</s>").token_to_id("</s>") == 2
    assert read(tmp_path / "tokenizer.json").token_to_id(END) is None
    assert load(tmp_path / "tokenizer.json", None).token_to_id("</s>") == 2


def test_nothing_is_cut_padded_or_put_around_a_text(tmp_path: Path) -> None:
    """Published tokenizers often cut at 512 tokens and put a beginning and an end around."""
    strict = character_tokenizer()
    strict.enable_truncation(5)
    strict.enable_padding(length=50, pad_id=1, pad_token="<s>")
    strict.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    strict.save(str(tmp_path / "tokenizer.json"))
    loaded = load(tmp_path / "tokenizer.json", "</s>")
    for encoding in (loaded.encode("cat </s> cat cat"), loaded.encode_batch(["cat </s> cat cat", "c"])[0]):
        assert loaded.decode(encoding.ids, skip_special_tokens=False) == "cat </s> cat cat"
        assert not {1, 2} & set(encoding.ids)


def test_the_bundled_tokenizer_is_smollm2s() -> None:
    words = smollm2()
    assert vocabulary_size(words) == known_size("smollm2") == 49_152
    assert words.token_to_id(END) == 0
    assert words.encode("The cat sat in 1812.").tokens == [
        *("The", "Ġcat", "Ġsat", "Ġin", "Ġ", "1", "8", "1", "2", "."),
    ]
    text = 'naïve — 你好 🫐 \u202eabc\r\n\t "x" <|endoftext|><|im_start|>'
    ids = words.encode(text).ids
    assert 0 not in ids
    assert words.decode(ids) == text
    assert byte_lengths(words)[ids].sum() == len(text.encode())


def test_the_bytes_that_smollm2_lacks_are_those_that_its_sources_name() -> None:
    known = set(smollm2().get_vocab())
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}  # in no UTF-8 text
    missing = [byte for mark, byte in byte_alphabet().items() if mark not in known and byte not in never]
    named = (tokenizer._SMOLLM2_FILE.parent.parent / "SOURCES.md").read_text(encoding="utf-8")
    assert sorted(missing) == [0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2]
    assert all(f"0x{byte:02X}" in named for byte in missing)


def test_a_damaged_or_missing_bundle_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json.xz"
    monkeypatch.setattr(tokenizer, "_SMOLLM2_FILE", path)
    for content in (None, b"", b"no xz at all"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(
            Refused, match=r"^The bundled tokenizer smollm2 is missing or damaged; get data/tokenizers/"
        ):
            smollm2()


def test_a_text_too_short_gives_fewer_pieces_to_who_does_not_insist() -> None:
    assert learn_bpe(["ab"], 4096).get_vocab_size() == 258


def test_our_table_of_bytes_is_the_librarys() -> None:
    assert set(byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(byte_alphabet().values()) == list(range(256))
    everything = bytes(range(1, 128)).decode() + "é你🫐"
    spelled = spellings(train_bpe(TEXTS, 290))
    assert b"".join(spelled[number] for number in train_bpe(TEXTS, 290).encode(everything).ids) == everything.encode()


def test_pieces_of_characters_have_byte_lengths_too() -> None:
    """As SentencePiece writes them: a mark for the blank, single bytes for what the vocabulary lacks."""
    llama = character_tokenizer()
    lengths = byte_lengths(llama)
    ids = llama.encode("cat 你 cat").ids
    assert lengths[ids].sum() == len(" cat 你 cat".encode())
    assert lengths[:3].tolist() == [0, 0, 0]


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
    assert [known_size(name) for name in ("bpe:4096", "smollm2", "gpt2")] == [4096, 49_152, None]


def test_a_copy_knows_what_ends_its_documents(tmp_path: Path) -> None:
    """A run keeps its tokenizer when the dataset is gone; its own separator is in the file that transformers reads."""
    source, ours, theirs = (tmp_path / name / "tokenizer.json" for name in ("dataset", "ours", "theirs"))
    for path in (source, ours, theirs):
        path.parent.mkdir()
    learn_bpe(TEXTS, 270).save(str(source))
    copy(source, ours, END)
    assert end_of(ours) == END
    assert [path.name for path in ours.parent.iterdir()] == ["tokenizer.json"]

    character_tokenizer().save(str(source))
    copy(source, theirs, "</s>")
    assert end_of(theirs) == "</s>"
    assert load(theirs).token_to_id("</s>") == 2
    theirs.with_name("tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    with pytest.raises(Refused, match=r"has no <\|im_end\|> piece"):
        load(theirs)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null"])
def test_a_damaged_note_of_the_separator_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.with_name("tokenizer_config.json").write_text(content)
    with pytest.raises(Refused, match=r"^The file tokenizer_config.json beside tokenizer.json is damaged; delete it"):
        end_of(path)
