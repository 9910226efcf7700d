"""Datasets of the Hugging Face hub by name: `datasets` finds their files, nothing of theirs is ever run.

Parquet files are read here, row group by row group and only the column of texts, so that a job goes on at once where
it was; everything else is read by `datasets`.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from engine.config import ConfigError
from engine.data.files import Files, Listed, opened
from engine.data.formats import parquet_bytes
from engine.data.reader import Position, Reader, Text, bare
from engine.data.recipe import Source
from engine.store import Refused

if TYPE_CHECKING:
    from datasets import DatasetBuilder, IterableDataset
    from huggingface_hub.hf_api import DatasetInfo

PATIENCE = 10.0
"""Seconds for the first question to the hub; `datasets` alone would ask a hub that is not there for half a minute."""

_AT_ONCE = 500
"""Files whose sizes are asked for in one request."""


class Hub:
    """The texts of one split of a dataset, at the commit that was the newest when reading began."""

    def __init__(self, source: Source) -> None:
        """Asks the hub for the dataset and its files. Raises Refused or ConfigError."""
        self._source = source
        self._open(source.revision)

    def _open(self, revision: str) -> None:
        with _connection(self._source), _reading(self._source):
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

    def describe(self, documents: Mapping[str, int]) -> list[dict[str, Any]]:
        """One entry: a commit names its files better than we could."""
        return [
            {
                "dataset": self._source.hub,
                "config": self._source.config,
                "split": self._source.split,
                "revision": self._revision,
                "documents": sum(documents.values()),
            }
        ]


class Rows:
    """What `datasets` reads: rows of any kind of file."""

    def __init__(self, source: Source, rows: "Callable[[], IterableDataset]", total: int | None) -> None:
        self.bytes: int | None = None
        self.licence = ""
        self._source = source
        self._begin = rows
        self._total = total
        self._rows: IterableDataset | None = None
        self._start: Position = {"state": None, "rows": 0, "given": False}
        self._read = 0
        self._given = False

    def texts(self, start: Position | None = None) -> Iterator[Text]:
        """All texts, or those after `start`."""
        self._start = start or {"state": None, "rows": 0, "given": False}
        self._rows, self._read, self._given = None, self._start["rows"], self._start["given"]
        return self._texts()

    def _texts(self) -> Iterator[Text]:
        with _connection(self._source), _reading(self._source):
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

    def describe(self, documents: Mapping[str, int]) -> list[dict[str, Any]]:
        """Left to the dataset as a whole."""
        return []

    def _text(self, row: Mapping[str, Any]) -> str | None:
        if self._source.column not in row:
            raise _no_column(self._source, list(row))
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


def _asked(source: Source, revision: str) -> "DatasetInfo":
    """What the hub knows of the dataset, in one request without patience."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the libraries are imported
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    import datasets
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    datasets.config.TORCH_AVAILABLE = False  # or streams import torch, two seconds and 300 MB, to share a counter
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    huggingface_hub.utils.disable_progress_bars()
    huggingface_hub.utils.logging.set_verbosity(huggingface_hub.utils.logging.CRITICAL)
    try:
        validate_repo_id(source.hub)
    except HFValidationError as error:
        raise ConfigError(f"hub:{source.hub[:100]} must be hub:OWNER/NAME, as the hub shows it.") from error
    return huggingface_hub.HfApi().dataset_info(source.hub, revision=revision or None, timeout=PATIENCE)


def _reader(source: Source, revision: str, gated: bool) -> Reader:
    from datasets.packaged_modules.parquet.parquet import Parquet

    builder = _builder(source, revision, gated)
    splits = list(builder.config.data_files or ())
    if source.split not in splits:
        raise Refused(f"{source.hub} has no split {source.split!r}; there are: {_listed(splits)}.")
    features = builder.info.features
    if features is not None and source.column not in features:
        raise _no_column(source, list(features))
    known = (builder.info.splits or {}).get(source.split)
    if isinstance(builder, Parquet):
        paths = [url.split("@", 1)[1].split("/", 1)[1] for url in builder.config.data_files[source.split]]
        return _parquet(source, revision, paths, (known and known.num_bytes) or None)
    return Rows(source, lambda: _rows(builder, source), (known and known.num_examples) or None)


def _builder(source: Source, revision: str, gated: bool) -> "DatasetBuilder":
    """What `datasets` makes of the dataset's card and the names of its files; "hf://" keeps it off local folders."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    where = f"hf://datasets/{source.hub}"
    try:
        return datasets.load_dataset_builder(where, source.config or None, revision=revision)
    except DatasetNotFoundError as error:
        raise (_closed(source) if gated else _unknown(source)) from error
    except FileNotFoundError as error:
        raise Refused(f"{source.hub} has no files that `datasets` can read.") from error
    except ValueError as error:
        configs = datasets.get_dataset_config_names(where, revision=revision)
        if source.config in configs:
            raise Refused(f"{source.hub} cannot be read: {_line(error)}") from error
        asked = f"no configuration {source.config!r}" if source.config else "several configurations, choose one"
        raise Refused(f"{source.hub} has {asked}; there are: {_listed(configs)}.") from error


def _rows(builder: "DatasetBuilder", source: Source) -> "IterableDataset":
    if source.streaming:
        return builder.as_streaming_dataset(split=source.split)
    builder.download_and_prepare()
    return builder.as_dataset(split=source.split).to_iterable_dataset()


def _parquet(source: Source, revision: str, paths: list[str], size: int | None) -> Files:
    """The files of a split, each downloaded when its turn comes, or read over the network as it is needed."""
    from huggingface_hub import HfApi, HfFileSystem, hf_hub_download

    def opener(path: str) -> Callable[[], BinaryIO]:
        def streamed() -> BinaryIO:
            return cast(BinaryIO, HfFileSystem().open(f"datasets/{source.hub}@{revision}/{path}", "rb"))

        def downloaded() -> BinaryIO:
            return Path(hf_hub_download(source.hub, path, repo_type="dataset", revision=revision)).open("rb")

        return streamed if source.streaming else downloaded

    api = HfApi()
    sizes: dict[str, int] = {}
    for first in range(0, len(paths), _AT_ONCE):
        infos = api.get_paths_info(source.hub, paths[first : first + _AT_ONCE], revision=revision, repo_type="dataset")
        sizes |= {info.path: info.size for info in infos}
    files = [
        Listed(path, (".parquet", ""), sizes.get(path, 0), revision, opener(path), lambda: _connection(source))
        for path in paths
    ]
    if source.streaming:
        with opened(files[0]) as file:
            parquet_bytes(file, source.column)
    return Files(source.hub, files, source.column, size=size)


@contextlib.contextmanager
def _connection(source: Source) -> Iterator[None]:
    """What the hub refuses, and that it is not there, in words that say what to do."""
    from huggingface_hub import errors

    elsewhere = (
        f"download it where there is a connection (hf download {source.hub} --repo-type dataset --local-dir FOLDER) "
        "and give that folder as the source"
    )
    try:
        yield
    except errors.GatedRepoError as error:
        raise _closed(source) from error
    except errors.RevisionNotFoundError as error:
        raise Refused(f"{source.hub} has no revision {source.revision!r}; give a branch, a tag or a commit.") from error
    except errors.RepositoryNotFoundError as error:
        raise _unknown(source) from error
    except errors.OfflineModeIsEnabled as error:
        raise Refused(f"HF_HUB_OFFLINE is set, so {source.hub} is not asked for; unset it, or {elsewhere}.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise Refused(f"The hub answered {status} for {source.hub}; try again later, or {elsewhere}.") from error
    except (errors.HTTPError, ConnectionError, TimeoutError) as error:
        raise Refused(
            f"The hub cannot be reached for {source.hub}; try again when there is a connection, or {elsewhere}."
        ) from error


@contextlib.contextmanager
def _reading(source: Source) -> Iterator[None]:
    """What `datasets` finds in the files."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError
    from pyarrow import ArrowException

    try:
        yield
    except (ConfigError, ConnectionError, HTTPError):
        raise
    except (DatasetsError, ArrowException, UnicodeDecodeError) as error:
        raise Refused(f"{source.hub} cannot be read: {_line(error)}") from error
    except RuntimeError as error:
        if isinstance(error, Refused) or "scripts are no longer supported" not in str(error):
            raise
        raise Refused(
            f"{source.hub} can only be read by running code of its own, which is never done here; choose a dataset of "
            "parquet, jsonl, csv or text files."
        ) from error


def _licence(found: "DatasetInfo") -> str:
    said = (found.card_data or {}).get("license") or ""
    return ", ".join(map(str, said)) if isinstance(said, list) else str(said)


def _closed(source: Source) -> Refused:
    return Refused(
        f"{source.hub} is given only to people who have accepted its terms: accept them at "
        f"https://huggingface.co/datasets/{source.hub}, then run `hf auth login` on this machine."
    )


def _unknown(source: Source) -> Refused:
    return Refused(
        f"The hub has no dataset {source.hub}, or it is a private one; check the name, or run `hf auth login`."
    )


def _no_column(source: Source, there: list[str]) -> Refused:
    return Refused(f"{source.hub}: there is no column {source.column!r}; there are: {_listed(there)}.")


def _listed(names: list[str]) -> str:
    return ", ".join(map(str, names))[:300] or "none"


def _line(error: Exception) -> str:
    """The first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
