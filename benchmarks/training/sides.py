"""The two programs that are compared: our trainer's step, and one with transformers and torch's AdamW."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.accelerate import Tell, accelerate
from engine.attention import in_use
from engine.batches import Feed
from engine.config import ModelConfig, RunConfig
from engine.data import Rows
from engine.device import Place
from engine.export import qwen3_config
from engine.gradients import Gradients
from engine.model import Transformer
from engine.optim import Optimizers

END = 0
"""The token that is taken for the end of a document where attention stays within one."""


@dataclass(frozen=True)
class Side:
    """One optimizer step in three parts, none of which waits for the device."""

    learn: Callable[[], Tensor]
    """Forward and backward over all rows of the step; returns the mean loss, on the device."""
    clip: Callable[[], Tensor]
    """Shorten the gradient; returns its length before that, on the device."""
    update: Callable[[Tensor, Tensor], None]
    """The optimizer's step, given that loss and length."""
    facts: dict[str, str | int] = field(default_factory=dict)
    """What it runs on and how, as a run keeps it."""

    def step(self) -> tuple[Tensor, Tensor]:
        """All of it; returns loss and length."""
        loss = self.learn()
        length = self.clip()
        self.update(loss, length)
        return loss, length


def feed_of(config: RunConfig, place: Place, micro_batch: int) -> Feed:
    """The trainer's way from tokens to the device, over a text of random ones: the same for both sides."""
    rows = 4 * config.rows_per_step + 64
    dice = np.random.default_rng(0)
    tokens = dice.integers(config.model.vocab_size, size=rows * config.model.context, dtype=np.uint32)
    text = Rows(tokens, config.model.context, config.train.seed)
    return Feed(text, place, config.rows_per_step, micro_batch, END if config.train.documents else None)


def our_side(config: RunConfig, place: Place, tell: Tell) -> Side:
    """What engine/train.py does in a step; `tell` takes what it could not do as fast as it should."""
    with place.device:
        model = Transformer(config.model, place.dtype)
    model.init_weights(config.train.seed)
    optimizers = Optimizers(model, config.optimizer, place.muon_dtype)
    scaler = torch.amp.GradScaler(place.device.type, enabled=place.precision == "fp16")
    gradients = Gradients(model, config.rows_per_step, config.train.balance_loss, scaler.scale)
    micro_batch = accelerate(model, optimizers, gradients, config, place, tell)
    feed, steps = feed_of(config, place, micro_batch), itertools.count()

    def learn() -> Tensor:
        return gradients.of(feed.step(next(steps)))[0]

    def clip() -> Tensor:
        scaler.unscale_(optimizers)
        return torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)

    def update(loss: Tensor, length: Tensor) -> None:
        scaler.step(optimizers, 1.0, loss.isfinite() & length.isfinite())
        scaler.update()

    attention = in_use(model.attention, config.model, config.train.documents, place.device, place.dtype)
    facts = place.describe(attention) | {
        "fused": model.fused,
        "recorded": gradients.recorded,
        "micro_batch": micro_batch,
    }
    return Side(learn, clip, update, facts)


def peer_side(config: RunConfig, place: Place, compiled: str = "no") -> Side:
    """transformers' Qwen3 of the same shape: its own loss, SDPA, autocast, fused AdamW.

    `compiled` on a GPU: the whole "model" with its loss, each of its "layers", or "no".
    """
    model = qwen3(config.model).to(place.device)
    if place.device.type == "cuda":
        parts = {"model": [model], "layers": list(model.get_submodule("model.layers").children()), "no": []}
        for part in parts[compiled]:
            part.compile(dynamic=False)
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler(place.device.type, enabled=place.precision == "fp16")
    micro_batch = config.train.micro_batch or config.rows_per_step
    feed, steps = feed_of(config, place, micro_batch), itertools.count()

    def precision() -> AbstractContextManager[Any]:
        return nullcontext() if place.precision == "fp32" else torch.autocast(place.device.type, place.dtype)

    def learn() -> Tensor:
        total = torch.zeros((), device=place.device)
        for batch in feed.step(next(steps)):
            with precision():
                # `labels` asks for the loss, `shift_labels` are the targets as they are.
                goal = {"labels": batch.targets, "shift_labels": batch.targets}
                mean = model(input_ids=batch.inputs, use_cache=False, **goal).loss
            loss = mean * (micro_batch / config.rows_per_step)
            torch.autograd.backward(scaler.scale(loss))
            total += loss.detach()
        return total

    def clip() -> Tensor:
        scaler.unscale_(adamw)
        return torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)

    def update(loss: Tensor, length: Tensor) -> None:
        scaler.step(adamw)
        scaler.update()
        adamw.zero_grad()

    return Side(learn, clip, update, place.describe() | {"micro_batch": micro_batch})


def qwen3(shape: ModelConfig) -> nn.Module:
    """An untrained Qwen3ForCausalLM of this shape, tied, without dropout."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model: nn.Module = Qwen3ForCausalLM(
        Qwen3Config(**qwen3_config(shape), tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False)
    )
    return model.train()
