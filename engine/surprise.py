"""How surprised a model is by a text: the probability it gave each token, and what it would have said instead.

One pass over the whole text gives, for every token but the first, the model's own distribution at that place:
temperature 1, nothing left out by top-k or top-p, with the bf16 weights that answers are made with. Surprise is
-log2(probability) in bits, entropy the surprise that the model itself expected there. A pass over a whole text rounds
otherwise than one token after the other, so the last digits may differ from those that an answer was drawn with.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import linear

from engine.ask import Ask
from engine.generate import Speaker, one_thread
from engine.pieces import pieces
from engine.store import Refused, Row
from engine.tokenizer import spellings

OTHERS = 8
"""Alternatives that are told of each place, the likeliest first."""
ROWS = 64
"""Places scored at once: with 49,152 pieces in double precision 25 MB."""
BIT = 0.6931471805599453
"""Nats of a bit, ln 2."""
MOST_BITS = 1000.0
"""Above it a perplexity, 2 to the mean surprise, is no number any more."""


@dataclass(frozen=True)
class Part:
    """A token of a text, or a part of the text that became none."""

    id: int | None
    name: str
    """As the vocabulary spells it."""
    raw: bytes
    """What it adds to the text; b"" for a special piece."""
    said: bool
    """Whether it belongs to what is looked at and not to the prompt before it."""


@dataclass(frozen=True)
class Score:
    """What the model held of one token, given those before it."""

    probability: float
    bits: float
    rank: int
    entropy: float
    others: list[tuple[int, float]]


class Cancelled(Exception):
    """Nobody wants to know any more."""


def look(
    speaker: Speaker,
    prompt: str,
    text: str,
    ids: Sequence[int] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """The tokens of `prompt` and then of `text` with their probabilities, as JSON; {} once `cancelled`; or Refused.

    The two are encoded each for itself, as an answer's tokens follow those of its prompt. `ids` are the tokens that
    were said where they are known: a model may say a text in others than its tokenizer would. A prompt may be empty.
    """
    words = speaker.tokenizer
    own = read(words, text, said=True) if ids is None else spelled(words, ids)
    parts = read(words, prompt, said=False) + own
    found, note = within(parts, speaker.model.config.context)
    numbers = [part.id for part in found if part.id is not None]
    try:
        told = iter([None, *score(speaker, numbers, cancelled)])
    except Cancelled:
        return {}
    scores = [next(told) if part.id is not None else None for part in found]
    bits = [one.bits for part, one in zip(found, scores, strict=True) if one and part.said]
    mean = sum(bits) / len(bits) if bits else None
    known = {number for one in scores if one for number, _ in one.others}
    return {
        "step": speaker.step,
        "age": speaker.tokens,
        "weights": speaker.weights_sha256,
        "vocabulary": speaker.model.config.vocab_size,
        "note": note,
        "joins": _joins(words),
        "counted": len(bits),
        "mean": mean,
        "perplexity": None if mean is None or mean > MOST_BITS else 2**mean,
        "tokens": [shown(part) | {"said": part.said} | _told(one) for part, one in zip(found, scores, strict=True)],
        "pieces": {number: shown(part) for number, part in zip(known, spelled(words, list(known)), strict=True)},
    }


def read(tokenizer: Tokenizer, text: str, *, said: bool) -> list[Part]:
    """A text as its tokenizer reads it; together the parts are the whole text, each byte once."""
    raw, place, found = text.encode(), 0, []
    for piece in pieces(tokenizer, text):
        # Where pieces of one character cannot be told apart, the first of them stands for all of it.
        found.append(Part(piece.id, piece.token, raw[max(place, piece.start) : piece.end], said))
        place = max(place, piece.end)
    return found


def spelled(tokenizer: Tokenizer, ids: Sequence[int]) -> list[Part]:
    """Tokens as they were said, each with the bytes it stands for."""
    try:
        known = spellings(tokenizer)
    except Refused:  # its pieces are no parts of a text: as it writes each one alone
        known = {number: tokenizer.decode([number]).encode() for number in ids}
    return [Part(number, tokenizer.id_to_token(number) or "", known.get(number, b""), True) for number in ids]


def within(parts: list[Part], context: int) -> tuple[list[Part], str]:
    """As much as the model sees at once, from the beginning, and a sentence where that is not all."""
    places = [at for at, part in enumerate(parts) if part.id is not None]
    if len(places) <= context:
        return parts, ""
    note = f"This model sees {context:,} tokens at once: these are the first {context:,} of {len(places):,}."
    return parts[: places[context]], note


def score(speaker: Speaker, ids: Sequence[int], cancelled: Callable[[], bool] = lambda: False) -> list[Score]:
    """What the model held of every token but the first; raises Cancelled, and Refused where it has no probabilities."""
    if len(ids) < 2:
        return []

    def go_on(*_: object) -> None:
        if cancelled():
            raise Cancelled

    # A large model takes seconds for a long text on one core, so a cancel is heard before each of its layers.
    hooks = [layer.register_forward_pre_hook(go_on) for layer in speaker.model.layers]
    try:
        with one_thread(speaker.device), torch.inference_mode():
            tokens = torch.tensor([ids], device=speaker.device)
            hidden, found = speaker.model(tokens)[0, :-1], list[Score]()
            for start in range(0, len(hidden), ROWS):
                go_on()
                found += _scores(speaker, hidden[start : start + ROWS], tokens[0, 1 + start : 1 + start + ROWS])
            return found
    finally:
        for hook in hooks:
            hook.remove()


def said_again(speaker: Speaker, sample: Row, cancelled: Callable[[], bool] = lambda: False) -> tuple[int, ...] | None:
    """The tokens of a stored sample, by saying it once more; None where this gives another text than is stored."""
    if sample["device"] != speaker.device.type or sample["weights_sha256"] != speaker.weights_sha256:
        return None
    # One that was cancelled said no more than it did; its dice are the same.
    ask = replace(Ask.from_sample(sample), max_tokens=max(1, sample["new_tokens"]))
    last = deque(speaker.stream(ask, cancelled), maxlen=1).pop()
    if (last.text, last.new_tokens) != (sample["text"], sample["new_tokens"]):
        return None
    # The end of an answer may not belong to its text: what ends it at a stop string is cut off.
    whole = (n for n in range(last.new_tokens) if speaker.tokenizer.decode(last.ids[:n]).startswith(last.text))
    return last.ids[: next(whole, None)] if last.finish == "stop" else last.ids


def shown(part: Part) -> dict[str, Any]:
    """A token for the page: the text it adds, or its bytes in hex where they are no whole characters."""
    try:
        text, bare = part.raw.decode(), ""
    except UnicodeDecodeError:
        text, bare = "", part.raw.hex(" ").upper()
    return {"id": part.id, "name": part.name, "text": text, "hex": bare}


def _scores(speaker: Speaker, hidden: Tensor, wanted: Tensor) -> Iterator[Score]:
    """The scores of some places [places, width] that were followed by the tokens `wanted` [places]."""
    logits = linear(hidden, speaker.model.embed_tokens.weight.to(hidden.dtype)).float()
    if not torch.isfinite(logits).all():
        raise Refused("The weights of this age are no numbers any more, so it holds nothing likely.")
    logs = logits.double().log_softmax(-1)
    chosen = logs.gather(1, wanted[:, None])
    ranks = (logs > chosen).sum(-1) + 1
    entropies = -(logs.exp() * logs).sum(-1) / BIT
    best = logs.topk(min(OTHERS, logs.shape[-1]), dim=-1)
    for place in range(len(wanted)):
        log = float(chosen[place])
        others = zip(best.indices[place].tolist(), best.values[place].exp().tolist(), strict=True)
        yield Score(
            probability=float(chosen[place].exp()),
            bits=max(0.0, -log / BIT),
            rank=int(ranks[place]),
            entropy=max(0.0, float(entropies[place])),
            others=list(others),
        )


def _told(score: Score | None) -> dict[str, Any]:
    """A token's numbers; none where nothing stands before it, or where it is no token."""
    if score is None:
        return {"probability": None, "bits": None, "rank": None, "entropy": None, "others": []}
    return {
        "probability": score.probability,
        "bits": score.bits,
        "rank": score.rank,
        "entropy": score.entropy,
        "others": score.others,
    }


def _joins(tokenizer: Tokenizer) -> bool:
    """Whether a text and one more piece make a text, so that it can go on with that piece."""
    try:
        spellings(tokenizer)
    except Refused:
        return False
    return True
