"""What the products run on: device, number format, and what the page says about them."""

import platform
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attention import NAMES
from engine.config import ConfigError, TrainConfig
from engine.gpu import cpu_name as cpu_name

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Place:
    """A device with the precision chosen for it."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The format of activations and products."""
        return DTYPES[self.precision]

    @property
    def slow(self) -> str:
        """Why this precision costs time on this device, in a sentence; empty where it does not."""
        if self.device.type != "cpu" or self.precision == "fp32":
            return ""
        if self.precision == "bf16" and has_bf16(self.device):
            return ""
        # fp16 with its scaler learned as fp32 did, four times slower, on a processor with AVX512-BF16: docs/LOG.md.
        faster = "bf16" if has_bf16(self.device) else "fp32"
        return (
            f"train.precision = {self.precision} gives the right numbers on this processor, but slowly, for want of "
            f"instructions; auto would take {faster}."
        )

    @property
    def muon_dtype(self) -> torch.dtype:
        """Muon's products need no more than bf16; where that has no instructions, fp32 is faster."""
        return torch.bfloat16 if self.device.type == "cuda" or has_bf16(self.device) else torch.float32

    def describe(self, attention: str = "sdpa") -> dict[str, str | int]:
        """Facts about this machine that a run keeps; `attention` is what computes it (engine/attention.py)."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()
        return {
            "device_name": name,
            "precision": self.precision,
            "attention": NAMES[attention],
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
        }


def choose_place(config: TrainConfig, device: str = "") -> Place:
    """The device `device` names, or else the config, and the precision for it; ConfigError when it is not there."""
    device = device or config.device
    if device == "auto":
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    kind = device.split(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "train.device = cuda, but torch finds no CUDA device; choose cpu, or install the CUDA build of torch."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("train.device = mps, but this machine has no Apple GPU that torch can use; choose cpu.")
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"train.device = {device!r} is not a device; choose auto, cpu, cuda or mps.")
    place = torch.device("cuda:0" if device == "cuda" else device)
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(place) else "fp16" if kind == "cuda" else "fp32"
    elif precision == "bf16" and kind == "cuda" and not has_bf16(place):
        raise ConfigError(
            f"train.precision = bf16, but {torch.cuda.get_device_name(place)} has no instructions for it; "
            "choose auto or fp16, which is scaled so that small gradients survive, or fp32."
        )
    return Place(place, precision)


def page_locked(tensor: Tensor, place: Place) -> Tensor:
    """A tensor in memory of the host that `place` can copy from by itself: on a GPU a copy, elsewhere as it is."""
    return tensor.pin_memory() if place.device.type == "cuda" else tensor


def move(tensor: Tensor, place: Place) -> Tensor:
    """A tensor of the host's where the model is; nobody waits for the copy of one that is page-locked."""
    return tensor.to(place.device, non_blocking=place.device.type == "cuda")


def has_bf16(device: torch.device) -> bool:
    """Whether products in bf16 have instructions of their own there; without them they are slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and platform.machine() == "x86_64":
        # Twice the training speed of fp32 on two AVX512-BF16 cores: docs/LOG.md.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
