"""What a run is told to do: frozen dataclasses and the preset files (the machinery is in engine/settings.py).

A config is read once, checked here, stored with the run as JSON and never changed. Every mistake a person can
make in it raises `ConfigError`: one sentence with the key, the value and what would be right.
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from engine.model_config import ModelConfig as ModelConfig
from engine.model_config import divisor
from engine.settings import ConfigError as ConfigError
from engine.settings import brief, build, did_you_mean, named, setting
from engine.settings import parse_overrides as parse_overrides
from engine.settings import parse_value as parse_value
from engine.settings import settings as settings

PRESETS = Path(__file__).resolve().parent.parent / "presets"
DEFAULT_PRESET = "seedling"


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which prepared dataset is read."""

    dataset: str = setting(help="A dataset that was made, by its name; the Data tab shows them")
    tokenizer: str = setting("bpe:4096", help="smollm2, bpe:SIZE, a path to a tokenizer.json, or a name on the hub")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, how much at once, on what."""

    tokens: int = setting(help="Tokens to train on in all", unit="tokens", low=1, high=10**14)
    batch_tokens: int = setting(help="Tokens of one optimizer step", unit="tokens", low=8, high=2**27)
    micro_batch: int = setting(
        0,
        help="Rows in one forward pass; 0 for the whole step, or on a GPU the most that fit. The result is the same",
        unit="rows",
        low=0,
        high=65536,
    )
    seed: int = setting(1337, help="Fixes the first weights and the order of the data", low=0, high=2**63 - 1)
    device: str = setting("auto", help="auto, cpu, cuda, cuda:0, ... or mps")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", help="Number format of the products; the weights are always kept in fp32"
    )
    grad_clip: float = setting(1.0, help="Largest length of the gradient; longer ones are scaled down", above=0)
    on_nonfinite: Literal["stop", "skip", "roll-back"] = setting(
        "stop",
        help="When the loss is no number: stop the run, skip the step, or go back to the last checkpoint with half the "
        "learning rates; the weights never take it in",
    )
    auto_resume: int = setting(
        0, help="How often it goes on by itself after a crash or a restart", unit="times", low=0, high=100
    )
    balance_loss: float = setting(
        0.01, help="With experts: weight of the loss that spreads the tokens over them; 0 for none", low=0, high=10
    )
    compile: bool = setting(
        True, help="On a GPU: kernels of our own, and a pass launched as one recording; faster, the same up to rounding"
    )
    recompute: bool = setting(
        False, help="Compute each block again for its gradient: a third of the memory, for more time"
    )
    attention: Literal["auto", "flash", "cudnn", "flash-attn", "plain"] = setting(
        "auto", help="Kernel of the attention: torch's flash or cuDNN, the flash-attn package, or plain products"
    )
    examine: int = setting(
        50,
        help="Steps between two looks at gradients, updates and attention; 0 for none",
        unit="steps",
        low=0,
        high=10**9,
    )
    documents: bool = setting(False, help="Attention stays within a document instead of all that is in a row")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Muon for the matrices inside the blocks, AdamW for everything else."""

    muon_lr: float = setting(0.02, help="Highest learning rate of the matrices", above=0, high=100)
    adamw_lr: float = setting(0.004, help="Highest learning rate of embeddings, gains and routers", above=0, high=100)
    momentum: float = setting(0.95, help="Momentum of Muon", low=0, below=1)
    beta1: float = setting(0.8, help="AdamW: memory of the mean gradient", low=0, below=1)
    beta2: float = setting(0.95, help="AdamW: memory of the squared gradient", low=0, below=1)
    weight_decay: float = setting(0.0, help="Pull of the matrices toward zero, times the learning rate", low=0, high=10)
    momentum_start: float = setting(0.85, help="Momentum of Muon at first, where it has a warm-up", low=0, below=1)
    momentum_warmup: float = setting(
        0.0, help="Share of the steps in which the momentum rises to its value; 0 for none", low=0, high=1
    )
    neuron_memory: float = setting(
        0.0,
        help="NorMuon: memory of each row's size, by which it is scaled (0.95 is usual); 0 for plain Muon",
        low=0,
        below=1,
    )
    cautious: bool = setting(False, help="Weight decay only where the update shrinks the weight anyway")
    ema: float = setting(
        0.0,
        help="Memory of an average of the weights, then evaluated, asked and kept (0.999 is usual); 0 for none",
        low=0,
        below=1,
    )
    orthogonalizer: Literal["polar-express", "newton-schulz"] = setting(
        "polar-express", help="Muon: five polynomials made for each step, or the same one five times as first published"
    )
    adamw_weight_decay: float = setting(
        0.0, help="Pull of embeddings and gains toward zero, times the learning rate", low=0, high=10
    )
    adamw_eps: float = setting(1e-10, help="AdamW: keeps tiny gradients from large steps", above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the run, as fractions of its steps (engine/schedule.py)."""

    warmup: float = setting(0.02, help="Share of the steps in which the rate rises from zero", low=0, high=1)
    decay: float = setting(0.65, help="Share of the steps, at the end, in which the rate falls", low=0, high=1)
    shape: Literal["linear", "cosine"] = setting("linear", help="How the rate falls")
    final: float = setting(0.0, help="Where it ends, as a share of the highest rate", low=0, high=1)

    def __post_init__(self) -> None:
        if self.warmup + self.decay > 1:
            raise ConfigError(f"schedule.warmup + schedule.decay = {self.warmup + self.decay:g} must be at most 1.")


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """The validation loss."""

    every: int = setting(50, help="Steps between two evaluations", unit="steps", low=1, high=10**9)
    tokens: int = setting(
        65_536, help="Validation tokens used each time, always the same ones", unit="tokens", low=8, high=10**10
    )


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What the model is asked while it grows."""

    every: int = setting(100, help="Steps between two rounds of prompts", unit="steps", low=1, high=10**9)
    suites: str = setting("published,stories", help="Files of prompts/ without .txt, comma separated")
    max_tokens: int = setting(80, help="Longest answer", unit="tokens", low=1, high=8192)
    temperature: float = setting(0.8, help="0 always takes the likeliest token", low=0, high=10)
    top_k: int = setting(0, help="Only the k likeliest tokens; 0 for all", low=0, high=1_000_000)
    top_p: float = setting(0.95, help="Only the likeliest tokens that add up to this probability", above=0, high=1)
    seed: int = setting(7, help="Fixes the dice of the samples; never touches training", low=0, high=2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When everything needed to go on is written to disk."""

    every: int = setting(200, help="Steps between two checkpoints", unit="steps", low=1, high=10**9)
    keep: int = setting(2, help="Newest checkpoints kept", low=1, high=10_000)
    keep_every: int = setting(
        0, help="Checkpoints at multiples of this stay for good; 0 for none", unit="steps", low=0, high=10**9
    )
    keep_best: bool = setting(True, help="The checkpoint with the lowest validation loss stays")
    keep_ages: int = setting(
        0,
        help="Newest ages kept to talk to and to ask again; 0 keeps all, and those of exhibits always stay",
        low=0,
        high=10**6,
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything about one run. Sections are also the tables of a preset file."""

    title: str = setting(help="One line: what this preset is good for")
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    eval: EvalConfig = EvalConfig()
    sample: SampleConfig = SampleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    def __post_init__(self) -> None:
        if self.train.batch_tokens % self.model.context:
            rows = max(1, round(self.train.batch_tokens / self.model.context))
            raise ConfigError(
                f"train.batch_tokens = {self.train.batch_tokens} must be a multiple of model.context = "
                f"{self.model.context}; try {rows * self.model.context}."
            )
        if self.train.micro_batch and self.rows_per_step % self.train.micro_batch:
            raise ConfigError(
                f"train.micro_batch = {self.train.micro_batch} must divide the {self.rows_per_step} rows of a step; "
                f"try {divisor(self.rows_per_step, self.train.micro_batch)}."
            )

    @property
    def rows_per_step(self) -> int:
        """Rows of `model.context` tokens in one optimizer step."""
        return self.train.batch_tokens // self.model.context

    @property
    def total_steps(self) -> int:
        """Optimizer steps until `train.tokens` are seen; the last one is always a whole step."""
        return math.ceil(self.train.tokens / self.train.batch_tokens)

    def to_json(self) -> str:
        """The snapshot stored with a run."""
        return json.dumps(asdict(self))


def presets() -> list[str]:
    """Names of the preset files, smallest model first."""
    names = [path.stem for path in PRESETS.glob("*.toml")]
    return sorted(names, key=lambda name: (load_preset(name).model.parameters, name))


def load_preset(name: str, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read presets/NAME.toml and apply dotted overrides; raises ConfigError."""
    path = PRESETS / f"{name}.toml"
    known = sorted(path.stem for path in PRESETS.glob("*.toml"))
    if name not in known:
        raise ConfigError(
            f"There is no preset {brief(repr(name))}{did_you_mean(name, known)}; there are {', '.join(known)}."
        )
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"presets/{path.name} is not valid TOML: {error}.") from error
    return _overridden(tree, overrides or {})


def changed(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """The same config with dotted overrides; raises ConfigError."""
    return _overridden(asdict(config), overrides)


def _overridden(tree: dict[str, Any], overrides: Mapping[str, Any]) -> RunConfig:
    for key, value in overrides.items():
        *sections, leaf = key.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
            if not isinstance(branch, dict):
                raise ConfigError(f"{brief(repr(key))} is not a setting: {named(section)} has no parts.")
        branch[leaf] = value
    return build(RunConfig, tree, "")


def from_json(text: str) -> RunConfig:
    """The config of a stored run; raises ConfigError where it is damaged."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("The stored settings of this run are damaged: they are no whole JSON.") from error
    if not isinstance(tree, dict):
        raise ConfigError("The stored settings of this run are damaged: they are no group of settings.")
    return build(RunConfig, tree, "")
