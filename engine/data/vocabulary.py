"""The tokenizer that a recipe names: the bundled one, a file, or one from the hub. Only tokenizer.json is ever read."""

import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from engine.config import ConfigError
from engine.data.roots import allowed
from engine.store import Refused
from engine.tokenizer import LARGEST_FILE, SMOLLM2, bpe_size, read, smollm2, spellings

FILE = "tokenizer.json"
TIMEOUT = 8.0
"""Seconds in which the hub must begin to answer."""
_HUB_NAME = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?)(@(?P<revision>[\w./-]{1,96}))?", re.A
)
_OTHERWISE = "give the path of a tokenizer.json, a name on the hub, smollm2 or bpe:SIZE"
_WAY_OUT = "choose smollm2 or bpe:SIZE, or download its tokenizer.json elsewhere and give the path"


def resolve(tokenizer: str, roots: Sequence[Path] | None = None) -> Tokenizer:
    """The tokenizer that `tokenizer` names: smollm2, the path of a tokenizer.json (or of its folder), or OWNER/NAME of
    a model on the hub, with @REVISION where a certain one is meant. A path wins over a name.

    `roots` are the folders that a path may lead to, None for any. Raises Refused, or ConfigError for bpe:SIZE, which is
    learned from texts. The separator is not looked for: engine.tokenizer.separator_id does that.
    """
    if tokenizer == SMOLLM2:
        return smollm2()
    if bpe_size(tokenizer) is not None:
        raise ConfigError(
            f"The tokenizer {tokenizer} is learned from a text when a dataset is made; it is not there yet."
        )
    if is_path(tokenizer, roots):
        path = allowed(Path(tokenizer), roots, tokenizer)
        # A link inside a folder may lead out of the roots too.
        path = allowed(path / FILE, roots, f"{tokenizer}/{FILE}") if path.is_dir() else path
        return _usable(read(path, otherwise=_OTHERWISE))
    found = _HUB_NAME.fullmatch(tokenizer)
    if not found:
        raise ConfigError(f"There is no tokenizer {tokenizer[:80]!r}; {_OTHERWISE}.")
    return _usable(read(_downloaded(found["name"], found["revision"]), tokenizer, _WAY_OUT))


def _usable(tokenizer: Tokenizer) -> Tokenizer:
    """The same, if a text can be put together from its pieces; raises Refused for others, like BERT's."""
    spellings(tokenizer)
    return tokenizer


def is_path(tokenizer: str, roots: Sequence[Path] | None) -> bool:
    """Whether a tokenizer is meant as a path: it looks like one or, for who may look around, it is one."""
    if tokenizer.endswith(".json") or tokenizer.startswith((".", "/", "~")):
        return True
    try:
        return roots is None and tokenizer.strip() != "" and Path(tokenizer).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _downloaded(name: str, revision: str | None) -> Path:
    """The tokenizer.json of a model on the hub, from the cache where it was read before; raises Refused."""
    import huggingface_hub as hub  # half a second, and most tokenizers need none of it
    from huggingface_hub import errors
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        try:
            # Asked first, as it does not try again for half a minute when there is no network.
            size = hub.get_hf_file_metadata(hub.hf_hub_url(name, FILE, revision=revision), timeout=TIMEOUT).size
        except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
            if isinstance(error, errors.HfHubHTTPError):  # the hub has answered
                raise
            return Path(hub.hf_hub_download(name, FILE, revision=revision, local_files_only=True))
        if size is not None and size > LARGEST_FILE:
            raise Refused(f"The {FILE} of {name} has {size:,} bytes, which is no tokenizer; {_OTHERWISE}.")
        return Path(hub.hf_hub_download(name, FILE, revision=revision))
    except errors.GatedRepoError as error:
        raise Refused(
            f"{name} asks for consent before it is read: give it on huggingface.co/{name} and log in with "
            f"`hf auth login`, or {_WAY_OUT}."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise Refused(f"The hub shows no model {name}: check its name, or log in with `hf auth login`.") from error
    except errors.RevisionNotFoundError as error:
        raise Refused(f"{name} has no revision {revision} on the hub; leave it out for the newest.") from error
    except errors.RemoteEntryNotFoundError as error:
        raise Refused(f"{name} has no {FILE} on the hub, so nothing of it can be used here; {_OTHERWISE}.") from error
    except errors.LocalEntryNotFoundError as error:
        raise Refused(f"The hub cannot be reached, and {name} was not read here before; {_WAY_OUT}.") from error
    except (errors.HTTPError, OSError) as error:
        raise Refused(f"The tokenizer {name} could not be read from the hub; try again, or {_WAY_OUT}.") from error
