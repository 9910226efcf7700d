"""Whether a run's last samples are made of words: `python -m benchmarks.words RUN [--home DIR] [--json]`.

Prints the share of words that occur in the run's corpus (the starter novels, both splits), and the most often any
8-gram of words comes in one sample. Only what the model wrote counts, not the prompts. A last word that the length
limit may have cut in two is left out.
"""

import argparse
import json
import re
from collections import Counter
from typing import Any

from engine import store
from engine.data import documents
from engine.home import PROJECT, Home

WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
NGRAM = 8


def corpus_words() -> set[str]:
    """Every word of the starter novels, in lower case."""
    return {word.lower() for text in documents(PROJECT / "data" / "starter") for word in WORD.findall(text)}


def judge(text: str, known: set[str], cut: bool) -> dict[str, Any]:
    """Counts for one sample; `cut` says that the length limit ended it."""
    words = [word.lower() for word in WORD.findall(text)]
    if cut and words and text.rstrip()[-1:].isalpha():
        words.pop()
    grams = Counter(tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1))
    return {
        "words": len(words),
        "known": sum(word in known for word in words),
        "unknown": sorted({word for word in words if word not in known}),
        "repeats": max(grams.values(), default=0),
    }


def main(argv: list[str] | None = None) -> int:
    """Judge the newest samples of a run; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.words", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("run")
    parser.add_argument("--home")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    db = store.connect(Home.at(given.home).database)
    run = store.find_run(db, given.run)
    samples = [row for row in store.list_samples(db, run["id"]) if row["source"] == "periodic"]
    last = [row for row in samples if row["step"] == samples[-1]["step"]]
    known = corpus_words()
    judged = [judge(row["text"], known, row["finish"] == "length") for row in last]
    words, hits = sum(row["words"] for row in judged), sum(row["known"] for row in judged)
    report = {
        "run": run["name"],
        "step": last[0]["step"],
        "samples": len(last),
        "words": words,
        "known_share": hits / words,
        "most_repeats_of_an_8_gram": max(row["repeats"] for row in judged),
        "unknown": sorted({word for row in judged for word in row["unknown"]}),
    }
    if given.json:
        print(json.dumps(report))
    else:
        print(
            f"{report['run']}, step {report['step']:,}: {words:,} words in {len(last)} samples, "
            f"{report['known_share']:.1%} of them in the corpus; most repeats of an 8-gram: "
            f"{report['most_repeats_of_an_8_gram']}"
        )
        print("not in the corpus:", ", ".join(report["unknown"]) or "none")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
