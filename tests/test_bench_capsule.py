"""benchmarks/capsule.py on a few exhibits: what it makes can be packed and taken in."""

import pytest

from benchmarks import capsule


def test_a_few_exhibits_are_packed_looked_at_and_taken_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert capsule.main(["--exhibits", "6"]) == 0
    assert "packed" in capsys.readouterr().out
