"""What `capsule` does and prints: one portable file with exhibits, packed, looked at, taken in, asked again."""

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from sqlite_utils import Database

from engine import capsule, capsule_pack, capsule_unpack, launch, replay, store
from engine.capsule import Cover
from engine.follow import print_json
from engine.home import Home
from engine.phrases import plain, size
from engine.store import Wanted

Arguments = argparse.Namespace


def words(top: argparse.ArgumentParser) -> None:
    """The words of `capsule` after it."""
    does = top.add_subparsers(dest="does", required=True, metavar="export|import|show|replay|list|open|remove")
    every = argparse.ArgumentParser(add_help=False)
    for option, action in (("--home", "store"), ("--json", "store_true"), ("--progress", "store_true")):
        # Also behind the word; what stood before it is not overwritten.
        every.add_argument(option, action=action, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    out = does.add_parser("export", parents=[every], help="pack exhibits into a new file")
    out.add_argument("file", metavar="FILE", help="ends with .capsule")
    out.add_argument("--run", nargs="+", action="extend", default=[], metavar="R", help="of these runs; default: all")
    out.add_argument("--query", default="", metavar="WORDS", help="only exhibits with these words")
    out.add_argument("--category", default="", metavar="C", help="only exhibits of this category")
    out.add_argument("--young", type=int, metavar="N", help="only of an age of N tokens and more")
    out.add_argument("--old", type=int, metavar="N", help="only of an age of N tokens and less")
    out.add_argument("--tag", default="", metavar="T", help="only with this tag")
    out.add_argument("--pinned", action="store_true", help="only what stands in front")
    out.add_argument("--measured", default="", metavar="M", help=f"only what is {', '.join(store.KINDS)}")
    out.add_argument("--since", default="", metavar="DATE", help="only kept from this day on, as 2026-11-30 in UTC")
    out.add_argument("--until", default="", metavar="DATE", help="only kept before this day")
    out.add_argument("--weights", action="store_true", help="with the weights that said them, to ask them again there")
    out.add_argument("--samples", action="store_true", help="with everything that the runs said in their rounds")
    out.add_argument("--seal-until", default="", metavar="DATE", help="a day as 2027-11-30, before which it stays shut")
    out.add_argument("--title", default="", help="on its cover; default: the runs' names")
    out.add_argument("--from", dest="sender", default="", metavar="NAME", help="whom it is from, on its cover")
    out.add_argument("--plan", action="store_true", help="only tell what would be packed and how large it is")
    for name, about in (
        ("import", "take one into this home, after all checks"),
        ("show", "its cover, after all checks"),
    ):
        does.add_parser(name, parents=[every], help=about).add_argument("file", metavar="FILE")
    again = does.add_parser("replay", parents=[every], help="ask exhibits again: is it word for word the same?")
    again.add_argument(
        "what", metavar="RUN|EXHIBIT|FILE|all", help="all exhibits of a run, one by its number (also #12), a capsule's"
    )
    does.add_parser("list", parents=[every], help="the capsules that came into this home")
    for name, about in (("open", "open one whose date has come"), ("remove", "forget one; its runs stay")):
        does.add_parser(name, parents=[every], help=about).add_argument("id", metavar="ID", help="or the start of one")


def run(given: Arguments) -> int:
    """Take exhibits along in one file, into another home and back, and ask them again (.capsule)."""
    # An end from outside tidies up as an interrupt does: files on their way in or out do not stay.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return COMMANDS[given.does](given)


def export(given: Arguments) -> int:
    """Pack exhibits into a new file."""
    home = Home.at(given.home)
    launch.open_home(home)
    sealed = capsule.read_date(given.seal_until) if given.seal_until else None
    with closing(store.connect(home.database)) as db:
        runs = [store.find_run(db, one) for one in given.run] or store.list_runs(db)
        exhibits = capsule_pack.matching(db, _wanted(given))
        planned = capsule_pack.plan(home, db, runs, exhibits, given.samples)
        if given.plan:
            return _planned(planned, given)
        named = Path(given.file)
        out = named if named.suffix == capsule.SUFFIX else named.with_name(named.name + capsule.SUFFIX)
        made = capsule_pack.pack(
            home,
            db,
            out,
            planned,
            weights=given.weights,
            title=given.title,
            sender=given.sender,
            sealed_until=sealed,
            report=_reporter(given),
        )
    if given.json:
        return print_json(asdict(made))
    gone = f", {planned.words_only:,} of them words only" if given.weights and planned.words_only else ""
    print(f"{_cover(made)}{gone}\n{size(made.bytes)} in {plain(out.name)}.")
    return 0


def _moment(text: str) -> float | None:
    """A day, as its first moment in UTC, or seconds since 1970; None where there is no text. Raises Refused."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return capsule.moment(capsule.read_date(text))


def _wanted(given: Arguments) -> Wanted:
    return Wanted(
        query=given.query,
        category=given.category,
        tag=given.tag,
        youngest=given.young,
        oldest=given.old,
        since=_moment(given.since),
        until=_moment(given.until),
        pinned=given.pinned,
        measured=given.measured,
    )


def _planned(planned: capsule_pack.Plan, given: Arguments) -> int:
    told = {
        "runs": [one["name"] for one in planned.runs],
        "exhibits": len(planned.kept),
        "samples": len(planned.samples),
        "weights": planned.weights_bytes,
        "words_only": planned.words_only,
    }
    if given.json:
        return print_json(told)
    whose = planned.runs[0]["name"] if len(planned.runs) == 1 else f"{len(planned.runs)} runs"
    print(
        f"{told['exhibits']:,} exhibits of {whose}; "
        f"with --weights {size(planned.weights_bytes)} more, and {planned.words_only:,} stay words only."
    )
    return 0


def take(given: Arguments) -> int:
    """Take a capsule into this home."""
    return _told(capsule_unpack.take(Home.at(given.home), Path(given.file), _reporter(given)), given)


def show(given: Arguments) -> int:
    """The cover of a capsule, all of which has been checked."""
    return _told(capsule_unpack.look(Home.at(given.home), Path(given.file), _reporter(given)), given)


def open_sealed(given: Arguments) -> int:
    """Open a capsule whose date has come."""
    return _told(capsule_unpack.open_sealed(Home.at(given.home), given.id), given)


def remove(given: Arguments) -> int:
    """Forget a capsule that came; its runs stay."""
    capsule_unpack.remove(Home.at(given.home), given.id)
    return print_json({}) if given.json else _say("It is forgotten; runs that came with it stay.")


def listed(given: Arguments) -> int:
    """The capsules that came."""
    home = Home.at(given.home)
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        found = [row for row in store.list_capsules(db) if row["here"] or row["opened_at"] is None]
    if given.json:
        return print_json([row | {"runs": json.loads(row["runs"])} for row in found])
    for row in found:
        shut = "" if row["opened_at"] else f", sealed until {row['sealed_until']}"
        print(f"{row['id'][:10]}  {plain(row['title'])}, {row['exhibits']:,} exhibits{shut}")
    return 0 if found else _say("No capsule has come into this home yet.")


def again(given: Arguments) -> int:
    """Ask exhibits again; exit status 0 only where all are word for word the same, or words only."""
    file = Path(given.what)
    if file.suffix == capsule.SUFFIX and file.is_file():
        # A home for this alone, gone afterwards: nothing is taken in.
        with tempfile.TemporaryDirectory(prefix="capsule-") as folder:
            home = Home.at(folder)
            if (taken := capsule_unpack.take(home, file)).state == "sealed":
                raise store.Refused(f"{taken.cover.title} is sealed until {taken.cover.sealed_until}.")
            return _replay(home, [run_id for run_id, _ in taken.runs], given)
    return _replay(Home.at(given.home), [given.what], given)


def _replay(home: Home, what: Sequence[str], given: Arguments) -> int:
    verdicts = []
    with closing(store.connect(home.database)) as db:
        for verdict in replay.replay(home, db, [one for word in what for one in _exhibits(db, word)]):
            verdicts.append(verdict)
            if not given.json:
                print(f"{verdict.exhibit:>6}  {plain(verdict.title)}: {plain(verdict.sentence)}", flush=True)
    if given.json:
        print_json([asdict(one) for one in verdicts])
    else:
        print(replay.summed_up(verdicts))
    return int(any(one.state == replay.DIFFERENT for one in verdicts))


def _exhibits(db: Database, what: str) -> list[store.Row]:
    """The exhibits that a word means: all, one by its number, those of a run."""
    if what == "all":
        return [one for run in store.list_runs(db) for one in replay.exhibits_of(db, run["id"])]
    number = what.removeprefix("#")
    if what.startswith("#") and number.isascii() and number.isdecimal():
        return [store.get_exhibit(db, int(number[:18]))]
    try:
        found = store.find_run(db, what)
    except store.Refused:
        if not what.isascii() or not what.isdecimal():
            raise
        return [store.get_exhibit(db, int(what[:18]))]
    exhibits = replay.exhibits_of(db, found["id"])
    if not exhibits:
        raise store.Refused(f"Nothing that {found['name']} said is kept.")
    return exhibits


def _told(taken: capsule_unpack.Taken, given: Arguments) -> int:
    if given.json:
        runs = [{"id": run_id, "name": name} for run_id, name in taken.runs]
        return print_json({"state": taken.state, "cover": asdict(taken.cover), "runs": runs})
    ending = {
        "opened": f"It is in this home now, as {', '.join(name for _, name in taken.runs)}.",
        "sealed": f"It is sealed until {taken.cover.sealed_until}: until then only this is shown.",
        "known": "It came into this home before; nothing was changed.",
        "new": "All of it is in order; `capsule import` takes it in.",
    }
    print(f"{_cover(taken.cover)}\n{ending[taken.state]}")
    return 0


def _cover(cover: Cover) -> str:
    """What stands on a cover, in a line or two."""
    whom = f", from {plain(cover.sender)}" if cover.sender else ""
    many = "1 exhibit" if cover.exhibits == 1 else f"{cover.exhibits:,} exhibits"
    carried = f", {size(cover.weights)} of weights" if cover.weights else ", without weights"
    seal = f", sealed until {cover.sealed_until}" if cover.sealed_until else ""
    packed = time.strftime("%Y-%m-%d", time.gmtime(cover.created_at))
    runs = ", ".join(map(plain, cover.runs[:5])) + (" and more" if len(cover.runs) > 5 else "")
    return f"{plain(cover.title)}{whom}: {many} of {runs}{carried}, packed {packed}{seal}"


def _reporter(given: Arguments) -> Callable[[int, int], None]:
    """Progress as JSON lines on stderr, a percent at a time, for programs that ask for it."""
    shown = -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        if getattr(given, "progress", False) and (percent := 100 * done // max(total, 1)) != shown:
            shown = percent
            print(json.dumps({"done": done, "total": total}), file=sys.stderr, flush=True)

    return report


def _say(line: str) -> int:
    print(line)
    return 0


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "export": export,
    "import": take,
    "show": show,
    "replay": again,
    "list": listed,
    "open": open_sealed,
    "remove": remove,
}
