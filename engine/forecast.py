"""Where a run is going: its final loss with a band, when it will be done, and how it stands beside another. No torch.

The loss is taken to be L0 + A x^-a - D d + V v: a power law in x, the learning rate summed over the steps so far (as
a share of what it is now), less a gain that comes as the rate falls (d: how far it is below its highest value). It is
equation 1 of Tissue, Wang and Wang (2024, "Scaling Law with Learning Rate Annealing") with the drop itself in place of
their second area, which needs no constant of time. v is 1 for a validation loss. For a given power a this is linear in
L0, A, D and V, so that their distribution after the observations is exact; the powers are weighed by how well they
explain them. What has not been seen yet, above all D before the rate falls, comes from the priors below.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Rate = Callable[[int], float]
LEAST_POWER, GREATEST_POWER, POWERS = 0.08, 1.5, 40
POWER, POWER_SPREAD = 0.45, 0.3
"""Prior of the power: its middle, and how far its logarithm spreads."""
GAIN, GAIN_SPREAD = 0.15, 0.12
"""Prior of what the fall of the rate to zero gains, in nats."""
GAP, GAP_SPREAD = 0.02, 0.06
"""Prior of the validation loss above that of the training text."""
LEFT, LEFT_SPREAD = 1.5, 1.5
"""Prior of what the power law could still gain for ever, in nats."""
MISFIT = 0.02
"""Nats by which a bin may lie beside a curve of this shape, beyond its noise."""
DRIFT = 0.03
"""Nats by which the shape itself is off when the run is e times as long as what was seen."""
EARLIEST = 0.3
"""Share of what was seen that is left out at its beginning: no power law begins at step 0."""
UNKNOWN = 0.15
"""Nats by which single steps scatter, where too few of them are in a bin to tell."""
FEWEST = 8
"""Bins without which nothing is said."""
BINS = 40
GRID = 2000
"""Steps at which the rate is looked at."""
BAND = 1.2816
"""Standard deviations on each side of a band that holds the truth in 80% of all cases."""


@dataclass(frozen=True)
class Curve:
    """A loss and its 80% band at some steps, in nats."""

    steps: Array
    loss: Array
    low: Array
    high: Array


def forecast(
    rate: Rate, total_steps: int, steps: Array, losses: Array, eval_steps: Array, val_losses: Array
) -> Curve | None:
    """The validation loss from now to step `total_steps`, or None where too little was seen.

    `rate` gives the share of the highest learning rate at a step, past or to come. `losses` [n] are training losses of
    `steps` [n]; `val_losses` [m] were measured after `eval_steps` [m].
    """
    seen = max(steps[-1] if len(steps) else 0.0, eval_steps[-1] if len(eval_steps) else 0.0)
    if seen >= total_steps:
        return None
    schedule = Schedule(rate, total_steps, seen)
    at, mean, spread, kind = observed(steps, losses, eval_steps, val_losses, seen)
    if len(at) < FEWEST:
        return None
    ahead = np.unique(np.linspace(seen, total_steps, 60))
    loss, deviation = posterior(schedule, at, mean, spread, kind, ahead)
    return Curve(ahead, loss, loss - BAND * deviation, loss + BAND * deviation)


class Schedule:
    """The learning rate over a run in the two quantities of the law."""

    def __init__(self, rate: Rate, total_steps: int, seen: float) -> None:
        self._grid = np.unique(np.concatenate([np.linspace(0, total_steps, GRID), [seen]]))
        factors = np.array([rate(int(step)) for step in self._grid])
        widths = np.diff(self._grid)
        self._sum = np.concatenate([[0.0], np.cumsum((factors[1:] + factors[:-1]) / 2 * widths)])
        self._drop = 1 - factors / np.maximum.accumulate(np.maximum(factors, 1e-9))
        self._now = float(np.interp(seen, self._grid, self._sum))

    def share(self, steps: Array) -> Array:
        """The rates summed up to `steps`, as a share of the sum up to now."""
        share: Array = np.interp(steps, self._grid, self._sum) / max(self._now, 1e-12)
        return share

    def drop(self, steps: Array) -> Array:
        """How far the rate is below its highest value so far, 0 to 1."""
        return np.interp(steps, self._grid, self._drop)


def observed(
    steps: Array, losses: Array, eval_steps: Array, val_losses: Array, seen: float
) -> tuple[Array, Array, Array, Array]:
    """What was measured, as few points: their steps, losses, standard deviations, and 1 where it is a validation."""
    good = np.isfinite(losses) & (steps > EARLIEST * seen)
    steps, losses = steps[good], losses[good]
    rows: list[tuple[float, float, float, float]] = []
    if len(steps):
        edges = np.geomspace(EARLIEST * seen, seen + 1, BINS + 1)
        place = np.digitize(steps, edges)
        for number in np.unique(place):
            part = losses[place == number]
            middle = float(np.median(part))  # of a spike it takes no notice
            noise = (
                1.4826 * float(np.median(np.abs(part - middle))) * 1.25 / math.sqrt(len(part))
                if len(part) > 4
                else 0.15
            )
            rows.append((float(steps[place == number].mean()), middle, math.hypot(noise, MISFIT), 0.0))
    for step, loss in zip(eval_steps, val_losses, strict=True):
        if np.isfinite(loss) and step > EARLIEST * seen:
            rows.append((float(step), float(loss), MISFIT, 1.0))
    table = np.array(rows or np.empty((0, 4))).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def posterior(
    schedule: Schedule, at: Array, mean: Array, spread: Array, kind: Array, ahead: Array
) -> tuple[Array, Array]:
    """Mean and standard deviation of the validation loss at the steps `ahead`."""
    newest = float(mean[np.argmax(at)])
    prior_mean = np.array([newest - LEFT, LEFT, GAIN, GAP])
    prior = np.diag(1 / np.array([LEFT_SPREAD, LEFT_SPREAD, GAIN_SPREAD, GAP_SPREAD]) ** 2)
    weight = 1 / spread**2
    evidence, means, variances = [], [], []
    for power in np.geomspace(LEAST_POWER, GREATEST_POWER, POWERS):
        known = design(schedule, at, kind, power)
        precision = known.T @ (known * weight[:, None]) + prior
        right = known.T @ (weight * mean) + prior @ prior_mean
        best = np.linalg.solve(precision, right)
        off = math.log(power / POWER) / POWER_SPREAD
        fit = float(best @ precision @ best) - np.linalg.slogdet(precision)[1]
        evidence.append(0.5 * fit - 0.5 * off * off)
        wanted = design(schedule, ahead, np.ones_like(ahead), power)
        means.append(wanted @ best)
        variances.append(np.einsum("ij,jk,ik->i", wanted, np.linalg.inv(precision), wanted))
    share = np.exp(np.array(evidence) - max(evidence))
    share /= share.sum()
    loss = share @ np.array(means)
    variance = share @ (np.array(variances) + np.array(means) ** 2) - loss**2
    further = DRIFT * np.log(np.maximum(schedule.share(ahead), 1.0))
    return loss, np.sqrt(np.maximum(variance, 0.0) + further**2 + (MISFIT / 2) ** 2)


def design(schedule: Schedule, steps: Array, kind: Array, power: float) -> Array:
    """The law's four columns at `steps`."""
    share = np.maximum(schedule.share(steps), 1e-6)
    return np.stack([np.ones_like(steps), share**-power, -schedule.drop(steps), kind], axis=1)


@dataclass(frozen=True)
class Remaining:
    """Seconds until a run will be done, as likely and with an 80% band."""

    seconds: float
    low: float
    high: float


BLOCKS = 20
"""Pieces into which the time so far is cut to see how evenly it went."""
FEWEST_BLOCKS = 4


def remaining(steps: Array, elapsed: Array, total_steps: int) -> Remaining | None:
    """How long the rest of the run takes at the paces so far, evaluations and saves and all.

    `elapsed` [n] are the seconds worked when `steps` [n] were done. None where too little was seen.
    """
    if len(steps) < 2 or steps[-1] >= total_steps:
        return None
    edges = np.linspace(elapsed[0], elapsed[-1], BLOCKS + 1)
    at = np.interp(edges, elapsed, steps)
    done = np.diff(at)
    if len(steps) < 2 * FEWEST_BLOCKS or edges[-1] <= edges[0] or np.count_nonzero(done > 0) < FEWEST_BLOCKS:
        return None
    left = total_steps - float(steps[-1])
    pace = (elapsed[-1] - elapsed[0]) / (steps[-1] - steps[0])
    paces = np.diff(edges)[done > 0] / done[done > 0]
    # What is left is an average of many blocks, but a machine that was slow for an hour may be so again: the band is
    # that of single blocks as far as these follow each other, which the number of blocks left cannot tell.
    low, high = np.quantile(paces, (0.1, 0.9))
    return Remaining(left * pace, left * min(pace, float(low)), left * max(pace, float(high)))


@dataclass(frozen=True)
class Standing:
    """How far a run is ahead of another, in nats of validation loss: positive is ahead. None: not known."""

    same_tokens: float | None
    same_minutes: float | None


def standing(own: tuple[Array, Array, Array], other: tuple[Array, Array, Array]) -> Standing:
    """Compare at the newest evaluation of `own`; each is tokens, seconds and losses of a run's evaluations [n]."""
    tokens, seconds, losses = own
    if not len(losses):
        return Standing(None, None)
    return Standing(
        ahead_at(float(tokens[-1]), float(losses[-1]), other[0], other[2]),
        ahead_at(float(seconds[-1]), float(losses[-1]), other[1], other[2]),
    )


def ahead_at(place: float, loss: float, places: Array, losses: Array) -> float | None:
    """The other's loss at `place`, read between its evaluations, less `loss`; None outside of what it has measured."""
    good = np.isfinite(losses) & np.isfinite(places)
    places, losses = places[good], losses[good]
    if not len(places) or not places[0] <= place <= places[-1]:
        return None
    return float(np.interp(place, places, losses)) - loss
