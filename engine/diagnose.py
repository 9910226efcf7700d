"""What looks wrong about how a model learns: a sentence with the reason and what to do. No torch.

Nothing here stops a run or changes it. A finding is told once, as an event, and is in the run's newest look as long as
it holds. The limits were chosen between healthy and broken runs (docs/LOG.md).
"""

import itertools
import json
import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.config import RunConfig
from engine.schedule import learning_rate_factor

KIND = "health"
"""The kind of the event that tells of a finding."""
RECENT = 20
"""Steps whose median loss counts: single ones are mostly the noise of their batch."""
STILL = 0.1
"""Nats by which the loss falls from one such number of steps to the next where it still learns."""
FAST, SLOW = 0.25, 0.001
"""Shares of themselves that a step at the full rate moves matrices by, above and below which the rate looks wrong."""
EARLY = 0.2
"""Share of the steps in which these are judged: later the weights have grown, or the rate has been lowered."""
ROSE = 0.3
"""Nats by which the loss may rise in the first steps."""
FIRST_STEPS = 16
LARGE_STEP = 0.02
"""Share of all tokens from which on a single step is a large one."""
UNLEARNED = 0.15
"""Nats below what counting single tokens gives that a model which reads its context has passed soon."""
SOON_STEPS, SOON_SHARE = 300, 0.25
"""When that is: after so many steps, or this share of a shorter run."""
IDLE = 0.05
"""Share of what an even spread would give it, below which an expert hardly works."""
IDLE_EVALUATIONS = 3
"""Evaluations in a row in which the same expert must be idle: in a run's first steps they take turns."""
LARGE_SCORE = 100.0
"""Attention scores before the softmax from which on one position takes everything, and bf16 loses whole units."""


@dataclass(frozen=True)
class Group:
    """One group of weights in one step."""

    gradient: float
    """Length of its gradient, before clipping."""
    weight: float
    """Root mean square of its weights before the update."""
    ratio: float
    """Root mean square of the update, as a share of that of the weights; 0 where all weights were 0."""


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong."""

    kind: str
    sentence: str


def token_entropy(tokens: npt.NDArray[Any], most: int = 4_000_000) -> float:
    """Nats a token that guessing by how often each token occurs would cost: a model that reads its context is better.

    Counted over the first `most` of `tokens` [n].
    """
    counts = np.bincount(np.asarray(tokens[:most]))
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


class Diagnosis:
    """Takes in what a run measures, and tells what looks wrong."""

    def __init__(
        self,
        config: RunConfig,
        entropy: float,
        record: Callable[..., None],
        tell: Callable[[str, str, int], None],
        told: set[str] | None = None,
    ) -> None:
        """`entropy`: see `token_entropy`. `record` stores a look: step, tokens, groups, attention, findings.

        `tell` takes kind, sentence and step of an event; `told`: kinds of findings that an earlier attempt told.
        """
        self.config, self.entropy, self.record, self.tell = config, entropy, record, tell
        self.told = set(told or ())
        self._recent: deque[float] = deque(maxlen=2 * RECENT)
        self._first: float | None = None
        self._highest, self._step = -math.inf, 0
        self._loads: deque[list[list[float]]] = deque(maxlen=IDLE_EVALUATIONS)
        self._speeds: list[float] = []
        """How fast the matrices moved at each look so far in which that is judged, as at the full rate."""
        self._at_zero: set[str] = set()

    def loss(self, step: int, loss: float) -> None:
        """The loss of one more step."""
        if not math.isfinite(loss):
            return
        self._recent.append(loss)
        if self._first is None:
            self._first = loss
        if step <= FIRST_STEPS:
            self._highest = max(self._highest, loss)
        self._step = step

    def loads(self, loads: str | None) -> None:
        """The shares of the experts at an evaluation, as JSON of a list for each layer; None in a dense model."""
        if loads:
            self._loads.append(json.loads(loads))

    def look(self, step: int, groups: Mapping[str, Group], attention: list[float]) -> None:
        """What was seen of the update that made `step`: store it, and tell what is new about it."""
        if step == 1:
            self._at_zero = {name for name, group in groups.items() if group.weight == 0}
        self._note_speed(step, groups)
        found = self.findings(step, attention)
        self.record(
            step=step,
            tokens=step * self.config.train.batch_tokens,
            groups=json.dumps({name: asdict(group) for name, group in groups.items()}),
            attention=json.dumps(attention),
            findings=json.dumps([asdict(one) for one in found]),
        )
        for one in found:
            if one.kind not in self.told:
                self.told.add(one.kind)
                self.tell(KIND, one.sentence, step)

    def findings(self, step: int, attention: list[float]) -> list[Finding]:
        """What looks wrong now, the likeliest cause first; a cause hides what follows from it."""
        rate = self._rate()
        learning = [] if rate else [*self._first_steps(step), *self._unlearned(step)]
        return [*rate, *learning, *self._idle_experts(), *large_scores(attention)]

    def _note_speed(self, step: int, groups: Mapping[str, Group]) -> None:
        total = self.config.total_steps
        factor = learning_rate_factor(step - 1, total, self.config.schedule)
        if factor < 0.1 or step > max(FIRST_STEPS, EARLY * total):  # 0 where a person has moved the end of the run
            return
        moved = [
            group.ratio / factor
            for name, group in groups.items()
            # Those that began at zero have no size to compare with for long; AdamW's groups are another matter.
            if name.startswith(("self_attn.", "mlp.")) and name not in self._at_zero and group.gradient > 0
        ]
        if moved:
            self._speeds.append(statistics.median(moved))

    def _rate(self) -> list[Finding]:
        rate, speeds = self.config.optimizer.muon_lr, self._speeds
        pairs = list(itertools.pairwise(speeds))
        if any(min(pair) > FAST for pair in pairs):  # a single look may be chance
            return [
                Finding(
                    "rate-high",
                    f"Single steps changed the matrices by {max(speeds):.0%} of themselves, where 1 to 5% are usual: "
                    f"the learning rate looks too high (optimizer.muon_lr = {rate:g}; try {rounded(rate / 20)}).",
                )
            ]
        if pairs and max(speeds) < SLOW:
            return [
                Finding(
                    "rate-low",
                    f"Single steps changed the matrices by {max(speeds):.2%} of themselves, where 1 to 5% are usual: "
                    f"the learning rate looks too low (optimizer.muon_lr = {rate:g}; try {rounded(rate * 50)}).",
                )
            ]
        return []

    def _rose(self) -> bool:
        return self._first is not None and self._highest > self._first + ROSE

    def _first_steps(self, step: int) -> list[Finding]:
        """A run that begins at the full rate, and suffers from it or has no steps to lose."""
        config, total = self.config, self.config.total_steps
        if step < min(FIRST_STEPS, total) // 2 or learning_rate_factor(0, total, config.schedule) <= 0.5 or total < 2:
            return []
        share = config.train.batch_tokens / config.train.tokens
        if not self._rose() and share < LARGE_STEP:
            return []
        why = (
            f"the loss rose from {self._first:.2f} to {self._highest:.2f} in the first steps"
            if self._rose()
            else f"each of its {total} steps reads {share:.0%} of all tokens, so that a bad first one costs much"
        )
        return [
            Finding(
                "warm-up",
                f"It began at the full learning rate, and {why}: let the rate rise first (schedule.warmup = "
                f"{config.schedule.warmup:g}; try 0.1), or make the steps smaller (train.batch_tokens = "
                f"{config.train.batch_tokens:,}).",
            )
        ]

    def _unlearned(self, step: int) -> list[Finding]:
        """No better than counting tokens, when a model that reads its context is long past that."""
        if step < min(SOON_STEPS, SOON_SHARE * self.config.total_steps) or len(self._recent) < 2 * RECENT:
            return []
        losses = list(self._recent)
        before, now = statistics.median(losses[:RECENT]), statistics.median(losses[RECENT:])
        if now < self.entropy - UNLEARNED or before - now > STILL:
            return []
        return [
            Finding(
                "unlearned",
                f"After {step:,} steps the loss is {now:.2f}, no better than counting how often each token occurs "
                f"({self.entropy:.2f}): what it reads does not help it to tell what follows, as if targets and text "
                "did not belong together; look at the dataset's documents.",
            )
        ]

    def _idle_experts(self) -> list[Finding]:
        if len(self._loads) < IDLE_EVALUATIONS:
            return []
        busiest = np.max(np.array(self._loads), axis=0)  # [layers, experts]: the most that each got lately
        of = busiest.shape[1]
        idle = (busiest < IDLE / of).sum(axis=1)
        worst, count, where = int(idle.argmax()), int(idle.max()), int((idle > 0).sum())
        if not count:
            return []
        return [
            Finding(
                "experts",
                f"{count} of {of} experts of layer {worst + 1} get hardly any text"
                f"{f', and {where - 1} other layers are alike' if where > 1 else ''}: the router has settled on the "
                f"others (train.balance_loss = {self.config.train.balance_loss:g}; try "
                f"{max(0.01, 3 * self.config.train.balance_loss):g}, in a new run).",
            )
        ]


def large_scores(attention: list[float]) -> list[Finding]:
    """Attention that looks at one place only, or is about to overflow."""
    largest = max(attention, default=0.0)
    if math.isfinite(largest) and largest <= LARGE_SCORE:
        return []
    layer = attention.index(largest) + 1 if math.isfinite(largest) else 1
    return [
        Finding(
            "attention",
            f"Attention scores of layer {layer} reach {largest:,.0f}, where up to {LARGE_SCORE:.0f} are usual: single "
            "positions take all of it, and training may become unstable; a lower optimizer.adamw_lr keeps the gains "
            "of queries and keys smaller.",
        )
    ]


def rounded(value: float) -> str:
    """A number with one significant digit, as people set rates."""
    return f"{float(f'{value:.1g}'):g}"
