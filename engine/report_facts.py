"""What a report says, read once: every figure that was measured or published, and what people wrote. No torch.

Nothing is estimated here: what nobody measured is None, and the report leaves it out.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlite_utils import Database

from engine import money, store
from engine.config import RunConfig, from_json
from engine.home import Home
from engine.report_paths import pathless
from engine.report_recipe import Step, steps_of
from engine.store import Refused, Row

SHOWN = 12
"""Exhibits of one category in a report; of the others the number is told."""
ROOMS = 24
SETTINGS = ("seed", "temperature", "top_k", "top_p", "max_tokens")
CURVES = {
    "train_loss": "training loss",
    "val_loss": "loss on unseen text",
    "val_accuracy": "accuracy",
    "val_perplexity": "perplexity",
    "learning_rate": "learning rate",
}
"""What a training plot shows, by column."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One evaluation on text that the model never sees while it trains."""

    step: int
    loss: float
    accuracy: float | None
    perplexity: float | None
    bits: float | None


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What the model said and a person kept, with all that is needed to ask again."""

    id: int
    title: str
    prompt: str
    text: str
    note: str
    step: int
    tokens: int
    loss: float | None
    """On unseen text, as it was known when it spoke."""
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Room:
    """The exhibits of one category, as many as a report shows, and how many more there are."""

    category: str
    exhibits: tuple[Exhibit, ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class Text:
    """The dataset, as its card tells it; 0 and "" where it does not."""

    name: str
    sources: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    licence: str = ""
    documents: int = 0
    train_tokens: int = 0
    bytes_per_token: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Published:
    """The published run, whose figures were not measured here."""

    name: str
    when: float
    parameters: int
    tokens: int
    """Counted from its log."""
    told_tokens: int
    """As it was published."""
    note: str
    seconds: float
    machine: str
    dataset: str
    score: Score


@dataclass(frozen=True, kw_only=True)
class Forerunner:
    """GPT-1, as it was published."""

    year: int
    parameters: int
    data: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a report of a run is made of."""

    made_at: float
    run: Row
    config: RunConfig
    environment: Mapping[str, Any]
    score: Score | None
    best: tuple[int, float] | None
    """Step and validation loss of the best evaluation."""
    mfu: float | None
    run_memory: int | None
    gpu_memory: int | None
    epochs: float | None
    usage: money.Usage
    price: str
    money: Mapping[str, Any]
    text: Text
    published: Published
    forerunner: Forerunner
    rooms: tuple[Room, ...]
    kept: int
    ages: int
    curves: tuple[str, ...]
    """The curves that there are, in words."""
    steps: tuple[Step, ...]
    """What to type to have such a run again."""
    blocks: Mapping[str, str] = field(default_factory=dict)

    @property
    def interim(self) -> bool:
        """Whether the run has not come to its end."""
        return bool(self.run["status"] != "finished")

    @property
    def speed(self) -> float | None:
        """Tokens a second over all the time worked."""
        seconds = self.run["elapsed_seconds"]
        return self.run["tokens"] / seconds if seconds and self.run["tokens"] else None


def gather(home: Home, db: Database, run: Row, now: float) -> Facts:
    """The facts of a run of this studio at `now`, in seconds since 1970; raises Refused for any other."""
    refuse_unless_trained(run)
    config, whole = from_json(store.get_config(db, run["id"])), store.whole_run(db, run["id"])
    price, costs = money.price_of(run), money.figures(run, now)
    card = read_card(home, run["dataset"])
    rooms, kept = _rooms(db, run["id"])
    return Facts(
        made_at=now,
        run=run | {"error": pathless(run["error"] or "", home), "note": pathless(run["note"], home)},
        config=config,
        environment=run["environment"],
        score=_score(store.last_eval(db, run["id"])),
        best=None if whole["best_loss"] is None else (whole["best_step"], whole["best_loss"]),
        mfu=whole["mfu"],
        run_memory=whole["run_memory"],
        gpu_memory=whole["gpu_memory"],
        epochs=_epochs(run),
        usage=money.usage_of(run, now),
        price=str(price) if price else "",
        money=costs or {},
        text=_text(run["dataset"], card),
        published=_published(db),
        forerunner=_forerunner(db),
        rooms=rooms,
        kept=kept,
        ages=len(store.ages(db, run["id"])),
        curves=tuple(words for name, words in CURVES.items() if name in store.drawable(db, run["id"])),
        steps=steps_of(home, db, run, str(card.get("command") or "")),
        blocks=store.report_blocks(db, run["id"]),
    )


def refuse_unless_trained(run: Row) -> None:
    """Raise Refused for a run that was not trained in this home, which has no report here."""
    if run["kind"] != "trained":
        came = "came in a capsule; its report can be written where it was trained"
        why = came if run["kind"] == "imported" else "was published elsewhere, with a report of its own"
        raise Refused(f"{run['name']} {why}. Choose a run of yours.")


def read_card(home: Home, name: str) -> dict[str, Any]:
    """What a dataset says of itself; empty where it is not there or has no readable card."""
    if name != name.strip(". ") or "/" in name or "\\" in name or "\x00" in name:
        return {}
    try:
        card = json.loads((home.dataset(name) / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _text(name: str, card: Mapping[str, Any]) -> Text:
    from engine.config import ConfigError
    from engine.data.recipe import Recipe  # numpy and more: only for who asks for a report

    try:
        sources = Recipe.from_json(json.dumps(card["recipe"])).sources
    except (KeyError, ConfigError):
        sources = ()

    def number(key: str) -> float:
        value = card.get(key)
        return value if isinstance(value, int | float) and 0 < value < math.inf else 0

    return Text(
        name=name,
        sources=tuple("the starter novels" if one.where == "starter" else one.title for one in sources),
        hub=tuple(dict.fromkeys(one.hub for one in sources if one.hub)),
        licence=str(card.get("licence") or ""),
        documents=int(number("documents")),
        train_tokens=int(number("train_tokens")),
        bytes_per_token=number("bytes_per_token"),
    )


def _score(row: Row | None) -> Score | None:
    """An evaluation; None where there was none, or its loss was no number."""
    if row is None or row["val_loss"] is None:
        return None
    perplexity = row["val_perplexity"]
    if perplexity is None and row["val_loss"] < 50:
        perplexity = math.exp(row["val_loss"])
    return Score(
        step=row["step"],
        loss=row["val_loss"],
        accuracy=row["val_accuracy"],
        perplexity=perplexity,
        bits=row["val_bits_per_byte"],
    )


def _epochs(run: Row) -> float | None:
    """How often the text has been read so far."""
    whole = run["environment"].get("epoch_tokens")
    return max(0, run["tokens"] - run["environment"].get("text_from", 0)) / whole if whole else None


def _published(db: Database) -> Published:
    run = store.get_run(db, store.REFERENCE_ID)
    training = json.loads(store.get_config(db, run["id"]))["training"]
    score = _score(store.last_eval(db, run["id"]))
    assert score is not None, "its figures are those of data/reference"
    return Published(
        name=run["name"],
        when=run["created_at"],
        parameters=run["parameters"],
        tokens=run["tokens"],
        told_tokens=training["published_tokens"],
        note=training["counted_tokens_note"],
        seconds=run["elapsed_seconds"],
        machine=training["hardware"],
        dataset=run["dataset"],
        score=score,
    )


def _forerunner(db: Database) -> Forerunner:
    told = json.loads(store.get_config(db, store.REFERENCE_ID))["gpt1"]
    return Forerunner(**{name: told[name] for name in ("year", "parameters", "data", "time")})


def _rooms(db: Database, run_id: str) -> tuple[tuple[Room, ...], int]:
    """The hall of fame of one run by category, the three known ones first; and how many exhibits there are."""
    total = store.search_archive(db, run_id=run_id)[1]
    rooms: list[Room] = []
    for category in (*store.CATEGORIES, *(name for name in store.categories(db) if name not in store.CATEGORIES)):
        if sum(len(room.exhibits) + room.more for room in rooms) >= total or len(rooms) == ROOMS:
            break
        found, many = store.search_archive(db, category=category, run_id=run_id)
        if found:
            shown = tuple(_exhibit(row) for row in found[:SHOWN])
            rooms.append(
                Room(category=store.CATEGORIES.get(category, category), exhibits=shown, more=many - len(shown))
            )
    return tuple(rooms), total


def _exhibit(row: Row) -> Exhibit:
    """One entry of the archive, with the settings that changed something."""
    settings = {name: row[name] for name in SETTINGS if row[name] is not None}
    settings |= {name: row[name] for name, nothing in (("min_p", 0), ("repetition_penalty", 1)) if row[name] != nothing}
    settings |= {"stop": stops} if (stops := json.loads(row["stop"])) else {}
    return Exhibit(
        id=row["id"],
        title=row["title"],
        prompt=row["prompt"],
        text=row["text"],
        note=row["note"],
        step=row["step"],
        tokens=row["tokens"],
        loss=row["val_loss"],
        settings=settings,
    )
