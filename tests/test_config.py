"""Presets build the models they promise; what a person gets wrong is told in one sentence."""

import json
import math
from typing import Any

import pytest
import torch
from support import TINY, tiny_config

from engine import config
from engine.config import ConfigError, from_json, load_preset, parse_overrides, parse_value
from engine.model import Transformer

PRESETS = ["seedling", "sprout", "blueberry-88m", "blueberry-nano", "blueberry-nano-published", "blueberry-moe"]


def refusal(**changes: Any) -> str:
    """The sentence with which TINY with these changes is refused."""
    with pytest.raises(ConfigError) as caught:
        tiny_config(**changes)
    return str(caught.value)


def test_the_presets_are_listed_with_the_smallest_model_first() -> None:
    assert config.presets() == PRESETS
    assert PRESETS[0] == config.DEFAULT_PRESET


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_builds_a_model_with_the_parameters_it_promises(name: str) -> None:
    shape = load_preset(name).model

    with torch.device("meta"):
        model = Transformer(shape)

    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters


def test_blueberry_nano_has_the_published_number_of_parameters() -> None:
    assert load_preset("blueberry-nano").model.parameters == 151_032_320


def test_a_token_costs_as_much_in_the_moe_preset_as_in_the_dense_model() -> None:
    dense, mixture = load_preset("blueberry-nano"), load_preset("blueberry-moe")

    assert (mixture.model.parameters, mixture.model.active_parameters) == (453_153_280, 151_163_392)
    assert "453 M" in mixture.title and "151 M" in mixture.title
    assert mixture.model.flops_per_token == pytest.approx(dense.model.flops_per_token, rel=1e-3)
    assert dense.model.active_parameters == dense.model.parameters


@pytest.mark.parametrize("activation", ["swiglu", "relu2"])
def test_what_works_on_a_token_is_all_but_the_experts_that_were_not_chosen(activation: str) -> None:
    shape = tiny_config(model__experts=5, model__experts_per_token=2, model__activation=activation).model
    model = Transformer(shape)
    experts = sum(weight.numel() for name, weight in model.named_parameters() if ".experts." in name)

    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters
    assert shape.active_parameters == shape.parameters - experts * 3 // 5
    products = sum(weight.numel() for weight in model.parameters() if weight.dim() > 1) - experts * 3 // 5
    assert shape.flops_per_token == 6 * products + shape.layers * 6 * shape.context * shape.width


def test_experts_that_cannot_be_are_refused_with_what_can() -> None:
    assert refusal(model__experts=4, model__experts_per_token=5) == (
        "model.experts_per_token = 5 must be at most model.experts = 4; try 2."
    )
    assert refusal(model__experts_per_token=2).endswith("must be at most model.experts = 1; try 1.")
    assert refusal(model__experts=4, model__mlp_width=49) == (
        "model.mlp_width = 49 must be a multiple of 8 in a model with experts; try 56."
    )
    assert "try 64" in refusal(model__experts=2, model__width=60, model__heads=2)


def test_the_published_recipe_differs_from_ours_in_the_recipe_alone() -> None:
    ours, published = (config.settings(load_preset(f"blueberry-nano{end}")) for end in ("", "-published"))

    assert {key for key in ours if ours[key] != published[key]} == {
        "title",
        "model.init",
        "optimizer.muon_lr",
        "optimizer.adamw_lr",
        "optimizer.momentum",
        "optimizer.momentum_warmup",
        "optimizer.neuron_memory",
        "optimizer.weight_decay",
        "optimizer.cautious",
        "optimizer.beta1",
        "optimizer.beta2",
        "optimizer.orthogonalizer",
        "optimizer.adamw_eps",
        "optimizer.adamw_weight_decay",
        "schedule.warmup",
        "schedule.decay",
        "schedule.shape",
        "schedule.final",
    }
    assert "without dropout" in published["title"]


@pytest.mark.parametrize("name", ["blueberry-88m", "blueberry-nano", "blueberry-nano-published"])
def test_the_blueberries_have_the_published_norm(name: str) -> None:
    """torch.nn.RMSNorm without an epsilon takes the smallest step of fp32."""
    assert load_preset(name).model.norm_eps == pytest.approx(torch.finfo(torch.float32).eps, rel=1e-6)


def test_the_88m_preset_is_the_published_follow_up() -> None:
    shape = load_preset("blueberry-88m").model

    assert (shape.layers, shape.activation) == (22, "relu2")
    assert shape.parameters == 88_630_528


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_being_stored_with_its_run(name: str) -> None:
    chosen = load_preset(name)

    assert from_json(chosen.to_json()) == chosen


def test_overrides_reach_the_section_they_name() -> None:
    chosen = load_preset("seedling", {"model.layers": 5, "optimizer.muon_lr": 0.01, "schedule.shape": "cosine"})

    assert (chosen.model.layers, chosen.optimizer.muon_lr, chosen.schedule.shape) == (5, 0.01, "cosine")


def test_the_keys_that_scripts_rely_on_exist() -> None:
    promised = {
        "model.layers",
        "model.width",
        "train.tokens",
        "train.batch_tokens",
        "train.seed",
        "optimizer.muon_lr",
        "optimizer.adamw_lr",
        "eval.every",
        "sample.every",
        "checkpoint.every",
    }

    assert promised <= set(config.settings(load_preset("seedling")))


def test_steps_cover_the_tokens_with_a_whole_last_step() -> None:
    chosen = tiny_config(train__tokens=257, train__batch_tokens=256)

    assert (chosen.total_steps, chosen.rows_per_step) == (2, 4)


@pytest.mark.parametrize("value", [-1, 0, math.nan, math.inf, -math.inf, "abc", True, None, [0.1], 10**400])
@pytest.mark.parametrize("key", ["optimizer__muon_lr", "optimizer__adamw_lr"])
def test_a_learning_rate_must_be_a_number_above_zero(key: str, value: Any) -> None:
    sentence = refusal(**{key: value})

    assert sentence.startswith(key.replace("__", ".")) and "number" in sentence


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_an_impossible_learning_rate_is_told_what_would_be_right(value: float) -> None:
    assert refusal(optimizer__muon_lr=value) == f"optimizer.muon_lr = {value} must be a finite number > 0 and <= 100."


@pytest.mark.parametrize("key", ["momentum", "beta1", "beta2"])
@pytest.mark.parametrize("value", [1.0, 1, -0.1, math.nan])
def test_a_memory_must_be_below_one(key: str, value: float) -> None:
    assert refusal(**{f"optimizer__{key}": value}).endswith("must be a finite number >= 0 and < 1.")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train__batch_tokens", 0),
        ("train__batch_tokens", -64),
        ("train__batch_tokens", 10**9),
        ("train__tokens", 0),
        ("train__tokens", -1),
        ("train__tokens", 10**18),
        ("train__tokens", 10**400),
        ("train__micro_batch", -1),
        ("train__seed", -1),
        ("train__seed", 2**63),
        ("model__layers", 0),
        ("model__context", 4),
        ("model__vocab_size", 1),
        ("eval__every", 0),
        ("sample__every", 0),
        ("sample__temperature", -0.1),
        ("sample__top_p", 0.0),
        ("sample__top_p", 1.1),
        ("checkpoint__every", 0),
        ("checkpoint__keep", 0),
        ("schedule__warmup", -0.1),
        ("schedule__decay", 1.1),
        ("train__grad_clip", 0.0),
        ("model__norm_eps", 0.0),
        ("model__rope_base", 1.0),
    ],
)
def test_numbers_out_of_range_are_refused_with_the_range(key: str, value: float) -> None:
    sentence = refusal(**{key: value})

    assert sentence.startswith(key.replace("__", "."))
    assert "must be a finite number " in sentence or "fewer than 300 digits" in sentence


def test_heads_that_do_not_divide_name_both_values_and_a_way_out() -> None:
    assert refusal(model__heads=5) == "model.heads = 5 must divide model.width = 32; try 4."
    assert refusal(model__kv_heads=3) == "model.kv_heads = 3 must divide model.heads = 4; try 2."
    assert "even" in refusal(model__width=36, model__heads=12)


def test_a_window_is_at_most_the_context() -> None:
    assert tiny_config(model__window=64).model.window == 64
    assert (
        refusal(model__window=65)
        == "model.window = 65 must be at most model.context = 64; try 0, which sees the whole context."
    )


def test_steps_that_do_not_divide_name_both_values_and_a_way_out() -> None:
    assert (
        refusal(train__batch_tokens=100)
        == "train.batch_tokens = 100 must be a multiple of model.context = 64; try 128."
    )
    assert refusal(train__micro_batch=3) == "train.micro_batch = 3 must divide the 4 rows of a step; try 2."
    assert (
        refusal(schedule__warmup=0.6, schedule__decay=0.6)
        == "schedule.warmup + schedule.decay = 1.2 must be at most 1."
    )


@pytest.mark.parametrize("value", [True, "12", 1.5, None, {"a": 1}])
def test_a_whole_number_is_nothing_else(value: Any) -> None:
    sentence = refusal(model__layers=value)

    assert sentence.startswith("model.layers") and ("must be a whole number" in sentence)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert tiny_config(train__tokens=1e4).train.tokens == 10_000


def test_text_and_switches_and_choices_are_checked_too() -> None:
    assert refusal(data__dataset=5) == "data.dataset = 5 must be text."
    assert refusal(train__compile="yes") == 'train.compile = "yes" must be true or false.'
    assert refusal(schedule__shape="round") == "schedule.shape = 'round' must be one of linear, cosine."
    assert (
        refusal(train__attention="flash3")
        == "train.attention = 'flash3' must be one of auto, flash, cudnn, flash-attn, plain."
    )
    assert refusal(optimizer__orthogonalizer="svd").endswith("must be one of polar-express, newton-schulz.")
    assert refusal(train__precision=16).endswith("must be one of auto, fp32, bf16, fp16.")


def test_a_misspelt_key_is_met_with_the_right_one() -> None:
    assert refusal(optimizer__moun_lr=0.1) == "optimizer.moun_lr is not a setting (did you mean optimizer.muon_lr?)."
    assert refusal(optimiser__muon_lr=0.1) == "optimiser is not a setting (did you mean optimizer?)."


def test_a_group_is_no_value_and_a_value_no_group() -> None:
    assert refusal(model=3) == "model is a group of settings, not a value."
    assert refusal(model__layers__deep=3) == "'model.layers.deep' is not a setting: layers has no parts."


def test_a_missing_setting_is_named() -> None:
    tree = json.loads(tiny_config().to_json())
    del tree["model"]["layers"]

    with pytest.raises(ConfigError, match=r"^model\.layers is missing\.$"):
        from_json(json.dumps(tree))


def test_a_run_stored_before_a_setting_existed_means_what_it_meant() -> None:
    tree = json.loads(tiny_config().to_json())
    for section, names in {
        "model": ("window", "init"),
        "train": ("attention", "documents"),
        "optimizer": ("orthogonalizer", "adamw_weight_decay", "adamw_eps"),
    }.items():
        for name in names:
            del tree[section][name]

    assert from_json(json.dumps(tree)) == tiny_config()


def test_a_stored_nan_is_refused() -> None:
    text = tiny_config().to_json().replace('"muon_lr": 0.02', '"muon_lr": NaN')
    assert "NaN" in text

    with pytest.raises(ConfigError, match="must be a finite number"):
        from_json(text)


def test_an_unknown_preset_is_met_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'seedlign' \(did you mean seedling\?\); there are .*sprout"):
        load_preset("seedlign")
    with pytest.raises(ConfigError, match="There is no preset"):
        load_preset("../presets/seedling")


def test_words_of_the_command_line_become_overrides() -> None:
    assert parse_overrides(["train.tokens=1M", " model.layers = 2 ", "data.dataset=a=b"]) == {
        "train.tokens": 1_000_000,
        "model.layers": 2,
        "data.dataset": "a=b",
    }


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^train\.seed is given twice; give it once\.$"):
        parse_overrides(["train.seed=1", "train.seed=1"])


@pytest.mark.parametrize("word", ["train.seed", "=5", " =5", ""])
def test_a_word_without_key_or_value_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="settings as key=value"):
        parse_overrides([word])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("1_000", 1000),
        ("-3", -3),
        ("0.5", 0.5),
        ("3e-4", 3e-4),
        ("2k", 2000),
        ("1M", 10**6),
        ("1.5M", 1_500_000),
        ("4.02M", 4_020_000),
        ("2.01B", 2_010_000_000),
        ("0.0005k", 0.5),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("bpe:4096", "bpe:4096"),
        ("M", "M"),
        ("", ""),
        ("starter", "starter"),
        ("inf", math.inf),
        ("infM", math.inf),
    ],
)
def test_what_people_write_gets_its_type(text: str, value: Any) -> None:
    found = parse_value(text)

    assert found == value and type(found) is type(value)


def test_flops_count_every_product_once() -> None:
    """6 per weight of a product and token (forward 2, backward 4); causal attention is half of two square products."""
    shape = tiny_config().model
    products = sum(parameter.numel() for parameter in Transformer(shape).parameters() if parameter.dim() == 2)

    assert shape.flops_per_token == 6 * products + shape.layers * 6 * shape.context * shape.width


def test_the_tiny_config_of_these_tests_is_what_it_says() -> None:
    assert config.settings(tiny_config()).items() >= TINY.items()
