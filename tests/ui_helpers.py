"""What the tests of the page share: histories written at once, and fakes of the processes behind the page."""

import contextlib
import gc
import hashlib
import json
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlite_utils import Database

from engine import config, store
from engine import launch as real_launch
from engine.home import Home
from engine.manifest import write_manifest
from engine.prompts import PROMPTS
from engine.store import Row

ADDRESS = "http://127.0.0.1:7860"


class Page(TestClient):
    """The page of one home, as a browser and a script use it, without a network."""

    home: Home

    def post_json(self, path: str, body: Any) -> Any:
        """POST a value as JSON, also one that httpx would not write: NaN, lone surrogates; bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body)
        return self.post(path, content=content, headers={"content-type": "application/json"})

    def call(self, name: str, *values: Any) -> str:
        """Call an API name as gradio_client does; the text of its event stream, or of the refusal."""
        asked = self.post_json(f"/gradio_api/call/{name}", {"data": list(values)})
        if "event_id" not in asked.text:
            return asked.text
        return self.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}").text


@contextlib.contextmanager
def served(folder: Path, **options: Any) -> Iterator[Page]:
    """A page in front of a new home in `folder`, with fakes behind it. Building it takes a second."""
    from ui.server import create_app

    home = Home.at(folder)
    real_launch.open_home(home)
    prompts = folder.with_name(f"{folder.name}-prompts")
    shutil.copytree(PROMPTS, prompts, dirs_exist_ok=True)
    fakes = {
        "prompts": prompts,
        "launch": FakeLaunch(),
        "talker": FakeTalker(),
        "preparing": FakePreparing(),
        "measure": fake_measure,
    }
    app = create_app(home, **(fakes | options))
    with Page(app, base_url=ADDRESS, raise_server_exceptions=False) as page:
        page.home = home
        yield page
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        vars(page).clear()  # whoever still holds the client holds no app by it
        del app, page
        gc.collect()  # here, where Gradio's open loops disturb no other test


def add_rows(db: Database, rows: Iterable[tuple[str, Row]]) -> None:
    """Insert rows of several tables in one transaction."""
    with store.writing(db):
        for table, row in rows:
            store.insert(db, table, row)


def make_run(db: Database, name: str = "one", device: str = "cpu") -> str:
    """A run that trains, with an empty history."""
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", name, device)
    store.update_state(
        db,
        run_id,
        status="running",
        phase="training",
        message="",
        attempt=1,
        step=10,
        tokens=40_960,
        train_loss=7.123456,
        tokens_per_second=12_345.6,
        eta_seconds=99.9,
        progress=0.123456,
    )
    return run_id


def add_points(db: Database, run_id: str, first: int, count: int, attempt: int = 1) -> None:
    """Metrics of `count` steps, and an evaluation at each tenth."""
    rows: list[tuple[str, Row]] = []
    for step in range(first, first + count):
        rows.append(
            (
                "metrics",
                {
                    "run_id": run_id,
                    "attempt": attempt,
                    "step": step,
                    "tokens": step * 4096,
                    "train_loss": 8 - step / 1e6,
                    "learning_rate": 0.02,
                    "grad_norm": 0.5123,
                    "tokens_per_second": 12_345.678,
                    "elapsed_seconds": step / 10,
                },
            )
        )
        if step % 10 == 0:
            rows.append(
                (
                    "evals",
                    {
                        "run_id": run_id,
                        "attempt": attempt,
                        "step": step,
                        "tokens": step * 4096,
                        "val_loss": 8.0,
                        "val_accuracy": 0.1,
                        "val_perplexity": 2980.9,
                        "val_bits_per_byte": 2.5,
                        "elapsed_seconds": step / 10,
                    },
                )
            )
    add_rows(db, rows)


def add_answer(
    db: Database, run_id: str, text: str, step: int = 10, prompt: str = "Once upon a time", **more: Any
) -> int:
    """A stored answer; returns its id."""
    return store.add_sample(
        db,
        {
            "run_id": run_id,
            "attempt": 1,
            "step": step,
            "tokens": step * 4096,
            "suite": "stories",
            "prompt": prompt,
            "text": text,
            "seed": 7,
            "temperature": 0.8,
            "top_k": 0,
            "top_p": 0.95,
            "max_tokens": 80,
            "source": "periodic",
            "created_at": time.time(),
            **more,
        },
    )


def add_age(home: Home, db: Database, run_id: str, step: int, full: bool = True) -> None:
    """Weights of a run on the disk and in the index, which nobody can ask: a whole checkpoint, or those of an age."""
    folder = home.run(run_id)
    weights = f"weights of {step}".encode()
    digest = hashlib.sha256(weights).hexdigest()
    row = {"step": step, "tokens": step * 4096, "bytes": len(weights), "sha256": digest}
    if full:
        state = {"step": step, "elapsed_seconds": step / 10, "dataset_sha256": "0" * 64, "scaler": {}, "rate": 1.0}
        checkpoint = folder / f"step_{step:06d}"
        checkpoint.mkdir(parents=True)
        files = {"model.safetensors": weights, "optimizer.safetensors": b"", "state.json": json.dumps(state).encode()}
        write_manifest(checkpoint, {}, files)
        store.add_checkpoint(db, run_id, attempt=1, kind="full", path=checkpoint.name, **row)
    else:
        path = folder / "sampling" / f"step_{step:06d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(weights)
        store.add_checkpoint(db, run_id, attempt=1, kind="sampling", path=f"sampling/{path.name}", **row)


class FakeLaunch:
    """engine.launch without processes: rows only."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def start_run(
        self,
        home: Home,
        preset: str,
        name: str = "",
        overrides: dict[str, Any] | None = None,
        queue: bool = False,
    ) -> str:
        db = store.connect(home.database)
        self.asked.append(("start", preset, name, overrides))
        chosen = config.load_preset(preset, overrides)
        return store.create_run(db, chosen, preset, name or "run", "cpu", queue=queue)

    def stop_run(self, home: Home, run: str, now: bool = False) -> None:
        self.asked.append(("stop", run))

    def resume_run(self, home: Home, run: str, queue: bool = False) -> None:
        self.asked.append(("resume", run, "queue") if queue else ("resume", run))

    def pause_run(self, home: Home, run: str) -> None:
        self.asked.append(("pause", run))

    def unpause_run(self, home: Home, run: str) -> None:
        self.asked.append(("unpause", run))

    def run_status(self, home: Home, run: str) -> dict[str, Any]:
        row = store.find_run(store.connect(home.database), run)
        return {"id": row["id"], "status": row["status"]}

    def reconcile(self, home: Home, db: Any) -> None:
        self.asked.append(("reconcile",))

    def default_device(self) -> str:
        return "cpu"


MEASURED: dict[str, Any] = {
    "measured_at": 1_700_000_000.0,
    "step_seconds": 0.2,
    "eval_token_seconds": 1e-5,
    "prompts": 12,
    "answer_seconds": 0.3,
    "answer_token_seconds": 0.01,
    "age_seconds": 0.1,
    "save_seconds": 0.5,
    "memory": 10**9,
    "memory_shown": 2 * 10**9,
    "memory_there": 8 * 10**9,
    "micro_batch": 16,
    "precision": "bf16",
    "scaled": "",
    "notes": [],
    "cores_taken": 0.1,
    "cores": 2,
}
"""What engine/preflight.py finds."""


def fake_measure(
    home: Home, chosen: config.RunConfig, cancelled: Callable[[], bool]
) -> Generator[dict[str, Any], None, None]:
    """engine.probing.measure without a process."""
    yield {"message": "Warming up"}
    yield {"message": "Measuring", "tokens_per_second": 20_480.0}
    yield {"probe": MEASURED}


class FakePreparing:
    """engine.preparing without jobs: whoever starts one finds it in the list."""

    def __init__(self, jobs: list[dict[str, Any]] | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.jobs = jobs or []

    def start(self, home: Home, name: str, recipe: Any, roots: Any = None, *, anew: bool = False) -> str:
        self.asked.append(("start", name, recipe, roots, *["anew"] * anew))
        return "job"

    def stop(self, home: Home, job: str) -> None:
        self.asked.append(("stop", job))

    def resume(self, home: Home, job: str) -> None:
        self.asked.append(("resume", job))

    def discard(self, home: Home, job: str) -> int:
        self.asked.append(("discard", job))
        return 0

    def listed(self, home: Home) -> list[dict[str, Any]]:
        return self.jobs

    def with_whole_paths(self, recipe: Any, roots: Any = None) -> Any:
        return recipe

    def judge_name(self, home: Home, name: str, recipe: Any = None) -> dict[str, str]:
        self.asked.append(("judge", name, recipe))
        return {"kind": "", "sentence": ""}

    def delete_dataset(self, home: Home, name: str) -> int:
        self.asked.append(("delete", name))
        return 1_234_567


class FakeTalker:
    """A model that says "word word word", one word a piece."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def stream(
        self, run_id: str, step: int | None, prompt: str, *, cancel: threading.Event | None = None, **ask: Any
    ) -> Iterator[dict[str, Any]]:
        self.asked.append({"run_id": run_id, "step": step, "prompt": prompt, **ask})
        for count in range(1, ask["max_tokens"] + 1):
            ended = bool(cancel and cancel.is_set())
            finish = "cancelled" if ended else "length" if count == ask["max_tokens"] else ""
            yield {
                "text": " word" * count,
                "new_tokens": count,
                "tokens_per_second": 9.0,
                "finish": finish,
                "step": 10,
                "tokens": 40960,
                "sample_id": 1 if finish else None,
            }
            if ended:
                return

    def look(self, run_id: str, step: int | None, prompt: str, text: str, **asked: Any) -> dict[str, Any]:
        """Every character a token that it found as likely as the other one."""
        self.asked.append({"run_id": run_id, "step": step, "prompt": prompt, "text": text, **asked})
        token = {"probability": 0.5, "bits": 1.0, "rank": 1, "entropy": 1.0, "others": [[0, 0.5]]}
        return {
            "step": 10,
            "tokens": [{"id": 0, "name": one, "text": one, "hex": "", "said": True} | token for one in prompt + text],
            "pieces": {0: {"id": 0, "name": "a", "text": "a", "hex": ""}},
            "finish": "looked",
        }

    def close(self) -> None:
        """Nothing to end."""
