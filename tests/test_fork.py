"""A fork goes on where its parent was: exactly where nothing was changed, and told in words where something was."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database
from support import new_run
from training import as_in_a_process_of_its_own, attempt, kinds, losses, steps, stop_at, stop_in_answers, weights

from engine import data, fork, launch, store
from engine.config import ConfigError
from engine.home import PROJECT, Home
from engine.manifest import verify, write_manifest

pytestmark = pytest.mark.usefixtures("alone")
KEPT = {"checkpoint__keep": 100}
"""All checkpoints stay: a fork of any of them can be compared with its parent."""


@pytest.fixture(autouse=True)
def nobody_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests train in this process."""
    monkeypatch.setattr(launch, "ensure_supervisor", lambda home: None)
    monkeypatch.setattr(launch, "start_supervisor", lambda home: None)  # it would end this very process


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one run that has ended, with checkpoints of steps 8, 16 and 24 and words of 0, 6, 12, 18 and 24."""
    made = Home.at(tmp_path_factory.mktemp("grown"))
    launch.open_home(made)
    with closing(store.connect(made.database)) as db, as_in_a_process_of_its_own():
        assert attempt(made, new_run(made, db, **KEPT)) == 0
    return made


@pytest.fixture
def home(grown: Home, tmp_path: Path) -> Home:
    """A copy of it for each test."""
    return Home.at(shutil.copytree(grown.path, tmp_path / "home"))


@pytest.fixture
def parent(db: Database) -> str:
    """The run that has ended."""
    return str(store.find_run(db, "tiny")["id"])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_fork_without_any_change_ends_with_the_weights_of_its_parent(home: Home, db: Database, parent: str) -> None:
    child = fork.fork_run(home, parent, 8)

    run = store.get_run(db, child)
    assert (run["name"], run["parent_run_id"], run["parent_step"]) == ("tiny-fork-1", parent, 8)
    assert (run["status"], run["step"], run["tokens"]) == ("preparing", 8, 8 * 256)
    assert attempt(home, child) == 0

    assert weights(home, child, 24) == weights(home, parent, 24)
    assert weights(home, child, 16) == weights(home, parent, 16)
    both = [files(home.run(run_id) / "step_000024")["optimizer.safetensors"] for run_id in (parent, child)]
    assert both[0] == both[1]
    assert losses(db, child) == losses(db, parent)[8:]
    run = store.get_run(db, child)
    assert (run["status"], run["step"], run["tokens"], run["total_steps"]) == ("finished", 24, 24 * 256, 24)


def test_what_a_fork_measures_and_says_begins_after_its_parents(home: Home, db: Database, parent: str) -> None:
    child = fork.fork_run(home, parent, 12)  # no checkpoint: the weights that answered
    attempt(home, child)

    assert steps(db, child) == list(range(13, 25))
    assert steps(db, child, "current_evals") == [16, 20, 24]
    assert {row["step"] for row in store.list_samples(db, child)} == {18, 24}
    assert [row["step"] for row in store.ages(db, child)] == [12, 16, 18, 24]
    seconds = [row[store.METRICS.index("elapsed_seconds")] for row in store.metrics_after(db, parent, 0)]
    began = store.metrics_after(db, child, 0)[0][store.METRICS.index("elapsed_seconds")]
    assert (began or 0) > (seconds[11] or 0) > 0
    assert [kind for kind in kinds(db, child) if kind[0] not in ("epoch", "health")] == [("forked", 12)]


def test_without_a_checkpoint_the_weights_go_on_and_the_optimizer_begins_anew(
    home: Home, db: Database, parent: str
) -> None:
    plan = fork.plan_fork(home, db, store.get_run(db, parent), 12)
    assert "only the bf16 weights" in plan.notes[0] and "the optimizer begins anew" in plan.notes[0]

    child = fork.fork_run(home, parent, 12)
    began = home.run(child) / "step_000012"
    verify(began)
    assert sorted(files(began)) == ["manifest.json", "model.safetensors", "state.json"]
    asked = (home.run(parent) / "sampling" / "step_000012.safetensors").read_bytes()
    assert files(began)["model.safetensors"] == asked
    (event,) = store.list_events(db, child)
    assert plan.notes[0] in event["message"]
    assert attempt(home, child) == 0

    assert weights(home, child, 24) != weights(home, parent, 24)
    assert abs(losses(db, child)[0] - losses(db, parent)[12]) < 0.05, "it did not begin with the parent's weights"


def test_a_fork_can_be_forked_and_names_its_line(home: Home, db: Database, parent: str) -> None:
    child = fork.fork_run(home, parent, 8, "second")
    attempt(home, child)
    grandchild = fork.fork_run(home, "second", 16)
    attempt(home, grandchild)

    assert weights(home, grandchild, 24) == weights(home, parent, 24)
    line = store.ancestors(db, store.get_run(db, grandchild))
    assert [(run["name"], step) for run, step in line] == [("second", 16), ("tiny", 8)]
    assert [row["id"] for row in store.children_of(db, parent)] == [child]


def test_a_fork_with_changed_settings_is_another_run(home: Home, db: Database, parent: str) -> None:
    longer = {"train.tokens": 30 * 256, "optimizer.muon_lr": 0.01, "sample.every": 10, "optimizer.ema": 0.5}
    child = fork.fork_run(home, parent, 24, "longer", longer | {"optimizer.neuron_memory": 0.9})
    assert attempt(home, child) == 0

    run = store.get_run(db, child)
    assert (run["status"], run["step"], run["total_steps"], run["target_tokens"]) == ("finished", 30, 30, 30 * 256)
    assert {row["step"] for row in store.list_samples(db, child)} == {30}
    (event,) = (event for event in store.list_events(db, child) if event["kind"] == "forked")
    for words in (
        "train.tokens is 7680, was 6144",
        "optimizer.muon_lr is 0.01, was 0.02",
        "NorMuon's memory begins anew",
        "The average of the weights begins anew",
        "learning rate goes from 0 in tiny to",
        "is 0 at the end, step 30",
    ):
        assert words in event["message"], event["message"]


def test_leaving_the_average_out_goes_on_from_the_weights_behind_it(home: Home, db: Database) -> None:
    averaged = new_run(home, db, **KEPT, optimizer__ema=0.9)
    attempt(home, averaged)
    plain = new_run(home, db, **KEPT)
    attempt(home, plain)

    child = fork.fork_run(home, averaged, 16, overrides={"optimizer.ema": 0.0})
    attempt(home, child)

    assert weights(home, child, 24) == weights(home, plain, 24)


def test_it_goes_back_to_where_it_began_when_it_is_stopped_before_its_first_save(
    home: Home, db: Database, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = fork.fork_run(home, parent, 16, overrides={"checkpoint.every": 1000})
    with monkeypatch.context() as stopping:
        stop_at(stopping, 20, now=True)
        attempt(home, child)
    assert store.get_run(db, child)["status"] == "stopped" and steps(db, child)[-1] == 20

    assert attempt(home, child) == 0

    assert weights(home, child, 24) == weights(home, parent, 24)
    assert steps(db, child) == list(range(17, 25))
    assert ("resumed", 16) in kinds(db, child)


def test_its_weights_stay_when_the_parent_lets_go_of_its_own(home: Home, db: Database, parent: str) -> None:
    final = weights(home, parent, 24)
    children = [fork_and_end(home, db, parent, 8), fork_and_end(home, db, parent, 12)]
    shutil.rmtree(home.run(parent))

    for child in children:
        store.request_resume(db, child, "cpu")
        assert attempt(home, child) == 0
    assert weights(home, children[0], 24) == final


def fork_and_end(home: Home, db: Database, run: str, step: int) -> str:
    """A fork that was stopped before it began."""
    child = fork.fork_run(home, run, step)
    launch.stop_run(home, child)
    return child


def test_a_fork_none_of_whose_checkpoints_is_whole_does_not_begin_from_nothing(
    home: Home, db: Database, parent: str
) -> None:
    child = fork.fork_run(home, parent, 12)
    state = home.run(child) / "step_000012" / "state.json"
    state.write_bytes(state.read_bytes() + b" ")

    assert attempt(home, child) == 1

    run = store.get_run(db, child)
    assert run["status"] == "failed" and "nothing it could begin with; fork again" in run["error"]


@pytest.mark.parametrize(
    ("step", "overrides", "words"),
    [
        (9, {}, "tiny has no weights of step 9; there are 6, 8, 12, 16, 18, 24."),
        (0, {}, "Step 0 is a model that has learned nothing"),
        (-1, {}, "no weights of step -1"),
        (24, {}, "train.tokens = 6,144 ends at step 24, but the fork begins at step 24; set train.tokens above 6,144"),
        (8, {"model.width": 64}, "model.width = 64 cannot be set in a fork: the weights of tiny are made for 32"),
        (8, {"model.activation": "relu2"}, "model.activation = relu2 cannot be set in a fork"),
        (8, {"data.tokenizer": "smollm2"}, "data.tokenizer = smollm2 cannot be set in a fork"),
        (8, {"train.batch_tokens": 512}, "train.batch_tokens = 512 cannot be set in a fork"),
        (8, {"data.dataset": "nowhere"}, "The dataset nowhere is not in this home"),
        (8, {"optimizer.moun_lr": 1}, "optimizer.moun_lr is not a setting"),
        (8, {"model": 3}, "model is a group of settings"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    home: Home, db: Database, parent: str, step: int, overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises((store.Refused, ConfigError)) as refused:
        fork.fork_run(home, parent, step, overrides=overrides)

    assert words in str(refused.value) and str(refused.value).count("\n") == 0
    assert len(store.list_runs(db)) == 2, "a run was made all the same"
    assert [path.name for path in (home.path / "checkpoints").iterdir()] == [parent], "something was left behind"


def test_a_published_run_and_one_without_weights_have_no_forks(home: Home, db: Database) -> None:
    with pytest.raises(store.Refused, match="is a published run"):
        fork.fork_run(home, store.REFERENCE_ID)
    young = new_run(home, db)
    store.end_run(db, young, "stopped")
    with pytest.raises(store.Refused, match="tiny has no weights to begin with"):
        fork.fork_run(home, young)


def test_a_taken_device_and_a_wrong_name_are_refused_like_a_start(home: Home, db: Database, parent: str) -> None:
    with pytest.raises(store.Refused, match="must have 1 to 64 letters"):
        fork.fork_run(home, parent, 8, "two words")
    new_run(home, db)
    with pytest.raises(store.Refused, match="tiny is preparing on cpu"):
        fork.fork_run(home, parent, 8)
    assert [path.name for path in (home.path / "checkpoints").iterdir()] == [parent]


def test_damaged_weights_are_refused_and_nothing_is_left_behind(home: Home, db: Database, parent: str) -> None:
    for path in (
        home.run(parent) / "step_000008" / "model.safetensors",
        home.run(parent) / "sampling" / "step_000012.safetensors",
    ):
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    for step in (8, 12):
        with pytest.raises(store.Refused, match=f"The weights of tiny at step {step} cannot be used: .*hash mismatch"):
            fork.fork_run(home, parent, step)
    (home.run(parent) / "step_000016" / "model.safetensors").unlink()
    with pytest.raises(store.Refused, match="have just gone"):
        fork.fork_run(home, parent, 16)
    assert [path.name for path in (home.path / "checkpoints").iterdir()] == [parent]


def test_files_are_copied_where_they_cannot_be_linked(
    home: Home, db: Database, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    child = fork.fork_run(home, parent, 8)

    copied = home.run(child) / "step_000008" / "model.safetensors"
    assert copied.stat().st_nlink == 1 and copied.read_bytes() == weights(home, parent, 8)
    verify(copied.parent)


def test_a_disk_without_room_for_the_copy_and_the_run_is_refused(
    home: Home, db: Database, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.space.free_disk", lambda path: 1000)
    with pytest.raises(store.Refused, match="This run needs about"):
        fork.fork_run(home, parent, 8)


def test_another_text_of_the_same_pieces_is_read_from_its_beginning(home: Home, db: Database, parent: str) -> None:
    prepare_with(home, "other", str(home.tokenizer(parent)))
    child = fork.fork_run(home, parent, 16, overrides={"data.dataset": "other", "train.tokens": 100 * 256})
    assert attempt(home, child) == 0

    told = store.list_events(db, child)[0]["message"]
    assert "The text begins anew at step 16, in an order of its own, because it reads other." in told
    state = json.loads((home.run(child) / "step_000100" / "state.json").read_text())
    assert state["text_from"] == 16
    run = store.get_run(db, child)
    epoch_tokens = run["environment"]["epoch_tokens"]
    assert store.epochs_of(run)["epochs"] == round((100 - 16) * 256 / epoch_tokens, 2)
    first = next((event for event in store.list_events(db, child) if event["kind"] == "epoch"), None)
    assert first is None or first["step"] > 16 + epoch_tokens // 256


def test_another_order_begins_anew_and_is_the_same_after_a_stop(
    home: Home, db: Database, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for changes in ({"train.seed": 5}, {"model.context": 32}):
        whole = fork.fork_run(home, parent, 8, overrides=changes)
        attempt(home, whole)
        parted = fork.fork_run(home, parent, 8, overrides=changes)
        with monkeypatch.context() as stopping:
            stop_at(stopping, 13)
            attempt(home, parted)
        attempt(home, parted)

        assert weights(home, parted, 24) == weights(home, whole, 24) != weights(home, parent, 24)
        assert f"because {next(iter(changes))} has changed" in store.list_events(db, whole)[0]["message"]


def test_a_text_of_other_pieces_is_refused_with_the_way_to_make_one(home: Home, db: Database, parent: str) -> None:
    prepare_with(home, "other", "bpe:300", "sherlock")
    with pytest.raises(ConfigError) as refused:
        fork.fork_run(home, parent, 8, overrides={"data.dataset": "other"})
    assert "data.dataset = other has another tokenizer than tiny" in str(refused.value)
    assert f"--tokenizer checkpoints/{parent}/tokenizer.json" in str(refused.value)
    with pytest.raises(store.Refused, match="is not prepared yet"):
        fork.fork_run(home, parent, 8, overrides={"data.dataset": "starter-300"})


def prepare_with(home: Home, name: str, tokenizer: str, novel: str = "alice") -> None:
    """A small dataset of the end of a novel."""
    (source,) = (PROJECT / "data" / "starter").glob(f"*{novel}*.txt.xz")
    text = home.path / f"{name}.txt"
    text.write_text(next(data.documents(source))[-12_000:].replace("\n\n", "\f"), encoding="utf-8")
    recipe = data.Recipe((data.Source(str(text)),), tokenizer)
    data.prepare(home, name, recipe, report=lambda _: None, stopped=lambda: False)


def test_answers_that_the_parent_still_owed_are_not_the_forks(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **KEPT)
    with monkeypatch.context() as stopping:
        stop_in_answers(stopping, 12)
        attempt(home, run_id)
    child = fork.fork_run(home, run_id, 12)
    attempt(home, child)

    assert {row["step"] for row in store.list_samples(db, child)} == {18, 24}


def test_halved_rates_go_on_halved(home: Home, db: Database, parent: str) -> None:
    state = home.run(parent) / "step_000008" / "state.json"
    values = json.loads(state.read_text()) | {"rate": 0.5}
    manifest = state.with_name("manifest.json")
    listed = {name: entry for name, entry in json.loads(manifest.read_text()).items() if name != "state.json"}
    write_manifest(state.parent, listed, {"state.json": json.dumps(values).encode()})
    plan = fork.plan_fork(home, db, store.get_run(db, parent), 8)
    assert any("its rates stay at 0.5" in note for note in plan.notes)
    child = fork.fork_run(home, parent, 8)
    attempt(home, child)
    rate = store.METRICS.index("learning_rate")
    theirs, ours = (store.metrics_after(db, run_id, 0) for run_id in (parent, child))
    assert ours[0][rate] == pytest.approx((theirs[8][rate] or 0) / 2)
