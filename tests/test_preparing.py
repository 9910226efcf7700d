"""What people ask of datasets: each request is carried out, or refused in a sentence. Processes: tests/test_jobs.py."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database

from engine import launch, preparing, process, store
from engine.config import ConfigError, load_preset
from engine.data.recipe import Recipe, Source
from engine.home import PROJECT, Home
from engine.store import Refused

RECIPE = Recipe((Source("starter"),), tokens=1_000_000)
OTHER = replace(RECIPE, tokenizer="bpe:300")


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> list[Home]:
    """No supervisor is started; the homes that wanted one."""
    homes: list[Home] = []
    monkeypatch.setattr(launch, "start_supervisor", homes.append)
    return homes


def begun(home: Home, name: str) -> Path:
    """Part of a dataset, as a job leaves it."""
    making = home.making(name)
    making.mkdir(parents=True)
    home.job_state(name).write_text("{}", encoding="utf-8")
    (making / "train.bin").write_bytes(bytes(5000))
    home.job_log(name).write_text("said", encoding="utf-8")
    return making


def prepared(home: Home, name: str, **card: object) -> Path:
    folder = home.dataset(name)
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"name": name, "train_tokens": 7} | card), encoding="utf-8")
    (folder / "train.bin").write_bytes(bytes(14))
    return folder


def ended(db: Database, job: str, status: str) -> None:
    store.update_job(db, job, status="running")
    store.end_job(db, job, status, "why" if status != "stopped" else None)


def test_a_start_is_a_waiting_row_and_a_supervisor(home: Home, wanted: list[Home]) -> None:
    job = preparing.start(home, "mine", RECIPE, [home.path])
    (row,) = preparing.listed(home)
    assert (row["id"], row["name"], row["status"], row["target_tokens"]) == (job, "mine", "waiting", 1_000_000)
    assert row["recipe"]["sources"][0]["where"] == "starter" and row["dropped"] == {}
    assert row == preparing.status(home, "mine") == preparing.status(home, job)
    assert not {"roots", "boot_id"} & set(row)
    assert wanted


def test_the_job_learns_what_was_asked(home: Home, db: Database, tmp_path: Path) -> None:
    job = store.get_job(db, preparing.start(home, "mine", RECIPE, [home.path, tmp_path]))
    assert Recipe.from_json(job["recipe"]) == RECIPE
    assert job["roots"] == [str(home.path), str(tmp_path)]
    assert store.get_job(db, preparing.start(home, "all", replace(RECIPE, tokens=0)))["roots"] is None
    assert store.job_of(db, "all")["target_tokens"] is None  # type: ignore[index]


def test_paths_mean_the_same_in_the_jobs_process(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "words").mkdir()
    (tmp_path / "smollm2").mkdir()
    given = Recipe((Source("a/b.txt"), Source("~/c"), Source("hub:x/y"), Source("starter")), tokenizer="t.json")
    whole = preparing.with_whole_paths(given)
    paths = [str(tmp_path / "a/b.txt"), str(tmp_path / "me/c"), "hub:x/y", "starter"]
    assert [source.where for source in whole.sources] == paths
    assert whole.tokenizer == str(tmp_path / "t.json")
    for tokenizer in ("smollm2", "bpe:300", "owner/name"):
        recipe = replace(RECIPE, tokenizer=tokenizer)
        assert preparing.with_whole_paths(recipe) == recipe
    named = replace(RECIPE, tokenizer="words")  # a folder here, and a name on the hub
    assert preparing.with_whole_paths(named).tokenizer == str(tmp_path / "words")
    assert preparing.with_whole_paths(named, [tmp_path]).tokenizer == "words"  # who may not look around means the hub


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".making-x", "x" * 65, "a b", "é", "a\x00", "-rf;"]
)
def test_a_name_that_is_no_folder_is_refused(home: Home, name: str) -> None:
    for ask in (lambda: preparing.start(home, name, RECIPE), lambda: preparing.delete_dataset(home, name)):
        with pytest.raises(Refused, match="must be 1 to 64 letters"):
            ask()
    assert preparing.listed(home) == []


def test_a_name_that_is_taken_is_refused(home: Home) -> None:
    prepared(home, "done")
    with pytest.raises(Refused, match=r"The dataset done exists already; delete it first, or choose another name\."):
        preparing.start(home, "done", RECIPE)
    preparing.start(home, "mine", RECIPE)
    for recipe in (RECIPE, OTHER):
        with pytest.raises(Refused, match="mine is being prepared already"):
            preparing.start(home, "mine", recipe)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe((Source("data/nothing"),)), "There is no file or folder 'nothing'"),
        (Recipe((Source("/etc/passwd"),)), "passwd is outside the folders that may be read"),
        (Recipe((Source("starter"), Source("README.md"))), "README.md is outside the folders that may be read"),
        (replace(RECIPE, tokenizer="/etc/hosts"), "is outside the folders that may be read"),
        (replace(RECIPE, separator="</s>"), "smollm2 has no </s> piece to put between documents"),
        (replace(RECIPE, tokens=10**12), "of disk and .* are free; free some space, or ask for fewer tokens"),
        (Recipe((Source("hub:x/y"),), tokens=10**12), "free some space, or ask for fewer tokens"),
    ],
)
def test_what_is_wrong_at_the_first_look_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, words: str
) -> None:
    monkeypatch.chdir(PROJECT)
    with pytest.raises((Refused, ConfigError), match=words):
        preparing.start(home, "mine", recipe, [PROJECT / "data", home.path])
    assert preparing.listed(home) == []


def test_a_hub_is_asked_by_the_job(home: Home) -> None:
    preparing.start(home, "mine", Recipe((Source("hub:no-such/dataset"),), tokenizer="no-such/tokenizer"))
    assert preparing.status(home, "mine")["status"] == "waiting"


def test_an_equal_job_that_ended_early_is_resumed(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE, [home.path])
    begun(home, "mine")
    ended(db, job, "crashed")
    assert preparing.start(home, "mine", RECIPE, [home.path / "datasets"]) == job
    row = store.get_job(db, job)
    assert (row["status"], row["error"], row["ended_at"]) == ("waiting", None, None)
    assert row["roots"] == [str(home.path / "datasets")]  # those of whoever asks now


def test_what_another_recipe_has_made_is_not_thrown_away(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    begun(home, "mine")
    ended(db, job, "stopped")
    with pytest.raises(Refused, match="mine is stopped with other settings, and part of it is made: resume or discard"):
        preparing.start(home, "mine", OTHER)
    assert preparing.status(home, "mine")["status"] == "stopped"


def test_a_job_that_made_nothing_gives_way(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    ended(db, job, "failed")
    other = preparing.start(home, "mine", OTHER)
    assert other != job
    assert [row["id"] for row in preparing.listed(home)] == [other]


def test_a_dataset_that_somebody_removed_can_be_made_again(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    ended(db, job, "finished")
    assert preparing.start(home, "mine", RECIPE) != job


def test_a_stop_before_it_began_is_a_stop_at_once(home: Home) -> None:
    job = preparing.start(home, "mine", RECIPE)
    preparing.stop(home, job)
    assert preparing.status(home, job)["status"] == "stopped"
    with pytest.raises(Refused, match="The job of mine has ended already: it is stopped"):
        preparing.stop(home, job)


def test_a_stop_is_left_for_the_process(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(process, "send", lambda number, *_, **__: sent.append(number) or True)
    job = preparing.start(home, "mine", RECIPE)
    store.update_job(db, job, status="running", **process.identity())
    for _ in range(2):
        preparing.stop(home, "mine")
        row = preparing.status(home, job)
        assert (row["status"], row["stop_requested_at"] is None) == ("stopping", False)
    assert len(sent) == 2


@pytest.mark.parametrize("status", ["waiting", "running", "finished"])
def test_only_what_ended_early_can_be_resumed(home: Home, db: Database, status: str) -> None:
    job = preparing.start(home, "mine", RECIPE)
    store.update_job(db, job, status=status, **process.identity())
    with pytest.raises(Refused, match=f"The job of mine is {status}; only one that has ended early"):
        preparing.resume(home, job)


def test_a_resume_finds_its_place_free(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    ended(db, job, "failed")
    prepared(home, "mine")
    with pytest.raises(Refused, match="exists already"):
        preparing.resume(home, job)
    preparing.delete_dataset(home, "mine")
    preparing.resume(home, job)
    assert preparing.status(home, job)["status"] == "waiting"


def test_discard_removes_all_that_is_left_of_a_job(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    begun(home, "mine")
    with pytest.raises(Refused, match="The job of mine is waiting; stop it first"):
        preparing.discard(home, job)
    ended(db, job, "failed")
    assert preparing.discard(home, job) == 5002
    assert preparing.listed(home) == [] and list((home.path / "datasets").iterdir()) == []
    for ask in (preparing.stop, preparing.resume, preparing.discard):
        with pytest.raises(Refused, match="There is no job"):
            ask(home, job)


def test_a_dataset_is_deleted_not_discarded(home: Home, db: Database) -> None:
    job = preparing.start(home, "mine", RECIPE)
    prepared(home, "mine")
    ended(db, job, "finished")
    with pytest.raises(Refused, match="mine is prepared; delete the dataset"):
        preparing.discard(home, job)
    assert preparing.delete_dataset(home, "mine") > 14
    assert preparing.listed(home) == [] and list((home.path / "datasets").iterdir()) == []
    with pytest.raises(Refused, match="There is no dataset 'mine'"):
        preparing.delete_dataset(home, "mine")


def test_what_is_in_use_is_not_deleted(home: Home, db: Database) -> None:
    prepared(home, "starter")
    run = store.create_run(db, load_preset("seedling"), "seedling", "reader", "cpu")
    with pytest.raises(Refused, match="starter is in use by the run reader; stop it first"):
        preparing.delete_dataset(home, "starter")
    store.end_run(db, run, "finished")
    assert preparing.delete_dataset(home, "starter") > 0

    preparing.start(home, "mine", RECIPE)
    prepared(home, "mine")
    with pytest.raises(Refused, match="mine is being prepared; stop its job first"):
        preparing.delete_dataset(home, "mine")


def test_a_link_is_removed_and_not_what_it_leads_to(home: Home, tmp_path: Path) -> None:
    elsewhere = prepared(Home.at(tmp_path / "elsewhere"), "mine")
    home.dataset("mine").parent.mkdir(exist_ok=True)
    home.dataset("mine").symlink_to(elsewhere)
    assert preparing.delete_dataset(home, "mine") == 0
    assert not home.dataset("mine").is_symlink() and (elsewhere / "train.bin").exists()


def test_what_a_killed_delete_left_goes_with_the_next(home: Home) -> None:
    prepared(home, "mine")
    (left := home.path / "datasets" / ".deleted-0123456789").mkdir()
    preparing.delete_dataset(home, "mine")
    assert not left.exists()


def test_what_cannot_be_removed_stays_and_is_a_sentence(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    job = preparing.start(home, "mine", RECIPE)
    begun(home, "mine")
    ended(db, job, "stopped")
    prepared(home, "done")
    monkeypatch.setattr(Path, "rename", denied)
    with pytest.raises(Refused, match=r"^datasets/done cannot be removed: Permission denied\.$"):
        preparing.delete_dataset(home, "done")
    with pytest.raises(Refused, match="cannot be removed: Permission denied"):
        preparing.discard(home, job)
    assert (home.dataset("done") / "train.bin").exists()
    assert preparing.status(home, job)["status"] == "stopped"


def test_datasets_are_what_their_cards_say(home: Home) -> None:
    assert preparing.datasets(home) == []
    prepared(home, "good", documents=3)
    prepared(home, "bad").joinpath("card.json").write_text("{", encoding="utf-8")
    prepared(home, "worse").joinpath("card.json").write_text("[]", encoding="utf-8")
    prepared(home, "worst", train_tokens="many")
    begun(home, "half")
    bad, good, worse, worst = preparing.datasets(home)
    assert good["name"] == "good" and good["documents"] == 3 and good["bytes_on_disk"] > 14
    assert bad["damaged"] and worse["damaged"] and worst["damaged"]


def test_a_file_that_vanishes_while_it_is_counted_is_none(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, lstat = prepared(home, "good"), Path.lstat

    def vanished(path: Path) -> object:
        if path.name == "train.bin":
            path.unlink()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", vanished)
    (found,) = preparing.datasets(home)
    assert found["bytes_on_disk"] == (folder / "card.json").stat().st_size


@pytest.mark.parametrize("ask", [preparing.stop, preparing.resume, preparing.discard, preparing.status])
def test_a_job_that_is_not_there_is_a_sentence(home: Home, ask: Callable[[Home, str], object]) -> None:
    for job in ("", "nobody", "' OR 1=1 --", "%", "x" * 5000):
        with pytest.raises(Refused, match="There is no job"):
            ask(home, job)


def test_waiting_gives_up_in_a_sentence(home: Home) -> None:
    preparing.start(home, "mine", RECIPE)
    with pytest.raises(Refused, match="The job of mine is still waiting after 0 s"):
        preparing.wait_until_ended(home, "mine", 0.0)
