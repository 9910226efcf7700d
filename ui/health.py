"""What the doctor says of this machine and this home, in words for the page: no path of the machine leaves it."""

from typing import Any

from engine import doctor, store
from engine.home import Home
from engine.volume import network_file_system
from ui.records import clean


def findings(home: Home) -> list[dict[str, Any]]:
    """Every check but the reading through of all checkpoints, which takes minutes on a large home."""
    return [
        {
            "name": one.name,
            "state": one.state,
            "sentence": clean(one.sentence.replace(str(home.path), "This folder"), home),
        }
        for one in doctor.examine(home, hashes=False)
    ]


def warnings(home: Home) -> list[str]:
    """What a person should know before the first run is lost; cheap enough for every opening of the page."""
    found = [store.soundness()]
    if kind := network_file_system(home.path):
        found.append(
            f"This home lies on a network file system ({kind}), where SQLite's locks do not hold: keep it on a disk of "
            "this machine."
        )
    return [sentence for sentence in found if sentence]
