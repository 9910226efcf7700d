"""The page's routes about money and the machine: every argument is checked, and what is not known is left out."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_nvml import FakeGpu, FakeNvml
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hostile import VALUES
from sqlite_utils import Database
from ui_helpers import make_run

from engine import money, process, store
from engine.home import Home
from engine.machine import GpuProbe, HostState
from engine.money import Price
from ui import live, records
from ui.machine_routes import Machine, history, make_machine
from ui.money_routes import make_money
from ui.reading import Reader
from ui.server import add_error_answers

HOST = HostState(cores=8, cpu_use=0.25, memory_used=4, memory_total=16, disk_free=7, disk_total=9)
RENTED = {"per_hour": 0.4, "per_kwh": None, "watts": None, "currency": "$"}


class Here:
    """The machine that the routes see."""

    nvml = FakeNvml(driver=False)
    asked = 0

    def gpus(self) -> Any:
        self.asked += 1
        return GpuProbe(self.nvml)()


@pytest.fixture
def here() -> Here:
    """A machine without a GPU, until a test gives it one."""
    return Here()


@pytest.fixture
def client(home: Home, here: Here) -> Iterator[TestClient]:
    """The two sets of routes without the page around them."""
    reader = Reader(home, lambda home, db: None)
    machine = Machine(reader, here.gpus, lambda: HOST)
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_money(reader))
    app.include_router(make_machine(reader, machine))
    with TestClient(app) as opened:
        yield opened
    machine.close()


def test_a_price_is_kept_for_a_run_and_for_runs_to_come(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    assert client.get("/api/money").json() == {"home": None, "run": None}
    assert client.post("/api/money/price", json={"run": run_id, "price": RENTED}).json() == {"price": RENTED}
    assert client.get("/api/money", params={"run": run_id}).json() == {"home": None, "run": RENTED}
    client.post("/api/money/price", json={"home": True, "price": {"per_kwh": 0.3, "watts": 60, "currency": "€"}})
    assert client.get("/api/money").json()["home"]["watts"] == 60
    assert client.post("/api/money/price", json={"run": run_id, "home": True, "price": None}).status_code == 200
    assert client.get("/api/money", params={"run": run_id}).json() == {"home": None, "run": None}


def test_a_budget_is_set_and_taken_away(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    refused = client.post("/api/money/budget", json={"run": run_id, "amount": 5})
    assert refused.status_code == 400 and "Say first what the machine" in refused.json()["error"]
    client.post("/api/money/price", json={"run": run_id, "price": RENTED})
    assert client.post("/api/money/budget", json={"run": run_id, "amount": 5}).status_code == 200
    assert store.get_run(db, run_id)["budget"] == 5
    assert client.post("/api/money/budget", json={"run": run_id, "amount": None}).status_code == 200
    assert store.get_run(db, run_id)["budget"] is None


@pytest.mark.parametrize("path", ["price", "budget"])
def test_what_makes_no_sense_is_refused_and_changes_nothing(client: TestClient, db: Database, path: str) -> None:
    run_id = make_run(db)
    money.set_price(db, Price(per_hour=0.4), run_id)
    before = store.get_run(db, run_id)
    for value in (*VALUES, [], {}, {"per_hour": {}}, {"per_hour": -1}, {"pounds": 1}, "1", -1, 0, 1e300):
        if value is None:
            continue  # forgets, on purpose
        body = {"run": run_id, "price": value, "amount": value}
        try:
            answer = client.post(f"/api/money/{path}", json=body)
        except ValueError:  # NaN and lone surrogates have no JSON
            continue
        if path == "budget" and answer.status_code == 200:
            assert isinstance(value, int | float) and 0 < value <= money.MOST_BUDGET
            money.set_budget(db, run_id, None)
            continue
        assert answer.status_code == 400 and list(answer.json()) == ["error"], value
    assert store.get_run(db, run_id) == before


@pytest.mark.parametrize("body", [{}, {"price": None}, {"run": 5, "price": RENTED}, {"home": "yes", "price": RENTED}])
def test_it_must_be_said_whose_price_it_is(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/api/money/price", json=body)
    assert answer.status_code == 400 and "whose price" in answer.json()["error"]
    assert client.post("/api/money/price", json={"run": "nobody", "price": RENTED}).status_code == 400


def test_a_refresh_has_what_it_costs_and_nothing_where_nothing_is_known(db: Database) -> None:
    run_id = make_run(db)

    def now() -> Any:
        return live.live(db, store.list_runs(db), [], "steps", run_id, 0)["now"].get("money")

    assert now() is None
    before = live.version(store.list_runs(db))
    money.set_price(db, Price(per_hour=0.36), run_id)
    store.update_state(db, run_id, process_seconds=3600.0)
    assert now() == {"spent": 0.36, "finish": 0.00999, "million": 8.789, "currency": "$", "goal": 5}
    assert live.version(store.list_runs(db)) != before, "the page reads its list of runs anew"
    money.set_budget(db, run_id, 0.36)
    store.give_command(db, run_id, "stop", money.stop_argument(0.36))
    store.end_run(db, run_id, "stopped")
    assert now()["used_up"] is True
    money.set_budget(db, run_id, 1)
    assert "used_up" not in now()


def test_the_table_of_runs_has_costs(db: Database) -> None:
    run_id = make_run(db)
    money.set_price(db, Price(per_hour=0.36, currency="€"), run_id)
    store.update_state(db, run_id, process_seconds=7200.0)
    mine, published = records.compared(db, store.list_runs(db))
    assert (mine["cost"], mine["currency"]) == (0.72, "€")
    assert (published["cost"], published["currency"]) == (None, None)


def test_a_machine_without_a_gpu_says_so_and_shows_the_rest(client: TestClient) -> None:
    found = client.get("/api/machine").json()
    assert found["gpus"] == [] and found["no_gpu"].startswith("No NVIDIA GPU here")
    assert (found["cpu"], found["memory"], found["disk"]) == (0.25, {"used": 4, "total": 16}, {"free": 7, "total": 9})
    assert found["holders"][0]["name"] == "this page" and found["holders"][0]["bytes"] > 1e6


def test_a_gpu_shows_what_it_tells_and_names_the_run_that_holds_it(
    client: TestClient, here: Here, db: Database
) -> None:
    here.nvml = FakeNvml(FakeGpu(milliwatts=None, held={os.getpid(): 3_000_000_000}))
    run_id = make_run(db, device="cuda:0")
    store.update_state(db, run_id, **process.identity())
    found = client.get("/api/machine").json()
    (card,) = found["gpus"]
    assert card["use"] == 0.97 and card["temperature"] == 61 and "watts" not in card and "no_gpu" not in found
    assert card["holders"][0] | {"name": ""} == {"pid": os.getpid(), "name": "", "bytes": 3_000_000_000, "run": "one"}
    assert found["holders"][0]["run"] == run_id


def test_a_driver_that_fails_says_so(client: TestClient, here: Here) -> None:
    here.nvml = FakeNvml(FakeGpu())
    here.nvml.broken = True
    found = client.get("/api/machine").json()
    assert "does not answer" in found["no_gpu"] and found["cores"] == 8


def test_many_readers_measure_once_a_second(client: TestClient, here: Here) -> None:
    for _ in range(10):
        client.get("/api/machine")
    assert here.asked <= 2


def test_the_history_of_a_run_is_small_and_has_gaps_where_nothing_told(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    assert client.get("/api/machine/history", params={"run": run_id}).json() == {"run": run_id, "rows": 0}
    for second in range(1000):
        use = None if 400 <= second < 500 else 0.5
        store.add_machine(db, run_id, 1, second, measured_at=1e9 + second, cpu_use=use, memory_used=second)
    found = client.get("/api/machine/history", params={"run": run_id}).json()
    assert found["rows"] == 1000 and (found["from"], found["to"]) == (1e9, 1e9 + 999)
    assert len(found["cpu_use"]) == 112 and None in found["cpu_use"] and found["memory_used"][-1] == 999
    assert "gpu_use" not in found
    assert client.get("/api/machine/history", params={"run": "nobody"}).status_code == 400


def test_thousands_of_rows_are_read_quickly() -> None:
    rows = [(float(at), *(0.5,) * (len(store.MACHINE) - 1)) for at in range(9_000)]
    begun = time.perf_counter()
    assert len(history(rows)["gpu_watts"]) <= 120
    assert time.perf_counter() - begun < 2
