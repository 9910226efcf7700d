"""Making the index of a dataset's training text: where each phrase of four words stands, and how often each word.

Read chunk by chunk into files of raw entries, one for each range of numbers; then each of them is sorted and appended
to the index. After a kill it goes on with the chunk it was at. Until it is whole it lies in datasets/NAME/.index.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.data.making import write_whole
from engine.data.progress import Stopped
from engine.data.shards import Dataset
from engine.home import Home
from engine.ngrams import COUNTS, MANIFEST, PLACES, STARTS, VERSION, WORDS, Manifest, fingerprint, folder_of, is_made
from engine.ngrams_tokens import WINDOW, Spelling
from engine.process import hold_lock
from engine.store import Refused

CHUNK = 2**18
"""Tokens read at once."""
AROUND = 512
"""Tokens before and after a chunk that are read with it, so that words and phrases across its borders are whole."""
EVERY = 16_000_000
"""Words up to which every phrase is entered; beyond, every second one, beyond four times as many every fourth."""
PARTS = 64
"""Files of raw entries for a text of more than one chunk."""
FEWEST_BITS, MOST_BITS = 8, 27

Report = Callable[[float], None]
Asked = Callable[[], bool]


@dataclass
class State:
    """How much of the text is in the raw files, and how much of these counts."""

    sha256: str
    version: int = VERSION
    stride: int = 1
    tokens: int = 0
    words: int = 0
    sizes: dict[str, int] = field(default_factory=dict)


def build(home: Home, dataset: Dataset, report: Report = lambda share: None, stopped: Asked = lambda: False) -> bool:
    """Make the index of a dataset unless it is there; False where another process is at it.

    Raises Stopped when `stopped` says so, Refused for a vocabulary of which no text can be put together.
    """
    if is_made(dataset):
        return True
    lock = hold_lock(dataset.folder / ".index.lock", wait=0)
    if lock is None:
        return False
    with lock:
        making = dataset.folder / ".index"
        state = _begin(making, dataset)
        _read(making, state, dataset, report, stopped)
        _finish(making, state, dataset, report, stopped)
        _publish(making, folder_of(dataset.folder))
    return True


def stride_of(words: int) -> int:
    """Every which phrase of a text is entered."""
    return 1 if words <= EVERY else 2 if words <= 4 * EVERY else 4


def _begin(making: Path, dataset: Dataset) -> State:
    """What an earlier attempt at the same text left, else a new beginning."""
    wanted = State(fingerprint(dataset), stride=stride_of(int(dataset.card.get("train_bytes", 0)) // 6))
    try:
        state = State(**json.loads((making / "state.json").read_text(encoding="utf-8")))
        if (state.sha256, state.version, state.stride) != (wanted.sha256, wanted.version, wanted.stride):
            raise ValueError(state)
        for name, size in state.sizes.items():
            with (making / name).open("r+b") as file:
                if file.seek(0, 2) < size:
                    raise ValueError(name)
                file.truncate(size)
        return state
    except (OSError, ValueError, TypeError):
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        return wanted


def _place_type(dataset: Dataset) -> str:
    return "<u4" if len(dataset.train) < 2**32 else "<u8"


def _kinds(dataset: Dataset) -> dict[str, npt.DTypeLike]:
    """What an entry of a raw file is."""
    return {"phrases": [("hash", "<u8"), ("value", _place_type(dataset))], "words": [("hash", "<u8"), ("value", "<u4")]}


def _read(making: Path, state: State, dataset: Dataset, report: Report, stopped: Asked) -> None:
    """Enter the phrases and words of every chunk into the raw files."""
    spelling, kinds, length = Spelling(dataset), _kinds(dataset), len(dataset.train)
    while state.tokens < length:
        if stopped():
            raise Stopped
        first, end = state.tokens, min(state.tokens + CHUNK, length)
        lead = max(first - AROUND, 0)
        found = spelling.words(dataset.train[lead : min(end + AROUND, length)])
        ours = np.flatnonzero((found.tokens >= first - lead) & (found.tokens < end - lead))
        phrases, whole = found.grams()
        sampled = ours[:: state.stride]
        sampled = sampled[sampled < len(phrases)]
        sampled = sampled[whole[sampled]]
        hashes, counts = np.unique(found.hashes[ours], return_counts=True)
        _append(making, state, "phrases", phrases[sampled], found.tokens[sampled] + lead, kinds["phrases"])
        _append(making, state, "words", hashes, counts, kinds["words"])
        state.tokens, state.words = end, state.words + len(ours)
        write_whole(making / "state.json", json.dumps(asdict(state)))
        report(0.8 * end / length)


def _append(
    making: Path,
    state: State,
    kind: str,
    hashes: npt.NDArray[np.uint64],
    values: npt.NDArray[np.int64],
    entry: npt.DTypeLike,
) -> None:
    """Add entries to the raw files of a kind, each to that of its range."""
    entries = np.empty(len(hashes), entry)
    entries["hash"], entries["value"] = hashes, values
    parts = (hashes >> np.uint64(64 - PARTS.bit_length() + 1)).astype(np.int64)
    order = np.argsort(parts, kind="stable")
    borders = np.searchsorted(parts[order], np.arange(PARTS + 1))
    for part in range(PARTS):
        chosen = entries[order[borders[part] : borders[part + 1]]]
        name = f"{kind}-{part:02d}"
        with (making / name).open("ab") as file:
            file.write(chosen.tobytes())
            state.sizes[name] = file.tell()


def _finish(making: Path, state: State, dataset: Dataset, report: Report, stopped: Asked) -> None:
    """Sort the raw entries part by part into the files of the index."""
    kinds = _kinds(dataset)
    entries = sum(size for name, size in state.sizes.items() if name.startswith("phrases"))
    count = entries // np.dtype(kinds["phrases"]).itemsize
    bits = min(max((count // 2).bit_length(), FEWEST_BITS), MOST_BITS)
    within = 2**bits // PARTS
    distinct, behind = 0, 0
    with (
        (making / PLACES).open("wb") as places,
        (making / STARTS).open("wb") as starts,
        (making / WORDS).open("wb") as words,
        (making / COUNTS).open("wb") as counts,
    ):
        for part in range(PARTS):
            if stopped():
                raise Stopped
            raw = np.fromfile(making / f"phrases-{part:02d}", kinds["phrases"])
            buckets = (raw["hash"] >> np.uint64(64 - bits)).astype(np.int64)
            places.write(raw["value"][np.argsort(buckets, kind="stable")].tobytes())
            sizes = np.bincount(buckets - part * within, minlength=within)
            starts.write((behind + np.cumsum(sizes) - sizes).astype(_place_type(dataset)).tobytes())
            behind += len(raw)
            raw = np.fromfile(making / f"words-{part:02d}", kinds["words"])
            found, inverse = np.unique(raw["hash"], return_inverse=True)
            words.write(found.astype("<u8").tobytes())
            counted = np.bincount(inverse, raw["value"], minlength=len(found))
            counts.write(np.minimum(counted, 2**32 - 1).astype("<u4").tobytes())
            distinct += len(found)
            report(0.8 + 0.2 * (part + 1) / PARTS)
        starts.write(np.array([behind], _place_type(dataset)).tobytes())
    manifest = Manifest(
        version=VERSION,
        sha256=state.sha256,
        tokens=len(dataset.train),
        words=state.words,
        distinct=distinct,
        window=WINDOW,
        stride=state.stride,
        bits=bits,
        places=_place_type(dataset),
        files={name: (making / name).stat().st_size for name in (PLACES, STARTS, WORDS, COUNTS)},
    )
    write_whole(making / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


def _publish(making: Path, target: Path) -> None:
    """Become the index: from one moment to the next it is there, and whole."""
    for path in making.iterdir():
        if path.name not in (MANIFEST, PLACES, STARTS, WORDS, COUNTS):
            path.unlink()
    if target.exists():  # of an older text or version; whoever reads it keeps its open files
        gone = target.with_name(".index-gone")
        shutil.rmtree(gone, ignore_errors=True)
        target.rename(gone)
        making.rename(target)
        shutil.rmtree(gone, ignore_errors=True)
    else:
        making.rename(target)


def discard(home: Home, name: str) -> None:
    """Remove the index of a dataset; it is made again when it is needed. Raises Refused while it is being made."""
    folder = home.dataset(name)
    lock = hold_lock(folder / ".index.lock", wait=0)
    if lock is None:
        raise Refused(f"The training text of {name} is being indexed right now.")
    with lock:
        for part in (folder_of(folder), folder / ".index"):
            shutil.rmtree(part, ignore_errors=True)
