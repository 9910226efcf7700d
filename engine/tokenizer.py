"""Text to numbers and back: byte-level BPE trained here, the bundled tokenizer, or any tokenizer.json."""

import json
import lzma
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from engine.config import ConfigError
from engine.home import PROJECT
from engine.store import Refused

END = "<|endoftext|>"
"""Stands after every document; id 0 in the vocabularies trained here and in SmolLM2's."""
SMALLEST, LARGEST = 257, 65_536
"""Vocabulary sizes of `bpe:SIZE`: all bytes and the separator; what two bytes a token can number."""
SMOLLM2, SMOLLM2_SIZE = "smollm2", 49_152
"""The tokenizer that comes with us; data/tokenizers/SOURCES.md says whose it is and its licence."""
CONFIG = "tokenizer_config.json"
"""Where the transformers library looks for `eos_token` too."""
LARGEST_FILE = 2**28
"""Bytes of a tokenizer.json; the largest published ones have some 30 MB."""
_SMOLLM2_FILE = PROJECT / "data" / "tokenizers" / "smollm2" / "tokenizer.json.xz"
_BLANK = "▁"
"""How SentencePiece and the Metaspace pre-tokenizer write a blank."""
_BYTE_PIECES = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}
"""How vocabularies of characters write the bytes of a character that they lack."""


def bpe_size(tokenizer: str) -> int | None:
    """SIZE of a setting `bpe:SIZE`, None for any other setting; raises ConfigError for an unusable size."""
    kind, _, size = tokenizer.partition(":")
    if kind != "bpe":
        return None
    if not size.isascii() or not size.isdigit() or not SMALLEST <= int(size[:9]) <= LARGEST:
        raise ConfigError(
            f"data.tokenizer = {tokenizer[:80]!r} must be bpe:SIZE with a whole number "
            f"from {SMALLEST} to {LARGEST}, for example bpe:4096."
        )
    return int(size)


def known_size(tokenizer: str) -> int | None:
    """Pieces of `bpe:SIZE` or `smollm2`, None for a tokenizer that must be read first; raises ConfigError."""
    return SMOLLM2_SIZE if tokenizer == SMOLLM2 else bpe_size(tokenizer)


def train_bpe(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn a byte-level BPE vocabulary of exactly `size` pieces; the same texts give the same vocabulary.

    Raises ConfigError when the texts are too short for so many pieces.
    """
    tokenizer = learn_bpe(texts, size)
    learned = tokenizer.get_vocab_size()
    if learned != size:
        raise too_short(size, learned)
    return tokenizer


def too_short(size: int, learned: int) -> ConfigError:
    """The error for a text that gives `learned` pieces and no more."""
    return ConfigError(
        f"The text is too short for data.tokenizer = bpe:{size}: it gives {learned:,} pieces; "
        f"choose bpe:{learned} or less, or more text."
    )


def learn_bpe(texts: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE vocabulary of `size` pieces, or of fewer where the texts give no more.

    Pieces never cross the borders of GPT-2's words, and every digit is a piece of its own (as in SmolLM2's tokenizer).
    """
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _plain(tokenizer)


def smollm2() -> Tokenizer:
    """SmolLM2's tokenizer, read from the project's own files."""
    try:
        raw = lzma.decompress(_SMOLLM2_FILE.read_bytes())
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise Refused(
            "The bundled tokenizer smollm2 is missing or damaged; get data/tokenizers/ of the project again."
        ) from error
    return _parsed(SMOLLM2, raw, "get data/tokenizers/ of the project again")


def load(path: Path, separator: str | None = "") -> Tokenizer:
    """Read a tokenizer.json that must have `separator`: that of `end_of` for "", any or none for None.

    Raises Refused.
    """
    tokenizer = read(path)
    if separator is not None:
        separator_id(tokenizer, separator or end_of(path), path.name)
    return tokenizer


def read(path: Path, name: str = "", otherwise: str = "put it back, or prepare its dataset again") -> Tokenizer:
    """Read a tokenizer.json; text is always encoded as text, `<|endoftext|>` in it too, and whole.

    Raises Refused when the file is missing or damaged. The sentence calls it `name`, and `otherwise` is what to do.
    """
    name = name or path.name
    try:
        if not path.is_file():
            raise Refused(f"The tokenizer {name} is not there; {otherwise}.")
        if path.stat().st_size > LARGEST_FILE:
            raise Refused(f"{name} has {path.stat().st_size:,} bytes, which is no tokenizer; {otherwise}.")
        return _parsed(name, path.read_bytes(), otherwise)
    except OSError as error:
        raise Refused(f"The tokenizer {name} cannot be read: {error.strerror}.") from error


def from_bytes(raw: bytes, name: str, separator: str) -> Tokenizer:
    """A tokenizer.json that came from elsewhere and must have `separator`; raises Refused."""
    tokenizer = _parsed(name, raw, "ask for it anew")
    separator_id(tokenizer, separator, name)
    return tokenizer


def end_of(path: Path) -> str:
    """The piece that ends documents: `eos_token` of the tokenizer_config.json beside a tokenizer.json, or END.

    It is there where a run's text ends its documents with another piece. Raises Refused where it is damaged.
    """
    try:
        return str(json.loads(path.with_name(CONFIG).read_text(encoding="utf-8"))["eos_token"])
    except FileNotFoundError:
        return END
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"The file {CONFIG} beside {path.name} is damaged; delete it where {END} ends a text.") from error


def copy(source: Path, target: Path, separator: str) -> None:
    """Put a tokenizer.json to `target`, whole or not at all, with a note of what ends documents unless it is END."""
    if separator != END:
        _replace(target.with_name(CONFIG), json.dumps({"eos_token": separator}).encode())
    _replace(target, source.read_bytes())


def separator_id(tokenizer: Tokenizer, separator: str, name: str = "") -> int:
    """The id of the piece that ends documents; raises Refused, naming what the tokenizer has instead."""
    number: int | None = tokenizer.token_to_id(separator)
    if number is None:
        special = [piece.content for piece in tokenizer.get_added_tokens_decoder().values() if piece.special]
        there = f"it has {', '.join(special[:8])}: name one of them" if special else "it has none of that kind"
        called = f"The tokenizer {name}" if name else "The tokenizer"
        raise Refused(f"{called} has no {separator} piece to put between documents; {there}.")
    return number


def new_separator(tokenizer: Tokenizer, separator: str, name: str = "") -> int:
    """`separator_id` for a dataset that is to be made; raises Refused for a piece that texts are made of too."""
    number = separator_id(tokenizer, separator, name)
    spelled = spellings(tokenizer)[number]
    text = spelled.decode("utf-8", "replace")
    said = (text, text.lstrip(), f"a{text}", f"{text}a")
    if spelled and ("\ufffd" in text or any(number in tokenizer.encode(one).ids for one in said)):
        special = [piece.content for piece in tokenizer.get_added_tokens_decoder().values() if piece.special]
        way_out = f"name a special one: {', '.join(special[:8])}" if special else "choose another tokenizer"
        raise Refused(
            f"The separator {separator!r} is an ordinary piece of this tokenizer, so documents would seem to end "
            f"wherever a text says it; {way_out}."
        )
    return number


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Ids run from 0 to one below this."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def spellings(tokenizer: Tokenizer) -> dict[int, bytes]:
    """The bytes of text that each id stands for; b"" for the separator and other special pieces.

    Raises Refused for a vocabulary whose pieces are not parts of the text, one after the other.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = tokenizer.get_added_tokens_decoder()
    spelled = {number: b"" if piece.special else piece.content.encode() for number, piece in added.items()}
    own = {number: piece for piece, number in vocabulary.items() if number not in added}
    alphabet, decoding = byte_alphabet(), _decoding(tokenizer)
    if "ByteLevel" in decoding and all(alphabet.keys() >= set(piece) for piece in own.values()):
        return spelled | {number: bytes(alphabet[mark] for mark in piece) for number, piece in own.items()}
    if decoding & {"Metaspace", "Replace"} and any(piece.startswith(_BLANK) for piece in own.values()):
        return spelled | {
            number: _BYTE_PIECES.get(piece) or piece.replace(_BLANK, " ").encode() for number, piece in own.items()
        }
    raise Refused(
        "The tokenizer is not byte-level and does not mark blanks, so a text cannot be put together from its pieces; "
        "choose one like smollm2 or bpe:SIZE."
    )


def _decoding(tokenizer: Tokenizer) -> set[str]:
    """The kinds of steps in which pieces become a text again."""
    if tokenizer.decoder is None:
        return set()
    state = json.loads(tokenizer.decoder.__getstate__())
    return {state["type"], *(step["type"] for step in state.get("decoders", []))}


def byte_alphabet() -> dict[str, int]:
    """The byte that each character of byte-level pieces stands for (GPT-2's table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(rest)}


def byte_lengths(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """How many bytes of text each id stands for, int64 [vocabulary]; 0 for the separator and other special pieces.

    Raises Refused for a vocabulary whose pieces are not parts of the text.
    """
    lengths = np.zeros(vocabulary_size(tokenizer), np.int64)
    for number, spelling in spellings(tokenizer).items():
        lengths[number] = len(spelling)
    return lengths


def _parsed(name: str, raw: bytes, otherwise: str) -> Tokenizer:
    try:
        text = raw.decode("utf-8")
        return _plain(Tokenizer.from_str(text))
    except Exception as error:  # the library raises nothing narrower
        try:
            json.loads(raw)
        except (ValueError, RecursionError):
            raise Refused(f"The tokenizer {name} is damaged (no whole JSON); {otherwise}.") from error
        raise Refused(f"{name} is JSON, but no tokenizer that the tokenizers library knows.") from error


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Texts become exactly their own tokens: nothing is cut, padded, or put around them."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.post_processor = None
    tokenizer.encode_special_tokens = True  # a text that says <|endoftext|> must not end its document
    return tokenizer
