"""A finished seedling run written with fixed rows, for the tests of its report."""

import json
import math

import pytest
from sqlite_utils import Database
from ui_helpers import add_answer, add_rows

from engine import config, money, store
from engine.home import Home
from engine.money import Price
from engine.store import Row

STEPS, BATCH = 733, 4096
BEGAN = 1_764_000_000.0
"""24 November 2025, 16:00 UTC."""
NOW = BEGAN + 86_400
CARD = {
    "licence": "public domain",
    "documents": 8,
    "train_tokens": 1_730_000,
    "val_tokens": 85_760,
    "bytes_per_token": 3.2,
    "recipe": {"sources": [{"where": "starter"}], "tokenizer": "bpe:4096"},
    "command": "python -m engine prepare starter --source starter --tokenizer bpe:4096",
}
FENCE = "~~~\n```\n<script>window.hurt = 1</script>\n````\n# not a heading"
"""What wants out of a code fence."""


def seedling(home: Home, db: Database, patch: pytest.MonkeyPatch, name: str = "seedling-1") -> Row:
    """A run that finished, with curves, a machine, a price, its dataset's card and exhibits of four categories."""
    patch.setattr("engine.store.runs.secrets.token_hex", lambda size: "5eed11ab1e")
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", name, "cpu")
    patch.undo()
    add_curves(db, run_id)
    give_card(home, "starter", CARD)
    add_machine(db, run_id)
    for number, (category, title, prompt, text) in enumerate(EXHIBITS):
        sample = add_answer(db, run_id, text, 180 * (number + 1), prompt, created_at=BEGAN)
        store.keep(db, sample, category, title, "It has read no poem about boats." if number == 1 else "")
    finish(db, run_id)
    money.set_price(db, Price(per_hour=0.36), run_id)
    return store.get_run(db, run_id)


EXHIBITS = [
    ("good", "A fine beginning", "Once upon a time", " there was a little boat that had never seen the sea."),
    ("strange", "Louder & louder", "The gulls said", " that it is *like* the sky,\nonly louder."),
    ("hallucination", "A way out", "Show me code:", FENCE),
    ("Lighthouse logic", "The Arabic boat", "كان يا ما كان", " قاربٌ صغير لم يرَ البحر قط."),
]


def add_curves(db: Database, run_id: str, steps: int = STEPS) -> None:
    """Metrics of every step, an evaluation at every twentieth and at the last one."""
    rows: list[tuple[str, Row]] = []
    for step in range(1, steps + 1):
        loss = 3.7 + 4.6 * math.exp(-step / 110)
        where = {"run_id": run_id, "attempt": 1, "step": step, "tokens": step * BATCH, "elapsed_seconds": step * 0.45}
        measured = {"train_loss": loss, "learning_rate": 0.02 * min(1, 2 - 2 * step / STEPS), "grad_norm": 0.5}
        rows.append(("metrics", where | measured | {"tokens_per_second": 9120.0}))
        if step % 20 == 0 or step == steps:
            scores = {"val_accuracy": 0.05 + 0.2 * step / STEPS, "val_bits_per_byte": (loss + 0.05) / 2.2}
            scores |= {"val_loss": loss + 0.05, "val_perplexity": math.exp(loss + 0.05)}
            rows.append(("evals", where | scores))
    add_rows(db, rows)


def add_machine(db: Database, run_id: str) -> None:
    """What its machine did."""
    store.add_machine(db, run_id, 1, 1, measured_at=BEGAN, run_memory=512_000_000)
    store.add_machine(db, run_id, 1, 700, measured_at=BEGAN + 300, run_memory=734_000_000)


def finish(db: Database, run_id: str, status: str = "finished", steps: int = STEPS) -> None:
    """Its state at its end."""
    loss = 3.7 + 4.6 * math.exp(-steps / 110)
    environment = {"device_name": "AMD EPYC", "precision": "fp32", "threads": 2, "python": "3.12.3", "torch": "2.11.0"}
    store.update_state(
        db,
        run_id,
        status=status,
        phase="",
        message="",
        attempt=1,
        step=steps,
        tokens=steps * BATCH,
        train_loss=loss,
        val_loss=loss + 0.05,
        environment=environment | {"epoch_tokens": 1_703_936},
        elapsed_seconds=steps * 0.45,
        process_seconds=steps * 0.45 + 12,
        unmeasured_seconds=steps * 0.45,
        started_at=BEGAN,
        ended_at=BEGAN + 342,
    )


def give_card(home: Home, name: str, card: Row) -> None:
    """What a dataset says of itself, without the dataset."""
    home.dataset(name).mkdir(parents=True, exist_ok=True)
    (home.dataset(name) / "card.json").write_text(json.dumps(card), encoding="utf-8")
