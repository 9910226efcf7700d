"""Asking a model: one prompt streamed, or many as a batch, always the same words for the same seed.

Every answer is made with the bf16 weights that are kept on disk, so that it can be made again. Randomness is drawn per
(seed, token position) and every row is computed in the same shapes, so a prompt alone and in a batch gives one text.
"""

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from sqlite_utils import Database
from tokenizers import Tokenizer
from torch import Tensor

from engine import store, tokenizer
from engine.answer import Answer
from engine.answer import Piece as Piece
from engine.ask import Ask as Ask
from engine.checkpoint import CorruptCheckpoint, load_sampling, read_sampling
from engine.config import ModelConfig, from_json
from engine.decode import Decoder
from engine.home import Home
from engine.model import Cache, Transformer
from engine.pick import pick as pick
from engine.space import reason
from engine.tokenizer import END

ROWS = 8
"""Batches are padded to a multiple of this: from 8 rows on, torch's CPU products round every row the same way
whatever the number of rows (below, they use other kernels); see tests/test_generate.py."""


NO_WEIGHTS = {
    "trained": "{name} has no weights on disk yet; wait for its first sample, or choose another run.",
    "published": "The weights of {name} were not published here.",
    "imported": "{name} came without its weights, so it cannot be asked; what it said is here.",
}
"""Why a run cannot be asked at all, by its kind."""


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """One model at one age, ready to answer."""

    model: Transformer
    tokenizer: Tokenizer
    run_id: str
    attempt: int
    step: int
    tokens: int
    weights_sha256: str
    device: torch.device
    end: str = END
    """The piece that ends a text."""
    decoder: Decoder | None = None
    """Makes the tokens where there is a GPU; None: `model` does, step by step."""

    @property
    def dtype(self) -> str:
        """Format of the products, as it is stored with a sample."""
        return str(self.model.compute_dtype).removeprefix("torch.")

    @property
    def bytes(self) -> int:
        """The memory that its weights take."""
        return sum(weight.nbytes for weight in self.model.parameters())

    def stream(self, ask: Ask, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Piece]:
        """Answer one prompt token by token; the last piece has a `finish`."""
        for pieces in self.stream_all([ask], cancelled):
            yield pieces[0]

    def stream_all(self, asks: Sequence[Ask], cancelled: Callable[[], bool] = lambda: False) -> Iterator[list[Piece]]:
        """Answer several prompts at once, token by token; each gets the text it would get alone."""
        with one_thread(self.device):
            yield from self.pieces_of(asks, cancelled)

    def pieces_of(self, asks: Sequence[Ask], cancelled: Callable[[], bool] = lambda: False) -> Iterator[list[Piece]]:
        """The same for whoever does something else between two pieces, and takes each within `one_thread`."""
        for answers in self._answer(asks, cancelled):
            yield [answer.piece() for answer in answers]

    def answer(self, asks: Sequence[Ask], cancelled: Callable[[], bool] = lambda: False) -> list[Piece]:
        """Answer several prompts at once; each gets the text it would get alone."""
        with one_thread(self.device):
            return [answer.piece() for answer in deque(self._answer(asks, cancelled), maxlen=1).pop()]

    def sample_row(self, ask: Ask, piece: Piece, source: str, suite: str = "") -> store.Row:
        """The answer as a row of the table `samples`, with all that is needed to ask again."""
        return {
            "run_id": self.run_id,
            "attempt": self.attempt,
            "step": self.step,
            "tokens": self.tokens,
            "suite": suite,
            "prompt": ask.prompt,
            "text": piece.text,
            "seed": ask.seed,
            "temperature": ask.temperature,
            "top_k": ask.top_k,
            "top_p": ask.top_p,
            "min_p": ask.min_p,
            "repetition_penalty": ask.repetition_penalty,
            "stop": json.dumps(ask.stop),
            "max_tokens": ask.max_tokens,
            "new_tokens": piece.new_tokens,
            "finish": piece.finish,
            "weights_sha256": self.weights_sha256,
            "dtype": self.dtype,
            "device": self.device.type,
            "source": source,
            "created_at": time.time(),
        }

    @torch.inference_mode()
    def _answer(self, asks: Sequence[Ask], cancelled: Callable[[], bool]) -> Iterator[list[Answer]]:
        answers = [Answer(self.tokenizer, self.end, ask, self.model.config.context) for ask in asks]
        prompts = [answer.prompt_ids for answer in answers]
        for ids in self.decoder.rounds(prompts, asks) if self.decoder else self._rounds(answers):
            for answer, token in zip(answers, ids, strict=True):
                if not answer.finish:
                    answer.add(token)
            if cancelled():
                answers = [answer.cancelled() for answer in answers]
            yield answers
            if all(answer.finish for answer in answers):
                return

    def _rounds(self, answers: Sequence[Answer]) -> Iterator[list[int]]:
        """The next token of every answer, again and again; each is to be added before the next round."""
        padded = -(-len(answers) // ROWS) * ROWS
        cache = Cache.empty(self.model.config, padded, self.model.compute_dtype, self.device)
        # Prompts go in one by one: a batch of different lengths would need padding inside the rows.
        logits = torch.zeros(padded, self.model.config.vocab_size, device=self.device)
        for row, answer in enumerate(answers):
            tokens = torch.tensor([answer.prompt_ids], device=self.device)
            positions = torch.arange(tokens.shape[1], device=self.device)[None]
            part = Cache(cache.keys[:, row : row + 1], cache.values[:, row : row + 1])
            logits[row] = self.model.next_logits(tokens, positions, part)[0]
        next_ids = torch.zeros(padded, 1, dtype=torch.int64, device=self.device)
        next_positions = torch.zeros(padded, 1, dtype=torch.int64, device=self.device)
        while True:
            yield [
                answer.ids[-1] if answer.finish else pick(logits[row], answer.ask, len(answer.ids), answer.seen)
                for row, answer in enumerate(answers)
            ]
            for row, answer in enumerate(answers):
                next_ids[row, 0], next_positions[row, 0] = answer.ids[-1], answer.position
            logits = self.model.next_logits(next_ids, next_positions, cache)


@contextlib.contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute on one CPU core: torch's attention rounds differently in each thread, its products with their number.

    The trainer and the worker then say the same words, whatever else the machine does. For small models one core is
    faster too: 12 prompts of the seedling took 6 ms a token on one and 18 on two of a busy machine.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def load_speaker(
    home: Home, db: Database, run_id: str, step: int | None = None, device: str = "cpu", sha256: str = ""
) -> Speaker:
    """The model of a run at `step` (None: the newest weights on disk). Raises store.Refused with a sentence.

    Where the run has done that step again, `sha256` (a sample's `weights_sha256`) tells which of its weights are asked:
    these or none. Without it, those of the path that the run is on, or else what was set aside of another.
    """
    run = store.get_run(db, run_id)
    on_disk, aside = store.list_checkpoints(db, run_id), store.list_checkpoints(db, run_id, "kept")
    if not on_disk and (step is None or not aside):
        raise store.Refused(NO_WEIGHTS.get(run["kind"], NO_WEIGHTS["trained"]).format(name=run["name"]))
    wanted = on_disk[-1]["step"] if step is None else step
    found = _asked([row for row in on_disk + aside if row["step"] == wanted], sha256)
    if not found:
        steps = sorted({row["step"] for row in on_disk + aside})
        raise store.Refused(
            f"{run['name']} has no weights of step {wanted}; there are {', '.join(map(str, steps[-12:]))}."
        )
    try:
        if found[0]["kind"] == "kept":
            weights, digest = read_sampling(home.run(run_id) / found[0]["path"])
        else:
            weights, digest = load_sampling(home.run(run_id), wanted)
    except OSError as error:
        raise store.Refused(
            f"The weights of {run['name']} at step {wanted} cannot be used: {reason(error)}."
        ) from error
    except CorruptCheckpoint as error:
        raise store.Refused(f"The weights of {run['name']} at step {wanted} cannot be used: {error}") from error
    for row in found:
        if row["kind"] != "full" and row["sha256"] != digest:
            raise store.Refused(
                f"The weights of {run['name']} at step {wanted} have changed on disk since they were saved."
            )
    if sha256 not in ("", digest):
        raise store.Refused(
            f"The weights of {run['name']} at step {wanted} that said this are gone: it has done that step again since."
        )
    config = from_json(store.get_config(db, run_id))
    words = tokenizer.load(home.tokenizer(run_id))
    return make_speaker(
        config.model,
        weights,
        words,
        torch.device(device),
        run_id=run_id,
        attempt=found[0]["attempt"],
        step=wanted,
        tokens=found[0]["tokens"],
        weights_sha256=digest,
        end=tokenizer.end_of(home.tokenizer(run_id)),
    )


def _asked(rows: list[store.Row], sha256: str) -> list[store.Row]:
    """Of the weights of one step those that are asked: the path's own, or one row that was set aside."""
    own = [row for row in rows if row["kind"] != "kept"]
    kept = [row for row in rows if row["kind"] == "kept" and sha256 in ("", row["sha256"])]
    have_it = not sha256 or any(row["sha256"] == sha256 for row in own)
    return own if own and (have_it or not kept) else kept[-1:]


def make_speaker(
    config: ModelConfig,
    weights: dict[str, Tensor],
    words: Tokenizer,
    device: torch.device,
    *,
    run_id: str,
    attempt: int,
    step: int,
    tokens: int,
    weights_sha256: str,
    end: str = END,
) -> Speaker:
    """A speaker from bf16 weights; products run in bf16 on a GPU and in fp32 elsewhere."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with torch.device("meta"):
        model = Transformer(config, dtype)
    model = model.to_empty(device=device).to(dtype)
    model.load_state_dict(weights)
    model.reset_rotary()
    model.requires_grad_(False)
    return Speaker(
        model=model,
        tokenizer=words,
        run_id=run_id,
        attempt=attempt,
        step=step,
        tokens=tokens,
        weights_sha256=weights_sha256,
        device=device,
        end=end,
        decoder=Decoder(model) if Decoder.suits(model) else None,
    )
