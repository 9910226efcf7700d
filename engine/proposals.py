"""What an answer looks like, by its measures: a proposal that a person confirms or changes (docs/JUDGING.md).

The limits were chosen with the half `tune` of data/judging/outputs.jsonl; `python -m engine bench judging` shows how
far they agree with a reader.
"""

from collections.abc import Mapping
from typing import Any

PROPOSALS = ("good", "strange", "hallucination", "loop", "memorised")
LEAST_WORDS = 8
"""Of fewer words nothing is said, but that they are a loop."""
STUCK, TWICE = 0.15, 0.71
"""A loop: this share of its characters stutters, or no more than this share of its pairs of words are different."""
COPIED_WORDS, COPIED_SHARE = 8, 0.5
"""Memorised: so many words in a row, and so much of the answer, stand in the training text (the written criterion)."""
UNKNOWN, FAMILIAR = 0.03, 0.33
"""Strange: so many unknown words, or less than so much of it in phrases that the training text has."""
HOLDS = 0.84
"""Good: that much of it is made of such phrases."""


def propose(measured: Mapping[str, Any]) -> str | None:
    """One of PROPOSALS, by a row of the table `measures`; None where too little is known to say anything.

    In the order of the written criteria; without the training text only a loop can be told.
    """
    if is_loop(measured):
        return "loop"
    if measured["words"] < LEAST_WORDS or measured["copied_words"] is None:
        return None
    if measured["copied_words"] >= COPIED_WORDS and measured["copied_share"] >= COPIED_SHARE:
        return "memorised"
    if measured["unknown_share"] >= UNKNOWN or measured["familiar_share"] < FAMILIAR:
        return "strange"
    return "good" if measured["familiar_share"] >= HOLDS else "hallucination"


def is_loop(measured: Mapping[str, Any]) -> bool:
    """Whether an answer is stuck: signs or words again and again."""
    stutters = measured["stuck_share"] is not None and measured["stuck_share"] >= STUCK
    few = measured["distinct_2"] is not None and measured["words"] >= LEAST_WORDS and measured["distinct_2"] <= TWICE
    return bool(stutters or few)


def reason(measured: Mapping[str, Any]) -> str:
    """What about the measures makes it look so, as the end of a sentence; "" where nothing is proposed."""
    words = measured["words"]
    match measured["proposal"]:
        case "loop" if measured["loop_words"] >= LEAST_WORDS:
            return f"{measured['loop_words']} of {words} words are one phrase said again and again"
        case "loop" if measured["stuck_share"] >= STUCK:
            return f"{_percent(measured['stuck_share'])} of it says the same signs over and over"
        case "loop":
            return f"only {_percent(measured['distinct_2'])} of its pairs of words are different ones"
        case "memorised":
            return f"{measured['copied_words']} of {words} words stand in a row in the training text"
        case "strange" if measured["unknown_share"] >= UNKNOWN:
            unknown = round(measured["unknown_share"] * words)
            return f"{unknown} of {words} words {'is' if unknown == 1 else 'are'} not in the training text"
        case "strange":
            return f"only {_percent(measured['familiar_share'])} of it is made of phrases from the training text"
        case "good":
            return f"{_percent(measured['familiar_share'])} of it is made of phrases from the training text"
        case "hallucination":
            return f"{_percent(measured['familiar_share'])} of it is made of phrases from the training text, not more"
    return ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
