"""The settings that shape the transformer, what they add up to, and which of them do not go together."""

from dataclasses import dataclass
from typing import Literal

from engine.settings import ConfigError, setting

ALIGNMENT = 8
"""The sizes of experts are multiples of it: torch's grouped products take bf16 rows of whole 16 bytes."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of the decoder-only transformer (see engine/model.py)."""

    layers: int = setting(help="Transformer blocks, one after the other", low=1, high=512)
    width: int = setting(help="Size of the residual stream", low=8, high=65536)
    heads: int = setting(help="Query heads; width must be a multiple of it", low=1, high=1024)
    kv_heads: int = setting(help="Key/value heads, shared by groups of query heads", low=1, high=1024)
    mlp_width: int = setting(help="Hidden size of the feed-forward part, or of each expert", low=8, high=262144)
    experts: int = setting(
        1, help="Feed-forward parts to choose from in each block; 1 is a dense model", low=1, high=256
    )
    experts_per_token: int = setting(1, help="Experts that work on each token, chosen by a router", low=1, high=256)
    activation: Literal["swiglu", "relu2"] = setting("swiglu", help="Feed-forward: gated SiLU, or squared ReLU")
    context: int = setting(help="Tokens the model sees at once", unit="tokens", low=8, high=131072)
    vocab_size: int = setting(help="Tokens in the vocabulary", low=2, high=1_000_000)
    rope_base: float = setting(10_000.0, help="Base of the rotary position angles", above=1)
    norm_eps: float = setting(1e-6, help="Added to the mean square in RMSNorm", above=0, below=1)
    window: int = setting(
        0,
        help="How far back each position sees, itself counted; 0 for the whole context",
        unit="tokens",
        low=0,
        high=131072,
    )
    init: Literal["zero-out", "normal"] = setting(
        "zero-out", help="First weights: outputs of the blocks zero, or all from a normal distribution of width 0.02"
    )

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(
                f"model.heads = {self.heads} must divide model.width = {self.width}; "
                f"try {divisor(self.width, self.heads)}."
            )
        if self.heads % self.kv_heads:
            raise ConfigError(
                f"model.kv_heads = {self.kv_heads} must divide model.heads = {self.heads}; "
                f"try {divisor(self.heads, self.kv_heads)}."
            )
        if self.head_size % 2:
            raise ConfigError(f"model.width / model.heads = {self.head_size} must be even for rotary positions.")
        if self.experts_per_token > self.experts:
            raise ConfigError(
                f"model.experts_per_token = {self.experts_per_token} must be at most model.experts = {self.experts}; "
                f"try {min(2, self.experts)}."
            )
        if self.experts > 1:
            for name, size in (("width", self.width), ("mlp_width", self.mlp_width)):
                if size % ALIGNMENT:
                    raise ConfigError(
                        f"model.{name} = {size} must be a multiple of {ALIGNMENT} in a model with experts; "
                        f"try {-(-size // ALIGNMENT) * ALIGNMENT}."
                    )
        if self.window > self.context:
            raise ConfigError(
                f"model.window = {self.window} must be at most model.context = {self.context}; "
                "try 0, which sees the whole context."
            )

    @property
    def head_size(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    @property
    def parameters(self) -> int:
        """Trainable numbers in the model; the tied embedding counts once."""
        return self._parameters(self.experts)

    @property
    def active_parameters(self) -> int:
        """Those that work on one token: all of them, unless there are experts to choose from."""
        return self._parameters(self.experts_per_token)

    def _parameters(self, experts: int) -> int:
        attention = 2 * self.width * self.width + 2 * self.width * self.kv_heads * self.head_size
        mlp = experts * (3 if self.activation == "swiglu" else 2) * self.width * self.mlp_width
        router = self.experts * self.width if self.experts > 1 else 0
        gains = 2 * self.width + 2 * self.head_size
        return self.vocab_size * self.width + self.layers * (attention + mlp + router + gains) + self.width

    @property
    def flops_per_token(self) -> int:
        """Floating-point operations of forward and backward for one token: 6 per weight that it meets in a product, and
        causal attention counted causal (6 x layers x context x width), as in docs/SPEED.md."""
        gains = self.layers * (2 * self.width + 2 * self.head_size) + self.width
        return 6 * (self.active_parameters - gains) + 6 * self.layers * self.context * self.width


def divisor(whole: int, near: int) -> int:
    """The divisor of `whole` closest to `near`."""
    return min((d for d in range(1, whole + 1) if whole % d == 0), key=lambda d: abs(d - near))
