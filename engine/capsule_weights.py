"""Weights in a stranger's capsule: their header says what is in them, and it must be what the settings describe.

The format is safetensors: the length of a header, the header as JSON, and numbers. Nothing in it is ever run. No torch.
"""

import math
import struct
from collections.abc import Iterator
from itertools import pairwise

from engine.capsule import parsed
from engine.config import ModelConfig
from engine.store import Refused

LARGEST_HEADER = 16 * 2**20
BYTES = 2
"""Of a bf16 number."""


def shapes(model: ModelConfig) -> dict[str, list[int]]:
    """The names and shapes of a model's weights."""
    width, head, fed = model.width, model.head_size, model.mlp_width
    many = [model.experts] if model.experts > 1 else []
    inside = "mlp.experts." if many else "mlp."
    parts = {
        "input_layernorm": [width],
        "self_attn.q_proj": [model.heads * head, width],
        "self_attn.k_proj": [model.kv_heads * head, width],
        "self_attn.v_proj": [model.kv_heads * head, width],
        "self_attn.o_proj": [width, model.heads * head],
        "self_attn.q_norm": [head],
        "self_attn.k_norm": [head],
        "post_attention_layernorm": [width],
        f"{inside}up_proj": [*many, fed, width],
        f"{inside}down_proj": [*many, width, fed],
    }
    parts |= {f"{inside}gate_proj": [*many, fed, width]} if model.activation == "swiglu" else {}
    parts |= {"mlp.gate": [model.experts, width]} if many else {}
    found = {"embed_tokens.weight": [model.vocab_size, width], "norm.weight": [width]}
    for layer in range(model.layers):
        found |= {f"layers.{layer}.{name}.weight": shape for name, shape in parts.items()}
    return found


def check_weights(blocks: Iterator[bytes], size: int, model: ModelConfig, where: str) -> None:
    """Raise Refused unless these are the bf16 weights of such a model and nothing else. Reads all blocks."""
    head = b""
    needed = 8
    for block in blocks:
        if len(head) < needed:
            head += block
            if len(head) >= 8 and needed == 8:
                needed = 8 + struct.unpack_from("<Q", head)[0]
                if needed > min(LARGEST_HEADER, size):
                    raise Refused(f"{where} is no safetensors file: its header would be {needed:,} bytes.")
    if len(head) < needed or needed == 8:
        raise Refused(f"{where} is no safetensors file, or only a part of one.")
    _check_header(parsed(head[8:needed], f"the header of {where}"), size - needed, model, where)


def _check_header(header: object, size: int, model: ModelConfig, where: str) -> None:
    if not isinstance(header, dict):
        raise Refused(f"{where} is no safetensors file: its header is not a group of tensors.")
    wanted = shapes(model)
    there = {name for name in header if name != "__metadata__"}
    if odd := sorted(set(wanted) ^ there):
        raise Refused(
            f"{where} holds another model than its settings describe: {odd[0][:80]!r} is missing or too much."
        )
    spans = []
    for name, shape in wanted.items():
        entry = header[name]
        if not isinstance(entry, dict) or entry.get("dtype") != "BF16" or entry.get("shape") != shape:
            raise Refused(f"{where}: {name} must be bf16 of shape {shape}, as the run's settings say.")
        span = entry.get("data_offsets")
        if not isinstance(span, list) or [type(part) for part in span] != [int, int]:
            raise Refused(f"{where}: {name} has no place in the file.")
        if span[1] - span[0] != BYTES * math.prod(shape):
            raise Refused(f"{where}: {name} has another size than its shape.")
        spans.append(span)
    spans.sort()
    if spans[0][0] or spans[-1][1] != size or any(one[1] != after[0] for one, after in pairwise(spans)):
        raise Refused(f"{where}: its tensors overlap, or leave gaps.")
