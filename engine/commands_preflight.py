"""`python -m engine preflight`: what a run would need, measured before it is started."""

import argparse
import sys
import time
from typing import Any

from engine import config, launch, probing
from engine.follow import print_json
from engine.home import Home
from engine.phrases import count, duration, size
from engine.projection import project


def preflight(given: argparse.Namespace) -> int:
    """Measure for some seconds what a run would need here: memory, speed, time, disk."""
    home = Home.at(given.home)
    launch.open_home(home)
    chosen = config.load_preset(given.preset, config.parse_overrides(given.set))
    for message in probing.measure(home, chosen):
        if "probe" in message:
            break
        if not given.json:
            print(_doing(message), file=sys.stderr, flush=True)
    else:
        raise AssertionError("a measurement ends with its result or is refused")
    found = message["probe"] | project(home, chosen, message["probe"])
    if given.json:
        return print_json(found)
    for name, value in facts(found).items():
        if value:
            print(f"{name:13} {value}")
    return 0


def _doing(message: probing.Message) -> str:
    speed = message.get("tokens_per_second")
    return f"{message['message']}: {count(speed)} tok/s" if speed else str(message["message"])


def facts(found: dict[str, Any]) -> dict[str, str]:
    """A measurement and what follows from it, in words by name; empty where there is nothing to say."""
    parts = [f"{name} {duration(seconds)}" for name, seconds in found["parts"].items() if seconds >= 1]
    there = f" of {size(found['memory_there'])}, {size(found['memory_shown'])} in use now"
    return {
        "device": f"{found['device_name']}, {found['precision']}, {found['attention']}",
        "in one pass": f"{found['micro_batch']:,} rows",
        "peak memory": f"{size(found['memory'])}{there}",
        "speed": f"{count(found['tokens_per_second'])} tokens a second, a step in {found['step_seconds']:.3g} s",
        "time": f"{duration(found['seconds'])} ({', '.join(parts)})",
        "ends at": time.strftime("%A %H:%M", time.localtime(time.time() + found["seconds"])) + ", started now",
        "cost": found["cost"],
        "disk": f"{size(found['disk'])} of {size(found['disk_free'])} that are free",
        "scaled": f"measured with {found['scaled']}" if found["scaled"] else "",
        "besides": found["crowded"],
        "note": " ".join(found["notes"]),
    }
