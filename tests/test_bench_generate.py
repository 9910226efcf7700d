"""`bench generate` measures both sizes of a batch and says whether their words agree."""

import json

import pytest

from benchmarks.generate import agreement, main
from engine.config import ConfigError

SMALL = ["--device", "cpu", "--prompt-tokens", "5", "--new-tokens", "4", "--turns", "1", "--no-peer"]


def test_a_report_for_programs_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--rows", "1,3", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert [(side["side"], side["rows"]) for side in report["sides"]] == [("blueberry", 1), ("blueberry", 3)]
    assert all(side["seconds"] > 0 and side["tokens_per_second"] > 0 for side in report["sides"])
    assert report["same_in_a_batch"] and report["batch_ratio"] > 0


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--rows", "2"]) == 0

    assert "3.41 M parameters, 5 + 4 tokens" in capsys.readouterr().out


def test_what_does_not_fit_is_refused_with_the_lengths() -> None:
    with pytest.raises(ConfigError, match=r"^200 \+ 100 tokens do not fit: seedling sees 256 at once\.$"):
        main(["--device", "cpu", "--prompt-tokens", "200", "--new-tokens", "100"])


def test_agreement_counts_up_to_the_first_difference() -> None:
    assert agreement([[1, 2, 3]], [[1, 2, 4]]) == 2
    assert agreement([[1, 2]], [[1, 2]]) == 2
