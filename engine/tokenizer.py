"""Text to numbers and back: byte-level BPE with the `tokenizers` library, trained here or loaded from a file."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from engine.config import ConfigError
from engine.store import Refused

END = "<|endoftext|>"
"""Stands after every document; id 0 in the vocabularies trained here and in SmolLM2's."""
SMALLEST, LARGEST = 257, 65_536
"""Vocabulary sizes of `bpe:SIZE`: all bytes and the separator; what two bytes a token can number."""


def bpe_size(tokenizer: str) -> int | None:
    """SIZE of a setting `bpe:SIZE`, None for any other setting; raises ConfigError for an unusable size."""
    kind, colon, size = tokenizer.partition(":")
    if kind != "bpe" or not colon:
        return None
    if not size.isascii() or not size.isdigit() or not SMALLEST <= int(size[:9]) <= LARGEST:
        raise ConfigError(
            f"data.tokenizer = {tokenizer[:80]!r} must be bpe:SIZE with a whole number "
            f"from {SMALLEST} to {LARGEST}, for example bpe:4096."
        )
    return int(size)


def train_bpe(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn a byte-level BPE vocabulary of exactly `size` pieces; the same texts give the same vocabulary.

    Pieces never cross the borders of GPT-2's words, and every digit is a piece of its own (as in SmolLM2's tokenizer).
    Raises ConfigError when the texts are too short for so many pieces.
    """
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = tokenizer.get_vocab_size()
    if learned != size:
        raise ConfigError(
            f"The text is too short for data.tokenizer = bpe:{size}: it gives {learned:,} pieces; "
            f"choose bpe:{learned} or less, or more text."
        )
    return _literal(tokenizer)


def load(path: Path) -> Tokenizer:
    """Read a tokenizer.json; text is always encoded as text, `<|endoftext|>` in it too.

    Raises Refused when the file is missing, damaged, or has no separator.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        json.loads(text)
    except FileNotFoundError as error:
        raise Refused(f"The tokenizer {path.name} is not there; put it back, or prepare its dataset again.") from error
    except OSError as error:
        raise Refused(f"The tokenizer {path.name} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Refused(f"The tokenizer {path.name} is damaged (no whole JSON); prepare its dataset again.") from error
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:
        raise Refused(f"{path.name} is JSON, but no tokenizer that the tokenizers library knows.") from error
    if tokenizer.token_to_id(END) is None:
        raise Refused(f"The tokenizer {path.name} has no {END} piece to put between documents.")
    return _literal(tokenizer)


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Ids run from 0 to one below this."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def byte_lengths(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """How many bytes of text each id stands for, int64 [vocabulary]; 0 for the separator and other special pieces.

    Raises Refused for a vocabulary whose pieces are not bytes.
    """
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    added = tokenizer.get_added_tokens_decoder()
    lengths = np.zeros(vocabulary_size(tokenizer), np.int64)
    for piece, number in tokenizer.get_vocab(with_added_tokens=True).items():
        if number in added:
            lengths[number] = 0 if added[number].special else len(added[number].content.encode())
        elif alphabet.issuperset(piece):
            lengths[number] = len(piece)  # the byte-level alphabet writes each byte as one character
        else:
            raise Refused(
                f"The tokenizer is not byte-level (its piece {number} is {piece!r}); "
                "bits per byte need one that is, like SmolLM2's or bpe:SIZE."
            )
    return lengths


def _literal(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.encode_special_tokens = True  # a text that says <|endoftext|> must not end its document
    return tokenizer
