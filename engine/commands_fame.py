"""What the command does that shares the hall of fame: the exhibits as one HTML file."""

import argparse
from contextlib import closing
from pathlib import Path

from engine import gallery as page
from engine import store
from engine.follow import print_json
from engine.home import Home
from engine.store import Refused

Arguments = argparse.Namespace


def words(made: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    made.add_argument("--out", required=True, metavar="FILE", help="the HTML file; one that is there is replaced")
    made.add_argument("--run", default="", metavar="RUN", help="only what this run said")
    made.add_argument("--category", default="", metavar="C", help="good, strange, hallucination, or one of your own")
    made.add_argument("--tag", default="", metavar="TAG", help="only exhibits that have it")
    made.add_argument("--pinned", action="store_true", help="only what is pinned")
    made.add_argument("--sort", default="newest", choices=list(store.SORTS), help="after the pinned (default newest)")
    made.add_argument("--title", default="Hall of fame", metavar="TEXT", help='above it all (default "Hall of fame")')


def gallery(given: Arguments) -> int:
    """Write the exhibits as one HTML file for others, without scripts."""
    home, path = Home.at(given.home), Path(given.out)
    if not path.name:
        raise Refused(f"{given.out!r} names no file.")
    part = path.with_name(f".{path.name}.part")
    with closing(store.connect(home.database)) as db:
        wanted = page.wanted_for(db, given.run, given.category, given.tag, given.pinned)
        total = store.count_exhibits(db, wanted)
        try:
            with part.open("w", encoding="utf-8") as file:
                file.writelines(page.pages(db, wanted, given.sort, given.title))
            part.replace(path)
        except OSError as error:
            raise Refused(f"{path} cannot be written: {error.strerror or error}.") from error
        finally:
            part.unlink(missing_ok=True)
    if given.json:
        return print_json({"file": str(path), "exhibits": total, "bytes": path.stat().st_size})
    print(f"{path}: {total:,} exhibit{'s' if total != 1 else ''}, {path.stat().st_size / 1e6:.1f} MB")
    return 0
