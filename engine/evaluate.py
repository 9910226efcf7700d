"""The validation loss: fixed rows of text the model is never trained on."""

import json
import math
from typing import Any

import torch
from torch import Tensor

from engine import tokenizer
from engine.batches import split
from engine.config import RunConfig
from engine.data import Dataset, validation_rows
from engine.device import Place, move
from engine.model import Transformer


class Validation:
    """The fixed rows every evaluation reads, and what they count as in bytes."""

    def __init__(self, dataset: Dataset, config: RunConfig, place: Place, rows: int, end: int | None = None) -> None:
        """`rows`: how many are read at once; `end`: what ends a document, where attention is to stay within one."""
        self.inputs, self.targets = validation_rows(
            dataset.val, config.model.context, config.eval.tokens, dataset.vocab_size
        )
        self.bytes = int(tokenizer.byte_lengths(tokenizer.read(dataset.tokenizer_path))[self.targets].sum())
        self.rows, self.end = rows, end
        self.place = place

    def text(self) -> Tensor:
        """The first row's tokens [1, context], on the device."""
        return move(torch.from_numpy(self.inputs[:1]), self.place)

    @torch.no_grad()
    def measure(self, model: Transformer) -> dict[str, Any]:
        """Loss in nats a token, accuracy, perplexity and bits per byte, in the precision of training.

        With experts also `expert_load`: for each layer the share of the text that each expert got, as JSON.
        """
        nats, correct = torch.zeros(2, dtype=torch.float64)
        loads = []
        for batch in split((self.inputs, self.targets), self.rows, self.place, self.end):
            here = batch.at(self.place)
            loss, hits, routing = model.loss(here.inputs, here.targets, here.bounds)
            nats, correct = nats + loss.cpu().double(), correct + hits.cpu().double()
            if routing:
                loads.append(routing.loads.cpu().double())
        loss_per_token = float(nats) / self.targets.size
        return {
            "val_loss": loss_per_token,
            "val_accuracy": float(correct) / self.targets.size,
            "val_perplexity": math.exp(min(loss_per_token, 700.0)),
            "val_bits_per_byte": float(nats) / math.log(2) / max(self.bytes, 1),
            "expert_load": json.dumps(torch.cat(loads, dim=1).mean(dim=1).tolist()) if loads else None,
        }
