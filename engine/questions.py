"""The prompts a run is asked while it grows, and the weights that are kept with its answers."""

import time
from pathlib import Path

from engine import tokenizer
from engine.checkpoint import sampling_weights, save_sampling
from engine.config import RunConfig
from engine.device import Place
from engine.generate import Ask, make_speaker
from engine.model import Transformer
from engine.prompts import load_suite
from engine.recorder import Recorder
from engine.space import reason


class Questions:
    """A run's prompts, read once at its start: later edits of the files belong to later runs."""

    def __init__(self, config: RunConfig, tokenizer_path: Path, recorder: Recorder) -> None:
        self.config, self.recorder = config, recorder
        self.words, self.end = tokenizer.load(tokenizer_path), tokenizer.end_of(tokenizer_path)
        self.asks: list[tuple[str, Ask]] = []
        for suite in (name.strip() for name in config.sample.suites.split(",")):
            for prompt in load_suite(suite):
                length = len(self.words.encode(prompt).ids)
                if length < config.model.context:
                    self.asks.append((suite, Ask.from_config(prompt, config.sample)))
                else:
                    recorder.event(
                        "skipped",
                        f"A prompt of prompts/{suite}.txt has {length:,} tokens and is not asked: "
                        f"this model sees {config.model.context:,} at once.",
                    )

    def ask(self, folder: Path, model: Transformer, place: Place, step: int) -> bool:
        """Keep the weights of this age in bf16 and let them answer every prompt; training's state is not touched.

        A stop cuts the answers short; all are then left out, and False says that this age is still to be asked. Where
        the weights cannot be kept, an event says so.
        """
        weights, tokens = sampling_weights(model), step * self.config.train.batch_tokens
        try:
            written = save_sampling(folder, step, weights)
        except OSError as error:
            # What cannot be asked again is not asked; training is worth more than an answer.
            self.recorder.event(
                "skipped",
                f"The prompts were not asked at step {step:,}: its weights could not be kept ({reason(error)}).",
                step,
            )
            return True
        self.recorder.add(
            "checkpoints",
            step=step,
            tokens=tokens,
            kind="sampling",
            path=f"sampling/{written.path.name}",
            bytes=written.bytes,
            sha256=written.sha256,
            created_at=time.time(),
        )
        speaker = make_speaker(
            self.config.model,
            weights,
            self.words,
            place.device,
            run_id=self.recorder.run_id,
            attempt=self.recorder.attempt,
            step=step,
            tokens=tokens,
            weights_sha256=written.sha256,
            end=self.end,
        )
        pieces = speaker.answer([ask for _, ask in self.asks], cancelled=self.recorder.stop.is_set)
        if any(piece.finish == "cancelled" for piece in pieces):
            return False
        for (suite, ask), piece in zip(self.asks, pieces, strict=True):
            self.recorder.add("samples", **speaker.sample_row(ask, piece, "periodic", suite))
        return True
