"""Where a run computes and in which number format; what does not fit together is one sentence."""

import pytest
import torch
from support import tiny_config

from engine import device
from engine.config import ConfigError
from engine.device import choose_place

T4, H100 = (7, 5), (9, 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an old GPU, as far as torch's questions about it go."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: T4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")


def precision(chosen: str, where: str) -> str:
    return choose_place(tiny_config(train__precision=chosen, train__device=where).train).precision


def test_a_gpu_without_bf16_takes_fp16_by_itself(gpu: None) -> None:
    assert precision("auto", "auto") == "fp16"
    assert [precision(chosen, "cuda") for chosen in ("fp16", "fp32")] == ["fp16", "fp32"]


def test_bf16_on_a_gpu_that_has_none_is_refused(gpu: None) -> None:
    with pytest.raises(ConfigError) as refused:
        precision("bf16", "cuda")

    assert str(refused.value) == (
        "train.precision = bf16, but Tesla T4 has no instructions for it; choose auto or fp16, which is scaled so that "
        "small gradients survive, or fp32."
    )


def test_a_gpu_with_bf16_takes_it_by_itself(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: H100)

    assert precision("auto", "cuda") == precision("bf16", "cuda") == "bf16"


@pytest.mark.parametrize(("has_bf16", "automatic"), [(True, "bf16"), (False, "fp32")])
def test_a_processor_computes_in_every_format_and_says_which_is_slow(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, automatic: str
) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda _: has_bf16)

    slow = {
        chosen: choose_place(tiny_config(train__precision=chosen).train).slow
        for chosen in ("auto", "fp32", "bf16", "fp16")
    }

    assert precision("auto", "cpu") == automatic
    assert {chosen for chosen, sentence in slow.items() if sentence} == ({"fp16"} if has_bf16 else {"fp16", "bf16"})
    assert slow["fp16"].startswith("train.precision = fp16 ") and slow["fp16"].endswith(f"take {automatic}.")


def test_a_device_that_is_not_there_is_refused() -> None:
    for where, sentence in (("mps", "no Apple GPU"), ("tpu", "is not a device; choose auto, cpu, cuda or mps")):
        with pytest.raises(ConfigError, match=sentence):
            precision("auto", where)
