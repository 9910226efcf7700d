"""engine/probing.py: which settings a measurement holds for, and its process, which is a fake here."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import supervised, wait_for
from sqlite_utils import Database
from ui_helpers import MEASURED

from engine import config, probing, process, projection, store
from engine.home import PROJECT, Home
from engine.money import Price
from engine.phrases import money

FAKE = Path(__file__).resolve().parent / "fake_probe.py"
RESULT = {name: value for name, value in MEASURED.items() if name != "measured_at"}


@pytest.fixture(autouse=True)
def from_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake imports the engine as the real one does."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))


def fake(*script: str) -> list[str]:
    return [sys.executable, str(FAKE), *script]


def said(result: dict[str, Any] = RESULT) -> str:
    return json.dumps({"probe": result})


def measure(home: Home, *script: str, **options: Any) -> list[probing.Message]:
    return list(probing.measure(home, config.load_preset("seedling"), command=fake(*script), **options))


def key(**changes: Any) -> str:
    chosen = config.load_preset("seedling", {name.replace("__", "."): value for name, value in changes.items()})
    return probing.key_of(probing.decisive(chosen, "cpu"))


def test_a_measurement_tells_what_it_does_and_is_kept(home: Home, db: Database) -> None:
    chosen = config.load_preset("seedling")
    assert probing.stored(db, chosen, "cpu") is None

    *doing, last = measure(home, '{"message": "Warming up"}', "question", said())

    assert doing == [{"message": "Warming up"}]
    assert last["probe"] == RESULT | {"measured_at": pytest.approx(time.time(), abs=60)}
    assert probing.stored(db, chosen, "cpu") == last["probe"]
    asked = json.loads((home.probe("cpu") / "question").read_text(encoding="utf-8"))
    assert config.from_json(asked["config"]) == chosen


@pytest.mark.parametrize(
    "changes",
    [
        {"model__layers": 4},
        {"model__context": 128},
        {"train__batch_tokens": 8192},
        {"train__micro_batch": 4},
        {"train__precision": "fp32"},
        {"train__documents": True},
        {"optimizer__ema": 0.99},
        {"optimizer__neuron_memory": 0.95},
    ],
)
def test_what_changes_speed_or_memory_needs_a_measurement_of_its_own(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()


def test_what_changes_neither_does_not() -> None:
    assert key(train__tokens=10**9, optimizer__muon_lr=0.5, train__seed=1, eval__every=3, model__rope_base=5e5) == key()
    assert key(optimizer__ema=0.99) == key(optimizer__ema=0.999)


@pytest.mark.parametrize("what", ["device_name", "version"])
def test_another_processor_or_torch_needs_another_measurement(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    where = probing if what == "device_name" else probing.metadata
    monkeypatch.setattr(where, what, lambda name: "another")

    assert key() != before


@pytest.mark.parametrize("status", ["running", "paused", "preparing"])
def test_nothing_is_measured_beside_a_run(home: Home, db: Database, status: str) -> None:
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", "busy", "cpu")
    store.update_state(db, run_id, status=status)

    with pytest.raises(store.Refused, match=f"busy is {status} on cpu; measure when it has ended"):
        measure(home, said())


def test_a_run_in_line_or_on_another_device_is_not_in_the_way(home: Home, db: Database) -> None:
    store.update_state(
        db, store.create_run(db, config.load_preset("seedling"), "seedling", "a", "cpu"), status="queued"
    )
    store.create_run(db, config.load_preset("seedling"), "seedling", "b", "cuda:0")

    assert measure(home, said())


def test_two_at_once_are_refused(home: Home) -> None:
    first = probing.measure(home, config.load_preset("seedling"), command=fake("lock", '{"message": "on"}', "wait"))
    assert next(first) == {"message": "on"}

    with pytest.raises(store.Refused, match="Another measurement is going on on cpu"):
        measure(home, said())

    first.close()
    assert measure(home, said())


def test_it_ends_when_nobody_waits_any_more(home: Home) -> None:
    gone = threading.Event()
    messages = probing.measure(
        home, config.load_preset("seedling"), gone.is_set, command=fake("lock", '{"message": "on"}', "wait")
    )
    next(messages)
    gone.set()

    with pytest.raises(store.Refused, match="cancelled"):
        next(messages)
    assert not process.is_held(home.probe("cpu") / "lock")


def test_it_ends_when_it_takes_too_long_with_all_it_started(home: Home) -> None:
    began = time.monotonic()

    with pytest.raises(store.Refused, match="longer than 3 seconds"):
        measure(home, "lock", "orphan", "scratch", "wait", patience=3)

    assert time.monotonic() - began < 30
    assert not process.is_held(home.probe("cpu") / "lock")
    assert not (home.probe("cpu") / "scratch").exists()


def test_what_it_refuses_is_passed_on(home: Home, db: Database) -> None:
    with pytest.raises(store.Refused, match=r"^Set train\.micro_batch to 4\.$"):
        measure(home, '{"error": "Set train.micro_batch to 4."}')
    assert db["probes"].count == 0


def test_a_killed_one_says_so(home: Home) -> None:
    with pytest.raises(store.Refused, match=r"was killed \(SIGKILL\), perhaps by the system for lack of memory"):
        measure(home, "die")


def test_a_run_that_starts_ends_it(home: Home, db: Database) -> None:
    messages = probing.measure(home, config.load_preset("seedling"), command=fake("lock", '{"message": "on"}', "wait"))
    next(messages)
    store.create_run(db, config.load_preset("seedling"), "seedling", "next", "cpu")

    heard: list[str] = []

    def listen() -> None:
        try:
            next(messages)
        except store.Refused as error:
            heard.append(str(error))

    listener = threading.Thread(target=listen)
    listener.start()
    made_way = iter(lambda: probing.make_way(home, "cpu"), False)
    wait_for(lambda: next(made_way, "gone") == "gone")
    listener.join(20)

    assert heard == ["The measurement was ended, because next starts on cpu."]


def test_a_supervisor_ends_it_before_it_starts_a_trainer(home: Home, db: Database) -> None:
    messages = probing.measure(home, config.load_preset("seedling"), command=fake("lock", '{"message": "on"}', "wait"))
    next(messages)
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", "next", "cpu")

    with supervised(home):
        with pytest.raises(store.Refused, match="because next starts on cpu"):
            next(messages)
        wait_for(lambda: store.get_run(db, run_id)["status"] == "running", timeout=30)


def test_there_is_nothing_to_end_where_nothing_is_measured(home: Home) -> None:
    assert not probing.make_way(home, "cpu")
    assert not probing.make_way(home, "cuda:0")


def test_a_strangers_process_is_left_alone(home: Home) -> None:
    """What an earlier measurement left says nothing about who holds the lock now."""
    folder = home.probe("cpu")
    messages = probing.measure(home, config.load_preset("seedling"), command=fake("lock", '{"message": "on"}', "wait"))
    next(messages)
    stale = process.identity() | {"process_started_at": 1.0}
    (folder / "process.json").write_text(json.dumps(stale), encoding="utf-8")

    assert probing.make_way(home, "cpu")
    assert process.is_held(folder / "lock")
    messages.close()


def counted(every: int, steps: int) -> Iterator[int]:
    """The steps at which the loop does something, as engine/train.py asks."""
    for step in range(steps + 1):
        if step == steps or step % every == 0:
            yield step


@pytest.mark.parametrize(("every", "steps"), [(1, 1), (5, 20), (7, 20), (30, 20), (20, 20)])
def test_rounds_are_counted_as_the_loop_counts_them(every: int, steps: int) -> None:
    assert projection.rounds(steps, every) == len(list(counted(every, steps)))


def test_a_whole_run_follows_from_a_measurement(home: Home) -> None:
    chosen = config.load_preset("seedling", {"train.tokens": 4096 * 400, "sample.max_tokens": 11, "eval.tokens": 4096})
    # 400 steps; evaluated at 0, 75, ..., 375, 400; asked at 0, 100, ..., 400; saved at 200 and 400.
    found = projection.project(home, chosen, RESULT)

    assert found["parts"] == {
        "training": pytest.approx(80.0),
        "evaluating": pytest.approx(7 * 4096 * 1e-5),
        "answering": pytest.approx(5 * (0.1 + 0.3 + 10 * 0.01)),
        "saving": pytest.approx(2 * 0.5),
    }
    assert found["seconds"] == pytest.approx(sum(found["parts"].values()))
    assert found["tokens_per_second"] == pytest.approx(4096 / 0.2)
    assert found["crowded"] == ""


def test_company_is_told(home: Home) -> None:
    found = projection.project(home, config.load_preset("seedling"), RESULT | {"cores_taken": 1.26})

    assert found["crowded"] == "Other programs kept 1.3 of 2 cores busy meanwhile; alone it is faster."


def test_a_run_costs_what_the_home_says_a_machine_costs(home: Home, db: Database) -> None:
    chosen, found = config.load_preset("seedling"), {}
    for name, price in {
        "none": None,
        "rented": Price(per_hour=3600.0),
        "own": Price(per_kwh=3.6, watts=1000.0, currency="EUR"),
        "own, unmeasured": Price(per_kwh=3.6),
    }.items():
        store.set_home_price(db, price and price.columns)
        found[name] = projection.project(home, chosen, RESULT)

    seconds = found["none"]["seconds"]
    assert found["none"]["cost"] == found["own, unmeasured"]["cost"] == ""
    assert found["rented"]["cost"] == f"{money(seconds, '$')} at $3,600 an hour"
    assert (
        found["own"]["cost"] == f"{money(seconds / 1000, 'EUR')} at {Price(per_kwh=3.6, watts=1000.0, currency='EUR')}"
    )
