"""The report of a run from its facts, section by section, in the shape of the published Blueberry-Nano report.

Pure: the same facts give the same document. Figures say where they were measured; what was not measured has no line.
"""

import shlex

from engine import store
from engine.phrases import age, count, day, duration, loss, moment
from engine.report_comparison import comparison
from engine.report_curves import POINTS
from engine.report_document import Command, Document, Kept, Part, Picture, Room, Section, Sentence, Table, Written, told
from engine.report_facts import Exhibit, Facts
from engine.report_training import architecture, cost, environment, metrics
from engine.report_words import line, parse

ENDS = {
    "finished": "finished: it read all it was to read",
    "stopped": "stopped before its end",
    "failed": "failed",
    "crashed": "crashed",
    "diverged": "diverged: its loss was no number any more",
}
ASKED = {
    "seed": "seed",
    "temperature": "temperature",
    "top_k": "top-k",
    "top_p": "top-p",
    "min_p": "min-p",
    "repetition_penalty": "repetition penalty",
}
HEADINGS = {
    "introduction": "Introduction",
    "learned": "What was learned",
    "limits": "Known limits",
}


def document(facts: Facts) -> Document:
    """The whole report."""
    run, blocks = facts.run, facts.blocks
    sections = [
        _written(facts, "introduction"),
        Section(name="identity", title="Identity", parts=(identity(facts),)),
        Section(name="architecture", title="Architecture and recipe", parts=(architecture(facts),)),
        Section(name="environment", title="Environment and performance", parts=(environment(facts),)),
        Section(name="metrics", title="Metrics so far" if facts.interim else "Final metrics", parts=metrics(facts)),
        Section(name="training", title="Training", parts=_training(facts)),
        _written(facts, "learned"),
        Section(name="fame", title="Hall of fame", parts=_fame(facts)),
        Section(name="comparison", title="Comparison", parts=comparison(facts)),
        Section(name="cost", title="Cost and energy", parts=cost(facts)),
        Section(name="reproduce", title="How to make it again", parts=_reproduce(facts)),
        _written(facts, "limits", _limits(facts)),
    ]
    author = line(blocks.get("author", ""))
    made = f"{author}, {day(facts.made_at)}" if author else day(facts.made_at)
    return Document(
        title=line(blocks.get("title", "")) or f"{line(run['name'])}: a milestone report",
        byline=made,
        interim=_interim(facts),
        summary=summary(facts),
        sections=tuple(sections),
    )


def summary(facts: Facts) -> str:
    """What was trained and how far, what it reached, and how that stands beside the published run, in sentences."""
    run, score, published = facts.run, facts.score, facts.published
    who = f"{line(run['name'])}, a model of {count(run['parameters'])} parameters,"
    if not run["tokens"]:
        return f"{who} has read nothing yet."
    wanted, read, dataset = count(run["target_tokens"]), count(run["tokens"]), line(run["dataset"])
    time = f" in {duration(run['elapsed_seconds'])}" if run["elapsed_seconds"] else ""
    if run["status"] == "finished":
        first = f"{who} has read all of its {read} tokens of {dataset}{time}."
    elif run["status"] in store.OPEN:
        first = f"{who} has so far read {read} of {wanted} tokens of {dataset}{time}."
    else:
        ended = "was stopped" if run["status"] == "stopped" else run["status"]
        first = f"{who} read {read} of {wanted} tokens of {dataset}{time}, then it {ended}."
    if score is None:
        return f"{first} How well it does on unseen text was not measured yet."
    guesses = f"; it guesses {score.accuracy:.1%} of the tokens right" if score.accuracy is not None else ""
    return (
        f"{first} On unseen text its loss is {loss(score.loss)}{guesses}. The published Blueberry-Nano, "
        f"{_times(published.parameters, run['parameters'])} its size and {_times(published.tokens, run['tokens'])} its "
        f"age, reached {loss(published.score.loss)} and {published.score.accuracy:.1%} on a text of its own in tokens "
        "of its own."
    )


def identity(facts: Facts) -> Table:
    """What it is, and from when to when it was made."""
    run, text, blocks = facts.run, facts.text, facts.blocks
    ended = "" if run["status"] in store.OPEN or not run["ended_at"] else moment(run["ended_at"])
    reason = f" ({line(run['error'])})" if run["error"] and run["status"] != "finished" else ""
    parents = [step.about for step in facts.steps if step.about.startswith(f"The run {run['name']}, from")]
    rows = [
        ("Name", line(run["name"])),
        ("Run", line(run["id"])),
        ("Preset", line(run["preset"])),
        ("Author", line(blocks.get("author", ""))),
        ("Licence", line(blocks.get("licence", ""))),
        ("Language", line(blocks.get("language", ""))),
        ("Began", moment(run["started_at"]) if run["started_at"] else ""),
        ("Ended", ended),
        ("State", str(ENDS.get(run["status"], run["status"])) + reason),
        ("Forked", line(parents[-1].partition(", ")[2] if parents else run["note"])),
        ("Parameters", f"{run['parameters']:,}"),
        ("Tokens seen", f"{run['tokens']:,} of {run['target_tokens']:,}" + _readings(facts)),
        ("Steps", f"{run['step']:,} of {run['total_steps']:,}"),
        ("Text", line(", ".join((text.name, *text.sources)))),
        ("Licence of the text", line(text.licence)),
        ("Documents", f"{text.documents:,}" if text.documents else ""),
        ("Training tokens there are", f"{text.train_tokens:,}" if text.train_tokens else ""),
        ("Seed", f"{facts.config.train.seed}"),
    ]
    return Table(rows=told(rows), about="Identity of the run")


def _readings(facts: Facts) -> str:
    return f", its text {facts.epochs:.2f} times" if facts.epochs else ""


def _interim(facts: Facts) -> str:
    """Why this is no final report."""
    if not facts.interim:
        return ""
    run = facts.run
    doing = "is not at its end" if run["status"] in store.OPEN else f"is {run['status']} and has not come to its end"
    return f"Interim report: {line(run['name'])} {doing}. Step {run['step']:,} of {run['total_steps']:,} was reached."


def _written(facts: Facts, block: str, parts: tuple[Part, ...] = ()) -> Section:
    """A section that a person writes; what we know about it stands behind their words."""
    own = parse(facts.blocks.get(block, ""))
    return Section(
        name=block, title=HEADINGS[block], parts=(*((Written(parts=own),) if own else ()), *parts), block=block
    )


def _training(facts: Facts) -> tuple[Part, ...]:
    """The picture, and what is to be known about its curves."""
    if not facts.curves:
        return ()
    notes = "Accuracy and perplexity are of text that it never trained on. Where a curve has more than "
    notes += f"{POINTS} measurements, each point is the mean of some of them."
    if facts.run["parent_run_id"]:
        notes += f" Its past, before step {facts.run['parent_step']:,}, is that of the run it was forked from."
    about = f"Curves of {line(facts.run['name'])} over the tokens it has seen: {', '.join(facts.curves)}"
    return (Picture(about=about), Sentence(text=notes, quiet=True))


def _fame(facts: Facts) -> tuple[Part, ...]:
    """What it said and somebody kept, by category."""
    rooms = []
    for room in facts.rooms:
        more = f"{room.more:,} more are in the time capsule." if room.more > 1 else ""
        more = "One more is in the time capsule." if room.more == 1 else more
        rooms.append(Room(category=line(room.category), exhibits=tuple(_kept(one) for one in room.exhibits), more=more))
    return tuple(rooms)


def _kept(one: Exhibit) -> Kept:
    then = f"loss {loss(one.loss)} when last measured" if one.loss is not None else "before its loss was measured"
    settings = [f"{name} {one.settings[key]}" for key, name in ASKED.items() if key in one.settings]
    if stops := one.settings.get("stop"):
        settings.append("until it said " + " or ".join(f'"{line(stop)}"' for stop in stops))
    if "max_tokens" in one.settings:
        settings.append(f"{one.settings['max_tokens']} tokens at most")
    return Kept(
        id=one.id,
        title=line(one.title),
        prompt=one.prompt,
        text=one.text,
        note=line(one.note),
        age=f"{age(one.tokens)} (step {one.step:,}), {then}",
        settings=", ".join(settings),
    )


def _reproduce(facts: Facts) -> tuple[Part, ...]:
    """The exact commands."""
    commands = [Command(about=line(one.about), command=one.command, remark=line(one.remark)) for one in facts.steps]
    name = shlex.quote(line(facts.run["name"]))
    commands.append(Command(about="This report", command=f"python -m engine report {name} --out report"))
    where = "In the folder of Blueberry Studio, with the same files in its presets and prompts:"
    return (Sentence(text=where), *commands)


def _limits(facts: Facts) -> tuple[Part, ...]:
    """What nobody measured, so that its absence is not taken for a good result."""
    missing = ["tests of knowledge or reasoning", "the spread over several seeds"]
    missing += [] if facts.money.get("joules") else ["energy"]
    missing += [] if facts.money.get("spent") is not None else ["the price in money"]
    return (
        Sentence(text="It learned to continue text, not to tell the truth.", quiet=True),
        Sentence(text=f"Not measured here: {', '.join(missing[:-1])} and {missing[-1]}.", quiet=True),
    )


def _times(one: float, other: float) -> str:
    """How many times `other` goes into `one`, in sensible digits."""
    ratio = one / other
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"
