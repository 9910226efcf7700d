"""The learning rate as a pure function of the step."""

import math

from engine.config import OptimizerConfig, ScheduleConfig


def learning_rate_factor(step: int, total_steps: int, schedule: ScheduleConfig) -> float:
    """Share of the highest learning rate used by optimizer step `step` (0-based) of `total_steps`.

    Rises linearly over the first `warmup` of the steps, holds, then falls to `final` over the last `decay` of them.
    The last step uses `final` itself only after the run would have ended: step `total_steps` is the end point.
    """
    warmup, decay = schedule.warmup * total_steps, schedule.decay * total_steps
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    remaining = total_steps - step
    if remaining >= decay or decay == 0:
        return 1.0
    left = max(0.0, remaining / decay)
    shape = left if schedule.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
    return schedule.final + (1.0 - schedule.final) * shape


def momentum(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Muon's momentum in optimizer step `step`: rises over the first `momentum_warmup` of the steps, then holds.

    While the first gradients turn quickly, a long memory of them points the wrong way (Jordan et al. 2024,
    modded-nanogpt).
    """
    risen = min(1.0, step / (config.momentum_warmup * total_steps)) if config.momentum_warmup else 1.0
    return config.momentum_start + (config.momentum - config.momentum_start) * risen
