"""Experts on a CUDA device: grouped products in bf16, one graph, no waiting. `pytest -m gpu`; elsewhere skipped."""

import math
from pathlib import Path

import pytest
import torch
from support import VOCABULARY, tiny_model
from test_experts import mixture, naive
from test_gpu import train_once
from torch import Tensor

from engine.experts import Experts
from engine.home import Home
from engine.model import Transformer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),  # torch warns about its own internals when it compiles
]
hopper = pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (9, 0),
    reason="torch runs a loop that waits on devices of a capability below 9.0",
)


def learned(model: Transformer, tokens: Tensor) -> list[Tensor]:
    """The loss of a batch, its balance, and all gradients."""
    model.zero_grad()
    loss, _, routing = model.loss(tokens[:, :-1], tokens[:, 1:])
    assert routing
    torch.autograd.backward(loss / tokens.numel() + routing.balance())
    slopes = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    return [loss.detach().clone(), routing.balance().detach().clone(), *slopes]


def on_gpu() -> tuple[Transformer, Tensor]:
    model = tiny_model(experts=8, experts_per_token=2).cuda()
    model.compute_dtype = torch.bfloat16
    model.reset_rotary()
    return model, torch.randint(VOCABULARY, (8, 65), generator=torch.Generator().manual_seed(1)).cuda()


@pytest.mark.parametrize("activation", ["swiglu", "relu2"])
def test_grouped_products_are_the_naive_loop_to_what_bf16_can_hold(activation: str) -> None:
    part = mixture(8, 2, activation).cuda()
    x = torch.randn(4, 33, 32, generator=torch.Generator().manual_seed(7)).cuda().bfloat16().requires_grad_()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(8)).cuda()
    exact = x.detach().float().requires_grad_()

    found, _ = part(x)
    true = naive(part, exact)

    torch.testing.assert_close(found.float(), true, rtol=0.03, atol=0.03 * true.abs().max().item())
    mine = torch.autograd.grad(found, [x, *part.parameters()], direction.bfloat16())
    theirs = torch.autograd.grad(true, [exact, *part.parameters()], direction)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.05, atol=0.05 * other.abs().max().item())


def test_an_expert_without_tokens_gets_no_gradient() -> None:
    """Also in memory that held something else before."""
    experts: Experts = mixture(4).experts.cuda()
    tokens = torch.randn(600, 32, device="cuda", dtype=torch.bfloat16).requires_grad_()
    for counts in ([150, 150, 150, 150], [400, 0, 200, 0], [0, 0, 0, 600], [1, 599, 0, 0]):
        sent = torch.tensor(counts, device="cuda")
        answers, plain = experts.grouped(tokens, sent), experts.one_by_one(tokens, sent)
        torch.testing.assert_close(answers, plain, rtol=0.05, atol=0.05)
        slopes = torch.autograd.grad(answers.float().square().sum(), list(experts.parameters()))
        for slope in slopes:
            assert slope.isfinite().all()
            assert [bool(part.any()) for part in slope] == [count > 0 for count in counts]


@hopper
def test_forward_and_backward_wait_for_nothing() -> None:
    model, tokens = on_gpu()
    learned(model, tokens)
    torch.cuda.set_sync_debug_mode("error")
    try:
        learned(model, tokens)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_compiled_block_is_one_graph_and_agrees() -> None:
    model, tokens = on_gpu()
    eager = learned(model, tokens)
    for block in model.layers:
        block.compile(dynamic=False, fullgraph=True)

    compiled = learned(model, tokens)

    assert math.isclose(eager[0], compiled[0], rel_tol=0.01) and math.isclose(eager[1], compiled[1], rel_tol=0.05)
    for one, other in zip(eager[2:], compiled[2:], strict=True):
        assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.98


@hopper
def test_a_step_is_captured_in_a_cuda_graph_and_replayed_with_other_tokens() -> None:
    model, tokens = on_gpu()
    others = (tokens + 1) % VOCABULARY
    wanted = learned(model, others)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            learned(model, tokens)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = learned(model, tokens)

    tokens.copy_(others)
    graph.replay()

    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"train.compile": True}, {"train.precision": "fp16"}, {"train.precision": "fp32", "train.compile": True}],
)
def test_a_run_with_experts_learns(tmp_path: Path, changes: dict[str, object]) -> None:
    shape = {"model.experts": 4, "model.experts_per_token": 2, "model.mlp_width": 384}

    run = train_once(Home(tmp_path), **shape, **changes)

    assert run["status"] == "finished" and run["val_loss"] < 6.5
