"""`bench growing` measures each request of a run's life against its limit."""

import json
import subprocess
import sys

from engine.home import PROJECT


def test_every_request_is_measured() -> None:
    asked = [sys.executable, "-m", "engine", "bench", "growing", "--ages=3", "--prompts=2", "--rounds=2", "--json"]
    done = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, timeout=300)  # a Chromium of its own

    report = json.loads(done.stdout)
    requests = {name: figures for name, figures in report["figures"].items() if "kilobytes" in figures}
    assert len(requests) == 4
    assert all(figures["first"] > 0 and figures["median"] > 0 for figures in requests.values())
    assert done.returncode == bool(report["missed"])
