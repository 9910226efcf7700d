"""The transformer against plain arithmetic, against transformers' Qwen3, and against itself with a cache."""

import math

import pytest
import torch
import torch.nn.functional as F
from support import VOCABULARY, tiny_config, tiny_model
from torch import Tensor

from engine.attention import PLAIN_LENGTH, attend
from engine.config import ModelConfig
from engine.export import qwen3_config, qwen3_weights
from engine.model import Cache, Transformer

LENGTH = 13


def some_tokens(rows: int = 3, length: int = LENGTH, seed: int = 5) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def naive_logits(model: Transformer, tokens: list[int]) -> Tensor:
    """The same model written out for one text, position by position and head by head, in fp64."""
    c, weights = model.config, {name: weight.detach().double() for name, weight in model.named_parameters()}

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).mean() + c.norm_eps) * gain

    def turned(x: Tensor, position: int) -> Tensor:
        half, result = c.head_size // 2, x.clone()
        for i in range(half):
            angle = position / c.rope_base ** (2 * i / c.head_size)
            result[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
            result[i + half] = x[i + half] * math.cos(angle) + x[i] * math.sin(angle)
        return result

    def attended(layer: str, xs: list[Tensor]) -> list[Tensor]:
        def heads(name: str, x: Tensor) -> Tensor:
            return (weights[f"{layer}.self_attn.{name}.weight"] @ x).view(-1, c.head_size)

        gains = weights[f"{layer}.self_attn.q_norm.weight"], weights[f"{layer}.self_attn.k_norm.weight"]
        queries = [[turned(norm(q, gains[0]), at) for q in heads("q_proj", x)] for at, x in enumerate(xs)]
        keys = [[turned(norm(k, gains[1]), at) for k in heads("k_proj", x)] for at, x in enumerate(xs)]
        values = [heads("v_proj", x) for x in xs]
        outputs = []
        for at in range(len(xs)):
            parts = []
            for head in range(c.heads):
                shared = head // (c.heads // c.kv_heads)
                scores = torch.stack([queries[at][head] @ keys[before][shared] for before in range(at + 1)])
                share = torch.exp(scores / math.sqrt(c.head_size))
                share = share / share.sum()
                parts.append(sum((share[before] * values[before][shared] for before in range(at + 1)), torch.zeros(1)))
            outputs.append(weights[f"{layer}.self_attn.o_proj.weight"] @ torch.cat(parts))
        return outputs

    def fed(layer: str, x: Tensor) -> Tensor:
        up = weights[f"{layer}.mlp.up_proj.weight"] @ x
        if c.activation == "relu2":
            hidden = up.clamp(min=0) ** 2
        else:
            gate = weights[f"{layer}.mlp.gate_proj.weight"] @ x
            hidden = gate / (1 + torch.exp(-gate)) * up
        return weights[f"{layer}.mlp.down_proj.weight"] @ hidden

    xs = [weights["embed_tokens.weight"][token] * math.sqrt(c.width) for token in tokens]
    for number in range(c.layers):
        layer = f"layers.{number}"
        normed = [norm(x, weights[f"{layer}.input_layernorm.weight"]) for x in xs]
        xs = [x + y for x, y in zip(xs, attended(layer, normed), strict=True)]
        xs = [x + fed(layer, norm(x, weights[f"{layer}.post_attention_layernorm.weight"])) for x in xs]
    return torch.stack([weights["embed_tokens.weight"] @ norm(x, weights["norm.weight"]) for x in xs])


@pytest.mark.parametrize(
    "shape",
    [{}, {"activation": "relu2"}, {"kv_heads": 1}, {"kv_heads": 4}, {"heads": 2, "kv_heads": 2, "rope_base": 100.0}],
)
def test_it_is_the_model_that_is_written_down(shape: dict[str, float | str]) -> None:
    model, tokens = tiny_model(**shape).double(), some_tokens(1)
    model.compute_dtype = torch.float64
    model.reset_rotary()

    found = model._scores(model(tokens)).double()[0]  # scores are given in fp32

    torch.testing.assert_close(found, naive_logits(model, tokens[0].tolist()), rtol=1e-4, atol=1e-5)


def test_it_is_transformers_qwen3() -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model, tokens = tiny_model(), some_tokens()
    other = Qwen3ForCausalLM(Qwen3Config(**qwen3_config(model.config), tie_word_embeddings=False)).eval()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    other.load_state_dict(qwen3_weights(model.config, weights, torch.float32))

    with torch.no_grad():
        torch.testing.assert_close(model.logits(tokens), other(tokens).logits, rtol=1e-4, atol=1e-4)


def test_what_comes_later_changes_nothing_before() -> None:
    model, tokens = tiny_model(), some_tokens()
    changed = tokens.clone()
    changed[:, 8:] = (changed[:, 8:] + 1) % VOCABULARY

    before, after = model.logits(tokens), model.logits(changed)

    assert torch.equal(before[:, :8], after[:, :8])
    assert (before[:, 8:] - after[:, 8:]).abs().amax(dim=-1).min() > 1e-3


def test_positions_matter() -> None:
    model = tiny_model()

    one, other = model.logits(torch.tensor([[7, 8, 9, 3], [9, 8, 7, 3]]))[:, -1]

    assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_plain_attention_is_the_fused_one(groups: int) -> None:
    """bf16 on the CPU takes plain products; fp32 takes torch's kernel. Gradients too, to what bf16 can hold."""
    dice = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, heads, 33, 16, generator=dice).bfloat16().requires_grad_()
        for heads in (4, 4 // groups, 4 // groups)
    )
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    direction = torch.randn(2, 4, 33, 16, generator=dice)

    ours = attend(q, k, v)
    true = F.scaled_dot_product_attention(*exact, is_causal=True, enable_gqa=True)

    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), true, rtol=0.02, atol=0.02)
    slopes = torch.autograd.grad(ours, (q, k, v), direction.bfloat16())
    for mine, theirs in zip(slopes, torch.autograd.grad(true, exact, direction.double()), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=0.03, atol=0.03)


def test_long_texts_take_the_fused_attention_and_agree() -> None:
    dice = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, PLAIN_LENGTH + 1, 8, generator=dice).bfloat16() for _ in range(3))

    long, short = attend(q, k, v), attend(*(x[:, :, :PLAIN_LENGTH] for x in (q, k, v)))

    torch.testing.assert_close(long[:, :, :PLAIN_LENGTH], short, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("prompt", [1, 5, LENGTH])
def test_a_cached_answer_is_the_plain_forward(prompt: int) -> None:
    """A prompt at once and then token by token, against all of it without a cache."""
    model, tokens = tiny_model(), some_tokens()
    plain = model.logits(tokens)
    cache = Cache.empty(model.config, 3, torch.float32, torch.device("cpu"))
    positions = torch.arange(LENGTH).expand(3, -1)

    found = [model.next_logits(tokens[:, :prompt], positions[:, :prompt], cache)]
    found += [
        model.next_logits(tokens[:, at : at + 1], positions[:, at : at + 1], cache) for at in range(prompt, LENGTH)
    ]

    torch.testing.assert_close(torch.stack(found, dim=1), plain[:, prompt - 1 :], rtol=1e-4, atol=1e-4)


def test_rows_of_a_cache_stand_at_places_of_their_own() -> None:
    """Two texts of different lengths in one batch, as in a round of samples."""
    model, tokens = tiny_model(), some_tokens(2)
    plain = model.logits(tokens)
    cache = Cache.empty(model.config, 2, torch.float32, torch.device("cpu"))
    for row, length in enumerate((4, 9)):
        part = Cache(cache.keys[:, row : row + 1], cache.values[:, row : row + 1])
        model.next_logits(tokens[row : row + 1, :length], torch.arange(length)[None], part)

    found = model.next_logits(tokens[[0, 1], [4, 9]][:, None], torch.tensor([[4], [9]]), cache)

    torch.testing.assert_close(found, torch.stack([plain[0, 4], plain[1, 9]]), rtol=1e-4, atol=1e-4)


def test_one_seed_one_start_another_seed_another() -> None:
    def start(seed: int) -> Tensor:
        torch.manual_seed(seed + 100)  # what torch's own dice show must not matter
        model = Transformer(tiny_config().model)
        model.init_weights(seed)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(start(1), start(1)) and not torch.equal(start(1), start(2))


def test_at_the_start_every_block_lets_pass_what_comes_in() -> None:
    model = Transformer(tiny_config().model)
    model.init_weights(1)
    tokens = some_tokens()

    embedded = model.embed_tokens(tokens) * math.sqrt(model.config.width)

    for name, weight in model.named_parameters():
        assert (weight == 0).all() == name.endswith(("o_proj.weight", "down_proj.weight")), name
    torch.testing.assert_close(model(tokens), F.rms_norm(embedded, (model.config.width,), eps=model.config.norm_eps))


def test_the_published_first_weights_are_normal_and_none_is_zero() -> None:
    model = Transformer(tiny_config(model__init="normal").model)
    model.init_weights(1)

    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            assert (weight == 1).all(), name
        else:
            assert weight.std().item() == pytest.approx(0.02, rel=0.1) and abs(weight.mean().item()) < 0.002, name


def test_half_precision_is_the_same_model_to_its_last_digits() -> None:
    exact = tiny_model()
    rounded = Transformer(exact.config, torch.bfloat16)
    rounded.load_state_dict(exact.state_dict())
    tokens = some_tokens()

    with torch.no_grad():
        difference = (exact.logits(tokens) - rounded.logits(tokens)).abs().max() / exact.logits(tokens).abs().max()

    assert difference < 0.03
    assert all(parameter.dtype == torch.float32 for parameter in rounded.parameters())


def test_a_state_has_weights_and_nothing_else() -> None:
    names = set(Transformer(ModelConfig(**vars(tiny_config().model))).state_dict())

    assert {"embed_tokens.weight", "layers.0.self_attn.q_proj.weight", "layers.1.mlp.up_proj.weight"} <= names
    assert not any("sines" in name or "lm_head" in name for name in names)
