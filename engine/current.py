"""The weights of a run as they are now, speaking: a copy for each answer, which is gone after it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from engine import tokenizer
from engine.ask import Ask
from engine.attempt import Learner, Run
from engine.device import Place
from engine.generate import make_speaker, one_thread
from engine.live import Door, keep_in
from engine.model import Transformer
from engine.speaking import Speaking
from engine.store import Refused, Row


def speak_for(run: Run, learner: Learner, place: Place, elsewhere: Callable[[], float]) -> Speaking:
    """What lets people talk to a run while it trains; where no door can be opened, an event says so."""
    voice, door = CurrentWeights(run, learner.model, learner.optimizers.averaged, place), None
    try:
        door = Door(run.folder, keep_in(run.home.database))
    except OSError as error:
        run.recorder.event("note", f"This run cannot be talked to while it trains: {error.strerror or error}.")
    return Speaking(door, voice, run.recorder, run.config.train.batch_tokens, elsewhere)


class CurrentWeights:
    """Speaks for a model that is being trained, and leaves it as it is."""

    def __init__(
        self, run: Run, model: Transformer, averaged: Callable[[], AbstractContextManager[None]], place: Place
    ) -> None:
        """`averaged` puts the averaged weights in while it is entered, where there are any."""
        self.run, self.model, self.place, self._averaged = run, model, place, averaged
        path = run.home.tokenizer(run.id)
        self._words, self._end = tokenizer.load(path), tokenizer.end_of(path)

    def settle(self) -> None:
        """Wait for the device."""
        if self.place.device.type == "cuda":
            torch.cuda.synchronize(self.place.device)

    def begin(self, ask: Ask, step: int) -> Iterator[Row]:
        """The answer of this age, a token at a time; nobody can ask these weights again, so they have no sha256."""
        self._look_for_room()
        with self._averaged(), torch.no_grad():
            weights = {name: weight.detach().bfloat16() for name, weight in self.model.named_parameters()}
            speaker = make_speaker(
                self.model.config,
                weights,
                self._words,
                self.place.device,
                step=step,
                tokens=step * self.run.config.train.batch_tokens,
                weights_sha256="",
                end=self._end,
                run_id=self.run.id,
                attempt=self.run.attempt,
            )
        del weights
        # Without a recording of its own: making one takes longer than many steps.
        speaker = replace(speaker, decoder=None)
        pieces = speaker.pieces_of([ask])
        while True:
            with one_thread(self.place.device):  # for one token: the step after it has all cores again
                piece = next(pieces, None)
            if piece is None:
                return
            yield speaker.sample_row(ask, piece[0], "live") | {"weights_sha256": None}

    def _look_for_room(self) -> None:
        """Refuse where a copy of the model could take memory that the next step needs."""
        if self.place.device.type != "cuda":
            return
        needed = 4 * sum(parameter.numel() for parameter in self.model.parameters())  # bf16 twice: while it is made
        free, _ = torch.cuda.mem_get_info(self.place.device)
        if free < 2 * needed:
            raise Refused(
                "The GPU's memory is full with training, so it cannot answer meanwhile; ask it at an age that "
                "was saved."
            )
