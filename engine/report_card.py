"""A model card for the Hugging Face hub from the facts of a report: its README.md with a header in YAML.

Licence and language are the person's to choose: without them the header has none, and the card says so.
"""

import json
from typing import Any

from engine.phrases import count
from engine.report_document import Document
from engine.report_facts import Facts
from engine.report_markdown import escaped, part_of
from engine.report_words import line

SECTIONS = (
    "introduction",
    "identity",
    "architecture",
    "metrics",
    "environment",
    "learned",
    "fame",
    "reproduce",
    "limits",
)
"""Those of the report that a card has too, in this order."""
TAGS = ("blueberry-studio", "small-language-model", "trained-from-scratch")


def card(facts: Facts, document: Document) -> str:
    """The model card as Markdown behind its header."""
    known = {section.name: section for section in document.sections}
    lines = [header(facts), f"# {escaped(line(facts.run['name']))}"]
    lines += [f"> **{escaped(document.interim)}**"] if document.interim else []
    lines += [
        f"A small language model of {count(facts.run['parameters'])} parameters, trained from scratch with Blueberry "
        "Studio.",
        escaped(document.summary),
    ]
    if not facts.blocks.get("licence"):
        lines.append("**Licence:** none has been chosen yet.")
    lines += _use(facts)
    for section in (known[name] for name in SECTIONS):
        parts = [text for part in section.parts for text in part_of(part, "")]
        lines += [f"## {escaped(section.title)}", *parts] if parts else []
    return "\n\n".join(lines) + "\n"


def header(facts: Facts) -> str:
    """The YAML that the hub reads; every text in it is in quotes, and every figure was measured."""
    run, text, blocks = facts.run, facts.text, facts.blocks
    given: dict[str, Any] = {}
    if languages := [one.strip() for one in line(blocks.get("language", "")).split(",") if one.strip()]:
        given["language"] = languages
    if licence := line(blocks.get("licence", "")):
        given["license"] = licence
    if exportable(facts):
        given["library_name"] = "transformers"
    given |= {"pipeline_tag": "text-generation", "tags": list(TAGS)}
    if text.hub:
        given["datasets"] = [line(one) for one in text.hub]
    if measured := _metrics(facts):
        given["metrics"] = [one["type"] for one in measured if one["type"] in ("perplexity", "accuracy")]
        dataset = {"name": f"{line(text.name)}, unseen part", "type": line(text.hub[0] if text.hub else text.name)}
        task = {"type": "text-generation", "name": "Text generation"}
        results = [{"task": task, "dataset": dataset, "metrics": measured}]
        given["model-index"] = [{"name": line(run["name"]), "results": results}]
    return "---\n" + "\n".join(_yaml(given)) + "\n---"


def exportable(facts: Facts) -> bool:
    """Whether `export` makes a folder of it that transformers reads."""
    return facts.config.model.activation == "swiglu" and facts.config.model.experts == 1


def _metrics(facts: Facts) -> list[dict[str, Any]]:
    """What was measured at the newest evaluation, as the hub names it."""
    if facts.score is None:
        return []
    found = [
        ("loss", "Validation loss, nats a token", facts.score.loss),
        ("perplexity", "Perplexity", facts.score.perplexity),
        ("accuracy", "Next-token accuracy", facts.score.accuracy),
        ("bits_per_byte", "Bits per byte", facts.score.bits),
    ]
    return [{"type": kind, "name": name, "value": round(value, 6)} for kind, name, value in found if value is not None]


def _use(facts: Facts) -> list[str]:
    if not exportable(facts):
        return []
    return [
        "## How to use it",
        "`python -m engine export` writes the folder that this reads:",
        "```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")\n'
        'ids = tokenizer("Once upon a time", return_tensors="pt")\n'
        "print(tokenizer.decode(model.generate(**ids, max_new_tokens=80)[0]))\n"
        "```",
    ]


def _yaml(value: Any, indent: int = 0) -> list[str]:
    """Lists and objects as lines of YAML; texts as JSON writes them, which YAML reads as the same text."""
    pad, lines = " " * indent, list[str]()
    pairs = (
        [(f"{key}:", one) for key, one in value.items()] if isinstance(value, dict) else [("-", one) for one in value]
    )
    for lead, one in pairs:
        if isinstance(one, dict | list):
            inner = _yaml(one, indent + 2)
            if lead == "-":
                lines += [f"{pad}- {inner[0].lstrip()}", *inner[1:]]
            else:
                lines += [f"{pad}{lead}", *inner]
        else:
            lines.append(f"{pad}{lead} {json.dumps(one, ensure_ascii=False)}")
    return lines
