"""One side in a process of its own, which writes lines of JSON: its memory and its threads are its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from engine.home import PROJECT

Spec = dict[str, Any]
"""What benchmarks/preparing/worker.py is to do: its name as `do`, and what that function takes."""


class Failed(Exception):
    """A side could not do what it was asked for; says why in a sentence."""


class Process:
    """A side at work."""

    def __init__(self, spec: Spec) -> None:
        quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.preparing.worker", json.dumps(spec)],
            cwd=PROJECT,
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.spec = spec

    def lines(self) -> Iterator[dict[str, Any]]:
        """What it says, as it says it; the last one is its result. Raises Failed where there is none."""
        assert self._child.stdout
        said: dict[str, Any] = {}
        for line in self._child.stdout:
            said = json.loads(line)
            yield said
        code = self._child.wait()
        if "error" in said or code or not said:
            raise Failed(said.get("error") or f"{self.spec['do']} ended with status {code}; its words are above.")

    def result(self) -> dict[str, Any]:
        """Wait for the end; raises Failed."""
        try:
            *_, last = self.lines()
            return last
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        assert self._child.stdout
        self._child.kill()
        self._child.wait()
        self._child.stdout.close()
