"""What becomes of a run whose loss stops being a number, and which losses are worth a word. No torch.

The weights are safe by then: the step itself masks its update where loss or gradient are not finite (engine/optim.py).
Here the host learns of it, a little later, and does what `train.on_nonfinite` says.
"""

import math
import statistics
from collections import deque
from collections.abc import Callable

from engine.recorder import Recorder

MOST_SKIPPED = 20
"""Skipped steps in one stretch after which a run has diverged: the weights do not change while steps are skipped, so
what did not end by itself will not (assumption)."""
CALM = 10
"""Good steps that end a stretch of skipped ones; now and then a good one between bad ones is no recovery."""
MOST_ROLL_BACKS = 3
"""Times a run may go back; after them the learning rates are an eighth of what was asked for."""
WINDOW = 64
"""Steps a loss is compared with, and the fewest from one word about a spike to the next."""
SPIKE_DEVIATIONS, SPIKE_NATS = 8.0, 0.2
"""A spike lies this many standard deviations, and nats, above the window's median. The deviation is the median absolute
one (times 1.4826, which makes it a standard deviation for normal noise), so a spike does not hide the next one; nats,
because the noise of a long quiet run is small enough for harmless steps to pass any number of deviations. A falling
loss lags behind its median, so learning fast is never taken for a spike."""
ADVICE = "A lower learning rate (optimizer.muon_lr, optimizer.adamw_lr) usually helps."


class Diverged(RuntimeError):
    """The loss or the gradient is not a finite number any more; the message is one sentence for the person."""


class RollBack(Diverged):
    """The same at `step`, and the run is to go on from its last checkpoint with half the learning rates."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class Guard:
    """Looks at what steps measured, in order, and raises what the run's policy asks for."""

    def __init__(self, recorder: Recorder, policy: str, roll_backs: int = 0, *, skips_overflow: bool = False) -> None:
        """`roll_backs`: how often the run went back already. `skips_overflow`: an fp16 gradient that overflows skips
        its step and is no divergence."""
        self.recorder, self.policy, self.roll_backs, self.skips_overflow = recorder, policy, roll_backs, skips_overflow
        self._skipped: list[int] = []
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._quiet_until = 0

    def look(self, step: int, loss: float, grad_norm: float) -> None:
        """Judge one step; raises Diverged or RollBack where the policy does not let it pass."""
        if math.isfinite(loss) and (math.isfinite(grad_norm) or self.skips_overflow):
            if self._skipped and step - self._skipped[-1] > CALM:
                self.close()
            self._look_for_spike(step, loss)
        elif self.policy == "skip":
            self._skipped.append(step)
            if len(self._skipped) >= MOST_SKIPPED:
                raise Diverged(
                    f"The loss was no number in {len(self._skipped)} of the steps {self._skipped[0]:,} to {step:,}; "
                    f"skipping them did not help. {ADVICE}"
                )
        else:
            raise self.divergence("The loss", step)

    def divergence(self, what: str, step: int) -> Diverged:
        """The error that ends the attempt after `what`, a subject, stopped being a number."""
        what = f"{what} stopped being a number at step {step:,}"
        if self.policy == "roll-back" and self.roll_backs < MOST_ROLL_BACKS:
            return RollBack(
                f"{what}; the run goes back to its last checkpoint with half the learning rates "
                f"({self.roll_backs + 1} of at most {MOST_ROLL_BACKS} times).",
                step,
            )
        again = f", after going back {self.roll_backs} times" if self.roll_backs else ""
        return Diverged(f"{what}{again}; the last checkpoint before it is kept. {ADVICE}")

    def close(self) -> None:
        """Tell of the stretch of skipped steps that is over."""
        if not self._skipped:
            return
        first, last, count = self._skipped[0], self._skipped[-1], len(self._skipped)
        steps = f"Step {first:,} was" if count == 1 else f"{count} of the steps {first:,} to {last:,} were"
        self.recorder.event("skipped", f"{steps} left out: the loss or the gradient was no number.", last)
        self._skipped.clear()

    def _look_for_spike(self, step: int, loss: float) -> None:
        recent = self._recent
        if len(recent) == WINDOW and step >= self._quiet_until and loss - min(recent) > SPIKE_NATS:
            middle = statistics.median(recent)
            deviation = 1.4826 * statistics.median(abs(other - middle) for other in recent)
            if loss - middle > max(SPIKE_DEVIATIONS * deviation, SPIKE_NATS):
                self.recorder.event(
                    "spike",
                    f"The loss jumped to {loss:.3f} at step {step:,}; it was about {middle:.3f} in the {WINDOW} "
                    "steps before.",
                    step,
                )
                self._quiet_until = step + WINDOW
        recent.append(loss)


class Resumption:
    """Tells of a resume with the loss before and after it, once the first steps of the new attempt are measured."""

    STEPS = 4
    """Losses that are averaged on each side: one alone is mostly the noise of its batch."""

    def __init__(self, tell: Callable[[str, str, int], None], step: int, before: list[float]) -> None:
        """`tell` takes kind, message and step of the event; `before`: losses up to `step`, oldest first."""
        self.tell, self.step, self.before = tell, step, before[-self.STEPS :]
        self._after: list[float] = []
        self._told = False

    def look(self, loss: float) -> None:
        """Take in the loss of one more step."""
        if not self._told and math.isfinite(loss):
            self._after.append(loss)
            if len(self._after) == self.STEPS:
                self.close()

    def close(self) -> None:
        """Tell now, with what there is."""
        if self._told:
            return
        self._told = True
        sides = [
            f"{statistics.fmean(losses):.3f} {word}"
            for losses, word in ((self.before, "before"), (self._after, "after"))
            if losses
        ]
        self.tell(
            "resumed", f"Resumed from step {self.step:,}" + (f": loss {', '.join(sides)}" if sides else ""), self.step
        )
