"""What a person asks to be prepared: the form's recipe, where its texts may lie, and how a job looks on the page."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import store
from engine.config import ConfigError
from engine.home import Home
from ui.records import clean

if TYPE_CHECKING:
    from engine.data.recipe import Recipe, Source

LONGEST = 20_000
"""Characters of a recipe as JSON."""
LONGEST_ERROR = 2000
"""Characters: an error may name several files."""
SPEED = 400_000
"""Tokens a second that preparing reaches on two cores: an assumption until a preview has measured it."""
BYTES_A_TOKEN = 2
"""Of vocabularies of up to 65,536 pieces."""
JOB_FIELDS = (
    "id",
    "name",
    "status",
    "stage",
    "message",
    "progress",
    "documents",
    "tokens",
    "target_tokens",
    "bytes",
    "tokens_per_second",
    "eta_seconds",
    "created_at",
    "ended_at",
    "error",
)


def read_recipe(home: Home, given: Any) -> "Recipe":
    """The recipe of a form; a relative path is looked for below each folder that may be read. Raises ConfigError."""
    from engine.data.recipe import Recipe  # numpy and tokenizers: not for who only looks
    from engine.data.roots import data_roots

    try:
        text = json.dumps(given, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError as error:  # NaN, a number of 5,000 digits, half of a surrogate pair
        raise ConfigError("This is no recipe of a dataset: a number or a sign in it cannot be kept.") from error
    if len(text) > LONGEST or "\\u0000" in text:
        raise ConfigError(f"A recipe has {LONGEST:,} characters at most, and no null characters in them.")
    recipe = Recipe.from_json(text)
    roots = data_roots(home)
    return replace(recipe, sources=tuple(_placed(source, roots) for source in recipe.sources))


def known() -> dict[str, Any]:
    """Recipes of the datasets that presets name, by name, and what a token costs before anything was measured."""
    from engine.data.recipe import KNOWN

    recipes = {name: asdict(recipe) for name, recipe in KNOWN.items()}
    return {"known": recipes, "tokens_per_second": SPEED, "bytes_per_token": BYTES_A_TOKEN}


def costs() -> dict[str, dict[str, float]]:
    """Tokens, bytes on disk and seconds of each of these datasets, the last two as estimates."""
    from engine.data.recipe import KNOWN

    return {
        name: {"tokens": recipe.tokens, "bytes": recipe.tokens * BYTES_A_TOKEN, "seconds": recipe.tokens / SPEED}
        for name, recipe in KNOWN.items()
    }


def job(home: Home, row: dict[str, Any]) -> dict[str, Any]:
    """One job in the words and numbers of the page."""
    recipe = _object(row.get("recipe"))
    sources = [source for source in recipe.get("sources", []) if isinstance(source, dict)]
    return {name: row.get(name) for name in JOB_FIELDS} | {
        "open": row["status"] in store.OPEN_JOBS,
        "recipe": _typed(home, recipe),
        "dropped": _object(row.get("dropped")),
        "error": clean(str(row.get("error") or ""), home, LONGEST_ERROR),
        "message": clean(str(row.get("message") or ""), home),
        "tokenizer": Path(str(recipe.get("tokenizer", ""))).name,
        "sources": [source_words(source) for source in sources],
    }


def source_words(source: dict[str, Any]) -> str:
    """A source in a few words, without the folders it lies in."""
    where = str(source.get("where", ""))
    if where.startswith("hub:"):
        return ", ".join(part for part in (where.removeprefix("hub:"), str(source.get("config") or "")) if part)
    return "the starter novels" if where == "starter" else Path(where).name


def _placed(source: "Source", roots: Sequence[Path]) -> "Source":
    """The source with a whole path, if it is one; what lies elsewhere is as if it were not there."""
    from engine.data.recipe import STARTER

    if source.where == STARTER or source.hub or Path(source.where).is_absolute():
        return source
    for root in roots:
        try:
            path = (root / source.where).resolve()
            if path.is_relative_to(root) and path.exists():
                return replace(source, where=str(path))
        except OSError:  # a name longer than names may be
            continue
    raise store.Refused(
        f"There is no file or folder {source.where[:80]!r} in this home, in the project's data folder or in a folder "
        "given with --data-root; put the texts there, or start app.py with --data-root."
    )


def _typed(home: Home, recipe: dict[str, Any]) -> dict[str, Any] | None:
    """A recipe as its form was filled in, to change it; None where it reads what the page may not."""
    from engine.data.roots import data_roots

    sources = []
    for source in recipe.get("sources", []):
        where = str(source.get("where", ""))
        if Path(where).is_absolute():
            root = next((root for root in data_roots(home) if Path(where).is_relative_to(root)), None)
            if root is None:
                return None
            where = Path(where).relative_to(root).as_posix()
        sources.append(source | {"where": where})
    return recipe | {"sources": sources} if sources and not Path(recipe.get("tokenizer", "")).is_absolute() else None


def _object(value: Any) -> dict[str, Any]:
    """A JSON object of a row, decoded already or not."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
