"""An exported model is the model: transformers computes the same numbers and says the same words."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sqlite_utils import Database
from support import new_run, save_checkpoint, tiny_config, tiny_model
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from engine import data, export, store, tokenizer
from engine.__main__ import main
from engine.checkpoint import sampling_weights, save_sampling
from engine.config import load_preset
from engine.home import PROJECT, Home
from engine.model import Transformer
from engine.optim import Optimizers

NOVEL = PROJECT / "data" / "starter" / "alice_in_wonderland.txt.xz"


@pytest.fixture
def model() -> Transformer:
    """A model in which every weight matters, of a width whose root is no power of two."""
    return tiny_model(7)


@pytest.fixture
def run_id(home: Home, db: Database, model: Transformer) -> str:
    """A run with a checkpoint of step 8 and bf16 weights of steps 4 and 8."""
    run_id = new_run(home, db)
    folder = home.run(run_id)
    folder.mkdir(parents=True)
    shutil.copyfile(home.dataset("tiny") / "tokenizer.json", home.tokenizer(run_id))
    optimizers = Optimizers(model, tiny_config().optimizer, torch.float32)
    for step, kind in ((4, "sampling"), (8, "full"), (8, "sampling")):
        written = (
            save_checkpoint(folder, step, model, optimizers, {})
            if kind == "full"
            else save_sampling(folder, step, sampling_weights(model))
        )
        store.add_checkpoint(
            db,
            run_id,
            attempt=1,
            step=step,
            tokens=step * 256,
            kind=kind,
            path=written.path.relative_to(folder).as_posix(),
            bytes=written.bytes,
            sha256=written.sha256,
        )
    return run_id


def some_text(words: Tokenizer, length: int) -> Tensor:
    """The beginning of a novel as ids [1, length]."""
    return torch.tensor([words.encode(next(data.documents(NOVEL))[:9000]).ids[:length]])


def greedy(model: Transformer, tokens: Tensor, count: int) -> list[int]:
    """What our model goes on with, always its first guess."""
    for _ in range(count):
        tokens = torch.cat((tokens, model.logits(tokens)[:, -1:].argmax(dim=-1)), dim=1)
    return tokens[0].tolist()


@torch.no_grad()
def test_transformers_reads_the_folder_and_computes_the_same(
    home: Home, db: Database, run_id: str, model: Transformer, tmp_path: Path
) -> None:
    made = export.export(home, db, run_id, None, tmp_path / "out")
    text = next(data.documents(NOVEL))[:2000]
    words = tokenizer.load(home.tokenizer(run_id))

    theirs = AutoModelForCausalLM.from_pretrained(made.path)
    reader = AutoTokenizer.from_pretrained(made.path)

    assert isinstance(theirs, Qwen3ForCausalLM) and theirs.dtype == torch.float32
    assert reader(text)["input_ids"] == words.encode(text).ids
    assert reader.decode(words.encode(text).ids) == text
    tokens = some_text(words, model.config.context)
    torch.testing.assert_close(theirs(tokens).logits, model.logits(tokens), rtol=0, atol=1e-4)
    start = tokens[:, :16]
    said = theirs.generate(start, max_new_tokens=24, do_sample=False, eos_token_id=-1)
    assert said[0].tolist() == greedy(model, start, 24)


@torch.no_grad()
def test_the_whole_blueberry_nano_is_qwen3() -> None:
    """All 151 M weights, none of them zero, on real text; from memory, because 700 MB of file would show no more."""
    shape = replace(load_preset("blueberry-nano").model, init="normal")
    with torch.device("meta"):
        model, theirs = Transformer(shape), Qwen3ForCausalLM(Qwen3Config(**export.qwen3_config(shape)))
    dice = torch.Generator().manual_seed(3)
    weights = {
        name: torch.empty(weight.shape).normal_(1.0 if weight.dim() == 1 else 0.0, 0.04, generator=dice)
        for name, weight in model.named_parameters()
    }
    model.load_state_dict(weights, assign=True)
    model.reset_rotary()
    theirs.load_state_dict(export.qwen3_weights(shape, weights, torch.float32), assign=True)
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(theirs.config)  # its table is not among the weights
    tokens = some_text(tokenizer.train_bpe(data.documents(NOVEL), 4096), 200)

    ours, others = model.logits(tokens), theirs.eval()(tokens).logits

    assert ours.std() > 0.5
    torch.testing.assert_close(others, ours, rtol=0, atol=1e-4)


def test_the_scaled_embedding_is_the_one_the_model_computes(model: Transformer) -> None:
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    tokens = torch.arange(model.config.vocab_size)

    named = export.qwen3_weights(model.config, weights, torch.float32)

    assert torch.equal(named[export.EMBEDDING], model._embed(tokens[None])[0])
    assert torch.equal(named[export.HEAD], weights["embed_tokens.weight"])


def test_in_bf16_the_folder_has_half_the_bytes_and_the_numbers_to_three_digits(
    home: Home, db: Database, run_id: str, model: Transformer, tmp_path: Path
) -> None:
    whole = export.export(home, db, run_id, 8, tmp_path / "fp32")
    half = export.export(home, db, run_id, 8, tmp_path / "bf16", "bf16")
    tokens = some_text(tokenizer.load(home.tokenizer(run_id)), 60)

    theirs = AutoModelForCausalLM.from_pretrained(half.path, dtype=torch.float32)

    sizes = [(made.path / "model.safetensors").stat().st_size for made in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    with torch.no_grad():
        ours, others = model.logits(tokens), theirs(tokens).logits
    assert (ours - others).abs().max() < 0.02 * ours.abs().max()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_what_was_exported_comes_back(
    home: Home, db: Database, run_id: str, model: Transformer, tmp_path: Path, dtype: str
) -> None:
    made = export.export(home, db, run_id, None, tmp_path / "out", dtype)

    shape, weights = export.from_qwen3(made.path)
    AutoModelForCausalLM.from_pretrained(made.path).save_pretrained(tmp_path / "again")
    same_shape, same_weights = export.from_qwen3(tmp_path / "again")

    assert shape == same_shape == model.config
    assert all(torch.equal(same_weights[name], weight) for name, weight in weights.items())
    for name, weight in model.named_parameters():
        assert torch.equal(weights[name], weight.to(export.DTYPES[dtype]).float()), name


def test_another_qwen3_does_not_come_in(home: Home, db: Database, run_id: str, tmp_path: Path) -> None:
    with pytest.raises(store.Refused, match="holds no Qwen3 that was exported from here"):
        export.from_qwen3(tmp_path)
    Qwen3ForCausalLM(
        Qwen3Config(**export.qwen3_config(tiny_config().model), tie_word_embeddings=False)
    ).save_pretrained(tmp_path / "other")
    with pytest.raises(store.Refused, match="are not its head times the square root"):
        export.from_qwen3(tmp_path / "other")


def test_weights_kept_in_bf16_are_exported_where_there_are_no_others(
    home: Home, db: Database, run_id: str, model: Transformer, tmp_path: Path
) -> None:
    made = export.export(home, db, run_id, 4, tmp_path / "out")

    _, weights = export.from_qwen3(made.path)

    assert torch.equal(weights["norm.weight"], model.norm.weight.bfloat16().float())
    card = (made.path / "README.md").read_text()
    assert "step 4, weights kept in bf16" in card and "1,024 tokens" in card and run_id not in card


@pytest.mark.parametrize("window", [5, 0])
@torch.no_grad()
def test_a_window_means_the_same_to_transformers(window: int) -> None:
    """One layer that sees `window` tokens, itself counted: what lies further back changes nothing."""
    shape = replace(tiny_config().model, layers=1, window=window)
    torch.manual_seed(1)
    theirs = Qwen3ForCausalLM(Qwen3Config(**export.qwen3_config(shape), attn_implementation="eager")).eval()
    tokens = torch.arange(20)[None]
    changed = [tokens.clone(), tokens.clone()]
    changed[0][0, 19 - 5], changed[1][0, 19 - 4] = 99, 99

    same = [torch.equal(theirs(tokens).logits[0, 19], theirs(other).logits[0, 19]) for other in changed]

    assert same == [window == 5, False]
    ours = tiny_model(layers=1, window=window)
    theirs.load_state_dict(export.qwen3_weights(shape, dict(ours.named_parameters()), torch.float32))
    torch.testing.assert_close(theirs(tokens[:, :16]).logits, ours.logits(tokens[:, :16]), rtol=0, atol=1e-4)


def test_an_export_that_fails_leaves_nothing(
    home: Home, db: Database, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(export, "sync", full)
    with pytest.raises(store.Refused, match=r"could not be exported to .*: the disk is full"):
        export.export(home, db, run_id, None, tmp_path / "out")
    assert list(tmp_path.rglob("*out*")) == [tmp_path / "out"] and not any((tmp_path / "out").iterdir())


def test_the_command(home: Home, db: Database, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at, out = ("--home", str(home.path)), tmp_path / "new" / "out"

    assert main(["export", f"{run_id}@4", "--out", str(out), "--dtype", "bf16", "--json", *at]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(out),
        "bytes": sum(file.stat().st_size for file in out.iterdir()),
        "step": 4,
        "dtype": "bf16",
    }
    names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert {file.name for file in out.iterdir()} == names | {"model.safetensors"}
    assert main(["export", run_id, "--out", str(tmp_path / "other"), *at]) == 0
    assert "fp32, step 8" in capsys.readouterr().out


def test_what_cannot_be_exported_is_one_sentence(
    home: Home, db: Database, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(run: str, out: Path = tmp_path / "out") -> str:
        assert main(["export", run, "--out", str(out), "--home", str(home.path)]) == 1
        caught = capsys.readouterr()
        assert caught.out == "" and caught.err.count("\n") == 1
        return caught.err

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("keep me")
    assert "is there already and not empty" in refused(run_id, tmp_path / "full")
    assert "no weights of step 5; there are 4, 8" in refused(f"{run_id}@5")
    assert "must be RUN or RUN@STEP" in refused(f"{run_id}@last")
    assert "were not published here" in refused(store.REFERENCE_ID)
    assert "could not be exported" in refused(run_id, tmp_path / "full" / "letter.txt" / "out")
    store.end_run(db, run_id, "stopped")
    other = new_run(home, db, model__activation="relu2")
    assert "no Qwen3" in refused(other)
    store.end_run(db, other, "stopped")
    assert "nothing to export" in refused(new_run(home, db))
    weights = home.run(run_id) / "step_000008" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"####")
    assert "hash mismatch" in refused(run_id)
    shutil.rmtree(weights.parent)
    assert "cannot be exported" in refused(run_id)
    (home.run(run_id) / "sampling" / "step_000004.safetensors").write_bytes(b"no weights")
    assert "damaged" in refused(f"{run_id}@4")
    assert not (tmp_path / "out").exists()


def test_experts_are_refused_by_name(model: Transformer) -> None:
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    with pytest.raises(store.Refused, match=r"layers\.0\.mlp\.router\.weight is in one.*Qwen3Moe"):
        export.qwen3_weights(model.config, weights | {"layers.0.mlp.router.weight": torch.zeros(2)}, torch.float32)
    del weights["layers.1.mlp.up_proj.weight"]
    with pytest.raises(store.Refused, match=r"layers\.1\.mlp\.up_proj\.weight is in one"):
        export.qwen3_weights(model.config, weights, torch.float32)


def test_powers_of_two_lose_nothing_in_bf16() -> None:
    """What the documentation of the module says of widths: 256 and 1024 are exact, 512 is not."""
    numbers = torch.randn(512, generator=torch.Generator().manual_seed(0)).bfloat16()
    for width, exact in ((256, True), (1024, True), (512, False)):
        scaled = numbers.float() * math.sqrt(width)
        assert torch.equal(scaled, scaled.bfloat16().float()) == exact
