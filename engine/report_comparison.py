"""The report's comparison with the published Blueberry-Nano and with GPT-1, whose figures were not measured here."""

from engine.phrases import count, day, duration, loss, size
from engine.phrases import money as amount
from engine.report_document import Part, Sentence, Table
from engine.report_facts import Facts
from engine.report_words import line

NOTHING = "–"
"""In a cell whose figure nobody measured or published."""


def comparison(facts: Facts) -> tuple[Part, ...]:
    """Three columns, and where those of others come from."""
    run, score, published, first = facts.run, facts.score, facts.published, facts.forerunner
    theirs = published.score
    made = day(run["ended_at"] or facts.made_at).split(" ", 1)[1]
    rows = [
        ("When", made, day(published.when).split(" ", 1)[1], str(first.year)),
        ("Parameters", count(run["parameters"]), count(published.parameters), count(first.parameters)),
        ("Text", line(facts.text.name), line(published.dataset), line(first.data)),
        ("Amount of text", _amount_of_text(facts), NOTHING, NOTHING),
        ("Tokens seen", count(run["tokens"]), f"{count(published.tokens)} counted", NOTHING),
        ("Time", _time(run["elapsed_seconds"]), duration(published.seconds), line(first.time)),
        ("Machine", line(str(facts.environment.get("device_name") or NOTHING)), line(published.machine), NOTHING),
        ("Validation loss *", loss(score.loss) if score else NOTHING, loss(theirs.loss), NOTHING),
        ("Perplexity *", _two(score.perplexity if score else None), _two(theirs.perplexity), NOTHING),
        ("Accuracy *", _percent(score.accuracy if score else None), _percent(theirs.accuracy), NOTHING),
        ("Bits per byte", _two(score.bits if score else None, 3), _two(theirs.bits, 3), NOTHING),
        ("Cost", _cost(facts), NOTHING, NOTHING),
    ]
    shown = tuple(row for row in rows if any(cell != NOTHING for cell in row[1:]))
    head = ("Figure", line(run["name"]), f"{line(published.name)} (published)", f"GPT-1 ({first.year})")
    return (
        Table(head=head, rows=shown, about="Beside Blueberry-Nano and GPT-1"),
        Sentence(
            text="* Of unseen text of its own corpus in its own tokens. The models had different tokenizers and "
            "corpora, so these rows do not say which is better; bits per byte would, but were not published.",
            quiet=True,
        ),
        Sentence(
            text=f"The first column was measured here. {line(published.name)}'s figures are those of its milestone "
            f"report and its log. It was published as trained on {count(published.told_tokens)} tokens; counted are "
            f"{count(published.tokens)}: {line(published.note)}. GPT-1's figures are as published with it (Radford et "
            f"al., Improving Language Understanding by Generative Pre-Training, {first.year}). {NOTHING} stands for "
            "what was neither measured nor published.",
            quiet=True,
        ),
    )


def _amount_of_text(facts: Facts) -> str:
    """How much text the dataset holds, from its card."""
    text = facts.text
    if not (text.train_tokens and text.bytes_per_token):
        return NOTHING
    return f"{size(round(text.train_tokens * text.bytes_per_token))}, {count(text.train_tokens)} tokens"


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else NOTHING


def _two(value: float | None, digits: int = 2) -> str:
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 1000 else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1%}"


def _cost(facts: Facts) -> str:
    spent = facts.money.get("spent")
    return NOTHING if spent is None else line(amount(spent, facts.money["currency"]))
