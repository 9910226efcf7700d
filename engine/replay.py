"""Whether an exhibit can be said again: its very weights are asked once more, with its seed and settings, on the kind
of device on which it was said.

Randomness is drawn per (seed, token position), so the same weights say the same words for ever. Where they do not, the
reason is told: the weights are gone, or it was said on another device, in another number format, by another torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlite_utils import Database

from engine import store
from engine.ask import Ask
from engine.capsule_pack import weights_of
from engine.config import ConfigError
from engine.home import Home
from engine.store import Refused, Row

SAME, DIFFERENT, WORDS_ONLY = "same", "different", "words only"
CONTEXT = 30
"""Characters that are shown around the first difference."""
TOGETHER = 32
"""Exhibits of the same weights that are asked at once; each says what it would say alone."""
ON_THE_CPU = ("cpu", "float32")
"""Device and number format of an exhibit that does not tell."""


@dataclass(frozen=True)
class Verdict:
    """What became of asking one exhibit again."""

    exhibit: int
    title: str
    run: str
    """The run's name."""
    state: str
    """SAME, DIFFERENT or WORDS_ONLY."""
    sentence: str
    place: int | None = None
    """Characters that are the same, where it differs then."""
    was: str = ""
    now: str = ""
    """What stood there and what stands there now, a few words of each."""


def replay(home: Home, db: Database, exhibits: Sequence[Row]) -> Iterator[Verdict]:
    """Ask each of these exhibits (store.get_exhibit) again, those of the same weights together. Needs torch."""
    from engine.generate import load_speaker
    from engine.seat import seat

    groups: dict[tuple[str, int, str, str], list[Row]] = {}
    for one in exhibits:
        who = (one["run_id"], one["step"], one["weights_sha256"] or "", one["device"] or ON_THE_CPU[0])
        groups.setdefault(who, []).append(one)
    for (run_id, step, digest, said_on), members in groups.items():
        run = store.get_run(db, run_id)
        samples, left = list[Row](), list[Row]()
        for one in members:
            sample = store.get_sample(db, one["sample_id"])
            if why := why_words_only(home, db, run, sample) or _senseless(sample):
                yield words_only(one, why)
            else:
                left.append(one)
                samples.append(sample)
        if not left:
            continue
        members = left
        try:
            speaker = load_speaker(home, db, run_id, step, device=seat(run, said_on), sha256=digest)
        except Refused as error:
            yield from (words_only(one, str(error)) for one in members)
            continue
        for first in range(0, len(members), TOGETHER):
            part = slice(first, first + TOGETHER)
            pieces = speaker.answer([question(sample) for sample in samples[part]])
            for one, sample, piece in zip(members[part], samples[part], pieces, strict=True):
                here = (speaker.device.type, speaker.dtype)
                yield judged(one, sample, piece.text, torch_of(run), torch_here(), here)


def question(sample: Mapping[str, Any]) -> Ask:
    """The question that a sample answered."""
    asked = Ask.from_sample(sample)
    if sample["finish"] == "cancelled":  # it was made to stop: its length is part of how it came about
        return replace(asked, max_tokens=min(max(1, sample["new_tokens"]), asked.max_tokens))
    return asked


def why_words_only(home: Home, db: Database, run: Row, sample: Row) -> str:
    """Why a sample cannot be asked again at all, in a sentence, or ""."""
    if run["kind"] == "published":
        return "It was published without its weights and settings."
    if sample["seed"] is None or not sample["weights_sha256"]:
        return "It was kept without its seed or the hash of its weights."
    if weights_of(home, db, sample) is None:
        came = run["kind"] == "imported"
        return "It came without its weights." if came else "The weights that said it were freed."
    return ""


def _senseless(sample: Row) -> str:
    """Why nobody can have asked a sample's question, or "": a capsule of an earlier version may have let it in."""
    try:
        question(sample)
    except (ConfigError, ValueError, TypeError):
        return "How it was asked makes no sense, so it cannot be asked again."
    return ""


def judged(
    exhibit: Row,
    sample: Row,
    text: str,
    torch_then: str = "",
    torch_now: str = "",
    here: tuple[str, str] = ON_THE_CPU,
) -> Verdict:
    """The verdict on an exhibit that has said `text` now, on the device and in the number format `here`."""
    about = {"exhibit": exhibit["id"], "title": exhibit["title"], "run": exhibit["run_name"]}
    if text == sample["text"]:
        return Verdict(**about, state=SAME, sentence="Word for word the same.")
    why = _why(sample, torch_then, torch_now, here)
    place = _same(text, sample["text"])
    return Verdict(
        **about,
        state=DIFFERENT,
        sentence=f"The first {place:,} characters are the same, then others come. {why}",
        place=place,
        was=sample["text"][place : place + CONTEXT],
        now=text[place : place + CONTEXT],
    )


def _same(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def _why(sample: Row, torch_then: str, torch_now: str, here: tuple[str, str]) -> str:
    there = (sample["device"] or ON_THE_CPU[0], sample["dtype"] or ON_THE_CPU[1])
    if there != here:
        return (
            f"It was said on {there[0]} in {there[1]}, which rounds otherwise than {here[0]} in {here[1]}, on which it "
            "was asked now."
        )
    if torch_then and torch_now and torch_then != torch_now:
        return f"Its run was trained with torch {torch_then}; this is torch {torch_now}, which may round otherwise."
    return "Weights, settings and number format are the same, so this device rounds otherwise than the one then."


def torch_of(run: Row) -> str:
    """The torch that a run was last trained with, "" where that is not known."""
    return str(run["environment"].get("torch", ""))


def torch_here() -> str:
    """The torch of this installation."""
    from importlib import metadata

    return metadata.version("torch")


def summed_up(verdicts: Sequence[Verdict]) -> str:
    """How many are the same, in a sentence."""
    counts = {state: sum(one.state == state for one in verdicts) for state in (SAME, DIFFERENT, WORDS_ONLY)}
    parts = [
        f"{counts[SAME]:,} word for word the same",
        f"{counts[DIFFERENT]:,} different",
        f"{counts[WORDS_ONLY]:,} words only",
    ]
    return f"{len(verdicts):,} asked again: {', '.join(parts)}."


def exhibits_of(db: Database, run_id: str) -> list[Row]:
    """All exhibits of a run, as `replay` takes them, by age."""
    found = [store.get_exhibit(db, row["id"]) for row in store.exhibits_of(db, run_id)]
    return sorted(found, key=lambda one: (one["step"], one["id"]))


def words_only(one: Row, why: str) -> Verdict:
    """The verdict on an exhibit that cannot be asked again."""
    return Verdict(one["id"], one["title"], one["run_name"], WORDS_ONLY, f"Words only. {why}")
