"""What each side does, in a process of its own: `python -m benchmarks.preparing.worker SPEC`, started by process.py."""

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.preparing.text import read
from engine.config import ConfigError
from engine.home import Home
from engine.store import Refused

BATCH = 4_000_000
"""Characters that the tokenizers library gets at once when it is measured alone: fewer let cores wait for others."""
ROWS, CONTEXT = 32, 2048
"""What the loader delivers at once."""
Say = Callable[[dict[str, Any]], None]


def prepare(say: Say, home: str, name: str, source: str, tokenizer: str) -> None:
    """Make a dataset as a job does; says what the job reports, and at the end what it made."""
    from engine.data import open_dataset
    from engine.data import prepare as make
    from engine.data.progress import Progress
    from engine.data.recipe import Recipe, Source

    stages = dict[str, float]()
    start, worked = time.perf_counter(), time.process_time()
    last = start
    stage = "opening"

    def report(progress: Progress) -> None:
        nonlocal last, stage
        now = time.perf_counter()
        stages[stage] = stages.get(stage, 0.0) + now - last
        last, stage = now, progress.stage
        say({"stage": progress.stage, "tokens": progress.tokens})

    place = Home.at(home)
    make(place, name, Recipe((Source(source),), tokenizer), report=report, stopped=lambda: False)
    seconds, work = time.perf_counter() - start, time.process_time() - worked
    card = open_dataset(place, name).card
    tokens = card["train_tokens"] + card["val_tokens"]
    say({"tokens": tokens, "seconds": seconds, "work": work, "stages": stages, "peak_bytes": peak_bytes()})


def tokenizers(say: Say, source: str, tokenizer: str) -> None:
    """The tokenizers library alone: texts that lie in memory become encodings, and nothing else is done with them."""
    from engine.tokenizer import load

    words, texts = load(Path(tokenizer)), read(Path(source))
    tokens, seconds, work = 0, 0.0, 0.0
    for batch in batches(texts):
        start, worked = time.perf_counter(), time.process_time()
        encodings = words.encode_batch_fast(batch, add_special_tokens=False)
        seconds, work = seconds + time.perf_counter() - start, work + time.process_time() - worked
        tokens += sum(map(len, encodings))
    say({"tokens": tokens, "seconds": seconds, "work": work, "peak_bytes": peak_bytes()})


def mapped(say: Say, source: str, tokenizer: str, cache: str, processes: int) -> None:
    """`datasets.map` with transformers' fast tokenizer, in batches of 1,000 documents as it does by itself.

    With one process the tokenizer has its threads; with several each has one, as the library advises.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if processes > 1 else "true"
    import datasets
    import pyarrow.compute
    from transformers import PreTrainedTokenizerFast

    datasets.disable_progress_bars()
    words = PreTrainedTokenizerFast(tokenizer_file=tokenizer)
    begin = time.perf_counter()
    text = datasets.load_dataset("json", data_files=source, split="train", cache_dir=cache)
    start, worked = time.perf_counter(), core_seconds()
    made = text.map(
        Encoder(words), batched=True, remove_columns=["text"], num_proc=processes if processes > 1 else None
    )
    seconds, work = time.perf_counter() - start, core_seconds() - worked
    tokens = pyarrow.compute.sum(pyarrow.compute.list_value_length(made.data.column("input_ids"))).as_py()
    found = {"tokens": tokens, "seconds": seconds, "work": work, "reading": start - begin}
    say(found | {"peak_bytes": peak_bytes()})


class Encoder:
    """What `datasets.map` calls."""

    def __init__(self, words: Any) -> None:
        self.words = words

    def __call__(self, batch: dict[str, list[str]]) -> dict[str, Any]:
        """The ids of the texts, and nothing else."""
        found = self.words(
            batch["text"], add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
        )
        return {"input_ids": found["input_ids"]}


def loader(say: Say, home: str, name: str, seconds: float) -> None:
    """The trainer's feed, from the mapped file to the device, over and over for `seconds`."""
    import torch

    from engine.batches import Feed
    from engine.config import load_preset
    from engine.data import Rows, open_dataset
    from engine.device import choose_place, cpu_name

    dataset = open_dataset(Home.at(home), name)
    place = choose_place(load_preset("seedling").train)
    found: dict[str, Any] = {"processor": cpu_name(), "device": str(place.device), "rows": ROWS, "context": CONTEXT}
    for kind, end in (("plain", None), ("documents", dataset.separator)):
        feed = Feed(Rows(dataset.train, CONTEXT, 1, dataset.vocab_size), place, ROWS, ROWS, end)
        step, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            for _ in feed.step(step):
                pass
            step += 1
        if place.device.type == "cuda":
            torch.cuda.synchronize(place.device)
            passed = time.perf_counter() - start
        feed.close()
        found[kind] = step * ROWS * CONTEXT / passed
    say(found)


def batches(texts: list[str]) -> Iterator[list[str]]:
    """Texts in batches of about BATCH characters."""
    batch, size = list[str](), 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def core_seconds() -> float:
    """Seconds that processor cores worked for this process and those it made that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_bytes() -> int:
    """The most memory this process had resident, mapped files that it read included.

    Where the system says it of the process alone: what `getrusage` gives may be that of the process it was made from.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


SIDES: dict[str, Callable[..., None]] = {
    "prepare": prepare,
    "tokenizers": tokenizers,
    "map": mapped,
    "loader": loader,
}


def main(argv: list[str]) -> int:
    """Do what the spec says; returns the exit status."""
    # Libraries may print: what is no line of ours goes where people read.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    spec = json.loads(argv[0])
    try:
        SIDES[spec.pop("do")](say, **spec)
    except (ConfigError, Refused) as error:
        say({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
