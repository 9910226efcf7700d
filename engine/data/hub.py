"""Datasets of the Hugging Face hub by name: `datasets` finds their files, nothing of theirs is ever run.

Parquet files and JSON lines are read here, from any place on and of parquet only the column of texts, so that a job
goes on at once where it was; everything else is read by `datasets`, which begins a file anew.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from engine.config import ConfigError
from engine.data.files import Files, Listed, opened
from engine.data.folders import kind_of
from engine.data.formats import FORMATS
from engine.data.hub_errors import closed, connection, first_line, listed, no_column, reading, unknown
from engine.data.reader import Position, Reader, Text, bare
from engine.data.recipe import Source
from engine.store import Refused

if TYPE_CHECKING:
    from datasets import DatasetBuilder, IterableDataset
    from huggingface_hub import HfFileSystemFile
    from huggingface_hub.hf_api import DatasetInfo

PATIENCE = 10.0
"""Seconds for the first question to the hub; `datasets` alone would ask a hub that is not there for half a minute."""

_AT_ONCE = 500
"""Files whose sizes are asked for in one request."""


class Hub:
    """The texts of one split of a dataset, at the commit that was the newest when reading began."""

    def __init__(self, source: Source) -> None:
        """Asks the hub for the dataset and its files. Raises Refused or ConfigError."""
        _quiet()
        self._source = source
        self._open(source.revision)

    def _open(self, revision: str) -> None:
        with connection(self._source), reading(self._source):
            found = _asked(self._source, revision)
            self._revision = str(found.sha)
            self.licence = _licence(found)
            self._inside = _reader(self._source, self._revision, bool(found.gated))
        self.bytes = self._inside.bytes

    def texts(self, start: Position | None = None) -> Iterator[Text]:
        """All texts, or those after `start`, of the commit in which `start` is a place."""
        if start is not None and start["revision"] != self._revision:
            self._open(start["revision"])
        return self._inside.texts(start and start["inside"])

    def position(self) -> Position:
        """The commit, and the place in it."""
        return {"revision": self._revision, "inside": self._inside.position()}

    def done(self) -> float | None:
        """As far as the hub says how much there is."""
        return self._inside.done()

    def describe(self, documents: Mapping[str, int], position: Position | None = None) -> list[dict[str, Any]]:
        """One entry: a commit names its files better than we could."""
        return [
            {
                "dataset": self._source.hub,
                "config": self._source.config,
                "split": self._source.split,
                "revision": position["revision"] if position else self._revision,
                "documents": sum(documents.values()),
            }
        ]


_BEGINNING: Position = {"state": None, "rows": 0, "given": False}


class Rows:
    """What `datasets` reads: rows of any kind of file."""

    def __init__(self, source: Source, rows: "Callable[[], IterableDataset]", total: int | None) -> None:
        self.bytes: int | None = None
        self.licence = ""
        self._source = source
        self._begin = rows
        self._total = total
        self._rows: IterableDataset | None = None
        self._start = _BEGINNING
        self._read = 0
        self._given = False

    def texts(self, start: Position | None = None) -> Iterator[Text]:
        """All texts, or those after `start`."""
        self._start = start or _BEGINNING
        self._rows, self._read, self._given = None, self._start["rows"], self._start["given"]
        return self._texts()

    def _texts(self) -> Iterator[Text]:
        with connection(self._source), reading(self._source):
            self._rows = self._begin()
            if self._start["state"] is not None:
                self._rows.load_state_dict(self._start["state"])
            for row in self._rows:
                self._read += 1
                if text := bare(self._text(row)):
                    self._given = True
                    yield Text(text, self._source.split)
        if not self._given:
            raise Refused(f"{self._source.hub} has no text: whatever was read in it is blank.")

    def position(self) -> Position:
        """What `datasets` calls the state of its iteration."""
        state = self._rows.state_dict() if self._rows is not None else self._start["state"]
        return {"state": state, "rows": self._read, "given": self._given}

    def done(self) -> float | None:
        """By rows, where the hub says how many there are."""
        return min(1.0, self._read / self._total) if self._total else None

    def describe(self, documents: Mapping[str, int], position: Position | None = None) -> list[dict[str, Any]]:
        """Left to the dataset as a whole."""
        return []

    def _text(self, row: Mapping[str, Any]) -> str | None:
        if self._source.column not in row:
            raise no_column(self._source, list(row))
        text = row[self._source.column]
        if not isinstance(text, str | None):
            raise Refused(
                f"{self._source.hub}: the column {self._source.column!r} holds {type(text).__name__}, not text; choose "
                "a column of strings."
            )
        return text


def open_hub(source: Source) -> Reader:
    """A reader of a hub dataset. Raises Refused within seconds where the hub cannot be reached, and ConfigError."""
    return Hub(source)


def _quiet() -> None:
    """No telemetry, no bars; before anything else imports the libraries, which read the environment then."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    import datasets
    import huggingface_hub

    datasets.config.TORCH_AVAILABLE = False  # or streams import torch, two seconds and 300 MB, to share a counter
    datasets.config.STREAMING_READ_MAX_RETRIES = 1  # engine/data/patience.py tries again, and says so
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    huggingface_hub.utils.disable_progress_bars()
    huggingface_hub.utils.logging.set_verbosity(huggingface_hub.utils.logging.CRITICAL)


def _asked(source: Source, revision: str) -> "DatasetInfo":
    """What the hub knows of the dataset, in one request without patience."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(source.hub)
    except HFValidationError as error:
        raise ConfigError(f"hub:{source.hub[:100]} must be hub:OWNER/NAME, as the hub shows it.") from error
    try:
        return HfApi().dataset_info(source.hub, revision=revision or None, timeout=PATIENCE)
    except JSONDecodeError as error:
        raise Refused(
            f"What answers in the hub's place is not the hub, so {source.hub} cannot be read; look whether the network "
            "wants a login, and what HF_ENDPOINT is."
        ) from error


def _reader(source: Source, revision: str, gated: bool) -> Reader:
    builder = _builder(source, revision, gated)
    splits = list(builder.config.data_files or ())
    if source.split not in splits:
        raise Refused(f"{source.hub} has no split {source.split!r}; there are: {listed(splits)}.")
    features = builder.info.features
    if features is not None and source.column not in features:
        raise no_column(source, list(features))
    known = (builder.info.splits or {}).get(source.split)
    paths = [url.split("@", 1)[1].split("/", 1)[1] for url in builder.config.data_files[source.split]]
    kinds = [kind[0] for path in paths if (kind := kind_of(path))]
    if len(kinds) == len(paths) and {*kinds} <= {".parquet", ".jsonl"} and not getattr(builder.config, "field", None):
        return _files(source, revision, paths, (known and known.num_bytes) or None)
    return Rows(source, lambda: _rows(builder, source), (known and known.num_examples) or None)


def _builder(source: Source, revision: str, gated: bool) -> "DatasetBuilder":
    """What `datasets` makes of the dataset's card and the names of its files; "hf://" keeps it off local folders."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    where = f"hf://datasets/{source.hub}"
    try:
        return datasets.load_dataset_builder(where, source.config or None, revision=revision)
    except DatasetNotFoundError as error:
        raise (closed(source) if gated else unknown(source)) from error
    except FileNotFoundError as error:
        raise Refused(f"{source.hub} has no files that `datasets` can read.") from error
    except ValueError as error:
        configs = datasets.get_dataset_config_names(where, revision=revision)
        if source.config in configs or (not source.config and len(configs) == 1):
            raise Refused(f"{source.hub} cannot be read: {first_line(error)}") from error
        asked = f"no configuration {source.config!r}" if source.config else "several configurations, choose one"
        raise Refused(f"{source.hub} has {asked}; there are: {listed(configs)}.") from error


def _rows(builder: "DatasetBuilder", source: Source) -> "IterableDataset":
    if source.streaming:
        rows = builder.as_streaming_dataset(split=source.split)
    else:
        builder.download_and_prepare()
        rows = builder.as_dataset(split=source.split).to_iterable_dataset()
    # Other columns may hold pictures and sound, which are not to be unpacked.
    return rows.select_columns([source.column]) if source.column in (rows.column_names or ()) else rows


def _files(source: Source, revision: str, paths: list[str], size: int | None) -> Files:
    """The files of a split, each downloaded when its turn comes, or read over the network as it is needed."""
    from huggingface_hub import HfApi, hf_hub_download

    def streamed(path: str) -> BinaryIO:
        return cast(BinaryIO, _remote(f"datasets/{source.hub}@{revision}/{path}"))

    def downloaded(path: str) -> BinaryIO:
        return Path(hf_hub_download(source.hub, path, repo_type="dataset", revision=revision)).open("rb")

    api = HfApi()
    sizes: dict[str, int] = {}
    for first in range(0, len(paths), _AT_ONCE):
        infos = api.get_paths_info(source.hub, paths[first : first + _AT_ONCE], revision=revision, repo_type="dataset")
        sizes |= {info.path: info.size for info in infos}
    files = [
        Listed(path, kind, sizes.get(path, 0), revision, partial(streamed, path), partial(connection, source))
        for path in paths
        if (kind := kind_of(path))
    ]
    with opened(files[0]) as file:
        next(FORMATS[files[0].kind[0]](file, source.column, None), None)  # what is wrong is told before a job begins
    if not source.streaming:
        files = [replace(file, open=partial(downloaded, file.name)) for file in files]
    return Files(source.hub, files, source.column, size=size)


def _remote(path: str) -> "HfFileSystemFile":
    """A file of the hub; where it does not answer, that is told at once (the library would wait half a minute)."""
    from huggingface_hub import HfFileSystem, HfFileSystemFile
    from huggingface_hub.utils import hf_raise_for_status, http_backoff

    class Impatient(HfFileSystemFile):  # type: ignore[misc]  # the library is untyped here
        def _fetch_range(self, start: int, end: int) -> bytes:
            headers = self.fs._api._build_hf_headers() | {"range": f"bytes={start}-{end - 1}"}
            answer = http_backoff("GET", self.url(), headers=headers, timeout=PATIENCE, max_retries=0)
            hf_raise_for_status(answer)
            return bytes(answer.content)

    return Impatient(HfFileSystem(), path, mode="rb")


def _licence(found: "DatasetInfo") -> str:
    said = (found.card_data or {}).get("license") or ""
    return ", ".join(map(str, said)) if isinstance(said, list) else str(said)
