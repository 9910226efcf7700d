"""card.json: what a finished dataset says of itself."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import tokenizer as pieces
from engine.data.chunks import DUPLICATE
from engine.data.files import Files
from engine.data.making import Making
from engine.data.recipe import Recipe, Source
from engine.data.shards import SPLITS, TOKENIZER, documents_file, dtype_of, shard_file
from engine.data.sources import Reader
from engine.home import PROJECT
from engine.manifest import sha256_of


def describe(making: Making, name: str, recipe: Recipe, readers: Sequence[Reader]) -> str:
    """The card of a dataset whose files are all there, as JSON that a person can read."""
    state, vocabulary = making.state, pieces.load(making.folder / TOKENIZER, recipe.separator)
    end, size = pieces.separator_id(vocabulary, recipe.separator), pieces.vocabulary_size(vocabulary)
    card: dict[str, Any] = {
        "name": name,
        "licence": recipe.licence or _licences(recipe, readers),
        "sources": _sources(making, recipe, readers),
        "documents": state.documents,
        "documents_read": state.place.number,
        "dropped": state.place.dropped,
        "duplicates_dropped": state.place.dropped.get(DUPLICATE, 0),
        "documents_beyond_budget": state.place.number - sum(state.place.dropped.values()) - state.documents,
        "bytes": state.bytes,
        "lost_bytes": state.lost,
        "other_kinds": _other_kinds(readers),
        "ending": state.ending,
    }
    for split in SPLITS:
        counts = state.counts[split]
        card |= {
            f"{split}_documents": counts.documents,
            f"{split}_tokens": counts.tokens,
            f"{split}_bytes": counts.bytes,
        }
    card |= {
        "bytes_per_token": round(card["train_bytes"] / card["train_tokens"], 4),
        "lengths": dict(sorted(state.lengths.items(), key=lambda item: int(item[0]))),
        "tokenizer": recipe.tokenizer,
        "vocab_size": size,
        "separator": recipe.separator,
        "separator_id": end,
        "dtype": dtype_of(size),
        "split": _split_rule(state.share, recipe.deduplicate),
        "recipe": json.loads(recipe.to_json()),
        "files": {
            file: {"bytes": (making.folder / file).stat().st_size, "sha256": sha256_of(making.folder / file)}
            for file in sorted([TOKENIZER, *map(shard_file, SPLITS), *map(documents_file, SPLITS)])
        },
        "command": command(name, recipe),
        "created_at": datetime.now(UTC).isoformat(),
    }
    return json.dumps(card, indent=1, ensure_ascii=False) + "\n"


def command(name: str, recipe: Recipe) -> str:
    """What makes the same dataset on the command line."""
    words = ["python", "-m", "engine", "prepare", name]
    for source in recipe.sources:
        words += ["--source", _shown(source)]
    words += ["--tokenizer", recipe.tokenizer]
    words += ["--separator", recipe.separator] if recipe.separator != pieces.END else []
    words += ["--tokens", str(recipe.tokens)] if recipe.tokens else []
    for field, value in vars(recipe.filters).items():
        words += [f"--{field.replace('_', '-')}", str(value)] if value else []
    words += [] if recipe.deduplicate else ["--keep-duplicates"]
    words += ["--skip-unreadable"] if recipe.skip_unreadable else []
    words += ["--licence", recipe.licence] if recipe.licence else []
    return shlex.join(words)


def _licences(recipe: Recipe, readers: Sequence[Reader]) -> str:
    """What the sources say of themselves, each for itself where they differ."""
    said = [reader.licence or "not stated" for reader in readers]
    if len(set(said)) == 1:
        return said[0]
    names = [source.hub or Path(source.where).name for source in recipe.sources]
    return "; ".join(dict.fromkeys(f"{name}: {licence}" for name, licence in zip(names, said, strict=True)))


def _sources(making: Making, recipe: Recipe, readers: Sequence[Reader]) -> list[dict[str, Any]]:
    """What was read, file by file; of a mixture with the weight that was asked for and the text that came of it."""
    found = []
    for source, reader, files, taken, position in zip(
        recipe.sources, readers, making.state.files, making.state.taken, making.state.place.positions, strict=True
    ):
        mixed = {"source": _shown(source), "weight": source.weight, "text_bytes": taken} if recipe.mixed else {}
        found += [part | mixed for part in reader.describe(files, position)]
    return found


def _other_kinds(readers: Sequence[Reader]) -> dict[str, int]:
    """Files beside the texts that are none, by their endings."""
    found = Counter[str]()
    for reader in readers:
        found.update(reader.near.others if isinstance(reader, Files) else {})
    return dict(found.most_common())


def _split_rule(share: float, unique: bool) -> str:
    if not unique:
        return f"by document, before anything else: those with the smallest sha256, {share:.2%} of all there can be"
    return (
        "by document, before anything else, in chunks of text as they are read: of each file the documents with the "
        f"smallest sha256, until {share:.2%} of its bytes are held out; files with few documents, and files by the "
        "many, together"
    )


def _shown(source: Source) -> str:
    path = Path(source.where)
    if not source.hub and path.is_relative_to(PROJECT):
        return str(source).replace(source.where, str(path.relative_to(PROJECT)), 1)
    return str(source)
