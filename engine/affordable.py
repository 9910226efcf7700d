"""How much of a run can be measured in seconds on a processor, and what the rest then costs. No torch."""

from dataclasses import dataclass, replace

from engine.config import RunConfig

PASS, STEP = 1.0, 2.0
"""Seconds that one forward and backward pass and a whole step may take by what a core is assumed to reach."""
SHORTEST = 64
"""Tokens below which a row is not cut."""
ORTHOGONAL = 30
"""Operations of Muon's five polynomials for each number of a matrix and each of its shorter side: 5 x (4 + 2)."""


@dataclass(frozen=True)
class Share:
    """What is measured of a run, and how many times its cost the whole has."""

    config: RunConfig
    passes: float = 1.0
    """Of the forward and backward passes of a step."""
    update: float = 1.0
    """Of what comes after them."""
    token: float = 1.0
    """Of one token that is read or written."""
    words: str = ""
    """What was left out, for example "4 of 8 rows"; empty where nothing was."""


def affordable(config: RunConfig, speed: float) -> Share:
    """The largest part of `config` whose step takes about STEP seconds at `speed` operations a second.

    First passes are left out, then rows of a pass, then layers, then the end of each row.
    """
    part = config
    if _step(part) > STEP * speed:
        part = _with(part, rows=config.train.micro_batch or config.rows_per_step, passes=1)
    while (rows := part.rows_per_step) > 1 and _pass(part) > PASS * speed:
        part = _with(part, rows=next(few for few in range(rows - 1, 0, -1) if rows % few == 0), passes=1)
    while part.model.layers > 1 and _step(part) > STEP * speed:
        part = _with(part, layers=part.model.layers // 2)
    while part.model.context // 2 >= SHORTEST and _pass(part) > PASS * speed:
        part = _with(part, context=part.model.context // 2)
    if part is config:
        return Share(config)
    token = config.model.flops_per_token / part.model.flops_per_token
    passes = token * config.train.batch_tokens / part.train.batch_tokens
    return Share(part, passes, config.model.layers / part.model.layers, token, _words(config, part))


def _step(config: RunConfig) -> float:
    """Operations of a step: all its passes, and Muon's products of the matrices inside the blocks."""
    model = config.model
    matrices = model.parameters - model.vocab_size * model.width
    return config.train.batch_tokens * model.flops_per_token + ORTHOGONAL * min(model.width, model.mlp_width) * matrices


def _pass(config: RunConfig) -> float:
    """Operations of one forward and backward pass."""
    return config.model.context * _rows(config) * config.model.flops_per_token


def _rows(config: RunConfig) -> int:
    return config.train.micro_batch or config.rows_per_step


def _with(config: RunConfig, rows: int = 0, passes: int = 0, layers: int = 0, context: int = 0) -> RunConfig:
    """The config with some sizes changed, and the batch of a step that goes with them."""
    model = config.model
    context = context or model.context
    model = replace(model, layers=layers or model.layers, context=context, window=min(model.window, context))
    rows = rows or _rows(config)
    passes = passes or config.rows_per_step // rows
    train = replace(config.train, micro_batch=rows, batch_tokens=passes * rows * context)
    return replace(config, model=model, train=train)


def _words(whole: RunConfig, part: RunConfig) -> str:
    sizes = (
        ("passes of a step", whole.rows_per_step // _rows(whole), part.rows_per_step // _rows(part)),
        ("rows of a pass", _rows(whole), _rows(part)),
        ("layers", whole.model.layers, part.model.layers),
        ("tokens of a row", whole.model.context, part.model.context),
    )
    return ", ".join(f"{some:,} of {all_:,} {name}" for name, all_, some in sizes if some != all_)
