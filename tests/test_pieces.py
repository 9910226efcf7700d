"""Which piece covers which part of a text, for every kind of tokenizer."""

import pytest
from test_tokenizer import character_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from engine.config import ConfigError
from engine.pieces import Piece, pieces
from engine.tokenizer import smollm2, train_bpe

TEXTS = [
    "",
    "The cat sat on the mat in 1812.\n\n\tReally?",
    "naïve — 你好 🫐👩‍👩‍👧 ﬁ",
    "  two blanks before and behind  ",
    "a\x04b\x06\x14c",
    "\U00040001",
    "\x04",
    "<|endoftext|> <s></s> ▁ Ġ <0xE4>",
    "\r\n\u202e\ufeff\u0000",
]


@pytest.fixture(scope="module")
def bundled() -> Tokenizer:
    return smollm2()


@pytest.fixture(scope="module")
def unigram() -> Tokenizer:
    """As SentencePiece's, with a normalizer that rewrites letters."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    made.train_from_iterator(["the cat sat on the mat and the naïve fiancé sat too"] * 5, trainer)
    return made


@pytest.fixture(scope="module")
def wordpiece() -> Tokenizer:
    """As BERT's: lower case, no blanks."""
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "cat": 2, "##s": 3, ".": 4}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def shown(found: list[Piece]) -> list[str]:
    return [piece.text for piece in found]


def covers(found: list[Piece], text: str) -> None:
    """Every byte belongs to a piece, in order; what is said of a piece is so."""
    raw, place = text.encode(), 0
    for piece in found:
        assert piece.start <= place, "a hole"
        assert piece.end >= piece.start
        place = max(place, piece.end)
        part = raw[piece.start : piece.end]
        assert piece.text == (part.decode() if piece.whole else part.hex(" ").upper())
        assert piece.whole or not piece.text.isprintable() or piece.text.replace(" ", "").isalnum()
        assert (piece.id is None) == (piece.token == "")
    assert place == len(raw)


@pytest.mark.parametrize("text", TEXTS)
def test_every_byte_is_covered_by_every_kind_of_tokenizer(
    text: str, bundled: Tokenizer, unigram: Tokenizer, wordpiece: Tokenizer
) -> None:
    for tokenizer in (bundled, train_bpe(TEXTS, 270), character_tokenizer(), unigram, wordpiece):
        found = pieces(tokenizer, text)
        covers(found, text)
        encoded = tokenizer.encode(text, add_special_tokens=False).ids
        assert [piece.id for piece in found if piece.id is not None] == encoded


def test_pieces_are_shown_as_they_stand_in_the_text(bundled: Tokenizer) -> None:
    found = pieces(bundled, "The cat\n12 naïve")
    assert shown(found) == ["The", " cat", "\n", "1", "2", " na", "ïve"]
    assert [piece.token for piece in found][:3] == ["The", "Ġcat", "Ċ"]
    assert [(piece.start, piece.end) for piece in found][-2:] == [(10, 13), (13, 17)]
    assert all(piece.whole for piece in found)


def test_parts_of_one_character_are_shown_as_their_bytes(bundled: Tokenizer) -> None:
    found = pieces(bundled, "好 🫐")
    assert shown(found) == ["E5 A5", "BD", "20 F0 9F", "AB", "90"]
    assert [(piece.start, piece.end) for piece in found] == [(0, 2), (2, 3), (3, 6), (6, 7), (7, 8)]
    assert not any(piece.whole for piece in found)


def test_bytes_without_a_piece_are_shown_as_lost(bundled: Tokenizer) -> None:
    found = pieces(bundled, "a\x04\x06b")
    assert [(piece.id is None, piece.text) for piece in found] == [(False, "a"), (True, "\x04\x06"), (False, "b")]


def test_text_that_spells_a_special_piece_is_text(bundled: Tokenizer) -> None:
    found = pieces(bundled, "<|endoftext|>")
    assert len(found) > 1
    assert 0 not in [piece.id for piece in found]


def test_a_blank_before_the_first_word_covers_nothing(unigram: Tokenizer) -> None:
    found = pieces(character_tokenizer(), "cat cat")
    assert [(piece.token, piece.text) for piece in found] == [("▁cat", "cat"), ("▁cat", " cat")]
    first = pieces(unigram, "zoo")[0]
    assert (first.token, first.text, first.start, first.end) == ("▁", "", 0, 0)


def test_byte_pieces_of_a_character_vocabulary_are_exact() -> None:
    found = pieces(character_tokenizer(), "cat 你t")
    assert shown(found) == ["cat", " ", "E4", "BD", "A0", "t"]
    assert [piece.token for piece in found[2:5]] == ["<0xE4>", "<0xBD>", "<0xA0>"]


def test_what_a_tokenizer_rewrites_covers_what_it_was_made_from(unigram: Tokenizer, wordpiece: Tokenizer) -> None:
    assert "ﬁ" in shown(pieces(unigram, "the ﬁ"))
    found = pieces(wordpiece, "The CATS é.")
    assert [(piece.token, piece.text) for piece in found] == [
        ("the", "The"),
        ("", " "),
        ("cat", "CAT"),
        ("##s", "S"),
        ("", " "),
        ("[UNK]", "é"),
        (".", "."),
    ]


def test_a_post_processor_that_trims_or_adds_changes_nothing() -> None:
    trimmed = train_bpe(TEXTS, 270)
    trimmed.post_processor = processors.ByteLevel(trim_offsets=True)
    assert "".join(shown(pieces(trimmed, " the  cat \n"))) == " the  cat \n"


def test_half_of_a_surrogate_pair_is_refused(bundled: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="half of a surrogate pair"):
        pieces(bundled, "\ud800")
