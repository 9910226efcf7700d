"""A measurement before a run on a CUDA device. `pytest -m gpu`."""

import pytest
import torch
from sqlite_utils import Database

from engine import config, probing, store
from engine.home import Home

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_a_gpu_is_measured_with_the_rows_that_fit(home: Home, db: Database) -> None:
    chosen = config.load_preset("sprout", {"train.device": "cuda:0", "train.micro_batch": 0})

    *doing, last = probing.measure(home, chosen)

    found = last["probe"]
    assert {"message": "Getting the kernels ready for this GPU"} in doing
    assert chosen.rows_per_step % found["micro_batch"] == 0 and found["scaled"] == ""
    assert 0 < found["memory"] < found["memory_shown"] <= found["memory_there"]
    assert found["device_name"] == torch.cuda.get_device_name(0)
    assert probing.decisive(chosen, "cuda:0")["device"] == found["device_name"]
    assert probing.stored(db, chosen, "cuda:0") == found


def test_what_does_not_fit_is_told_with_what_would(home: Home) -> None:
    huge = config.load_preset(
        "blueberry-nano", {"train.device": "cuda:0", "train.compile": False, "train.batch_tokens": 2048 * 4096,
                           "train.micro_batch": 4096}
    )  # fmt: skip

    with pytest.raises(store.Refused, match=r"with 4096 rows in one forward pass; set train\.micro_batch to 2048"):
        list(probing.measure(home, huge))
    assert not list(home.probe("cuda:0").glob("scratch/*"))
