"""The two programs that are compared: our trainer's step, and one with transformers and torch's AdamW."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.attention import choose_backend
from engine.config import ModelConfig, RunConfig
from engine.device import Place
from engine.export import qwen3_config
from engine.gradients import Batch, Gradients
from engine.model import Transformer
from engine.optim import Optimizers


@dataclass(frozen=True)
class Side:
    """One optimizer step in three parts, none of which waits for the device."""

    learn: Callable[[], Tensor]
    """Forward and backward over all rows of the step; returns the mean loss, on the device."""
    clip: Callable[[], Tensor]
    """Shorten the gradient; returns its length before that, on the device."""
    update: Callable[[Tensor, Tensor], None]
    """The optimizer's step, given that loss and length."""

    def step(self) -> tuple[Tensor, Tensor]:
        """All of it; returns loss and length."""
        loss = self.learn()
        length = self.clip()
        self.update(loss, length)
        return loss, length


def batch_of(config: RunConfig, place: Place) -> tuple[Tensor, Tensor]:
    """Inputs and targets [rows of a step, context] of one text of random tokens, the same for both sides."""
    dice = torch.Generator().manual_seed(0)
    tokens = torch.randint(config.model.vocab_size, (config.rows_per_step, config.model.context + 1), generator=dice)
    return tokens[:, :-1].contiguous().to(place.device), tokens[:, 1:].contiguous().to(place.device)


def our_side(config: RunConfig, place: Place, inputs: Tensor, targets: Tensor) -> Side:
    """What engine/train.py does in a step: on a GPU the fused kernels, recorded; on a CPU the model as it is."""
    with place.device:
        model = Transformer(config.model, place.dtype)
    model.init_weights(config.train.seed)
    model.attention = choose_backend(config.train.attention, place.device, place.dtype)
    optimizers = Optimizers(model, config.optimizer, place.muon_dtype)
    scaler = torch.amp.GradScaler(place.device.type, enabled=place.precision == "fp16")
    gradients = Gradients(model, scaler.scale, targets.numel())
    rows = config.train.micro_batch or config.rows_per_step
    batches = [Batch(*pair) for pair in zip(torch.split(inputs, rows), torch.split(targets, rows), strict=True)]
    if place.device.type == "cuda":
        model.fused = optimizers.muon.fused = True
        gradients.record(batches[0])

    def learn() -> Tensor:
        return gradients.of(batches) / targets.numel()

    def clip() -> Tensor:
        scaler.unscale_(optimizers)
        return torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)

    def update(loss: Tensor, length: Tensor) -> None:
        scaler.step(optimizers, 1.0, loss.isfinite() & length.isfinite())
        scaler.update()

    return Side(learn, clip, update)


def peer_side(config: RunConfig, place: Place, inputs: Tensor, targets: Tensor, compiled: str = "no") -> Side:
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
    rows = config.train.micro_batch or config.rows_per_step
    batches = list(zip(torch.split(inputs, rows), torch.split(targets, rows), strict=True))

    def precision() -> AbstractContextManager[Any]:
        return nullcontext() if place.precision == "fp32" else torch.autocast(place.device.type, place.dtype)

    def learn() -> Tensor:
        losses = []
        for tokens, goal in batches:
            with precision():
                # `shift_labels` are the targets as they are; `labels` asks for the loss.
                loss = model(input_ids=tokens, labels=goal, shift_labels=goal, use_cache=False).loss / len(batches)
            torch.autograd.backward(scaler.scale(loss))
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def clip() -> Tensor:
        scaler.unscale_(adamw)
        return torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)

    def update(loss: Tensor, length: Tensor) -> None:
        scaler.step(adamw)
        scaler.update()
        adamw.zero_grad()

    return Side(learn, clip, update)


def qwen3(shape: ModelConfig) -> nn.Module:
    """An untrained Qwen3ForCausalLM of this shape, tied, without dropout."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model: nn.Module = Qwen3ForCausalLM(
        Qwen3Config(**qwen3_config(shape), tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False)
    )
    return model.train()
