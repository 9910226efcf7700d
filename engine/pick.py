"""Which token comes next: how the chances are cut, and one draw among what is left. For one row, or for all at once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.ask import Ask


def penalise(scores: Tensor, penalty: Tensor) -> Tensor:
    """Scores of tokens that have been seen, made less likely by `penalty` (CTRL, Keskar et al. 2019)."""
    # Dividing would make a negative score likelier; transformers multiplies it as well.
    return torch.where(scores > 0, scores / penalty, scores * penalty)


def pick(logits: Tensor, ask: Ask, position: int, seen: Sequence[int] = ()) -> int:
    """The next token's id from fp32 scores [vocabulary]; `seen`: the ids of the prompt and of the answer so far.

    The repetition penalty, then temperature, then top-k, then top-p (Holtzman et al. 2020) and min-p (Nguyen et al.
    2024), then one draw from (seed, position) alone.
    """
    if ask.repetition_penalty != 1 and seen:
        ids = torch.tensor(sorted(set(seen)), device=logits.device)
        penalty = torch.tensor(ask.repetition_penalty, device=logits.device)
        logits = logits.index_copy(0, ids, penalise(logits[ids], penalty))
    if ask.temperature == 0:
        return int(logits.argmax())
    scores, ids = logits.div(ask.temperature).sort(descending=True, stable=True)
    mass = scores[: ask.top_k or None].double().softmax(dim=0).cumsum(dim=0)
    # The smallest set of tokens that reaches top_p; the first one is always in it.
    kept = int((mass < ask.top_p).sum()) + 1
    if ask.min_p:
        chances = scores[:kept].double()
        kept = max(int((chances - chances[0] >= ask.least).sum()), 1)
    mass = mass[:kept]
    dice = ask.dice(position)
    return int(ids[int(torch.searchsorted(mass, dice * mass[-1], right=True).clamp(max=len(mass) - 1))])


def pick_rows(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, dice: Tensor, least: Tensor) -> Tensor:
    """`pick` for every row at once, without a word to the host: ids [rows].

    logits fp32 [rows, vocabulary]; the others [rows]: temperature fp32, top_k int64 (the vocabulary's size for all),
    top_p, dice and least (`Ask.least`) fp64.
    """
    likeliest = logits.argmax(dim=1)
    always = temperature == 0
    divided = logits / temperature.masked_fill(always, 1.0)[:, None]
    scores, ids = divided.sort(dim=1, descending=True, stable=True)
    place = torch.arange(logits.shape[1], device=logits.device)
    scores = scores.double().masked_fill(place >= top_k[:, None], -math.inf)
    mass = scores.softmax(dim=1).cumsum(dim=1)
    last = torch.minimum((mass < top_p[:, None]).sum(dim=1), top_k - 1)
    likely = (scores - scores[:, :1] >= least[:, None]).sum(dim=1)
    last = torch.minimum(last, likely - 1).clamp(min=0)[:, None]
    drawn = (mass <= dice[:, None] * mass.gather(1, last)).sum(dim=1, keepdim=True)
    return torch.where(always, likeliest, ids.gather(1, torch.minimum(drawn, last))[:, 0])
