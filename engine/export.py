"""A run's model as a folder that transformers reads as Qwen3ForCausalLM, and back. Nothing here needs transformers.

The model is Qwen3's (Yang et al. 2025) but for one thing: the embeddings are multiplied by sqrt(width) on the way in.
So the folder has `embed_tokens` = scaled embedding and an untied `lm_head` = the embedding itself. The scaled numbers
are those that the model computes in fp32 at every forward pass, bit for bit: nothing is lost. In bf16 on disk (`dtype`)
they are rounded once more unless sqrt(width) is a power of two (width 256 or 1024, not 512).
"""

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sqlite_utils import Database
from tokenizers import Tokenizer
from torch import Tensor

from engine import store, tokenizer
from engine.checkpoint import CorruptCheckpoint, read_sampling, verify
from engine.config import ConfigError, ModelConfig, RunConfig, from_json
from engine.home import Home
from engine.space import reason
from engine.sync import sync

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
EMBEDDING, HEAD, PREFIX = "model.embed_tokens.weight", "lm_head.weight", "model."


@dataclass(frozen=True)
class Exported:
    """What was written: where, how much, and which weights."""

    path: Path
    bytes: int
    step: int
    dtype: str


def qwen3_config(shape: ModelConfig) -> dict[str, Any]:
    """The arguments of transformers' Qwen3Config for this shape; raises Refused where Qwen3 has no such model."""
    if shape.activation != "swiglu":
        raise store.Refused(
            "A model with model.activation = relu2 is no Qwen3, whose feed-forward part is gated (swiglu); "
            "it would need a format like transformers' Arcee with a norm on queries and keys."
        )
    return {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_base,
        "attention_bias": False,
        "use_sliding_window": bool(shape.window),
        "sliding_window": shape.window or None,
        "max_window_layers": 0 if shape.window else shape.layers,
    }


def qwen3_weights(shape: ModelConfig, weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Our named weights as those of an untied Qwen3ForCausalLM; raises Refused for weights that it does not have."""
    known = set(weight_names(shape))
    if others := sorted(set(weights) - known) or sorted(known - set(weights)):
        raise store.Refused(
            f"This is no dense Qwen3, for {others[0]} is in one of them only; a mixture of experts would be a Qwen3Moe."
        )
    embedding = weights["embed_tokens.weight"].float()
    named = {f"{PREFIX}{name}": weight.to(dtype).contiguous() for name, weight in weights.items()}
    # Multiplied in fp32 as the model does it, rounded only afterwards.
    named[EMBEDDING] = (embedding * math.sqrt(shape.width)).to(dtype).contiguous()
    named[HEAD] = embedding.to(dtype).clone()
    return named


def weight_names(shape: ModelConfig) -> list[str]:
    """The names of a dense model's weights, which are Qwen3's without the leading `model.`."""
    attention = ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")
    parts = [f"self_attn.{name}" for name in attention]
    parts += [f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")]
    parts += ["input_layernorm", "post_attention_layernorm"]
    layers = [f"layers.{number}.{part}.weight" for number in range(shape.layers) for part in parts]
    return ["embed_tokens.weight", *layers, "norm.weight"]


def export(home: Home, db: Database, run_id: str, step: int | None, out: Path, dtype: str = "fp32") -> Exported:
    """Write the model of a run at `step` (None: the newest weights) to the new folder `out`, whole or not at all.

    Raises Refused with a sentence: `out` is not empty, the model is no Qwen3, or its weights are not there or damaged.
    """
    out = out.expanduser().absolute()
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise store.Refused(f"{out} is there already and not empty; name a new folder.")
    run = store.get_run(db, run_id)
    if run["kind"] == "published":
        raise store.Refused(f"The weights of {run['name']} were not published here.")
    config = from_json(store.get_config(db, run_id))
    shape = qwen3_config(config.model)
    row = _chosen(db, run, step)
    try:
        weights = qwen3_weights(config.model, _read(home, run, row), DTYPES[dtype])
        words = home.tokenizer(run_id)
        files = _texts(config, shape, tokenizer.load(words), tokenizer.end_of(words), dtype)
        files["README.md"] = _card(run, config, row, store.last_eval(db, run_id, row["step"]), dtype)
        size = _write(out, weights, files, words)
    except OSError as error:
        raise store.Refused(f"{run['name']} could not be exported to {out}: {reason(error)}.") from error
    return Exported(out, size, row["step"], dtype)


def from_qwen3(folder: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Shape and fp32 weights from a folder that `export` wrote; raises Refused for any other Qwen3.

    Ours are the models whose embeddings are sqrt(width) times their head.
    """
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        told.setdefault(
            "rope_theta", told.get("rope_parameters", {}).get("rope_theta")
        )  # where transformers 5 keeps it
        named = {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}
        shape = ModelConfig(
            layers=told["num_hidden_layers"],
            width=told["hidden_size"],
            heads=told["num_attention_heads"],
            kv_heads=told["num_key_value_heads"],
            mlp_width=told["intermediate_size"],
            context=told["max_position_embeddings"],
            vocab_size=told["vocab_size"],
            rope_base=told["rope_theta"],
            norm_eps=told["rms_norm_eps"],
            window=told["sliding_window"] or 0,
        )
        if told != told | qwen3_config(shape):
            raise ConfigError("its heads or its window have another form than ours.")
        scaled, head = named.pop(EMBEDDING), named.pop(HEAD)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise store.Refused(
            f"{folder} holds no Qwen3 that was exported from here ({type(error).__name__}: {error})."
        ) from error
    # Two numbers rounded to bf16 differ by at most one part in 128.
    if not torch.allclose(scaled, head * math.sqrt(shape.width), rtol=1 / 128, atol=0.0):
        raise store.Refused(f"The embeddings in {folder} are not its head times the square root of its width.")
    weights = {name.removeprefix(PREFIX): weight for name, weight in named.items()} | {"embed_tokens.weight": head}
    if others := sorted(set(weights) ^ set(weight_names(shape))):
        raise store.Refused(f"The weights in {folder} are not those of its config.json: {others[0]}.")
    return shape, weights


def _chosen(db: Database, run: store.Row, step: int | None) -> store.Row:
    """The row of the weights at `step`: fp32 from a checkpoint, else the bf16 ones kept for what they said."""
    on_disk = store.list_checkpoints(db, run["id"])
    if not on_disk:
        raise store.Refused(f"{run['name']} has no weights on disk, so there is nothing to export.")
    wanted = on_disk[-1]["step"] if step is None else step
    found = [row for row in on_disk if row["step"] == wanted]
    if not found:
        steps = sorted({row["step"] for row in on_disk})
        raise store.Refused(
            f"{run['name']} has no weights of step {wanted}; there are {', '.join(map(str, steps[-12:]))}."
        )
    return next((row for row in found if row["kind"] == "full"), found[0])


def _read(home: Home, run: store.Row, row: store.Row) -> dict[str, Tensor]:
    """The weights that a row of `checkpoints` stands for, in the format they are kept in."""
    path = home.run(run["id"]) / row["path"]
    try:
        if row["kind"] == "full":
            verify(path)
            numbers: dict[str, Tensor] = load_file(path / "model.safetensors")
            return numbers
        weights, digest = read_sampling(path)
    except (CorruptCheckpoint, SafetensorError) as error:
        raise store.Refused(
            f"The weights of {run['name']} at step {row['step']} cannot be exported: {error}"
        ) from error
    if digest != row["sha256"]:
        raise store.Refused(f"The weights of {run['name']} at step {row['step']} have changed since they were saved.")
    return weights


def _texts(config: RunConfig, shape: dict[str, Any], words: Tokenizer, ending: str, dtype: str) -> dict[str, str]:
    """The small JSON files by name."""
    end = tokenizer.separator_id(words, ending)
    how = config.sample
    picking = {"do_sample": True, "temperature": how.temperature, "top_k": how.top_k, "top_p": how.top_p}
    found = {
        "config.json": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
        | shape
        | {
            "tie_word_embeddings": False,
            "eos_token_id": end,
            "pad_token_id": end,
            "torch_dtype": str(DTYPES[dtype]).removeprefix("torch."),
        },
        "generation_config.json": {"eos_token_id": end, "pad_token_id": end}
        | (picking if how.temperature else {"do_sample": False}),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.model.context,
            "eos_token": ending,
            "pad_token": ending,
            "clean_up_tokenization_spaces": False,
        },
    }
    return {name: json.dumps(tree, indent=2) + "\n" for name, tree in found.items()}


def _card(run: store.Row, config: RunConfig, row: store.Row, measured: store.Row | None, dtype: str) -> str:
    """The model card: what it is, what it was trained on, how to ask it."""
    m, kept = config.model, "fp32 weights" if row["kind"] == "full" else "weights kept in bf16"
    facts = {
        "Parameters": f"{m.parameters:,}, and the head once more: it is stored beside the scaled embedding",
        "Shape": f"{m.layers} layers, width {m.width}, {m.heads} query and {m.kv_heads} key/value heads, "
        f"feed-forward {m.mlp_width}, context {m.context:,}, vocabulary {m.vocab_size:,}",
        "Trained on": f"{row['tokens']:,} tokens of {config.data.dataset} ({row['step']:,} steps of "
        f"{config.train.batch_tokens:,}), tokenizer {Path(config.data.tokenizer).name}",
        "Recipe": f"preset {run['preset']}, Muon {config.optimizer.muon_lr:g}, AdamW {config.optimizer.adamw_lr:g}, "
        f"seed {config.train.seed}",
        "This file": f"step {row['step']:,}, {kept}, stored as {dtype}",
    }
    if measured:
        facts["Validation"] = (
            f"loss {measured['val_loss']:.4f} nats a token, {measured['val_bits_per_byte']:.4f} bits per byte, "
            f"{measured['val_accuracy']:.2%} of the tokens guessed right"
        )
    lines = [f"| {name} | {text} |" for name, text in facts.items()]
    return "\n".join(
        [
            "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---",
            f"# {run['name']}\n",
            "A small language model trained from scratch with Blueberry Studio.\n",
            "| | |\n|---|---|",
            *lines,
            "\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n",
            'model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")',
            'ids = tokenizer("Once upon a time", return_tensors="pt")',
            "print(tokenizer.decode(model.generate(**ids, max_new_tokens=80)[0]))\n```",
            "\nIt learned to continue text, not to tell the truth.\n",
        ]
    )


def _write(out: Path, weights: dict[str, Tensor], files: dict[str, str], words: Path) -> int:
    """Write all of it to a folder beside `out`, then rename; returns the bytes."""
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        shutil.copyfile(words, temporary / "tokenizer.json")
        for name, text in files.items():
            (temporary / name).write_text(text, encoding="utf-8")
        written = list(temporary.iterdir())
        for path in (*written, temporary):
            sync(path)
        size = sum(path.stat().st_size for path in written)
        temporary.replace(out)  # an empty folder gives way
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # half an export only fills a full disk further
        raise
    sync(out.parent)
    return size
