"""What the drills share."""

from collections.abc import Iterator

import pytest
from trainers import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """What starts real trainers in a moment."""
    found = Server()
    yield found
    found.close()
