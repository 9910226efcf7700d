"""The decoder-only transformer: RMSNorm, rotary positions, QK-norm, grouped-query attention, SwiGLU, tied embeddings.

Parameter names are those of transformers' Qwen3 without the leading `model.`, so that people and tools can read a
checkpoint. Weights are kept in fp32; products run in `compute_dtype`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.attention import attend
from engine.config import ModelConfig
from engine.experts import ROUTER, Fed, MixtureOfExperts, Routing, of_all_layers
from engine.loss import linear_cross_entropy
from engine.stacks import stack_parameters


class Layer(nn.Module):
    """A module that gives one tensor; says so to type checkers."""

    __call__: Callable[..., Tensor]


class Linear(Layer):
    """A product with a weight matrix [out, in], in the precision of what comes in; no bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(Layer):
    """Root-mean-square normalisation over the last dimension with a gain (Zhang and Sennrich 2019)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)


@dataclass
class Cache:
    """Keys and values already computed, so that one more token costs one token.

    `keys`, `values`: [layers, rows, kv_heads, context, head_size]. Always as long as the model's context: every shape
    is then the same for one prompt and for a batch, and so is every rounding.
    """

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(cls, config: ModelConfig, rows: int, dtype: torch.dtype, device: torch.device) -> "Cache":
        """A cache of zeros for `rows` texts."""
        shape = (config.layers, rows, config.kv_heads, config.context, config.head_size)
        return cls(torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device))


@dataclass(frozen=True)
class Sight:
    """What positions see of the text before them, and what computes it: the last arguments of `attend`."""

    backend: str = "sdpa"
    window: int = 0
    bounds: Tensor | None = None


class Attention(Layer):
    """Causal self-attention in which groups of query heads share one key/value head (Ainslie et al. 2023)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.q_proj = Linear(config.width, config.heads * config.head_size)
        self.k_proj = Linear(config.width, config.kv_heads * config.head_size)
        self.v_proj = Linear(config.width, config.kv_heads * config.head_size)
        self.o_proj = Linear(config.heads * config.head_size, config.width)
        self.q_norm = RMSNorm(config.head_size, config.norm_eps)
        self.k_norm = RMSNorm(config.head_size, config.norm_eps)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], cached: "CachedKeys | None", sight: "Sight") -> Tensor:
        rows, length, _ = x.shape
        # One product for all three projections: fewer, larger operations.
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)).to(x.dtype)
        heads = F.linear(x, weight).view(rows, length, -1, self.head_size)
        q, k, v = heads.tensor_split((self.heads, self.heads + self.kv_heads), dim=2)
        q, k = rotate(self.q_norm(q), rotary), rotate(self.k_norm(k), rotary)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cached is None:
            y = attend(q, k, v, sight.backend, sight.window, sight.bounds)
        else:
            k, v = cached.extended_by(k, v)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=cached.mask, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).reshape(rows, length, -1))


@dataclass
class CachedKeys:
    """One layer's part of the cache, and where this forward pass writes into it."""

    keys: Tensor
    values: Tensor
    positions: Tensor
    mask: Tensor

    def extended_by(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values [rows, kv_heads, length, head_size] at `positions`; return all of them."""
        index = self.positions[:, None, :, None].expand_as(keys)
        return self.keys.scatter_(2, index, keys), self.values.scatter_(2, index, values)


class MLP(nn.Module):
    """The dense feed-forward part: SwiGLU (Shazeer 2020) or squared ReLU (So et al. 2021)."""

    __call__: Callable[..., Fed]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated = config.activation == "swiglu"
        if self.gated:
            self.gate_proj = Linear(config.width, config.mlp_width)
        self.up_proj = Linear(config.width, config.mlp_width)
        self.down_proj = Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Fed:
        up = self.up_proj(x)
        return self.down_proj(F.silu(self.gate_proj(x)) * up if self.gated else F.relu(up).square()), None


class Block(nn.Module):
    """Attention and feed-forward, each with its norm in front and added to the residual stream."""

    __call__: Callable[..., Fed]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.mlp = MixtureOfExperts(config) if config.experts > 1 else MLP(config)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], cached: CachedKeys | None = None, sight: Sight = Sight()
    ) -> Fed:
        x = x + self.self_attn(self.input_layernorm(x), rotary, cached, sight)
        fed, routing = self.mlp(self.post_attention_layernorm(x))
        return x + fed, routing


class Transformer(Layer):
    """The language model. Make it under `torch.device(...)`, then call `init_weights` with a seed."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.compute_dtype = config, compute_dtype
        self.attention = "sdpa"
        self.fused, self.recompute = False, False
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.reset_rotary()

    def reset_rotary(self) -> None:
        """Compute the rotary table where the weights are: it is no weight, so loading does not bring it."""
        angles = rotary_angles(self.config, self.embed_tokens.weight.device)
        self.register_buffer("cosines", angles.cos().to(self.compute_dtype), persistent=False)
        self.register_buffer("sines", angles.sin().to(self.compute_dtype), persistent=False)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Draw the first weights from `seed`, the same on every device.

        Output projections start at zero, so that every block begins as the identity; the others are uniform with the
        variance 1 / inputs (as in nanochat and modded-nanogpt); embeddings and routers have the published model's 0.02.
        With `init` = "normal" every matrix is drawn like the embeddings, as in the published code.
        """
        zero_out = self.config.init == "zero-out"
        dice = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            elif zero_out and name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
            elif not zero_out or name == "embed_tokens.weight" or name.endswith(ROUTER):
                parameter.copy_(torch.randn(parameter.shape, generator=dice) * 0.02)
            else:
                bound = math.sqrt(3.0 / parameter.shape[-1])
                parameter.copy_((torch.rand(parameter.shape, generator=dice) * 2 - 1) * bound)

    def stacks(self) -> dict[str, Tensor]:
        """The blocks' matrices of one role as one tensor `role -> [layers, .., out, in]`, of which they are views."""
        roles: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.layers.named_parameters():
            if parameter.dim() > 1:
                roles.setdefault(name.split(".", 1)[1].removesuffix(".weight"), []).append(parameter)
        return {role: stack_parameters(parameters) for role, parameters in roles.items()}

    def forward(self, tokens: Tensor, bounds: Tensor | None = None) -> Tensor:
        """Last hidden states [rows, length, width] of tokens [rows, length], every token seeing those before it.

        `bounds`: where documents begin (engine/attention.py), if each is to be read alone.
        """
        return self._run(tokens, bounds)[0]

    def loss(
        self, tokens: Tensor, targets: Tensor, bounds: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Routing | None]:
        """Summed cross-entropy in nats (to backpropagate) and the number of right first guesses, over all targets; and
        where the routers sent the tokens, for a loss that balances experts (None in a dense model)."""
        hidden, routing = self._run(tokens, bounds)
        weight = self.embed_tokens.weight
        return *linear_cross_entropy(hidden.flatten(0, 1), weight, targets.flatten(), self.fused), routing

    def logits(self, tokens: Tensor) -> Tensor:
        """Scores [rows, length, vocabulary] in fp32, for tests and export."""
        return self._scores(self(tokens))

    def next_logits(self, tokens: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Scores [rows, vocabulary] in fp32 of what follows the last of `tokens` [rows, length].

        `positions` [rows, length] say where each token stands in its text; the cache is extended in place.
        """
        context = torch.arange(self.config.context, device=tokens.device)
        mask = (context <= positions[..., None])[:, None]
        if self.config.window:
            mask &= (context > positions[..., None] - self.config.window)[:, None]
        rotary = self.cosines[positions][:, :, None, :], self.sines[positions][:, :, None, :]
        x = self._embed(tokens)
        for number, block in enumerate(self.layers):
            x, _ = block(x, rotary, CachedKeys(cache.keys[number], cache.values[number], positions, mask))
        return self._scores(self.norm(x[:, -1]))

    def _run(self, tokens: Tensor, bounds: Tensor | None) -> Fed:
        sight = Sight(self.attention, self.config.window, bounds)
        if self.fused:
            from engine.fused import hidden_states

            hidden, routings = hidden_states(self, self._embed(tokens), sight)
            return hidden, of_all_layers(routings)
        length = tokens.shape[1]
        rotary = self.cosines[:length, None, :], self.sines[:length, None, :]
        x, routings = self._embed(tokens), []
        for block in self.layers:
            if self.recompute and torch.is_grad_enabled():
                # No dice are thrown in a block, and reading their state would break a recording.
                x, routing = checkpoint(block, x, rotary, None, sight, use_reentrant=False, preserve_rng_state=False)
            else:
                x, routing = block(x, rotary, None, sight)
            routings.append(routing)
        return self.norm(x), of_all_layers(routings)

    def _embed(self, tokens: Tensor) -> Tensor:
        # The published model scales its embeddings by sqrt(width) on the way in.
        return F.embedding(tokens, self.embed_tokens.weight).to(self.compute_dtype) * math.sqrt(self.config.width)

    def _scores(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embed_tokens.weight.to(hidden.dtype)).float()


def rotary_angles(config: ModelConfig, device: torch.device) -> Tensor:
    """Angle of each position and channel pair [context, head_size / 2] in fp32 (Su et al. 2021)."""
    channel = torch.arange(0, config.head_size, 2, dtype=torch.float32, device=device)
    frequency = config.rope_base ** (-channel / config.head_size)
    position = torch.arange(config.context, dtype=torch.float32, device=device)
    return torch.outer(position, frequency)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turn channel pairs (i, i + head_size/2) of x [rows, length, heads, head_size], as transformers lays them out."""
    cosines, sines = rotary
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
