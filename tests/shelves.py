"""Datasets written at once, whose tokens are bytes: for tests of what reads datasets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from engine.home import Home
from engine.tokenizer import END

TEXTS = ("Alice was beginning", "to get very tired", "of sitting by her sister", "Ça va, 世界?")


def bytes_tokenizer() -> Tokenizer:
    """Each byte is a piece, the separator is piece 0."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({END: 0} | {byte: number for number, byte in enumerate(alphabet, 1)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    return tokenizer


def make_dataset(home: Home, name: str, texts: Sequence[str] = TEXTS, end: str = "the end", **more: Any) -> Path:
    """A dataset whose tokens are bytes, training on `texts` and validating on one more, `end`."""
    folder = home.dataset(name)
    folder.mkdir(parents=True)
    tokenizer, files = bytes_tokenizer(), {}
    tokenizer.save(str(folder / "tokenizer.json"))
    for split, part in (("train", texts), ("val", [end])):
        tokens = [[*tokenizer.encode(text).ids, 0] for text in part]
        np.concatenate(tokens).astype(np.uint16).tofile(folder / f"{split}.bin")
        np.cumsum([len(one) for one in tokens]).astype(np.uint64).tofile(folder / f"{split}.documents")
    for path in folder.iterdir():
        files[path.name] = {"bytes": path.stat().st_size}
    card = {"documents": len(texts) + 1, "dtype": "uint16", "vocab_size": 257, "separator": END, "files": files}
    (folder / "card.json").write_text(json.dumps(card | more))
    return folder
