"""Which weights of a run may go and which stay. Nothing here touches the disk."""

from collections.abc import Collection, Mapping

from engine.config import CheckpointConfig


def removable_checkpoints(
    steps: Collection[int],
    rules: CheckpointConfig,
    val_losses: Mapping[int, float],
    exhibits: Collection[int] = (),
    ages: Collection[int] = (),
) -> list[int]:
    """The steps whose checkpoints may go, in order.

    `val_losses`: validation loss by step. `exhibits`: steps that said what the archive keeps; their checkpoint stays
    where no sampling weights (`ages`) can say it again.
    """
    ordered = sorted(steps)
    kept = set(ordered[-rules.keep :])
    if rules.keep_every:
        kept |= {step for step in ordered if step % rules.keep_every == 0}
    if rules.keep_best and (best := _best(ordered, val_losses)) is not None:
        kept.add(best)
    kept |= set(exhibits) - set(ages)
    return [step for step in ordered if step not in kept]


def removable_ages(ages: Collection[int], keep: int, exhibits: Collection[int] = ()) -> list[int]:
    """The steps whose sampling weights may go, in order: all but the newest `keep` (0 keeps all) and the exhibits'."""
    ordered = sorted(ages)
    return [step for step in ordered[:-keep] if step not in exhibits] if keep else []


def _best(steps: list[int], val_losses: Mapping[int, float]) -> int | None:
    """The step with the lowest loss in the newest evaluation up to it; the earlier one of equals."""
    judged: dict[int, float] = {}
    for step in steps:
        evaluated = max((at for at in val_losses if at <= step), default=None)
        if evaluated is not None:
            judged[step] = val_losses[evaluated]
    return min(judged, key=lambda step: judged[step], default=None)
