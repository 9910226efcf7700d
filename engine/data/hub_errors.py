"""What goes wrong with the hub, in sentences that say what to do."""

import contextlib
import lzma
import re
import zlib
from collections.abc import Iterator

from engine.config import ConfigError
from engine.data.reader import Unreachable
from engine.data.recipe import Source
from engine.store import Refused

OF_THE_MOMENT = {408, 429, 500, 502, 503, 504}
"""Answers that may be others in a moment."""


@contextlib.contextmanager
def connection(source: Source) -> Iterator[None]:
    """What the hub refuses, and that it is not there, in words that say what to do."""
    from huggingface_hub import errors

    elsewhere = (
        "make the dataset on a machine that reaches it and copy its folder into datasets/ of this home, or download "
        f"the files that are wanted there (hf download {source.hub} --repo-type dataset --include ... --local-dir "
        "FOLDER) and give that folder as the source"
    )
    try:
        yield
    except errors.GatedRepoError as error:
        raise closed(source) from error
    except errors.RevisionNotFoundError as error:
        raise Refused(f"{source.hub} has no revision {source.revision!r}; give a branch, a tag or a commit.") from error
    except errors.RepositoryNotFoundError as error:
        raise unknown(source) from error
    except errors.OfflineModeIsEnabled as error:
        raise Refused(f"HF_HUB_OFFLINE is set, so {source.hub} is not asked for; unset it, or {elsewhere}.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        kind = Unreachable if status in OF_THE_MOMENT else Refused
        raise kind(f"The hub answered {status} for {source.hub}; try again later, or {elsewhere}.") from error
    except (errors.HTTPError, ConnectionError, TimeoutError) as error:
        raise Unreachable(
            f"The hub cannot be reached for {source.hub}; try again when there is a connection, or {elsewhere}."
        ) from error


@contextlib.contextmanager
def reading(source: Source) -> Iterator[None]:
    """What `datasets` finds in the files."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError
    from pyarrow import ArrowException

    network = (ConnectionError, TimeoutError, HTTPError)
    try:
        yield
    except (ConfigError, *network):
        raise
    except (DatasetsError, ArrowException, ValueError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error.__cause__, network):
            raise error.__cause__ from error
        raise _unreadable(source, error) from error
    except OSError as error:
        if error.strerror:  # of this machine: its cache cannot be written
            raise Refused(f"{source.hub} cannot be read: {error.strerror}; look at the folder HF_HOME.") from error
        raise _unreadable(source, error) from error
    except RuntimeError as error:
        if isinstance(error, Refused) or "scripts are no longer supported" not in str(error):
            raise
        raise Refused(
            f"{source.hub} can only be read by running code of its own, which is never done here; choose a dataset of "
            "parquet, jsonl, csv or text files."
        ) from error


def closed(source: Source) -> Refused:
    """For a dataset behind terms of use."""
    return Refused(
        f"{source.hub} is given only to people who have accepted its terms: accept them at "
        f"https://huggingface.co/datasets/{source.hub}, then run `hf auth login` on this machine."
    )


def unknown(source: Source) -> Refused:
    """For a name that the hub does not know, or does not admit to know."""
    return Refused(
        f"The hub has no dataset {source.hub}, or it is a private one; check the name, or run `hf auth login`."
    )


def no_column(source: Source, there: list[str]) -> Refused:
    """For a column that is not there, with those that are."""
    return Refused(f"{source.hub}: there is no column {source.column!r}; there are: {listed(there)}.")


def listed(names: list[str]) -> str:
    """Names in a sentence."""
    return ", ".join(map(str, names))[:300] or "none"


def _unreadable(source: Source, error: Exception) -> Refused:
    return Refused(f"{source.hub} cannot be read: {first_line(error.__cause__ or error)}")


def first_line(error: BaseException) -> str:
    """The first line of what a library says, without the places on this machine."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"(?<![\w/:.])/[\w.-]+/\S*", "a file", line)[:300]
