"""Speed of answers beside transformers' Qwen3ForCausalLM of the same shape and weights.

`python -m engine bench generate [--preset P] [--device D] [--prompt-tokens N] [--new-tokens N] [--rows 1,6] [--json]`

Random weights, the likeliest token each time, no early end; bf16 on a GPU, fp32 elsewhere. The peer is
`model.generate` with `cache_implementation="static"`, which compiles its decode step on a GPU by itself. Both take
turns; times are medians of whole answers, from the prompt's ids to the last token on the host. The first answer is
reported apart: it captures and compiles. On a CPU both take one core, as our answers always do.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from engine import decode_plain
from engine.ask import Ask
from engine.config import ConfigError, ModelConfig, load_preset
from engine.decode import Decoder
from engine.device import choose_place, cpu_name
from engine.export import qwen3_config, qwen3_weights
from engine.generate import Speaker, make_speaker, one_thread
from engine.model import Transformer


@dataclass
class Numbers:
    """A tokenizer whose texts are the ids themselves, and which knows no end."""

    ids: Sequence[int] = ()

    def encode(self, text: str) -> "Numbers":
        """The ids that a text of numbers names."""
        return Numbers([int(word) for word in text.split()])

    def decode(self, ids: Sequence[int]) -> str:
        """The ids as numbers."""
        return " ".join(map(str, ids))

    def token_to_id(self, token: str) -> None:
        """No token ends an answer."""


def random_weights(shape: ModelConfig) -> dict[str, Tensor]:
    """bf16 weights of which none are zero."""
    model = Transformer(shape)
    model.init_weights(1)
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0.0, 0.02, generator=dice)
    return {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}


def our_side(shape: ModelConfig, weights: dict[str, Tensor], device: torch.device, plain: bool) -> Speaker:
    """A speaker as a trainer makes it; `plain`: without Triton's kernels."""
    words = cast(Tokenizer, Numbers())
    speaker = make_speaker(shape, weights, words, device, run_id="", attempt=1, step=0, tokens=0, weights_sha256="")
    if plain and speaker.decoder:
        object.__setattr__(speaker, "decoder", Decoder(speaker.model, decode_plain))
    return speaker


def peer_side(shape: ModelConfig, weights: dict[str, Tensor], device: torch.device) -> nn.Module:
    """transformers' model with the same weights; its embeddings hold our input scale, so that its head is apart."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    config = Qwen3Config(**qwen3_config(shape), attn_implementation="sdpa")
    model = Qwen3ForCausalLM(config).to(device, dtype).eval()
    model.load_state_dict(qwen3_weights(shape, weights, dtype))
    model.generation_config.cache_implementation = "static"
    model.generation_config.eos_token_id = None
    return cast(nn.Module, model)


def our_answer(speaker: Speaker, prompts: Tensor, new: int) -> Callable[[], list[list[int]]]:
    """Ids that ours says after each prompt."""
    asks = [Ask(prompt=" ".join(map(str, prompt)), max_tokens=new, temperature=0.0) for prompt in prompts.tolist()]
    return lambda: [[int(word) for word in piece.text.split()] for piece in speaker.answer(asks)]


def peer_answer(model: Any, prompts: Tensor, new: int, device: torch.device) -> Callable[[], list[list[int]]]:
    """Ids that transformers says after each prompt."""
    given = prompts.to(device)
    mask = torch.ones_like(given)

    def answer() -> list[list[int]]:
        said = model.generate(given, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0)
        return cast(list[list[int]], said[:, prompts.shape[1] :].tolist())

    return answer


def timed(answer: Callable[[], list[list[int]]]) -> tuple[float, list[list[int]]]:
    """Seconds of one answer, and its ids: these are on the host, so the device has finished."""
    start = time.perf_counter()
    said = answer()
    return time.perf_counter() - start, said


def measure(sides: dict[str, Callable[[], list[list[int]]]], turns: int) -> dict[str, dict[str, Any]]:
    """First answer, median of the later ones, and what was said."""
    found: dict[str, dict[str, Any]] = {}
    for name, answer in sides.items():
        first, said = timed(answer)
        # Compiled decoding records its graphs in the second call.
        second, _ = timed(answer)
        found[name] = {"first_seconds": first, "second_seconds": second, "said": said, "seconds": []}
    for _ in range(turns):
        for name, answer in sides.items():
            found[name]["seconds"].append(timed(answer)[0])
    for side in found.values():
        side["seconds"] = statistics.median(side["seconds"])
    return found


def agreement(ours: list[list[int]], theirs: list[list[int]]) -> int:
    """How many tokens of the first answer are the same before the first that is not."""
    pairs = list(zip(ours[0], theirs[0], strict=True))
    return next((place for place, (one, other) in enumerate(pairs) if one != other), len(pairs))


def report_of(given: argparse.Namespace) -> dict[str, Any]:
    """All that is measured, for programs."""
    config = load_preset(given.preset, {"train.device": given.device})
    shape, device = config.model, choose_place(config.train).device
    if shape.context < given.prompt_tokens + given.new_tokens:
        raise ConfigError(
            f"{given.prompt_tokens} + {given.new_tokens} tokens do not fit: "
            f"{given.preset} sees {shape.context} at once."
        )
    weights = random_weights(shape)
    speaker = our_side(shape, weights, device, given.plain)
    peer = None if given.no_peer or shape.activation != "swiglu" else peer_side(shape, weights, device)
    dice = torch.Generator().manual_seed(0)
    prompts = torch.randint(shape.vocab_size, (max(given.rows), given.prompt_tokens), generator=dice)
    report: dict[str, Any] = {
        "preset": given.preset,
        "parameters": shape.parameters,
        "prompt_tokens": given.prompt_tokens,
        "new_tokens": given.new_tokens,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "torch": torch.__version__,
        "step": speaker.decoder.backend.NAME if speaker.decoder else "the model, step by step",
        "sides": [],
    }
    alone: list[int] = []
    for rows in given.rows:
        sides = {"blueberry": our_answer(speaker, prompts[:rows], given.new_tokens)}
        if peer is not None and rows == given.rows[0]:
            sides["transformers"] = peer_answer(peer, prompts[:rows], given.new_tokens, device)
        with one_thread(device):
            found = measure(sides, given.turns)
        said = {name: side.pop("said") for name, side in found.items()}
        for name, side in found.items():
            speed = rows * given.new_tokens / side["seconds"]
            report["sides"].append({"side": name, "rows": rows, "tokens_per_second": speed} | side)
        if "transformers" in found:
            report["speed_ratio"] = found["transformers"]["seconds"] / found["blueberry"]["seconds"]
            report["same_tokens"] = agreement(said["blueberry"], said["transformers"])
            compiled = getattr(peer, "_last_compile_config", None)
            report["peer_compile"] = f"compiled, mode {compiled.mode}" if compiled else "not compiled"
        alone = alone or said["blueberry"][0]
        report["same_in_a_batch"] = report.get("same_in_a_batch", True) and said["blueberry"][0] == alone
    ours = [side["seconds"] for side in report["sides"] if side["side"] == "blueberry"]
    return report | {"batch_ratio": ours[-1] / ours[0]}


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{report['parameters'] / 1e6:.2f} M parameters, {report['prompt_tokens']} + {report['new_tokens']} tokens on "
        f"{report['device_name']}, torch {report['torch']}; ours: {report['step']}",
        f"{'':14}{'rows':>6}{'seconds':>10}{'tok/s':>10}{'first s':>10}{'second s':>10}",
    ]
    for side in report["sides"]:
        lines.append(
            f"{side['side']:14}{side['rows']:6}{side['seconds']:10.4f}{side['tokens_per_second']:10,.0f}"
            f"{side['first_seconds']:10.2f}{side['second_seconds']:10.3f}"
        )
    if "speed_ratio" in report:
        lines.append(
            f"{report['speed_ratio']:.2f}x the speed of transformers ({report['peer_compile']}); "
            f"the first {report['same_tokens']} of {report['new_tokens']} tokens are the same"
        )
    lines.append(
        f"the largest batch takes {report['batch_ratio']:.2f}x the time of the smallest; "
        f"the same tokens in a batch as alone: {report['same_in_a_batch']}"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print one table (or JSON) and return 0."""
    parser = argparse.ArgumentParser(prog="python -m engine bench generate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--preset", default="seedling")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rows", type=lambda text: [int(rows) for rows in text.split(",")], default=[1, 6])
    parser.add_argument("--turns", type=int, default=7, help="timed answers of each side")
    parser.add_argument("--plain", action="store_true", help="on a GPU: plain torch in place of Triton's kernels")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    report = report_of(given)
    print(json.dumps(report) if given.json else table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
