"""What weights take is known before they are written, and a run that cannot fit is not begun."""

import errno
from pathlib import Path

import pytest
from support import save_checkpoint, tiny_config
from test_checkpoint import learned

from engine import launch, space, store
from engine.checkpoint import sampling_weights, save_sampling
from engine.config import load_preset
from engine.home import Home


def test_the_size_of_weights_is_known_beforehand(tmp_path: Path) -> None:
    model, optimizers = learned()
    config = tiny_config()

    written = save_checkpoint(tmp_path, 5, model, optimizers, {})
    age = save_sampling(tmp_path, 5, sampling_weights(model))

    # What the formats add counts only for models as small as this one.
    assert written.bytes == pytest.approx(space.checkpoint_bytes(config), abs=8000)
    assert age.bytes == pytest.approx(space.age_bytes(config), abs=4000)


def test_a_run_counts_what_is_kept_what_is_being_written_and_every_age() -> None:
    full, age = space.checkpoint_bytes(tiny_config()), space.age_bytes(tiny_config())

    def run(**changes: object) -> int:
        return space.run_bytes(tiny_config(**changes))

    # 24 steps: saved at 8, 16, 24; asked at 0, 6, 12, 18, 24.
    assert run(checkpoint__keep_best=False) == 3 * full + 5 * age
    assert run() == 4 * full + 5 * age
    assert run(checkpoint__keep=100) == 4 * full + 5 * age
    assert run(checkpoint__keep=1, checkpoint__keep_best=False, checkpoint__keep_every=16) == 3 * full + 5 * age
    assert run(sample__every=10**9) == 4 * full + 2 * age
    assert run(checkpoint__keep_ages=1) == 4 * full + 3 * age


def test_a_run_that_does_not_fit_is_refused_with_what_would_help(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_preset("blueberry-nano")
    needed = space.run_bytes(config) + space.RESERVE
    assert 15e9 < needed < 60e9
    monkeypatch.setattr(space, "free_disk", lambda _: needed)
    space.check_disk(home, config)
    monkeypatch.setattr(space, "free_disk", lambda _: 3 * 10**9)

    with pytest.raises(store.Refused, match=r"needs about \d\d\.\d GB .* 3\.0 GB are free; .*sample\.every") as refused:
        space.check_disk(home, config)

    assert str(home.path) not in str(refused.value)


def test_nothing_is_begun_on_a_disk_that_is_full(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "free_disk", lambda _: 0)

    with pytest.raises(store.Refused, match="0 MB are free"):
        launch.start_run(home, "seedling", overrides={"train.device": "cpu"})

    db = store.connect(home.database)
    assert [run for run in store.list_runs(db) if run["kind"] == "trained"] == []
    db.close()


def test_there_is_some_room_here(tmp_path: Path) -> None:
    assert space.free_disk(tmp_path) > 0 and space.free_memory() > 0


def test_a_container_has_no_more_memory_than_its_limit_leaves(tmp_path: Path) -> None:
    machine = space.free_memory(tmp_path)
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 300000\ninactive_file 400000\n")

    for limit, free in (("1000000", 700_000), ("max", machine)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert space.free_memory(tmp_path) == pytest.approx(free, rel=0.2)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/home/me/secret"), "the disk is full"),
        (OSError(errno.EIO, "Input/output error", "/home/me/secret"), "Input/output error"),
        (store.DatabaseError[0]("database or disk is full"), "runs.db: database or disk is full"),
        (store.StoreError("runs.db is not there; check --home."), "runs.db is not there; check --home"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_what_was_in_the_way_is_told_without_paths(error: Exception, told: str) -> None:
    assert isinstance(error, space.UNSTORABLE) and space.reason(error) == told
