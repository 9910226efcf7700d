"""Fixtures that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from engine import launch, store
from engine.home import Home


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drills are skipped unless they are asked for."""
    if "drill" in (config.getoption("markexpr") or ""):
        return
    for item in items:
        if item.get_closest_marker("drill"):
            item.add_marker(pytest.mark.skip(reason="a drill: pytest -m drill"))


@pytest.fixture
def alone() -> Iterator[None]:
    """What a trainer sets for its whole process ends with the test."""
    from training import as_in_a_process_of_its_own  # torch: not for tests that do without

    with as_in_a_process_of_its_own():
        yield


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home with a database."""
    fresh = Home.at(tmp_path / "home")
    launch.open_home(fresh)
    return fresh


@pytest.fixture
def db(home: Home) -> Iterator[Database]:
    """An open connection to the home's database."""
    opened = store.connect(home.database)
    yield opened
    opened.close()
