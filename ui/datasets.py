"""The datasets of a home for the page: their cards, how long their documents are, some of them to read, their tokens.

Pure functions: a home in, JSON out. No path of the machine leaves them.
"""

import functools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from engine.home import Home
from engine.space import folder_bytes
from engine.store import Refused
from ui.records import clean

CARD_FIELDS = (
    "licence",
    "documents",
    "train_documents",
    "val_documents",
    "train_tokens",
    "val_tokens",
    "bytes",
    "bytes_per_token",
    "lost_bytes",
    "ending",
    "tokenizer",
    "vocab_size",
    "separator",
)
MOST_SOURCES = 200
LONGEST_TEXT = 20_000
"""Characters whose tokens are shown at once."""
LONGEST_READ = 4000
"""Characters of a document that is shown."""
READ_AT_ONCE = 5
NO_ENDS = "was made by an earlier version, which did not note where documents end; prepare it again to read them."


def cards(home: Home) -> list[dict[str, Any]]:
    """Every dataset of a home as its card tells, with its size on disk; one that cannot be read says so."""
    found = []
    for path in sorted((home.path / "datasets").glob("*/card.json")):
        if path.parent.name.startswith("."):
            continue
        try:
            shown = _shown(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError, TypeError):
            shown = {"problem": "Its card.json cannot be read."}
        found.append(shown | {"name": path.parent.name, "disk": folder_bytes(path.parent)})
    return found


def detail(home: Home, name: str) -> dict[str, Any]:
    """All that is known of one dataset; raises ConfigError or Refused."""
    from engine.data import open_dataset  # tokenizers: not for who only lists

    dataset = open_dataset(home, name)
    card = dataset.card
    return _shown(card) | {
        "name": name,
        "disk": folder_bytes(dataset.folder),
        "filters": _filters(card.get("recipe")),
        "command": clean(str(card.get("command") or ""), home),
        "lengths": lengths(card.get("lengths")),
    }


def documents(home: Home, name: str, split: str, seed: int) -> list[dict[str, Any]]:
    """Some whole documents of a split, drawn by `seed` and in their order, cut for reading; raises Refused."""
    from engine import tokenizer as pieces
    from engine.data import open_dataset

    if split not in ("train", "val"):
        raise Refused("The part to read from must be train or val.")
    dataset = open_dataset(home, name)
    tokens = dataset.train if split == "train" else dataset.val
    ends = _ends(dataset.folder, split)
    if not ends.size or ends[-1] > len(tokens):
        raise Refused(f"{name} {NO_ENDS}")
    words = pieces.load(dataset.tokenizer_path, None)
    drawn = np.random.default_rng(seed).choice(ends.size, min(READ_AT_ONCE, ends.size), replace=False, shuffle=False)
    found = []
    for number in np.sort(drawn).tolist():
        first, end = int(ends[number - 1]) if number else 0, int(ends[number])
        # A document has a separator at its end; no token stands for less than a byte, so more are not needed.
        ids = tokens[first : min(end - 1, first + 4 * LONGEST_READ)].tolist()
        text = words.decode(ids, skip_special_tokens=False)
        cut = len(text) > LONGEST_READ or first + len(ids) < end - 1
        found.append({"number": number + 1, "tokens": end - first - 1, "text": text[:LONGEST_READ], "cut": cut})
    return found


def lengths(counted: Any) -> dict[str, Any] | None:
    """How many documents have how many tokens, separator and all, in steps of two; None where that was not counted."""
    if not isinstance(counted, dict) or not counted:
        return None
    found = {int(most): int(number) for most, number in counted.items()}
    step, bars = min(found), []
    while step <= max(found):
        bars.append({"least": step // 2 + 1, "most": step, "documents": found.get(step, 0)})
        step *= 2
    half = sum(found.values()) / 2
    middle = next(
        bar["most"]
        for bar in bars
        if sum(found.get(one["most"], 0) for one in bars if one["most"] <= bar["most"]) >= half
    )
    return {"bars": bars, "half": middle, "longest": max(found)}


def tokenized(home: Home, text: str, names: list[str]) -> list[dict[str, Any]]:
    """What tokenizers, smollm2 or a dataset's, make of a text: pieces as [id, text, bytes, whole]; raises Refused."""
    if len(text) > LONGEST_TEXT:
        raise Refused(f"The text has {len(text):,} characters; {LONGEST_TEXT:,} at most.")
    return [_tokenized(home, text, name) for name in names]


def _tokenized(home: Home, text: str, name: str) -> dict[str, Any]:
    from engine import tokenizer as words
    from engine.data.shards import TOKENIZER, check_name
    from engine.pieces import pieces

    if name == "smollm2":
        path, changed = None, 0
    else:
        path = home.dataset(check_name(name)) / TOKENIZER
        changed = path.stat().st_mtime_ns if path.is_file() else 0
    tokenizer = _loaded(path, changed)
    found = pieces(tokenizer, text)
    return {
        "name": name,
        "vocabulary": words.vocabulary_size(tokenizer),
        "bytes": len(text.encode()),
        "pieces": [[piece.id, piece.text, piece.end - piece.start, piece.whole] for piece in found],
    }


@functools.lru_cache(maxsize=4)
def _loaded(path: Path | None, changed: int) -> Any:
    """A tokenizer from its file, which `changed` then; reading SmolLM2's takes longer than using it."""
    from engine import tokenizer as words

    return words.load(path, None) if path else words.smollm2()


def _ends(folder: Path, split: str) -> "np.ndarray[Any, Any]":
    """The token offsets at which the documents of a split end; empty where they were not noted."""
    from engine.data.shards import documents_file

    path = folder / documents_file(split)
    try:
        return np.memmap(path, np.uint64, mode="r")
    except (OSError, ValueError):  # not there, empty, or not whole
        return np.zeros(0, np.uint64)


def _shown(card: dict[str, Any]) -> dict[str, Any]:
    """What of a card the page shows."""
    dropped = card.get("dropped")
    if not isinstance(dropped, dict):
        twice = card.get("duplicates_dropped")
        dropped = {"said before": twice} if twice else {}
    tokenizer = str(card.get("tokenizer") or "")
    return {name: card.get(name) for name in CARD_FIELDS} | {
        "tokenizer": Path(tokenizer).name if Path(tokenizer).is_absolute() else tokenizer,
        "created": _seconds(card.get("created_at")),
        "dropped": {str(reason): number for reason, number in dropped.items() if isinstance(number, int) and number},
        "sources": _sources(card.get("sources")),
        "unreadable": _unreadable(card.get("sources")),
        "other_kinds": _other_kinds(card.get("other_kinds")),
    }


def _filters(recipe: Any) -> list[dict[str, Any]]:
    """The filters that were on, with their limits."""
    filters = recipe.get("filters") if isinstance(recipe, dict) else None
    return (
        [{"name": key, "value": value} for key, value in filters.items() if value] if isinstance(filters, dict) else []
    )


def _seconds(moment: Any) -> float | None:
    """A date of a card as seconds since 1970."""
    try:
        return round(datetime.fromisoformat(str(moment)).timestamp())
    except (ValueError, OverflowError):
        return None


def _sources(sources: Any) -> list[dict[str, Any]]:
    """Name, documents and licence of each source; never a path."""
    described = []
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict):
            described.append(
                {
                    "name": _source_name(source),
                    "documents": source.get("documents"),
                    "licence": str(source.get("licence") or ""),
                }
            )
    return described[:MOST_SOURCES]


def _unreadable(sources: Any) -> list[str]:
    """A sentence for each file that was left out because it cannot be read."""
    found = [source for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
    return [str(source["unreadable"])[:LONGEST_READ] for source in found if source.get("unreadable")][:MOST_SOURCES]


def _other_kinds(counts: Any) -> str:
    """How many files are no texts, as a sentence."""
    from engine.data.unread import other_kinds

    if not isinstance(counts, dict):
        return ""
    return other_kinds({str(kind)[:40]: number for kind, number in counts.items() if isinstance(number, int)})


def _source_name(source: dict[str, Any]) -> str:
    if source.get("dataset"):
        parts = (source["dataset"], source.get("config"), source.get("split"))
        return ", ".join(str(part) for part in parts if part)
    name = Path(str(source.get("title") or source.get("name") or source.get("file") or source.get("path") or "")).name
    if name.endswith(".txt.xz"):  # the starter's files are named after the novels
        name = name.removesuffix(".txt.xz").replace("_", " ").capitalize()
    return name
