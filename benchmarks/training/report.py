"""What was measured, as facts for programs and as a table for people."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.training.peaks import peak_tflops
from engine.config import RunConfig

CONVENTION = (
    "FLOPs: 6 for each weight that a token meets in a product, and causal attention as causal "
    "(6 x layers x context x width); MFU is their share of the device's dense peak."
)
SIZES = ("allocated", "reserved", "resident")
"""Peak memory of a side, in bytes: which of them there are depends on the device."""


def side_facts(config: RunConfig, steps: Sequence[dict[str, float]], peak: float | None) -> dict[str, float]:
    """Medians of the parts in seconds, and the speeds that follow."""
    parts = {
        name: statistics.median([step[name] for step in steps if name in step])
        for name in ("step", "learn", "clip", "update", "launch")
        if any(name in step for step in steps)
    }
    speed = config.train.batch_tokens / parts["step"]
    tflops = speed * config.model.flops_per_token / 1e12
    facts = parts | {"tokens_per_second": speed, "tflops": tflops}
    return facts | ({"mfu": tflops / peak} if peak else {})


def header(config: RunConfig, preset: str, facts: dict[str, Any], device: str) -> dict[str, Any]:
    """What holds for all lines; `facts` are a side's."""
    return {
        "preset": preset,
        "parameters": config.model.parameters,
        "context": config.model.context,
        "flops_per_token": config.model.flops_per_token,
        "convention": CONVENTION,
        "peak_tflops": None if device == "cpu" else peak_tflops(facts["device_name"], facts["precision"]),
        "device": device,
        **{key: facts[key] for key in ("device_name", "precision", "threads", "torch", "python")},
    }


def ratios(sides: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How many times as fast, and as small, ours is as the peer; nothing where one of them was not measured."""
    ours, peer = sides.get("blueberry", {}), sides.get("transformers", {})
    names = ("step", "learn", "clip", "update", "launch", *SIZES)
    return {name: peer[name] / ours[name] for name in names if name in ours and name in peer}


def overhead_facts(
    tokens: int, observed: Sequence[dict[str, float]], bare: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """Speed with and without all that is observed, and the share of it that this costs, from pairs of blocks."""
    facts: dict[str, Any] = {
        "observed": tokens / statistics.median(block["seconds"] for block in observed),
        "bare": tokens / statistics.median(block["seconds"] for block in bare),
    }
    for name, cost in (("seconds", "costs"), ("processor", "processor_costs")):
        facts[cost] = [1 - without[name] / with_it[name] for with_it, without in zip(observed, bare, strict=True)]
    return facts | {
        "cost": statistics.median(facts["costs"]),
        "processor_cost": statistics.median(facts["processor_costs"]),
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    device = report["device"]
    if report["peak_tflops"]:
        peak = f", peak {report['peak_tflops']:g} TFLOP/s dense"
    else:
        peak = "" if device == "cpu" else f", peak unknown in {report['precision']}"
    lines = [
        f"{report['preset']}: {report['parameters'] / 1e6:.2f} M parameters, context {report['context']:,}, "
        f"{report['precision']} on {report['device_name']}{peak}, {report['threads']} threads, torch {report['torch']}"
    ]
    for batch in report["batches"]:
        lines += ["", *_batch(batch, device)]
    for side, starts in report["first_step"].items():
        lines += [""] if side == next(iter(report["first_step"])) else []
        lines += [_start(side, kind, start) for kind, start in starts.items()]
    if "overhead" in report:
        lines += ["", _overhead(report["overhead"])]
    return "\n".join([*lines, "", report["peer"], report["convention"]])


def _batch(batch: dict[str, Any], device: str) -> list[str]:
    columns = {"step": "step ms", "learn": "fwd+bwd", "clip": "clip", "update": "optimizer"}
    columns |= {"launch": "launch"} if device == "cuda" else {}
    sizes = ("allocated", "reserved") if device == "cuda" else ("resident",)
    lines = [
        f"{batch['rows']} rows, {batch['tokens_per_step']:,} tokens a step",
        f"  {'':13}{'tok/s':>10}{'TFLOP/s':>10}{'MFU':>8}"
        + "".join(f"{name:>11}" for name in columns.values())
        + "".join(f"{size + ' GiB':>15}" for size in sizes),
    ]
    for name, side in batch["sides"].items():
        if "error" in side:
            lines.append(f"  {name:13}{side['error']}")
            continue
        share = f"{side['mfu']:.1%}" if "mfu" in side else "-"
        lines.append(
            f"  {name:13}{side['tokens_per_second']:10,.0f}{side['tflops']:10.3g}{share:>8}"
            + "".join(f"{side[column] * 1e3:11.2f}" for column in columns)
            + "".join(f"{side[size] / 2**30:15.2f}" for size in sizes)
        )
        lines += [f"  {'':13}{note}" for note in (*_how(batch, side), *side["notes"])]
    if batch["ratios"]:
        cells = "".join(f"{batch['ratios'][column]:10.2f}x" for column in columns)
        lines.append(f"  {'better by':13}{'':28}{cells}" + "".join(f"{batch['ratios'][size]:14.2f}x" for size in sizes))
    if not batch["together"]:
        lines.append("  One side after the other: both at once do not fit into memory.")
    return lines


def _how(batch: dict[str, Any], side: dict[str, Any]) -> list[str]:
    micro_batch = side["micro_batch"]
    return [f"{micro_batch} rows at a time"] if micro_batch and micro_batch < batch["rows"] else []


def _start(side: str, kind: str, start: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in start["parts"].items())
    return f"first step, {kind:5}{side:14}{start['seconds']:6.1f} s after the process began ({parts})"


def _overhead(overhead: dict[str, Any]) -> str:
    if "error" in overhead:
        return f"observed and stored: {overhead['error']}"
    return (
        f"observed and stored: {overhead['observed']:,.0f} tok/s, bare: {overhead['bare']:,.0f}; "
        f"cost {overhead['cost']:+.2%} (median of {len(overhead['costs'])} pairs of blocks, "
        f"{min(overhead['costs']):+.2%} to {max(overhead['costs']):+.2%}), {overhead['processor_cost']:+.2%} of the "
        "processor's time, which other programs disturb less"
    )
