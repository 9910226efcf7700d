"""What steps measured is read in bunches, honest about speed, and stops a run whose loss is no number."""

import math
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import tiny_config

from engine import meter as module
from engine.guard import Diverged, Guard, Resumption
from engine.meter import Meter

BATCH = 256


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


class Recorder:
    """A fake that remembers what it is told."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.events: list[tuple[str, str, int | None]] = []
        self.now: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.stop, self.pause = threading.Event(), threading.Event()

    def add(self, table: str, **row: Any) -> None:
        assert table == "metrics"
        self.rows.append(row)

    def event(self, kind: str, message: str, step: int | None = None) -> None:
        self.events.append((kind, message, step))

    def state(self, **values: Any) -> None:
        self.now |= values
        self.history.append(values)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def metered(
    step: int = 0, elapsed: float = 0.0, policy: str = "stop", resumption: bool = False, **settings: Any
) -> tuple[Meter, Recorder]:
    recorder = Recorder()
    guard = Guard(recorder, policy, **settings)  # type: ignore[arg-type]
    resumed = Resumption(recorder.event, step, [3.0, 4.0]) if resumption else None
    return Meter(recorder, tiny_config(), step, elapsed, guard, resumed), recorder  # type: ignore[arg-type]


def go(meter: Meter, clock: Clock, step: int, loss: float = 2.0, norm: float = 1.0, seconds: float = 0.1) -> None:
    clock.now += seconds
    meter.add(step, 0.02, torch.tensor(loss), torch.tensor(norm))


def test_steps_are_recorded_in_order_with_what_they_measured(clock: Clock) -> None:
    meter, recorder = metered()

    for step in (1, 2, 3):
        go(meter, clock, step, loss=5.0 - step)
    meter.read()

    columns = ("step", "tokens", "train_loss", "grad_norm", "learning_rate")
    assert [tuple(row[column] for column in columns) for row in recorder.rows] == [
        (step, step * BATCH, 5.0 - step, 1.0, 0.02) for step in (1, 2, 3)
    ]
    assert recorder.now["step"] == 3 and recorder.now["tokens"] == 3 * BATCH and recorder.now["train_loss"] == 2.0


def test_the_device_is_read_now_and_then_only(clock: Clock) -> None:
    meter, recorder = metered()

    go(meter, clock, 1, seconds=0.1)
    go(meter, clock, 2, seconds=0.1)
    assert recorder.rows == []
    go(meter, clock, 3, seconds=0.1)

    assert len(recorder.rows) == 3


def test_speed_is_tokens_over_the_time_since_the_last_look(clock: Clock) -> None:
    meter, recorder = metered()

    for step in (1, 2, 3, 4):
        go(meter, clock, step, seconds=0.2)

    assert [row["tokens_per_second"] for row in recorder.rows] == pytest.approx([BATCH / 0.2] * 4)


def test_time_spent_otherwise_is_no_training_time_but_time_of_the_run(clock: Clock) -> None:
    meter, recorder = metered(elapsed=50.0)
    go(meter, clock, 1, seconds=0.3)

    with meter.phase("sampling", "Answering the prompts"):
        assert (recorder.now["phase"], recorder.now["message"]) == ("sampling", "Answering the prompts")
        clock.now += 60.0
    assert (recorder.now["phase"], recorder.now["message"]) == ("training", "")
    go(meter, clock, 2, seconds=0.3)

    assert [row["tokens_per_second"] for row in recorder.rows] == pytest.approx([BATCH / 0.3] * 2)
    assert meter.elapsed_seconds == pytest.approx(50.0 + 60.6)
    assert recorder.rows[1]["elapsed_seconds"] == pytest.approx(110.6)


def test_a_pause_counts_for_nothing(clock: Clock) -> None:
    meter, recorder = metered()
    go(meter, clock, 1, seconds=0.3)
    recorder.pause.set()

    def end_of_pause(timeout: float) -> bool:
        assert recorder.now["status"] == "paused"
        clock.now += 100.0
        recorder.pause.clear()
        return False

    recorder.stop = SimpleNamespace(wait=end_of_pause)  # type: ignore[assignment]
    meter.wait_while_paused()
    go(meter, clock, 2, seconds=0.3)

    assert recorder.now["status"] == "running"
    assert [row["tokens_per_second"] for row in recorder.rows] == pytest.approx([BATCH / 0.3] * 2)
    assert meter.elapsed_seconds == pytest.approx(0.6)
    assert recorder.now["eta_seconds"] == pytest.approx(22 * 0.3)


def test_a_stop_ends_a_pause(clock: Clock) -> None:
    meter, recorder = metered()
    recorder.pause.set()
    recorder.stop.set()

    meter.wait_while_paused()


def test_progress_and_what_is_left(clock: Clock) -> None:
    """The tiny run has 24 steps; this attempt began at step 8 and takes 2 seconds a step, evaluations included."""
    meter, recorder = metered(step=8, elapsed=16.0)

    go(meter, clock, 9, seconds=1.0)
    with meter.phase("evaluating", ""):
        clock.now += 2.0
    go(meter, clock, 10, seconds=1.0)

    assert recorder.now["progress"] == pytest.approx(10 / 24)
    assert recorder.now["eta_seconds"] == pytest.approx(14 * 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "norm"])
def test_a_number_that_is_none_ends_the_run_and_is_stored_as_nothing(clock: Clock, bad: float, where: str) -> None:
    meter, recorder = metered()
    go(meter, clock, 1)
    go(meter, clock, 2, loss=bad if where == "loss" else 2.0, norm=bad if where == "norm" else 1.0, seconds=0.01)
    go(meter, clock, 3, loss=math.nan, norm=math.nan, seconds=0.01)

    with pytest.raises(Diverged, match=r"step 2;.*kept.*lower learning rate"):
        meter.read()

    assert [row["step"] for row in recorder.rows] == [1, 2]
    assert recorder.rows[1]["train_loss" if where == "loss" else "grad_norm"] is None
    assert recorder.rows[1]["grad_norm" if where == "loss" else "train_loss"] is not None


def test_an_fp16_gradient_may_overflow_but_a_loss_may_not(clock: Clock) -> None:
    meter, recorder = metered(skips_overflow=True)

    go(meter, clock, 1, norm=math.inf, seconds=1.0)
    assert recorder.rows[0]["grad_norm"] is None and recorder.rows[0]["train_loss"] == 2.0

    with pytest.raises(Diverged):
        go(meter, clock, 2, loss=math.nan, seconds=1.0)


def test_a_bad_step_is_noticed_before_anything_is_saved(clock: Clock) -> None:
    meter, _ = metered()
    go(meter, clock, 1, loss=math.nan)
    saved = False

    with pytest.raises(Diverged), meter.phase("saving", ""):
        saved = True

    assert not saved


def test_nothing_to_read_is_no_trouble(clock: Clock) -> None:
    meter, recorder = metered()

    meter.read()

    assert recorder.history == []
