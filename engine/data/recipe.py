"""What a dataset is made of: sources, tokenizer, budget and filters. Plain data, the same for page and command line."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from engine.config import ConfigError
from engine.tokenizer import END

STARTER = "starter"
HUB = "hub:"
_OPTIONS = {"config": str, "split": str, "column": str, "weight": float, "revision": str, "streaming": str}


@dataclass(frozen=True)
class Source:
    """Where texts come from: `starter`, a file or folder, or `hub:OWNER/NAME`."""

    where: str
    config: str = ""
    """Of a hub dataset: its configuration, "" for its only one."""
    split: str = "train"
    revision: str = ""
    """Of a hub dataset: branch, tag or commit; "" for the newest."""
    streaming: bool = True
    """Whether a hub dataset is read as it comes; otherwise it is downloaded whole first."""
    column: str = "text"
    """Of jsonl, csv, parquet and hub datasets."""
    weight: float = 0.0
    """Share of the text in a mixture, in relation to the other sources' weights; 0 where nothing is mixed."""

    @property
    def hub(self) -> str:
        """OWNER/NAME of a hub dataset, "" for anything else."""
        return self.where.removeprefix(HUB) if self.where.startswith(HUB) else ""

    @property
    def title(self) -> str:
        """What a sentence calls it: no folder above it is told."""
        name = self.hub or (self.where if self.where == STARTER else self.where.rstrip("/").rpartition("/")[2])
        return f"{name}, {self.config}" if self.config else name

    @classmethod
    def parse(cls, words: str) -> "Source":
        """WHERE[,KEY=VALUE...], for example hub:HuggingFaceTB/smollm-corpus,config=cosmopedia-v2,weight=0.3."""
        where, options = words, dict[str, Any]()
        while (comma := where.rfind(",")) > 0:
            key, equals, value = where[comma + 1 :].partition("=")
            if not equals or key not in _OPTIONS:
                break
            where, options[key] = where[:comma], value
        try:
            options |= {"weight": float(options["weight"])} if "weight" in options else {}
        except ValueError as error:
            raise ConfigError(f"weight = {options['weight'][:40]!r} must be a number above 0.") from error
        if "streaming" in options:
            options["streaming"] = options["streaming"].lower() not in ("false", "no", "0")
        return cls(where, **options)

    def __str__(self) -> str:
        plain, said = Source(self.where), [self.where]
        for key in _OPTIONS:
            if (value := getattr(self, key)) != getattr(plain, key):
                said.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
        return ",".join(said)


@dataclass(frozen=True)
class Filters:
    """Which documents are dropped; 0 turns a filter off. engine/data/filters.py says how each is measured."""

    min_characters: int = 0
    max_characters: int = 0
    max_symbol_share: float = 0.0
    """Largest share of characters that are neither letters, digits, blanks nor usual punctuation, in any script."""
    max_repetition: float = 0.0
    """Largest share of a document's characters in lines or phrases that it has said before."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what is in a dataset: the same recipe and the same sources give the same shards."""

    sources: tuple[Source, ...]
    tokenizer: str = "smollm2"
    """smollm2, bpe:SIZE (learned on the training documents), the path of a tokenizer.json, or a hub name."""
    tokens: int = 0
    """Training tokens after which it ends; 0 for all there is."""
    filters: Filters = field(default_factory=Filters)
    deduplicate: bool = True
    """Drop documents that are equal, character by character, to one that came before."""
    separator: str = END
    """The piece that ends every document; the tokenizer must have it."""
    licence: str = ""
    """As the person gives it; "" for what the sources say of themselves."""
    skip_unreadable: bool = False
    """Leave out files that cannot be read, of files and folders of this machine, instead of ending with the first."""

    def __post_init__(self) -> None:
        if not self.sources or any(not source.where.strip() for source in self.sources):
            raise ConfigError("A dataset needs a source: starter, a file or folder, or hub:OWNER/NAME.")
        if self.tokenizer.startswith("bpe:") and self.separator != END:
            raise ConfigError(
                f"separator = {self.separator[:40]!r} must be {END} where a vocabulary is learned (bpe:SIZE)."
            )
        if not 0 <= self.tokens <= 10**12:
            raise ConfigError(f"tokens = {self.tokens} must be from 0 (all there is) to 1,000,000,000,000.")
        weights = [source.weight for source in self.sources]
        if any(not (math.isfinite(weight) and weight >= 0) for weight in weights) or (
            any(weights) and not all(weights)
        ):
            raise ConfigError("Give every source a weight above 0, or none.")
        for name in ("max_symbol_share", "max_repetition"):
            if not 0 <= getattr(self.filters, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self.filters, name)} must be from 0 to 1.")
        for name in ("min_characters", "max_characters"):
            if getattr(self.filters, name) < 0:
                raise ConfigError(f"{name} = {getattr(self.filters, name)} must be 0 or more.")

    @property
    def mixed(self) -> bool:
        """Whether the sources are interleaved by weight, and not read one after the other."""
        return len(self.sources) > 1 and all(source.weight for source in self.sources)

    def to_json(self) -> str:
        """For the database and the state of a job; the same recipe gives the same words."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The recipe of `to_json`, or of a form; raises ConfigError where it is none."""
        try:
            given = json.loads(text)
            sources = tuple(Source(**_typed(Source, one)) for one in given.pop("sources"))
            filters = Filters(**_typed(Filters, given.pop("filters", {})))
            return cls(sources, filters=filters, **_typed(cls, given))
        except ConfigError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"This is no recipe of a dataset: {error}.") from error


def _typed(kind: type, given: Any) -> dict[str, Any]:
    """`given` with each value of the type of the field; whole numbers are floats where floats are wanted."""
    wanted = {one.name: one.type for one in fields(kind)}
    made = {}
    for key, value in given.items():
        if key not in wanted:
            raise ValueError(f"there is no setting {key!r}")
        if wanted[key] is float and type(value) is int:
            value = float(value)
        if wanted[key] in (str, int, float, bool) and type(value) is not wanted[key]:
            raise ValueError(f"{key} = {value!r} must be {getattr(wanted[key], '__name__', '')}")
        made[key] = value
    return made


KNOWN = {
    "smollm-1b": Recipe(
        sources=(
            Source("hub:HuggingFaceTB/smollm-corpus", config="fineweb-edu-dedup", weight=0.7),
            Source("hub:HuggingFaceTB/smollm-corpus", config="cosmopedia-v2", weight=0.3),
        ),
        tokens=1_000_000_000,
    ),
}
"""Datasets that presets name and that can be made from a hub: 70% FineWeb-Edu and 30% Cosmopedia v2 (published run)."""
