"""Training speed of our model and loop beside transformers' same-size Qwen3ForCausalLM with torch's AdamW.

`python -m engine bench train [--preset P] [--device D] [--precision P] [--rows N] [--steps N] [--json]`

Both sides see the same tokens, batch, device and number format (fp32 masters; ours casts weights itself, the peer uses
autocast), and take turns step by step, so that a machine whose speed drifts is fair to both. Times are medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from engine.config import ModelConfig, RunConfig, load_preset
from engine.device import Place, choose_place
from engine.export import qwen3_config
from engine.model import Transformer
from engine.optim import Optimizers

Side = tuple[Callable[[], None], Callable[[], None]]
"""Forward with backward, and what the optimizer does afterwards."""


def our_side(config: RunConfig, place: Place, inputs: Tensor, targets: Tensor) -> Side:
    """The trainer's own model, loss, clipping and Muon + AdamW."""
    with place.device:
        model = Transformer(config.model, place.dtype)
    model.init_weights(config.train.seed)
    optimizers = Optimizers(model, config.optimizer, place.muon_dtype)
    if config.train.compile and place.device.type == "cuda":
        for block in model.layers:
            block.compile(dynamic=False)

    def learn() -> None:
        loss, *_ = model.loss(inputs, targets)
        torch.autograd.backward(loss / targets.numel())

    def update() -> None:
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
        optimizers.step(1.0, grad_norm.isfinite())
        optimizers.zero_grad()

    return learn, update


def peer_side(config: RunConfig, place: Place, inputs: Tensor, targets: Tensor) -> Side:
    """transformers' Qwen3 of the same shape, SDPA, fused AdamW."""
    model = qwen3(config.model).to(place.device)
    if config.train.compile and place.device.type == "cuda":
        model.compile(dynamic=False)
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def precision() -> AbstractContextManager[Any]:
        return nullcontext() if place.precision == "fp32" else torch.autocast(place.device.type, place.dtype)

    def learn() -> None:
        with precision():
            scores = model(input_ids=inputs, use_cache=False).logits
            loss = nn.functional.cross_entropy(scores.flatten(0, 1).float(), targets.flatten())
        loss.backward()  # type: ignore[no-untyped-call]

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
        adamw.step()
        adamw.zero_grad()

    return learn, update


def qwen3(shape: ModelConfig) -> nn.Module:
    """An untrained Qwen3ForCausalLM of this shape, tied, without dropout."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model: nn.Module = Qwen3ForCausalLM(
        Qwen3Config(**qwen3_config(shape), tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False)
    )
    return model.train()


def measure(sides: dict[str, Side], device: torch.device, steps: int, warmup: int = 2) -> dict[str, dict[str, float]]:
    """Median seconds of the parts `learn`, `update` and the whole `step` for each side, taking turns."""
    seconds: dict[str, dict[str, list[float]]] = {name: {"learn": [], "update": [], "step": []} for name in sides}

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    for turn in range(warmup + steps):
        for name, (learn, update) in sides.items():
            start = now()
            learn()
            middle = now()
            update()
            end = now()
            if turn >= warmup:
                for part, value in (("learn", middle - start), ("update", end - middle), ("step", end - start)):
                    seconds[name][part].append(value)
    return {
        name: {part: statistics.median(values) for part, values in parts.items()} for name, parts in seconds.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Print one table (or JSON) and return 0."""
    parser = argparse.ArgumentParser(prog="python -m engine bench train", description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", default="seedling")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--rows", type=int, default=0, help="rows of one step; default: the preset's")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    config = load_preset(arguments.preset, {"train.device": arguments.device, "train.precision": arguments.precision})
    place = choose_place(config.train)
    torch.set_flush_denormal(True)
    rows, context = arguments.rows or config.rows_per_step, config.model.context
    dice = torch.Generator().manual_seed(0)
    tokens = torch.randint(config.model.vocab_size, (rows, context + 1), generator=dice)
    inputs, targets = tokens[:, :-1].contiguous().to(place.device), tokens[:, 1:].contiguous().to(place.device)
    sides = {"blueberry": our_side(config, place, inputs, targets)}
    if not arguments.no_peer and config.model.activation == "swiglu" and config.model.experts == 1:
        sides["transformers"] = peer_side(config, place, inputs, targets)
    times = measure(sides, place.device, arguments.steps)
    report = summarise(config, place, rows, times)
    print(json.dumps(report) if arguments.json else table(report))
    return 0


def summarise(config: RunConfig, place: Place, rows: int, times: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Speeds and ratios from the measured times."""
    batch = rows * config.model.context
    report: dict[str, Any] = {
        "parameters": config.model.parameters,
        "tokens_per_step": batch,
        **place.describe(),
        "sides": {},
        "ratios": {},
    }
    for name, parts in times.items():
        report["sides"][name] = parts | {
            "tokens_per_second": batch / parts["step"],
            "tflops": batch / parts["step"] * config.model.flops_per_token / 1e12,
        }
    if place.device.type == "cuda":
        report["peak_gib"] = torch.cuda.max_memory_allocated(place.device) / 2**30
    if "transformers" in times:
        ours, peer = times["blueberry"], times["transformers"]
        report["ratios"] = {part: peer[part] / ours[part] for part in ours}
    return report


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{report['parameters'] / 1e6:.2f} M parameters, {report['tokens_per_step']:,} tokens a step, "
        f"{report['precision']} on {report['device_name']} ({report['threads']} threads), torch {report['torch']}",
        f"{'':14}{'fwd+bwd ms':>12}{'update ms':>12}{'step ms':>12}{'tok/s':>12}{'TFLOP/s':>10}",
    ]
    for name, side in report["sides"].items():
        lines.append(
            f"{name:14}{side['learn'] * 1e3:12.1f}{side['update'] * 1e3:12.1f}{side['step'] * 1e3:12.1f}"
            f"{side['tokens_per_second']:12,.0f}{side['tflops']:10.3f}"
        )
    if report["ratios"]:
        ratios = report["ratios"]
        lines.append(f"{'faster by':14}{ratios['learn']:11.2f}x{ratios['update']:11.2f}x{ratios['step']:11.2f}x")
    if "peak_gib" in report:
        lines.append(f"peak memory of all sides together {report['peak_gib']:.1f} GiB")
    lines.append("TFLOP/s counts 6 operations a weight and causal attention as causal (docs/LOG.md).")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
