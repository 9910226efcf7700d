"""The fused kernels compute what the plain model computes; without a GPU, in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.home import PROJECT

TESTS = Path(__file__).resolve().parent / "interpreted_kernels.py"


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton: requirements-dev.txt, on Linux")
def test_the_fused_path_is_the_plain_one_in_tritons_interpreter() -> None:
    """In a process of its own: Triton decides when it is imported whether it compiles or interprets."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--durations=5", str(TESTS)]

    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
