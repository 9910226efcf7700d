"""The published Blueberry-Nano run, put into every new database as a read-only reference."""

import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from engine.store.connect import insert, rows, writing

REFERENCE_ID = "blueberry-nano-2025"
PUBLISHED = Path(__file__).resolve().parents[2] / "data" / "reference" / "blueberry-nano.json"
MICRO_BATCH_TOKENS = 4 * 2048
"""What one entry of the published log really saw; see `counted_tokens_note` in the file."""


def add_reference(db: Database) -> None:
    """Insert the published run, its curve over counted tokens and its exhibits, if they are not there yet."""
    published: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    with writing(db):
        if rows(db, "SELECT 1 FROM runs WHERE id = ?", [REFERENCE_ID]):
            return
        training, final, history = published["training"], published["final"], published["history"]
        when = datetime.fromisoformat(published["date"]).replace(tzinfo=UTC).timestamp()
        seconds, steps = training["minutes"] * 60, history["micro_step"]
        insert(
            db,
            "runs",
            {
                "id": REFERENCE_ID,
                "name": published["name"],
                "preset": "blueberry-nano",
                "kind": "published",
                "config": json.dumps(
                    published["model"] | {"training": training, "final": final, "gpt1": published["gpt1"]}
                ),
                "parameters": published["model"]["parameters"],
                "target_tokens": training["published_tokens"],
                "total_steps": steps[-1],
                "dataset": "70% FineWeb-Edu, 30% Cosmopedia v2",
                "note": f"{published['project']}, {published['source']}",
                "created_at": when,
            },
        )
        insert(
            db,
            "run_state",
            {
                "run_id": REFERENCE_ID,
                "status": "finished",
                "device": "published",
                "step": steps[-1],
                "tokens": training["counted_tokens"],
                "val_loss": final["val_loss"],
                "elapsed_seconds": seconds,
                "tokens_per_second": training["counted_tokens"] / seconds,
                "ended_at": when,
                "environment": json.dumps({"device_name": training["hardware"]}),
            },
        )
        for step, loss, accuracy, minutes in zip(
            steps, history["val_loss"], history["val_accuracy"], history["elapsed_minutes"], strict=True
        ):
            insert(
                db,
                "evals",
                {
                    "run_id": REFERENCE_ID,
                    "attempt": 1,
                    "step": step,
                    "tokens": step * MICRO_BATCH_TOKENS,
                    "val_loss": loss,
                    "val_accuracy": accuracy,
                    "val_perplexity": math.exp(loss),
                    "elapsed_seconds": minutes * 60,
                },
            )
        for step, rate, minutes in zip(steps, history["learning_rate"], history["elapsed_minutes"], strict=True):
            insert(
                db,
                "metrics",
                {
                    "run_id": REFERENCE_ID,
                    "attempt": 1,
                    "step": step,
                    "tokens": step * MICRO_BATCH_TOKENS,
                    "learning_rate": rate,
                    "elapsed_seconds": minutes * 60,
                },
            )
        for exhibit in published["hall_of_fame"]:
            sample = insert(
                db,
                "samples",
                {
                    "run_id": REFERENCE_ID,
                    "attempt": 1,
                    "step": steps[-1],
                    "tokens": training["counted_tokens"],
                    "suite": "published",
                    "prompt": exhibit["prompt"],
                    "text": exhibit["output"] or "",
                    "device": training["hardware"],
                    "source": "published",
                    "created_at": when,
                },
            )
            insert(
                db,
                "archive",
                {
                    "sample_id": sample,
                    "category": exhibit["category"],
                    "title": exhibit["title"],
                    "note": exhibit.get("note", ""),
                    "created_at": when,
                },
            )
        insert(
            db,
            "events",
            {
                "run_id": REFERENCE_ID,
                "step": steps[-1],
                "kind": "note",
                "created_at": time.time(),
                "message": training["counted_tokens_note"],
            },
        )
