"""What the tests of the training loop share: one attempt in this process, and what it left behind."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from sqlite_utils import Database

from engine import store
from engine.home import Home
from engine.meter import Meter
from engine.questions import Questions
from engine.train import main

LONG = {"train__tokens": 60 * 256, "sample__every": 5}
"""60 steps of 4 rows: nearly three epochs of the tiny dataset, with accumulation, evaluations and samples."""
PROMPTS = 6
EPOCHS = [("epoch", 21), ("epoch", 42)]
"""What a LONG run tells of reading its text, which has 82 rows, again."""


@contextlib.contextmanager
def as_in_a_process_of_its_own() -> Iterator[None]:
    """Undo what `main` sets for its whole process; one core, because tiny products only wait for a second one."""
    threads, handler = torch.get_num_threads(), signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        signal.signal(signal.SIGTERM, handler)
        torch.set_flush_denormal(False)


def attempt(home: Home, run_id: str, **changes: Any) -> int:
    """One attempt in this process; returns its exit status."""
    return main(["--home", str(home.path), run_id], **changes)


def weights(home: Home, run_id: str, step: int) -> bytes:
    return (home.run(run_id) / f"step_{step:06d}" / "model.safetensors").read_bytes()


def final_weights(home: Home, run_id: str) -> bytes:
    return weights(home, run_id, 60)


def checkpoints(home: Home, run_id: str) -> list[int]:
    return sorted(int(path.name[5:]) for path in home.run(run_id).glob("step_*"))


def steps(db: Database, run_id: str, view: str = "current_metrics") -> list[int]:
    return [row[0] for row in db.execute(f"SELECT step FROM {view} WHERE run_id = ? ORDER BY step", [run_id])]


def kinds(db: Database, run_id: str) -> list[tuple[str, int | None]]:
    """Kind and step of each event of a run."""
    return [(event["kind"], event["step"]) for event in store.list_events(db, run_id)]


def losses(db: Database, run_id: str) -> list[float]:
    return [row[4] for row in store.metrics_after(db, run_id, 0)]  # type: ignore[misc]


def assert_measured(db: Database, run_id: str) -> None:
    """Each step of a finished LONG run is measured, evaluated and sampled exactly once, repeated ones left out."""
    run = store.get_run(db, run_id)
    assert (run["status"], run["step"], run["tokens"], run["error"]) == ("finished", 60, 60 * 256, None)
    assert steps(db, run_id) == list(range(1, 61))
    assert steps(db, run_id, "current_evals") == list(range(0, 61, 4))
    said = [row["step"] for row in store.list_samples(db, run_id)]
    assert sorted(said) == sorted(PROMPTS * list(range(0, 61, 5)))


def assert_whole(home: Home, db: Database, run_id: str) -> None:
    """The same, and of its weights those are there that retention keeps."""
    assert_measured(db, run_id)
    assert checkpoints(home, run_id) == [56, 60]
    on_disk = store.list_checkpoints(db, run_id)
    assert [row["step"] for row in on_disk if row["kind"] == "full"] == [56, 60]
    assert [row["step"] for row in on_disk if row["kind"] == "sampling"] == list(range(0, 61, 5))


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, now: bool = False) -> None:
    """Let the next run be asked to stop when it has made `step`."""
    add = Meter.add

    def added(self: Meter, at: int, *measured: Any) -> None:
        add(self, at, *measured)
        if at == step:
            self.recorder.stop.set()
            if now:
                self.recorder.stop_now.set()

    monkeypatch.setattr(Meter, "add", added)


def stop_in_answers(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the next run be asked to stop when it begins to answer the prompts at `step`."""
    ask = Questions.ask

    def cut(questions: Questions, *rest: Any) -> bool:
        if rest[-1] == step:
            questions.recorder.stop.set()
        return ask(questions, *rest)

    monkeypatch.setattr(Questions, "ask", cut)


def in_between(what: Callable[[], None]) -> threading.Thread:
    """Do something from outside while a run trains in this thread."""
    thread = threading.Thread(target=what)
    thread.start()
    return thread
