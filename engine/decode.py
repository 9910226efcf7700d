"""Fast answers on a GPU: a static cache, and one token of all rows as one CUDA graph, its choice included.

The host only reads which tokens came, and runs a little behind, so that the GPU never waits for it. What a step is
made of is in engine/decode_triton.py (five kernels a layer) or, where there is no Triton, in engine/decode_plain.py.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine import decode_plain
from engine.ask import Ask
from engine.model import MLP, Block, Transformer
from engine.pick import penalise, pick_rows

ROWS = 8
"""Batches are padded to a multiple of this, so that few shapes are captured."""
LENGTH = 256
"""The cache is as long as a multiple of this: what the longest answer needs, not the whole context."""
LEAD = 2
"""Steps that the GPU may be ahead of the host. A cancelled answer costs no more than these."""


def choose_backend(device: torch.device) -> ModuleType:
    """Triton's kernels where the GPU has bf16 products and Triton is installed; plain torch elsewhere."""
    modern = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if not modern or importlib.util.find_spec("triton") is None:
        return decode_plain
    from engine import decode_triton

    return decode_triton


@dataclass(frozen=True)
class _Layer:
    """A block's weights: what is multiplied by the same input is one matrix."""

    before_attention: Tensor
    heads: Tensor
    gains: tuple[Tensor, Tensor]
    output: Tensor
    before_mlp: Tensor
    up: Tensor
    down: Tensor

    @classmethod
    def of(cls, block: Block) -> "_Layer":
        attention, mlp = block.self_attn, cast(MLP, block.mlp)
        up = [mlp.gate_proj.weight, mlp.up_proj.weight] if mlp.gated else [mlp.up_proj.weight]
        return cls(
            before_attention=block.input_layernorm.weight,
            heads=_fuse(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight),
            gains=(attention.q_norm.weight, attention.k_norm.weight),
            output=attention.o_proj.weight,
            before_mlp=block.post_attention_layernorm.weight,
            up=_fuse(*up),
            down=mlp.down_proj.weight,
        )


def _fuse(*weights: nn.Parameter) -> Tensor:
    """One matrix from several; these become views of it, so that nothing is held twice."""
    whole = torch.cat([weight.data for weight in weights])
    for weight, part in zip(weights, torch.split(whole, [len(weight) for weight in weights]), strict=True):
        weight.data = part
    return whole


class Choice(NamedTuple):
    """What choosing a token takes: only the likeliest, and whether what has been said already counts."""

    greedy: bool
    penalised: bool = False

    @classmethod
    def of(cls, asks: Sequence[Ask]) -> "Choice":
        return cls(all(ask.temperature == 0 for ask in asks), any(ask.repetition_penalty != 1 for ask in asks))


class _Board:
    """What stays in its place on the device from one step to the next: cache, newest tokens, how each row is asked."""

    def __init__(self, model: Transformer, rows: int, length: int) -> None:
        config, device = model.config, model.embed_tokens.weight.device
        shape = (config.layers, rows, config.kv_heads, length, config.head_size)
        # Zeros, not anything: plain torch multiplies what is not there yet by nothing, and NaN would stay.
        keys, values = (torch.zeros(shape, dtype=model.compute_dtype, device=device) for _ in range(2))
        self.caches = list(zip(keys, values, strict=True))
        self.rows, self.length = rows, length
        self.numbers = torch.arange(rows, device=device)
        self.ids = torch.zeros(rows, dtype=torch.int64, device=device)
        self.positions = torch.zeros(rows, dtype=torch.int64, device=device)
        self.temperature = torch.zeros(rows, device=device)
        self.top_k = torch.ones(rows, dtype=torch.int64, device=device)
        self.top_p = torch.ones(rows, dtype=torch.float64, device=device)
        self.dice = torch.zeros(rows, dtype=torch.float64, device=device)
        self.least = torch.full((rows,), -math.inf, dtype=torch.float64, device=device)
        self.penalty = torch.ones(rows, device=device)
        self.seen = torch.zeros(rows, config.vocab_size, dtype=torch.bool, device=device)
        self.steps: dict[Choice, Callable[[], object]] = {}
        pinned = device.type == "cuda"
        self.chosen = torch.zeros(LEAD + 1, rows, dtype=torch.int64, pin_memory=pinned)
        self.thrown = torch.zeros(LEAD + 1, rows, dtype=torch.float64, pin_memory=pinned)

    def begin(self, asks: Sequence[Ask], vocabulary: int) -> None:
        """Set how each row is asked; rows without a question take the likeliest token of nothing."""
        idle = [0] * (self.rows - len(asks))
        self.temperature.copy_(torch.tensor([*(ask.temperature for ask in asks), *idle]))
        top_k = [min(ask.top_k or vocabulary, vocabulary) for ask in asks]
        self.top_k.copy_(torch.tensor([*top_k, *(1 for _ in idle)]))
        self.top_p.copy_(torch.tensor([*(ask.top_p for ask in asks), *(1.0 for _ in idle)], dtype=torch.float64))
        self.least.copy_(torch.tensor([*(ask.least for ask in asks), *(-math.inf for _ in idle)], dtype=torch.float64))
        self.penalty.copy_(torch.tensor([*(ask.repetition_penalty for ask in asks), *(1.0 for _ in idle)]))
        self.seen.zero_()

    def throw(self, slot: int, number: int, asks: Sequence[Ask]) -> None:
        """Send the draws for token `number` of each answer."""
        for row, ask in enumerate(asks):
            self.thrown[slot, row] = ask.dice(number)
        self.dice.copy_(self.thrown[slot], non_blocking=True)


class Decoder:
    """Makes the tokens of answers from a dense model's weights, which it lays out anew."""

    def __init__(self, model: Transformer, backend: ModuleType | None = None) -> None:
        self.model, self.config = model, model.config
        self.device = model.embed_tokens.weight.device
        self.backend = backend or choose_backend(self.device)
        self.layers = [_Layer.of(cast(Block, block)) for block in model.layers]
        self._board: _Board | None = None

    @staticmethod
    def suits(model: Transformer) -> bool:
        """Whether this is a model on a GPU without experts or a window; `Transformer.next_logits` asks the others."""
        dense = all(type(block.mlp) is MLP for block in model.layers)
        return dense and not model.config.window and model.embed_tokens.weight.device.type == "cuda"

    def rounds(self, prompts: Sequence[Sequence[int]], asks: Sequence[Ask]) -> Iterator[list[int]]:
        """The next token of every row, again and again until the longest answer is as long as it may be.

        Rows go on after their own end; whoever listens leaves that away, and stops when all have ended.
        """
        context = self.config.context
        most = [min(ask.max_tokens, context - len(ids)) for ids, ask in zip(prompts, asks, strict=True)]
        needed = max(len(ids) + new for ids, new in zip(prompts, most, strict=True))
        choice = Choice.of(asks)
        board = self._board_for(len(prompts), needed)
        advance = board.steps.get(choice) or self._capture(board, choice)
        board.steps[choice] = advance
        board.begin(asks, self.config.vocab_size)
        arrived = [_Moment(self.device) for _ in range(LEAD + 1)]
        try:
            for number in range(max(most) + LEAD):
                if number < max(most):
                    slot = number % (LEAD + 1)
                    if not choice.greedy:
                        board.throw(slot, number, asks)
                    if number:
                        advance()
                    else:
                        self._read(board, prompts, choice)
                    board.chosen[slot].copy_(board.ids, non_blocking=True)
                    arrived[slot].mark()
                if number >= LEAD:
                    slot = (number - LEAD) % (LEAD + 1)
                    arrived[slot].wait()
                    yield board.chosen[slot, : len(prompts)].tolist()
        finally:
            for moment in arrived:  # nothing of this answer goes on when the next one writes on the board
                moment.wait()

    def _board_for(self, rows: int, length: int) -> _Board:
        """The board of the last answers if these fit on it, else a new one."""
        rows = -(-rows // ROWS) * ROWS
        # Torch's products round by their shape: with them every answer sees the same length.
        length = min(-(-length // LENGTH) * LENGTH, self.config.context) if self.backend.INDEPENDENT else 0
        length = length or self.config.context
        board = self._board
        if board is None or board.rows != rows or board.length < length:
            self._board = None  # the old one's memory first
            self._board = board = _Board(self.model, rows, length)
        return board

    def _capture(self, board: _Board, choice: Choice) -> Callable[[], object]:
        """One step as a CUDA graph; on another device, the step itself. What is on the board is lost."""
        if self.device.type != "cuda":
            return lambda: self._step(board, choice)
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        graph = torch.cuda.CUDAGraph()
        # Not torch.cuda.graph: that gives back all cached memory first, and a run that trains here needs its own.
        with torch.cuda.stream(stream):
            self._step(board, choice)  # kernels are compiled and loaded by a first call
            # Other threads of a trainer copy batches meanwhile; only what this one does matters.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._step(board, choice)
            finally:
                graph.capture_end()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        return graph.replay

    def _read(self, board: _Board, prompts: Sequence[Sequence[int]], choice: Choice) -> None:
        """Take the prompts in, and choose the first token of each answer."""
        lengths = [len(ids) for ids in prompts]
        board.positions.copy_(torch.tensor([*(n - 1 for n in lengths), *[0] * (board.rows - len(lengths))]))
        lasts = torch.zeros(board.rows, self.config.width, dtype=self.model.compute_dtype, device=self.device)
        parts = [range(len(prompts))] if self.backend.INDEPENDENT else [range(n, n + 1) for n in range(len(prompts))]
        for part in parts:
            # Packed one after the other: no padding, whatever their lengths.
            packed = [(token, row, place) for row in part for place, token in enumerate(prompts[row])]
            ids, rows, positions = torch.tensor(packed).T.contiguous().to(self.device)
            if choice.penalised:
                board.seen[rows, ids] = True
            ends = torch.tensor(lengths[part.start : part.stop]).cumsum(0).to(self.device) - 1
            lasts[part.start : part.stop] = self._blocks(ids, rows, positions, board, prompt=True)[ends]
        self._choose(lasts, board, choice)

    def _step(self, board: _Board, choice: Choice) -> None:
        """From the newest token of each row to the one after it, all on the device."""
        if choice.penalised:
            board.seen.scatter_(1, board.ids[:, None], True)
        self._choose(self._blocks(board.ids, board.numbers, board.positions, board), board, choice)

    def _blocks(self, ids: Tensor, rows: Tensor, positions: Tensor, board: _Board, prompt: bool = False) -> Tensor:
        """Hidden states [tokens, width] before the last norm; keys and values go into the cache."""
        project, attend, eps = self.backend.project, self.backend.attend, self.config.norm_eps
        rotary, size = (self.model.cosines, self.model.sines), self.config.head_size
        x = F.embedding(ids, self.model.embed_tokens.weight) * math.sqrt(self.config.width)
        for layer, cache in zip(self.layers, board.caches, strict=True):
            heads = project(x, layer.heads, gain=layer.before_attention, eps=eps, prompt=prompt)
            heads = heads.view(len(ids), -1, size)
            mixed = attend(heads, layer.gains, rotary, rows, positions, cache, eps, prompt=prompt)
            x = project(mixed, layer.output, residual=x, prompt=prompt)
            y = project(x, layer.up, gain=layer.before_mlp, eps=eps, after=self.config.activation, prompt=prompt)
            x = project(y, layer.down, residual=x, prompt=prompt)
        return x

    def _choose(self, hidden: Tensor, board: _Board, choice: Choice) -> None:
        """Put the next token of each row on the board, and where it stands."""
        gain, head, eps = self.model.norm.weight, self.model.embed_tokens.weight, self.config.norm_eps
        logits = self.backend.project(hidden, head, gain=gain, eps=eps, dtype=torch.float32)
        if choice.penalised:
            logits = torch.where(board.seen, penalise(logits, board.penalty[:, None]), logits)
        if choice.greedy:
            board.ids.copy_(logits.argmax(dim=1))
        else:
            ids = pick_rows(logits, board.temperature, board.top_k, board.top_p, board.dice, board.least)
            board.ids.copy_(ids)
        # A row that has ended goes on in place, where it harms nobody.
        board.positions.add_(1).clamp_(max=board.length - 1)


class _Moment:
    """When a copy to the host is there; on a processor, it is."""

    def __init__(self, device: torch.device) -> None:
        self.event: Any = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def mark(self) -> None:
        if self.event is not None:
            self.event.record()

    def wait(self) -> None:
        if self.event is not None:
            self.event.synchronize()
