"""A capsule from one home to another: what arrives is what was packed, and it can be asked and asked again."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from capsules import edited, everything, files, free_weights, keep_all, packed
from sqlite_utils import Database
from support import new_run
from training import as_in_a_process_of_its_own, attempt
from ui_helpers import add_answer, make_run

from engine import capsule, capsule_unpack, launch, replay, store
from engine.__main__ import main as command
from engine.generate import Ask, load_speaker
from engine.home import Home
from engine.store import Refused, Wanted

TODAY, TOMORROW = "2027-01-01", "2027-01-02"


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str]:
    """A home with a finished run all of whose answers are kept, and the run's id. Nobody changes it."""
    home = Home.at(tmp_path_factory.mktemp("grown"))
    launch.open_home(home)
    with closing(store.connect(home.database)) as db, as_in_a_process_of_its_own():
        run_id = new_run(home, db)
        assert attempt(home, run_id) == 0
        keep_all(db, run_id)
    return home, run_id


@pytest.fixture
def other(tmp_path: Path) -> Home:
    """Another home."""
    found = Home.at(tmp_path / "other")
    launch.open_home(found)
    return found


@pytest.fixture
def there(other: Home) -> Iterator[Database]:
    """Its database."""
    with closing(store.connect(other.database)) as opened:
        yield opened


def own_rows(db: Database, sql: str, run_id: str) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = db.execute(sql, [run_id]).fetchall()
    return found


def test_what_arrives_is_what_was_packed(grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path) -> None:
    home, run_id = grown
    cover = packed(home, tmp_path / "one.capsule", weights=True, title="A childhood", sender="Ada")
    taken = capsule_unpack.take(other, tmp_path / "one.capsule")

    assert taken.state == "opened" and taken.runs == ((run_id, "tiny"),)
    assert (cover.exhibits, cover.runs, cover.sender, cover.sealed_until) == (30, ("tiny",), "Ada", None)
    run = store.get_run(there, run_id)
    assert (run["kind"], run["status"], run["step"], run["environment"]["precision"]) == (
        "imported",
        "finished",
        24,
        "fp32",
    )
    said = (
        "SELECT step, prompt, text, seed, temperature, top_k, top_p, max_tokens, new_tokens, finish, weights_sha256, "
    )
    said += "dtype, device, source, created_at, superseded, attempt FROM samples WHERE run_id = ? ORDER BY id"
    curve = (
        "SELECT step, tokens, train_loss, learning_rate, grad_norm FROM current_metrics WHERE run_id = ? ORDER BY id"
    )
    judged = "SELECT step, tokens, val_loss, val_accuracy FROM current_evals WHERE run_id = ? ORDER BY id"
    with closing(store.connect(home.database)) as here:
        for sql in (said, curve, judged):
            assert own_rows(there, sql, run_id) == own_rows(here, sql, run_id) != []
        assert store.get_config(there, run_id) == store.get_config(here, run_id)
        exhibits = [store.search_archive(db, run_id=run_id) for db in (here, there)]
    assert exhibits[0][1] == exhibits[1][1] == 30
    assert [(row["title"], row["tags"]) for row in exhibits[0][0]] == [
        (row["title"], row["tags"]) for row in exhibits[1][0]
    ], "the same in front, the same tags"
    assert {row["title"] for row in exhibits[1][0]} == {f"Exhibit {place}" for place in range(30)}
    assert store.search_archive(there, "Exhibit", run_id=run_id)[1] == 30
    assert "from Ada in the capsule A childhood" in store.list_events(there, run_id)[0]["message"]


def test_every_exhibit_of_a_finished_run_is_word_for_word_the_same(grown: tuple[Home, str]) -> None:
    home, run_id = grown
    with closing(store.connect(home.database)) as db:
        verdicts = list(replay.replay(home, db, replay.exhibits_of(db, run_id)))

    assert len(verdicts) == 30 and {one.state for one in verdicts} == {"same"}


def test_weights_that_came_can_be_asked_and_asked_again(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    home, run_id = grown
    packed(home, tmp_path / "one.capsule", weights=True)
    capsule_unpack.take(other, tmp_path / "one.capsule")

    verdicts = list(replay.replay(other, there, replay.exhibits_of(there, run_id)))
    assert len(verdicts) == 30 and {one.state for one in verdicts} == {"same"}
    assert [row["step"] for row in store.ages(there, run_id)] == [0, 6, 12, 18, 24]
    with closing(store.connect(home.database)) as here:
        asked = [load_speaker(*at, run_id).answer([Ask(prompt="Alice")])[0] for at in ((home, here), (other, there))]
    assert asked[0] == asked[1]


def test_without_weights_there_are_words_only(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    home, run_id = grown
    packed(home, tmp_path / "one.capsule")
    capsule_unpack.take(other, tmp_path / "one.capsule")

    verdicts = list(replay.replay(other, there, replay.exhibits_of(there, run_id)))
    assert {(one.state, one.sentence) for one in verdicts} == {
        ("words only", "Words only. It came without its weights.")
    }
    with pytest.raises(Refused, match="came without its weights"):
        load_speaker(other, there, run_id)


def test_replay_tells_the_first_difference_and_why(
    grown: tuple[Home, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, run_id = grown
    home = Home.at(shutil.copytree(source.path, tmp_path / "copy"))
    with closing(store.connect(home.database)) as db:
        changed = store.exhibits_of(db, run_id)[:3]
        samples = [store.get_exhibit(db, row["id"])["sample_id"] for row in changed]
        for sample, what in zip(
            samples, ("device = 'cuda', dtype = 'bfloat16'", "device = 'cpu'", "seed = NULL"), strict=True
        ):
            db.conn.execute(
                f"UPDATE samples SET text = substr(text, 1, 2) || '¶' || text, {what} WHERE id = ?", [sample]
            )
        monkeypatch.setattr(replay, "torch_here", lambda: "9.9")
        found = {one.exhibit: one for one in replay.replay(home, db, replay.exhibits_of(db, run_id))}

        gpu, torch, unknown = (found[row["id"]] for row in changed)
        assert (gpu.state, gpu.place, gpu.was[0]) == ("different", 2, "¶")
        assert "on cuda in bfloat16" in gpu.sentence
        assert "this is torch 9.9" in torch.sentence
        assert unknown.state == "words only" and "without its seed" in unknown.sentence

        free_weights(home, run_id)
        verdicts = list(replay.replay(home, db, replay.exhibits_of(db, run_id)))
    assert {one.state for one in verdicts} == {"words only"}
    assert "Words only. The weights that said it were freed." in {one.sentence for one in verdicts}


def test_weights_that_only_a_checkpoint_has_are_packed_as_they_spoke(grown: tuple[Home, str], tmp_path: Path) -> None:
    source, run_id = grown
    home = Home.at(shutil.copytree(source.path, tmp_path / "copy"))
    other = Home.at(tmp_path / "other")
    with closing(store.connect(home.database)) as db:
        store.forget_checkpoint(db, run_id, 24, "sampling")
        (home.run(run_id) / "sampling" / "step_000024.safetensors").unlink()

    packed(home, tmp_path / "one.capsule", weights=True)
    capsule_unpack.take(other, tmp_path / "one.capsule")

    with closing(store.connect(other.database)) as there:
        verdicts = list(replay.replay(other, there, replay.exhibits_of(there, run_id)))
    assert {one.state for one in verdicts} == {"same"}


def test_weights_that_two_runs_share_travel_once_for_both(grown: tuple[Home, str], tmp_path: Path) -> None:
    source, run_id = grown
    home, other = Home.at(shutil.copytree(source.path, tmp_path / "copy")), Home.at(tmp_path / "other")
    with closing(store.connect(home.database)) as db, as_in_a_process_of_its_own():
        twin = new_run(home, db)
        assert attempt(home, twin) == 0
        keep_all(db, twin)
        both = ([row["weights_sha256"] for row in store.list_samples(db, run)] for run in (run_id, twin))
        hashes, others = both
        assert hashes == others
    cover = packed(home, tmp_path / "one.capsule", weights=True)
    with zipfile.ZipFile(tmp_path / "one.capsule") as read:
        assert len([name for name in read.namelist() if name.startswith("weights/")]) == len(set(hashes))
        assert cover.weights == sum(read.getinfo(f"weights/{one}.safetensors").file_size for one in set(hashes))

    capsule_unpack.take(other, tmp_path / "one.capsule")

    with closing(store.connect(other.database)) as there:
        for run in (run_id, twin):
            verdicts = list(replay.replay(other, there, replay.exhibits_of(there, run)))
            assert {one.state for one in verdicts} == {"same"} and len(verdicts) == 30


def test_the_curves_of_many_runs_fit(
    grown: tuple[Home, str], other: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capsule, "MOST_ROWS", 40)
    packed(grown[0], tmp_path / "one.capsule")
    assert capsule_unpack.take(other, tmp_path / "one.capsule").state == "opened"
    monkeypatch.setattr(capsule, "LARGEST", capsule.LARGEST | {capsule.EXHIBITS: 100})
    with pytest.raises(Refused, match=r"exhibits.jsonl would have .* pack fewer"):
        packed(grown[0], tmp_path / "two.capsule")


def test_a_run_that_says_one_thing_for_ever_is_no_bomb(other: Home, there: Database, tmp_path: Path) -> None:
    home = Home.at(tmp_path / "loop")
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        run_id = make_run(db)
        for step in range(3):
            store.keep(db, add_answer(db, run_id, " ha" * 60_000, step), "loop", "Laughter")
    packed(home, tmp_path / "one.capsule")
    assert capsule_unpack.take(other, tmp_path / "one.capsule").runs == ((run_id, "one"),)


def test_an_import_that_is_ended_leaves_nothing(
    grown: tuple[Home, str], other: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(grown[0], tmp_path / "one.capsule", weights=True)
    before = everything(other), files(other)

    def ended(*_: object) -> None:
        raise SystemExit(1)  # what SIGTERM does

    monkeypatch.setattr("engine.store.pin_last", ended)
    with pytest.raises(SystemExit):
        capsule_unpack.take(other, tmp_path / "one.capsule")
    assert (everything(other), files(other)) == before


def test_equal_content_gives_equal_bytes_and_one_id(grown: tuple[Home, str], tmp_path: Path) -> None:
    home, _ = grown
    covers = [packed(home, tmp_path / f"{place}.capsule", weights=True, now=5.0) for place in (1, 2)]
    later = packed(home, tmp_path / "3.capsule", weights=True, now=6.0)

    assert (tmp_path / "1.capsule").read_bytes() == (tmp_path / "2.capsule").read_bytes()
    assert covers[0].id == later.id != packed(home, tmp_path / "4.capsule").id
    with zipfile.ZipFile(tmp_path / "1.capsule") as read:
        manifest = json.loads(read.read("manifest.json"))
        for name, entry in manifest["members"].items():
            data = read.read(name)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])


def test_the_same_capsule_is_known_and_another_gets_ids_of_its_own(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    home, run_id = grown
    packed(home, tmp_path / "one.capsule")
    packed(home, tmp_path / "two.capsule", title="Another")
    capsule_unpack.take(other, tmp_path / "one.capsule")
    before = everything(other)

    again = capsule_unpack.take(other, tmp_path / "one.capsule")
    assert (again.state, again.runs) == ("known", ((run_id, "tiny"),))
    assert everything(other) == before
    second = capsule_unpack.take(other, tmp_path / "two.capsule").runs[0][0]
    assert second != run_id and store.get_run(there, second)["kind"] == "imported"


def test_a_capsule_whose_runs_were_deleted_comes_anew(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    from engine import deleting

    packed(grown[0], tmp_path / "one.capsule", weights=True)
    run_id = capsule_unpack.take(other, tmp_path / "one.capsule").runs[0][0]
    deleting.delete_run(other, run_id, exhibits=True)
    assert not other.run(run_id).exists()

    assert capsule_unpack.take(other, tmp_path / "one.capsule").state == "opened"
    assert len(store.list_capsules(there)) == 1


def test_a_sealed_capsule_shows_its_cover_and_nothing_else_before_its_date(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    packed(grown[0], tmp_path / "one.capsule", weights=True, sealed_until=TOMORROW, sender="Ada")
    before = everything(other) | {"capsules": []}
    eve, morning = capsule.moment(TODAY), capsule.moment(TOMORROW)

    taken = capsule_unpack.take(other, tmp_path / "one.capsule", now=eve)

    assert taken.state == "sealed" and taken.runs == ()
    assert everything(other) | {"capsules": []} == before
    row = store.list_capsules(there)[0]
    assert (row["sender"], row["sealed_until"], row["exhibits"], row["opened_at"]) == ("Ada", TOMORROW, 30, None)
    assert capsule_unpack.take(other, tmp_path / "one.capsule", now=eve).state == "known"
    with pytest.raises(Refused, match=f"is sealed until {TOMORROW}"):
        capsule_unpack.open_sealed(other, row["id"], now=morning - 1)

    runs = capsule_unpack.open_sealed(other, row["id"][:8], now=morning).runs
    assert store.search_archive(there, run_id=runs[0][0])[1] == 30
    assert not capsule_unpack.sealed_path(other, row["id"]).exists()
    with pytest.raises(Refused, match="open already"):
        capsule_unpack.open_sealed(other, row["id"], now=morning)


def test_a_sealed_capsule_can_be_forgotten(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    packed(grown[0], tmp_path / "one.capsule", sealed_until=TOMORROW)
    cover = capsule_unpack.take(other, tmp_path / "one.capsule", now=0).cover

    capsule_unpack.remove(other, cover.id)

    assert store.list_capsules(there) == [] and files(other) == []


def test_columns_that_a_later_version_has_are_left_out_and_settings_of_this_one_come_along(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    packed(grown[0], tmp_path / "one.capsule")

    def later(line: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        line["sample"] |= {"moon_phase": 0.5, "top_k": 40}
        return line

    taken = capsule_unpack.take(
        other, edited(tmp_path / "one.capsule", tmp_path / "two.capsule", "exhibits.jsonl", later)
    )
    assert store.get_sample(there, store.get_exhibit(there, 6)["sample_id"])["top_k"] == 40 or taken.state == "opened"


def test_samples_come_along_where_that_is_asked(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path
) -> None:
    source, run_id = grown
    home = Home.at(shutil.copytree(source.path, tmp_path / "copy"))
    with closing(store.connect(home.database)) as db:
        store.remove_exhibits(db, run_id, 29)
    cover = packed(home, tmp_path / "one.capsule", samples=True)
    capsule_unpack.take(other, tmp_path / "one.capsule")

    assert (cover.exhibits, cover.samples) == (1, 29)
    assert len(store.newest_samples(there, run_id)) == 6
    assert len(store.list_samples(there, run_id)) == 30


@pytest.mark.parametrize(
    ("runs", "problem"), [(["blueberry-nano-2025"], "Every home has"), (["tiny"], "There is no exhibit to pack")]
)
def test_what_cannot_be_packed_is_said(home: Home, db: Database, tmp_path: Path, runs: list[str], problem: str) -> None:
    new_run(home, db)
    with pytest.raises(Refused, match=problem):
        packed(home, tmp_path / "one.capsule", runs)
    assert list(tmp_path.glob("*.capsule")) == []


def test_weights_that_changed_on_disk_are_not_packed(grown: tuple[Home, str], tmp_path: Path) -> None:
    source, run_id = grown
    home = Home.at(shutil.copytree(source.path, tmp_path / "copy"))
    weights = home.run(run_id) / "sampling" / "step_000006.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")

    with pytest.raises(Refused, match="have changed on disk"):
        packed(home, tmp_path / "one.capsule", weights=True)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_was_pinned_comes_after_what_stands_in_front_already_while_there_is_room(
    grown: tuple[Home, str], other: Home, there: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.front.MOST_PINNED", 3)
    mine = store.search_exhibits(there, Wanted())[0][0]["id"]
    store.pin(there, mine)
    packed(grown[0], tmp_path / "one.capsule")
    capsule_unpack.take(other, tmp_path / "one.capsule")
    front = store.search_exhibits(there, Wanted(pinned=True))[0]
    assert front[0]["id"] == mine and [row["title"] for row in front[1:]] == ["Exhibit 7", "Exhibit 2"]


def test_every_filter_of_the_gallery_says_what_is_packed(
    grown: tuple[Home, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def planned(*options: str) -> int:
        words = ["capsule", "export", str(tmp_path / "x"), "--plan", "--json", "--home", str(grown[0].path), *options]
        assert command(words) == 0
        return int(json.loads(capsys.readouterr().out)["exhibits"])

    assert (planned(), planned("--tag", "haiku"), planned("--pinned"), planned("--query", "7")) == (30, 10, 3, 1)
    assert planned("--since", "2020-01-01", "--until", "2200-01-01") == 30
    for options, problem in (
        (("--until", "2020-01-01"), "no exhibit to pack"),
        (("--measured", "loop"), "no exhibit to pack"),
        (("--measured", "beauty"), "no measure filter"),
        (("--since", "soon"), "must be a day"),
    ):
        assert command(["capsule", "export", str(tmp_path / "x"), "--home", str(grown[0].path), *options]) == 1
        assert problem in capsys.readouterr().err


def test_the_command_line_packs_shows_takes_in_and_asks_again(
    grown: tuple[Home, str], other: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, run_id = grown
    file, here, there = str(tmp_path / "one"), ("--home", str(home.path)), ("--home", str(other.path))
    assert command(["capsule", "export", file, "--run", "tiny", "--weights", "--json", *here]) == 0
    assert json.loads(capsys.readouterr().out)["exhibits"] == 30
    assert command(["capsule", "export", file, *here]) == 1
    assert "is there already" in capsys.readouterr().err
    assert command(["capsule", "export", f"{file}2", "--category", "strange", "--plan", *here]) == 0
    assert "15 exhibits of tiny" in capsys.readouterr().out
    file += ".capsule"
    assert command(["capsule", "show", file, *there]) == 0
    assert "tiny: 30 exhibits of tiny" in capsys.readouterr().out
    assert command(["capsule", *there, "import", file]) == 0
    assert "It is in this home now, as tiny." in capsys.readouterr().out
    for what, number in (("tiny", 30), (file, 30), ("8", 1)):
        assert command(["capsule", "replay", what, *there]) == 0
        assert f"{number} asked again: {number} word for word the same" in capsys.readouterr().out
    assert command(["capsule", "list", "--json", *there]) == 0
    assert json.loads(capsys.readouterr().out)[0]["runs"] == ["tiny"]
    with closing(store.connect(other.database)) as db:
        db.conn.execute("UPDATE samples SET text = 'x' WHERE run_id = ? AND step = 6", [run_id])
    assert command(["capsule", "replay", "tiny", *there]) == 1
    assert "6 different" in capsys.readouterr().out


def test_every_way_of_asking_travels_and_is_asked_again(grown: tuple[Home, str], tmp_path: Path) -> None:
    source, run_id = grown
    home, other = Home.at(shutil.copytree(source.path, tmp_path / "copy")), Home.at(tmp_path / "other")
    ask = Ask(prompt="Alice", temperature=1.5, top_k=50, min_p=0.01, repetition_penalty=1.3, stop=("q", "zz"), seed=5)
    with closing(store.connect(home.database)) as db:
        store.remove_exhibits(db, run_id, 30)
        speaker = load_speaker(home, db, run_id, 12)
        sample = store.add_sample(db, speaker.sample_row(ask, speaker.answer([ask])[0], "playground"))
        store.keep(db, sample, "good", "Asked in every way")
    packed(home, tmp_path / "one.capsule", weights=True)
    capsule_unpack.take(other, tmp_path / "one.capsule")

    with closing(store.connect(other.database)) as there:
        exhibits = replay.exhibits_of(there, run_id)
        assert replay.question(store.get_sample(there, exhibits[0]["sample_id"])) == ask
        assert [one.state for one in replay.replay(other, there, exhibits)] == ["same"]
