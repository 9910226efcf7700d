"""What becomes of a run whose loss is no number, by policy; and which losses are worth a word."""

import math
import random
from itertools import pairwise

import pytest

from engine.guard import CALM, MOST_ROLL_BACKS, MOST_SKIPPED, WINDOW, Diverged, Guard, Resumption, RollBack

Event = tuple[str, str, int | None]


class Recorder:
    """A fake that remembers its events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, kind: str, message: str, step: int | None = None) -> None:
        self.events.append((kind, message, step))


def guarded(policy: str = "stop", roll_backs: int = 0) -> tuple[Guard, list[Event]]:
    recorder = Recorder()
    return Guard(recorder, policy, roll_backs), recorder.events  # type: ignore[arg-type]


def look(guard: Guard, losses: list[float], first: int = 1) -> None:
    for step, loss in enumerate(losses, first):
        guard.look(step, loss, 1.0)


def noisy(count: int, middle: float = 3.0, noise: float = 0.05, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [middle + dice.gauss(0, noise) for _ in range(count)]


def test_the_default_ends_the_run_at_the_first_bad_step() -> None:
    guard, events = guarded()

    with pytest.raises(
        Diverged, match="stopped being a number at step 3; the last checkpoint before it is kept"
    ) as end:
        look(guard, [3.0, 3.0, math.nan])

    assert not isinstance(end.value, RollBack) and events == []


def test_skipped_steps_are_told_as_one_stretch() -> None:
    guard, events = guarded("skip")

    look(guard, [3.0, math.nan, 3.0, math.inf, *[3.0] * CALM])
    assert events == []
    look(guard, [3.0], first=5 + CALM)
    guard.look(40, 3.0, math.nan)
    guard.close()

    assert events == [
        ("skipped", "2 of the steps 2 to 4 were left out: the loss or the gradient was no number.", 4),
        ("skipped", "Step 40 was left out: the loss or the gradient was no number.", 40),
    ]


@pytest.mark.parametrize("pattern", [[math.nan], [math.nan, 3.0]], ids=["every", "every second"])
def test_a_run_that_skips_without_end_has_diverged(pattern: list[float]) -> None:
    guard, _ = guarded("skip")

    with pytest.raises(Diverged, match=f"no number in {MOST_SKIPPED} of the steps 1 to") as end:
        look(guard, pattern * MOST_SKIPPED)

    assert not isinstance(end.value, RollBack)


def test_going_back_is_asked_for_a_few_times_only() -> None:
    for roll_backs in range(MOST_ROLL_BACKS):
        guard, _ = guarded("roll-back", roll_backs)
        with pytest.raises(RollBack, match=rf"half the learning rates \({roll_backs + 1} of at most") as asked:
            look(guard, [3.0, math.nan])
        assert asked.value.step == 2

    guard, _ = guarded("roll-back", MOST_ROLL_BACKS)
    with pytest.raises(Diverged, match=f"after going back {MOST_ROLL_BACKS} times") as end:
        look(guard, [3.0, math.nan])
    assert not isinstance(end.value, RollBack)


def test_a_spike_is_told_once_with_what_was_usual() -> None:
    guard, events = guarded()

    look(guard, [*noisy(100), 6.0, 6.1, 5.5, *noisy(100)])

    assert [(kind, step) for kind, _, step in events] == [("spike", 101)]
    assert events[0][1].startswith("The loss jumped to 6.000 at step 101; it was about 2.993 in the 64")


def test_a_spike_does_not_hide_the_next_one() -> None:
    guard, events = guarded()

    look(guard, [*noisy(100), 6.0, *noisy(WINDOW), 6.0])

    assert [step for _, _, step in events] == [101, 102 + WINDOW]


@pytest.mark.parametrize(
    "losses",
    [
        noisy(2000),
        [8.3 - 5 * (1 - math.exp(-step / 60)) + loss for step, loss in enumerate(noisy(1000, 0.0))],
        [3.0] * 100 + [3.1] * 100,
        [3.0 + 0.001 * step for step in range(1000)],
        [8.0, 300.0, 8.0],
    ],
    ids=["noise", "learning", "a small step", "a slow rise", "the very beginning"],
)
def test_what_training_usually_does_is_no_spike(losses: list[float]) -> None:
    guard, events = guarded()

    look(guard, losses)

    assert events == []


def test_however_wild_the_loss_spikes_are_no_flood() -> None:
    guard, events = guarded()

    look(guard, [2.0 if random.Random(step).random() < 0.8 else 9.0 for step in range(1000)])

    assert 1 <= len(events) <= 1000 // WINDOW
    assert all(later - earlier >= WINDOW for (_, _, earlier), (_, _, later) in pairwise(events))  # type: ignore[operator]


def test_a_resume_is_told_with_the_loss_on_both_sides() -> None:
    recorder = Recorder()
    resumption = Resumption(recorder.event, 400, [9.0, 3.9, 4.0, 3.8, 3.9])

    for loss in (3.8, math.nan, 3.9, 3.8):
        resumption.look(loss)
    assert recorder.events == []
    for loss in (3.9, 3.8):
        resumption.look(loss)
    resumption.close()

    assert recorder.events == [("resumed", "Resumed from step 400: loss 3.900 before, 3.850 after", 400)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [], "Resumed from step 0"),
        ([], [5.7], "Resumed from step 0: loss 5.700 after"),
        ([5.0], [], "Resumed from step 0: loss 5.000 before"),
    ],
)
def test_a_resume_that_ends_at_once_is_told_with_what_there_is(
    before: list[float], after: list[float], told: str
) -> None:
    recorder = Recorder()
    resumption = Resumption(recorder.event, 0, before)

    for loss in after:
        resumption.look(loss)
    resumption.close()

    assert recorder.events == [("resumed", told, 0)]
