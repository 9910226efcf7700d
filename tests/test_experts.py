"""Experts against a loop that takes one token at a time, their balance, their optimizers, their names."""

import pytest
import torch
import torch.nn.functional as F
from support import VOCABULARY, tiny_config, tiny_model
from torch import Tensor

from engine.config import OptimizerConfig
from engine.experts import SAME_ROUNDING, Experts, MixtureOfExperts, Routing, move
from engine.generate import one_thread
from engine.model import Cache, Transformer
from engine.optim import Muon, Optimizers, orthogonalize

MOE = {"model__experts": 4, "model__experts_per_token": 2, "model__mlp_width": 24}
"""The tiny model with two of four experts for each token, as many active weights as the dense one."""


def mixture(experts: int = 4, chosen: int = 2, activation: str = "swiglu") -> MixtureOfExperts:
    model = tiny_model(experts=experts, experts_per_token=chosen, activation=activation)
    part: MixtureOfExperts = model.layers[0].mlp
    return part


def some_rows(rows: int = 3, length: int = 11) -> Tensor:
    return torch.randn(rows, length, 32, generator=torch.Generator().manual_seed(7)).requires_grad_()


def naive(part: MixtureOfExperts, x: Tensor) -> Tensor:
    """The same, one token and one expert after the other, as it is written in the papers; in the precision of x."""
    answers = []
    for token in x.flatten(0, 1):
        odds = (part.gate.weight.to(x.dtype) @ token).softmax(dim=0)
        gates, chosen = odds.topk(part.gate.chosen)
        gates = gates / gates.sum() if part.gate.chosen > 1 else gates
        answer = torch.zeros_like(token)
        for gate, number in zip(gates, chosen.tolist(), strict=True):
            up = part.experts.up_proj.weight[number].to(x.dtype) @ token
            if part.experts.gated:
                inner = F.silu(part.experts.gate_proj.weight[number].to(x.dtype) @ token) * up
            else:
                inner = up.clamp(min=0) ** 2
            answer = answer + gate * (part.experts.down_proj.weight[number].to(x.dtype) @ inner)
        answers.append(answer)
    return torch.stack(answers).view(x.shape)


@pytest.mark.parametrize("activation", ["swiglu", "relu2"])
@pytest.mark.parametrize(("experts", "chosen"), [(4, 1), (4, 2), (4, 4), (8, 3), (2, 1)])
@pytest.mark.parametrize("way", ["one_by_one", "grouped"])
def test_both_ways_are_the_naive_loop_in_values_and_gradients(
    monkeypatch: pytest.MonkeyPatch, way: str, experts: int, chosen: int, activation: str
) -> None:
    monkeypatch.setattr(Experts, "forward", getattr(Experts, way))
    part, x = mixture(experts, chosen, activation), some_rows()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(8))
    needed = [x, *part.parameters()]

    found, _ = part(x)
    true = naive(part, x)

    torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(found, needed, direction), torch.autograd.grad(true, needed, direction), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_agree_when_an_expert_gets_one_token_or_none(dtype: torch.dtype) -> None:
    experts = mixture().experts
    tokens = torch.randn(30, 32, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    counts = torch.tensor([28, 0, 1, 1])
    found = []
    for way in (experts.one_by_one, experts.grouped):
        answers = way(tokens, counts)
        slopes = torch.autograd.grad(answers.float().square().sum(), (tokens, *experts.parameters()))
        assert all((slope[1] == 0).all() for slope in slopes[1:])
        found.append((answers, *slopes))

    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("default")  # torch warns about its own internals when it compiles
@pytest.mark.parametrize("way", ["grouped", "one_by_one"])
def test_a_compiled_block_is_the_same(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Grouped it is one graph: nothing in it asks for a value. Without code generation, which needs a C compiler."""
    monkeypatch.setattr(Experts, "forward", getattr(Experts, way))
    model = tiny_model(experts=4, experts_per_token=2)
    model.compute_dtype = torch.bfloat16
    model.reset_rotary()
    tokens = torch.randint(VOCABULARY, (2, 17), generator=torch.Generator().manual_seed(1))

    def learned() -> list[Tensor]:
        model.zero_grad()
        loss, _, routing = model.loss(tokens[:, :-1], tokens[:, 1:])
        assert routing
        torch.autograd.backward(loss + routing.balance())
        return [
            loss.detach(),
            *(parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None),
        ]

    plain = learned()
    for block in model.layers:
        block.compile(dynamic=False, fullgraph=way == "grouped", backend="aot_eager")

    for one, other in zip(plain, learned(), strict=True):
        torch.testing.assert_close(one, other)


def test_routing_is_fp32_whatever_is_around_it() -> None:
    part, x = mixture(), some_rows().detach().bfloat16()
    exact = F.linear(x.float(), part.gate.weight).softmax(dim=-1)

    with torch.autocast("cpu", torch.bfloat16):
        gates, chosen, _, routing = part.gate(x)

    best = exact.topk(2, dim=-1)
    assert gates.dtype == routing.odds.dtype == torch.float32
    assert torch.equal(chosen, best.indices)
    torch.testing.assert_close(gates, best.values / best.values.sum(dim=-1, keepdim=True))
    assert part(x)[0].dtype == torch.bfloat16


def test_a_move_and_its_gradient_are_those_of_indexing() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))

    assert torch.equal(move(x, order // 2, order.argsort(), 2), x[order // 2])
    assert torch.autograd.gradcheck(lambda rows: move(rows, order // 2, order.argsort(), 2), x)


def test_balance_is_one_when_even_and_the_number_of_experts_when_one_gets_all() -> None:
    even, one = torch.full((2, 3, 4), 0.25), F.one_hot(torch.zeros(2, 3, dtype=torch.int64), 4).float()

    assert Routing(even, even).balance() == 1.0
    assert Routing(one, one).balance() == 4.0


def test_balance_and_load_count_choices_and_odds_of_each_row() -> None:
    model, tokens = tiny_model(experts=4, experts_per_token=2), torch.randint(VOCABULARY, (3, 17))

    _, _, routing = model.loss(tokens[:, :-1], tokens[:, 1:])

    assert routing and routing.loads.shape == routing.odds.shape == (2, 3, 4)
    torch.testing.assert_close(routing.loads.sum(dim=-1), torch.ones(2, 3))
    by_hand = [4 * (routing.loads[layer, row] @ routing.odds[layer, row]) for layer in range(2) for row in range(3)]
    torch.testing.assert_close(routing.balance(), torch.stack(by_hand).mean())
    chosen = model.layers[0].mlp.gate(model.layers[0].post_attention_layernorm(torch.randn(1, 8, 32)))[1]
    assert all(len(set(pair)) == 2 for pair in chosen.flatten(0, 1).tolist())


def test_following_the_balance_loss_alone_evens_the_load() -> None:
    part = mixture()
    x = some_rows(8, 32).detach() + 1.0
    adam = torch.optim.Adam(part.gate.parameters(), lr=0.01)
    found = []
    for _ in range(60):
        *_, routing = part.gate(x)
        found.append(float(routing.balance().detach()))
        torch.autograd.backward(routing.balance())
        adam.step()
        adam.zero_grad()

    assert found[0] > 1.1 and found[-1] < 1.03


def test_every_expert_is_made_orthogonal_on_its_own() -> None:
    stacked = torch.nn.Parameter(torch.zeros(3, 8, 16))
    alone = [torch.nn.Parameter(torch.zeros(8, 16)) for _ in range(3)]
    gradient = (
        torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(2)) * torch.tensor([1.0, 5.0, 0.1])[:, None, None]
    )
    stacked.grad = gradient.clone()
    for matrix, part in zip(alone, gradient, strict=True):
        matrix.grad = part.clone()

    Muon({"experts": [stacked]}, 0.9, 0.1, torch.float32).step(0.02)
    Muon({"matrices": alone}, 0.9, 0.1, torch.float32).step(0.02)

    assert torch.equal(stacked.detach(), torch.stack([matrix.detach() for matrix in alone]))
    torch.testing.assert_close(stacked[1].detach(), -0.02 * orthogonalize(gradient[1:2])[0], rtol=1e-3, atol=1e-4)


def test_experts_have_muon_and_routers_adamw() -> None:
    model = tiny_model(experts=4, experts_per_token=2)
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)

    experts = {role: len(stack) for role, stack in optimizers.muon.averages.items() if "experts" in role}
    assert experts == {f"mlp.experts.{name}_proj": 2 * 4 for name in ("gate", "up", "down")}
    assert {name for name in optimizers.others if "mlp" in name} == {f"layers.{n}.mlp.gate.weight" for n in (0, 1)}
    assert not any("gate.weight" in role for role in optimizers.muon.averages)


def test_a_new_model_begins_as_the_identity_with_open_routers() -> None:
    model = Transformer(tiny_config(**MOE).model)
    model.init_weights(1)
    tokens = torch.randint(VOCABULARY, (2, 65), generator=torch.Generator().manual_seed(1))
    again = Transformer(tiny_config(**MOE).model)
    again.init_weights(1)

    _, _, routing = model.loss(tokens[:, :-1], tokens[:, 1:])

    assert routing and routing.balance() < 1.1 and routing.loads.mean(dim=1).min() > 0.1
    for (name, weight), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other)
        assert (weight == 0).all() == name.endswith(("o_proj.weight", "down_proj.weight")), name


def test_names_are_near_transformers_qwen3_moe_and_so_are_the_scores() -> None:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    model = tiny_model(experts=4, experts_per_token=2)
    shape, weights = model.config, {name: weight.detach() for name, weight in model.named_parameters()}
    other = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.width,
            moe_intermediate_size=shape.mlp_width,
            num_experts=shape.experts,
            num_experts_per_tok=shape.experts_per_token,
            norm_topk_prob=True,
            decoder_sparse_step=1,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_size,
            max_position_embeddings=shape.context,
            rms_norm_eps=shape.norm_eps,
            rope_theta=shape.rope_base,
            tie_word_embeddings=False,
        )
    ).eval()
    theirs = {"lm_head.weight": weights["embed_tokens.weight"]}
    for name, weight in weights.items():
        if name == "embed_tokens.weight":
            weight = weight * shape.width**0.5
        elif name.endswith("experts.up_proj.weight"):
            continue
        elif name.endswith("experts.gate_proj.weight"):
            weight = torch.cat((weight, weights[name.replace("gate_proj", "up_proj")]), dim=1)
        theirs[
            "model."
            + name.replace("gate_proj.weight", "gate_up_proj").replace("experts.down_proj.weight", "experts.down_proj")
        ] = weight
    other.load_state_dict(theirs)
    tokens = torch.randint(VOCABULARY, (3, 13), generator=torch.Generator().manual_seed(5))

    with torch.no_grad():
        torch.testing.assert_close(model.logits(tokens), other(tokens).logits, rtol=1e-4, atol=1e-4)


def test_scores_do_not_depend_on_who_else_is_asked() -> None:
    """Not one bit on a CPU, whatever else an expert is given: small groups are padded to SAME_ROUNDING rows."""
    cpu = torch.device("cpu")
    model = tiny_model(experts=8, experts_per_token=2, width=128, mlp_width=64).requires_grad_(False)
    tokens = torch.randint(VOCABULARY, (5 * SAME_ROUNDING, 1), generator=torch.Generator().manual_seed(1))

    def scores(rows: Tensor) -> Tensor:
        cache = Cache.empty(model.config, len(rows), torch.float32, cpu)
        return model.next_logits(rows, torch.zeros_like(rows), cache)

    with one_thread(cpu):
        together = scores(tokens)
        for count in range(SAME_ROUNDING, len(tokens), SAME_ROUNDING):
            assert torch.equal(scores(tokens[:count]), together[:count])
            assert torch.equal(scores(tokens[-count:]), together[-count:])
