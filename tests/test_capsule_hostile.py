"""Capsules that somebody made to do harm: each is refused in a sentence and leaves nothing behind, or is harmless."""

import json
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from capsules import Members, edited, everything, files, packed, rewritten
from safetensors.torch import load, save
from support import tiny_config, tiny_model
from ui_helpers import add_answer, add_points

from engine import capsule, capsule_unpack, checkpoint, launch, store, tokenizer
from engine.capsule_check import ASKED
from engine.capsule_weights import shapes
from engine.config import load_preset
from engine.home import Home
from engine.judging import judge_all
from engine.model import Transformer
from engine.store import Refused

SCRIPT = "<script>alert(1)</script>\u202e</textarea><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capsule with one exhibit, its weights and its tokenizer."""
    home = Home.at(tmp_path_factory.mktemp("source"))
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        config = tiny_config()
        run_id = store.create_run(db, config, "seedling", "tiny", "cpu")
        words = tokenizer.train_bpe(
            ["the cat sat on the mat and all that " * 40, *(chr(n) * 9 for n in range(40, 120))], 300
        )
        home.run(run_id).mkdir(parents=True)
        home.tokenizer(run_id).write_text(words.to_str(), encoding="utf-8")
        written = checkpoint.save_sampling(home.run(run_id), 4, checkpoint.sampling_weights(tiny_model()))
        store.add_checkpoint(
            db,
            run_id,
            attempt=1,
            step=4,
            tokens=1024,
            kind="sampling",
            path="sampling/step_000004.safetensors",
            bytes=written.bytes,
            sha256=written.sha256,
        )
        add_points(db, run_id, 1, 10)
        sample = add_answer(db, run_id, " a cat", 4, weights_sha256=written.sha256, dtype="float32", device="cpu")
        store.keep(db, sample, "good", "A cat", "purring")
        store.end_run(db, run_id, "finished")
    out = tmp_path_factory.mktemp("capsules") / "honest.capsule"
    packed(home, out, weights=True, samples=True)
    return out


@pytest.fixture
def target(home: Home) -> Home:
    """The home that a stranger's capsule comes to."""
    return home


def refused(home: Home, path: Path) -> str:
    """Why a capsule is not taken; nothing of it may be left in the home, nor beside it."""
    before, around = everything(home), sorted(home.path.parent.iterdir())
    with pytest.raises(Refused) as error:
        capsule_unpack.take(home, path)
    assert everything(home) == before and files(home) == []
    assert sorted(home.path.parent.iterdir()) == around
    sentence = str(error.value)
    assert len(sentence) < 400 and str(home.path) not in sentence
    return sentence


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    """Any zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in members:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # zipfile warns of a name that is there twice
                written.writestr(name, data)
    return path


def with_member(honest: Path, out: Path, name: str | zipfile.ZipInfo, data: bytes = b"x") -> Path:
    """The honest capsule with one more member."""
    with zipfile.ZipFile(honest) as read:
        return zipped(out, *[(one, read.read(one)) for one in read.namelist()], (name, data))


def test_the_honest_one_is_taken(target: Home, honest: Path) -> None:
    assert capsule_unpack.take(target, honest).state == "opened"


@pytest.mark.parametrize(
    "name", ["../../owned", "/tmp/owned", "weights/../x", "C:\\owned", "runs.json/", "a\0b", "WEIGHTS/x"]
)
def test_only_names_that_a_capsule_has(target: Home, honest: Path, tmp_path: Path, name: str) -> None:
    assert "which no capsule has" in refused(target, with_member(honest, tmp_path / "bad.capsule", name))


def test_a_name_that_is_there_twice(target: Home, honest: Path, tmp_path: Path) -> None:
    assert "twice" in refused(target, with_member(honest, tmp_path / "bad.capsule", "runs.json"))


def test_a_link_and_a_device(target: Home, honest: Path, tmp_path: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFBLK, stat.S_IFDIR):
        link = zipfile.ZipInfo("samples.jsonl")
        link.create_system, link.external_attr = 3, (kind | 0o777) << 16
        with zipfile.ZipFile(honest) as read:
            members = [(name, read.read(name)) for name in read.namelist() if name != "samples.jsonl"]
        assert "a link or a folder" in refused(
            target, zipped(tmp_path / "bad.capsule", *members, (link, b"/etc/passwd"))
        )


def test_a_bomb_is_not_unpacked(target: Home, honest: Path, tmp_path: Path) -> None:
    bomb = rewritten(
        honest, tmp_path / "bad.capsule", lambda members: members.update({"samples.jsonl": b"\n" * 40_000_000})
    )
    assert bomb.stat().st_size < 200_000
    assert "would grow" in refused(target, bomb)


def test_more_bytes_than_a_member_may_have(
    target: Home, honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(capsule.LARGEST, capsule.EXHIBITS, 100)
    assert "is all" in refused(target, honest)


def test_more_members_than_a_capsule_has(target: Home, tmp_path: Path) -> None:
    many = zipped(tmp_path / "many.capsule", *((f"weights/{n:064x}.safetensors", b"") for n in range(5000)))
    assert "members" in refused(target, many)
    more = zipped(tmp_path / "more.capsule", *((f"{n:0200d}", b"") for n in range(20_000)))
    assert "more members than any capsule" in refused(target, more)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_part_of_a_file(target: Home, honest: Path, tmp_path: Path, share: float) -> None:
    data = honest.read_bytes()
    (tmp_path / "part.capsule").write_bytes(data[: int(len(data) * share)])
    assert "or only a part of one" in refused(target, tmp_path / "part.capsule")


def test_no_byte_may_be_another(target: Home, honest: Path, tmp_path: Path) -> None:
    data = honest.read_bytes()
    for place in range(0, len(data), len(data) // 60):
        broken = tmp_path / "broken.capsule"
        broken.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            taken = capsule_unpack.look(target, broken)
        except Refused:
            continue
        # What says nothing, like the date of a member: all that is read is as it was.
        assert taken.cover == capsule_unpack.look(target, honest).cover


def test_an_encrypted_member(target: Home, honest: Path, tmp_path: Path) -> None:
    data = bytearray(honest.read_bytes())
    at = data.find(b"PK\1\2")
    struct.pack_into("<H", data, at + 8, struct.unpack_from("<H", data, at + 8)[0] | 1)
    (tmp_path / "bad.capsule").write_bytes(data)
    assert "encrypted" in refused(target, tmp_path / "bad.capsule")


def test_a_member_that_is_not_what_the_manifest_says(target: Home, honest: Path, tmp_path: Path) -> None:
    def other(members: Members) -> None:
        members["exhibits.jsonl"] = members["exhibits.jsonl"].replace(b"A cat", b"A dog")

    assert "its sha256 differs" in refused(target, rewritten(honest, tmp_path / "bad.capsule", other, honest=False))


def test_a_manifest_whose_cover_was_changed(target: Home, honest: Path, tmp_path: Path) -> None:
    def unsealed(members: Members) -> None:
        members[capsule.MANIFEST] = members[capsule.MANIFEST].replace(
            b'"sealed_until": null', b'"sealed_until": "2020-01-01"'
        )

    assert "id is not that" in refused(target, rewritten(honest, tmp_path / "bad.capsule", unsealed, honest=False))


@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b"[]", b"{", b'{"a": NaN}', b"\xff\xfe", b"1" * 5000, b"null"]
)
@pytest.mark.parametrize("name", ["runs.json", "exhibits.jsonl", "manifest.json"])
def test_what_is_no_json_of_ours(target: Home, honest: Path, tmp_path: Path, name: str, content: bytes) -> None:
    def other(members: Members) -> None:
        members[name] = content

    if name == capsule.MANIFEST:
        with zipfile.ZipFile(honest) as read:
            rest = [(one, read.read(one)) for one in read.namelist() if one != name]
        refused(target, zipped(tmp_path / "bad.capsule", *rest, (name, content)))
    else:
        refused(target, rewritten(honest, tmp_path / "bad.capsule", other))


WRONG: list[tuple[str, Callable[[Any], Any], str]] = [
    ("exhibits.jsonl", lambda line: line | {"run": "another"}, "a run that is not in the capsule"),
    ("exhibits.jsonl", lambda line: line | {"kept": None}, "not a group"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"text": 7}}, "text of"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"text": "\ud800"}}, "half a character"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"text": "x" * 300_000}}, "200,000 characters"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"temperature": 1e9}}, "temperature"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"seed": 2**63}}, "seed"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"stop": "[[["}}, "makes no sense"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"stop": "[" * 100_000}}, "makes no sense"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"min_p": 7}}, "makes no sense"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"step": -1}}, "step"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"step": True}}, "step"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"weights_sha256": "../x"}}, "sha256"),
    ("exhibits.jsonl", lambda line: line | {"kept": line["kept"] | {"title": "x" * 201}}, "title"),
    ("exhibits.jsonl", lambda line: line | {"kept": line["kept"] | {"category": ""}}, "category"),
    ("exhibits.jsonl", lambda line: line | {"kept": line["kept"] | {"tags": "sea"}}, "a list"),
    ("exhibits.jsonl", lambda line: line | {"kept": line["kept"] | {"tags": ["x"] * 21}}, "a list"),
    ("exhibits.jsonl", lambda line: line | {"kept": line["kept"] | {"tags": [7]}}, "tag of"),
    ("exhibits.jsonl", lambda line: line | {"kept": line["kept"] | {"tags": ["a,b"]}}, "without commas"),
    ("exhibits.jsonl", lambda line: line | {"kept": line["kept"] | {"pinned": "first"}}, "pinned"),
    ("exhibits.jsonl", lambda line: line | {"sample": line["sample"] | {"temperature": None}}, "makes no sense"),
    (
        "exhibits.jsonl",
        lambda line: line | {"sample": line["sample"] | dict.fromkeys(ASKED) | {"stop": "[[["}},
        "makes no sense",
    ),
    ("curves.jsonl", lambda line: line | {"curve": "runs"}, "no curve"),
    ("curves.jsonl", lambda line: line | {"train_loss": "high"}, "train_loss"),
    ("runs.json", lambda runs: [runs[0] | {"id": "../../etc"}], "is none"),
    ("runs.json", lambda runs: [runs[0], runs[0]], "is there twice"),
    ("runs.json", lambda runs: [runs[0] | {"config": {}}], "cannot be used"),
    ("runs.json", lambda runs: [runs[0] | {"config": runs[0]["config"] | {"evil": 1}}], "not a setting"),
    ("runs.json", lambda runs: [runs[0] | {"state": runs[0]["state"] | {"tokens": -5}}], "tokens"),
    ("runs.json", lambda runs: [runs[0] | {"state": runs[0]["state"] | {"environment": []}}], "environment"),
    ("runs.json", lambda runs: [runs[0] | {"tokenizer": None}], "no tokenizer"),
    ("runs.json", lambda runs: [runs[0] | {"weights": []}], "belongs to no run"),
    ("runs.json", lambda runs: [runs[0] | {"end": "<none>"}], "no <none> piece"),
]


@pytest.mark.parametrize(("name", "change", "problem"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_value(
    target: Home, honest: Path, tmp_path: Path, name: str, change: Callable[[Any], Any], problem: str
) -> None:
    assert problem in refused(target, edited(honest, tmp_path / "bad.capsule", name, change))


def test_settings_that_ask_for_another_model_than_the_weights(target: Home, honest: Path, tmp_path: Path) -> None:
    def wider(runs: Any) -> Any:
        runs[0]["config"]["model"]["width"] = 64
        return runs

    assert "must be bf16 of shape" in refused(target, edited(honest, tmp_path / "bad.capsule", "runs.json", wider))


def reweighed(honest: Path, out: Path, change: Callable[[bytes], bytes]) -> Path:
    """The honest capsule with other weights, called after their hash as they should be."""
    import hashlib

    def other(members: Members) -> None:
        old = next(name for name in members if name.startswith("weights/"))
        data = change(members.pop(old))
        digest = hashlib.sha256(data).hexdigest()
        members[f"weights/{digest}.safetensors"] = data
        members["runs.json"] = members["runs.json"].replace(old[8:72].encode(), digest.encode())

    return rewritten(honest, out, other)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data[:-2], "overlap, or leave gaps"),
        (lambda data: data[:40], "no safetensors"),
        (lambda data: b"", "no safetensors"),
        (lambda data: struct.pack("<Q", 2**60) + data[8:], "its header would be"),
        (lambda data: b"\x80\x04cos\nsystem\n(S'touch owned'\ntR." * 50, "its header would be"),
        (lambda data: save({name: part.float() for name, part in load(data).items()}), "must be bf16"),
        (
            lambda data: save({name: part for name, part in load(data).items() if "norm" not in name}),
            "missing or too much",
        ),
        (lambda data: save(load(data) | {"extra": torch.zeros(3, dtype=torch.bfloat16)}), "missing or too much"),
    ],
    ids=range(8),
)
def test_weights_that_are_none(
    target: Home, honest: Path, tmp_path: Path, change: Callable[[bytes], bytes], problem: str
) -> None:
    assert problem in refused(target, reweighed(honest, tmp_path / "bad.capsule", change))


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"\x80\x04.", b'{"version": "1.0", "model": {"type": "BPE"}}'])
def test_a_tokenizer_that_is_none(target: Home, honest: Path, tmp_path: Path, raw: bytes) -> None:
    import hashlib

    def other(members: Members) -> None:
        old = next(name for name in members if name.startswith("tokenizers/"))
        members.pop(old)
        digest = hashlib.sha256(raw).hexdigest()
        members[f"tokenizers/{digest}.json"] = raw
        members["runs.json"] = members["runs.json"].replace(old[11:75].encode(), digest.encode())

    refused(target, rewritten(honest, tmp_path / "bad.capsule", other))


def test_scripts_in_every_text_are_only_text(target: Home, honest: Path, tmp_path: Path) -> None:
    def scripted(line: Any) -> Any:
        texts = dict.fromkeys(("prompt", "text", "suite", "finish", "device", "dtype", "source"), SCRIPT)
        texts["source"] = "<b>"
        line["sample"] |= texts
        line["kept"] |= {
            "title": SCRIPT,
            "note": SCRIPT,
            "category": SCRIPT[:40],
            "tags": ["<script>alert(1)</script>"],
        }
        return line

    def runs(found: Any) -> Any:
        found[0] |= dict.fromkeys(("name", "preset", "dataset", "note"), f"{SCRIPT}\0")
        found[0]["state"]["environment"] = {"device_name": SCRIPT, "evil": SCRIPT}
        return found

    one = edited(honest, tmp_path / "one.capsule", "exhibits.jsonl", scripted)
    two = edited(one, tmp_path / "two.capsule", "runs.json", runs)
    run_id, name = capsule_unpack.take(target, two).runs[0]

    store.check_run_name(name)
    with closing(store.connect(target.database)) as db:
        exhibit = store.search_archive(db, run_id=run_id)[0][0]
        assert exhibit["text"] == exhibit["title"] == SCRIPT and exhibit["tags"] == ["<script>alert(1)</script>"]
        assert exhibit["source"] == "playground"
        assert judge_all(target) >= 1, "a folder's name with a zero in it would end that"
        assert store.get_run(db, run_id)["environment"] == {"device_name": SCRIPT}


def test_a_run_may_not_take_the_place_of_one_that_is_here(target: Home, honest: Path, tmp_path: Path) -> None:
    def published(runs: Any) -> Any:
        return [runs[0] | {"id": store.REFERENCE_ID}]

    def too(members: Members) -> None:
        old = json.loads(members["runs.json"])[0]["id"].encode()
        for name in ("exhibits.jsonl", "curves.jsonl", "samples.jsonl"):
            if name in members:
                members[name] = members[name].replace(old, store.REFERENCE_ID.encode())
        members["runs.json"] = json.dumps(published(json.loads(members["runs.json"]))).encode()

    run_id = capsule_unpack.take(target, rewritten(honest, tmp_path / "x.capsule", too)).runs[0][0]
    assert run_id != store.REFERENCE_ID
    with closing(store.connect(target.database)) as db:
        assert store.get_run(db, store.REFERENCE_ID)["kind"] == "published"


@pytest.mark.parametrize("preset", ["seedling", "blueberry-moe", "blueberry-88m"])
def test_the_shapes_are_those_of_the_model(preset: str) -> None:
    config = load_preset(preset).model
    with torch.device("meta"):
        model = Transformer(config)
    assert shapes(config) == {name: list(weight.shape) for name, weight in model.named_parameters()}
