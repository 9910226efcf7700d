"""How sure a model was of an answer: one forward over prompt and answer with the very weights that said it."""

import math
from collections.abc import Callable
from contextlib import closing
from itertools import groupby
from operator import itemgetter

import torch
import torch.nn.functional as F

from engine import store
from engine.generate import Speaker, load_speaker, one_thread
from engine.home import Home
from engine.store import Refused

AT_ONCE = 128
"""Positions whose scores for the whole vocabulary are in memory at once: 25 MB with 49,152 pieces."""


@torch.inference_mode()
def certainty(speaker: Speaker, prompt: str, text: str) -> tuple[float, float] | None:
    """Self-perplexity and mean entropy (nats) of an answer, as its own tokenizer writes it, at temperature 1.

    exp(-1/n sum log p(t_i | all before)) and 1/n sum -sum_v p(v) log p(v), over the answer's n tokens, of which as many
    count as fit into the context. The prompt's tokens are those that were asked. None where the answer has no token.
    """
    asked, answered = speaker.tokenizer.encode(prompt).ids, speaker.tokenizer.encode(text).ids
    ids = (asked + answered)[: speaker.model.config.context]
    first = max(len(asked), 1)  # nothing comes before the first token of an empty prompt
    if len(ids) <= first:
        return None
    with one_thread(speaker.device):
        tokens = torch.tensor([ids], device=speaker.device)
        hidden = speaker.model(tokens)[0, first - 1 : -1]
        weight = speaker.model.embed_tokens.weight.to(hidden.dtype)
        surprise, entropy = 0.0, 0.0
        for begin in range(0, len(hidden), AT_ONCE):
            logs = F.log_softmax(F.linear(hidden[begin : begin + AT_ONCE], weight).float(), dim=-1)
            said = tokens[0, first + begin : first + begin + AT_ONCE]
            surprise -= float(logs.gather(1, said[:, None]).sum())
            entropy -= float((logs.exp() * logs).sum())
    count = len(ids) - first
    return math.exp(min(surprise / count, 700.0)), entropy / count


def weigh(
    home: Home,
    run_id: str = "",
    report: Callable[[int, int], None] = lambda done, all: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[int, int]:
    """Ask the weights of all measured answers (of a run) about them; how many were, and of how many they are gone.

    Goes on until `stopped` says so; what is known so far stays.
    """
    done = 0
    with closing(store.connect(home.database, patience=30)) as db:
        samples = store.unweighed(db, run_id)
        there = [row for row in samples if row["there"]]
        gone = len(samples) - len(there)
        for (run, step, weights), group in groupby(there, itemgetter("run_id", "step", "weights_sha256")):
            answers = list(group)
            try:
                speaker = load_speaker(home, db, run, step, sha256=weights)
            except Refused:  # gone meanwhile, or damaged
                gone += len(answers)
                continue
            for row in answers:
                if stopped():
                    return done, gone
                if sure := certainty(speaker, row["prompt"], row["text"]):
                    store.put_certainty(db, row["id"], *sure)
                done += 1
            report(done + gone, len(samples))
    return done, gone
