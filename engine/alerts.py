"""What people want to be told about their runs, where, and in which words. engine/courier.py sends it. No torch.

The webhook's address is a secret: whoever has it can write to the channel behind it. It is kept in runs.db and given
to nobody: messages, logs and the page name its host only.
"""

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sqlite_utils import Database

from engine import store
from engine.phrases import count, loss
from engine.store import Refused, Row

KINDS = {
    "finished": "It has reached its last step",
    "failed": "It ended with an error",
    "crashed": "It broke off and does not go on by itself",
    "diverged": "Its loss is not a number any more",
    "budget": "Its budget is used up",
    "stalled": "It stands still though its process lives",
    "health": "Something about how it learns looks wrong",
}
"""What can be told, and what it means."""
USUAL = tuple(kind for kind in KINDS if kind != "health")
FORMATS = ("json", "plain")
PREFERENCE = "alerts"
TIMEOUT = 10.0
"""Seconds for a webhook to answer."""
TRIES = 3
KEPT = 86_400.0
"""Seconds after which an alert that could not be sent is no news any more."""
LONGEST_ADDRESS, LONGEST_KEY, LONGEST_TEMPLATE = 2_000, 64, 1_000
LONGEST_TEXT = 1_900
"""Letters of a message: Discord refuses more than 2,000."""
_PLACE = re.compile(r"\{([a-z_]+)\}")
_AGENT = "Blueberry-Studio"

PLACEHOLDERS: dict[str, Callable[[Row], str]] = {
    "run": lambda alert: str(alert["name"]),
    "status": lambda alert: str(alert["kind"]),
    "message": lambda alert: sentence(alert),
    "loss": lambda alert: loss(alert["train_loss"] if alert["val_loss"] is None else alert["val_loss"]),
    "tokens": lambda alert: count(alert["tokens"]),
    "step": lambda alert: f"{alert['step']:,}",
    "device": lambda alert: str(alert["device"]),
}
"""What may stand in a template, each in braces: the name of the run; a word of KINDS; what happened, in sentences; the
newest loss, on unseen text once there is one; tokens read; the step; the device."""


EXAMPLE: Row = {
    "name": "Blueberry-Studio",
    "kind": "test",
    "message": "This is a test, nothing has happened.",
    "train_loss": None,
    "val_loss": None,
    "tokens": 0,
    "step": 0,
    "device": "cpu",
}
"""What a test message is made of."""


@dataclass(frozen=True)
class Settings:
    """What a person has set. Raises Refused for what makes no sense."""

    kinds: tuple[str, ...] = USUAL
    """Kinds of alerts that are shown and sent."""
    webhook: str = ""
    """An http or https address that alerts are posted to, or ""."""
    format: str = "json"
    """`json`: an object with the text under `key`; `plain`: the text alone."""
    key: str = "text"
    """`text` is what Slack and Mattermost want, `content` is Discord's."""
    template: str = "{run} {status}: {message}"

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise Refused(f"{unknown[0][:40]!r} is no kind of alert; there are {', '.join(KINDS)}.")
        if self.format not in FORMATS:
            raise Refused(f"The format {self.format[:40]!r} must be json or plain.")
        if not 0 < len(self.key) <= LONGEST_KEY or not self.key.isprintable():
            raise Refused(f"The key must have 1 to {LONGEST_KEY} letters; Slack wants text, Discord content.")
        if not self.template.strip() or len(self.template) > LONGEST_TEMPLATE:
            raise Refused(f"The template must have 1 to {LONGEST_TEMPLATE:,} letters.")
        for word in _PLACE.findall(self.template):
            if word not in PLACEHOLDERS:
                places = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise Refused(f"The template has {{{word[:40]}}}, which means nothing; it may use {places}.")
        if self.webhook:
            _check(self.webhook)

    @property
    def host(self) -> str:
        """What may be shown of the webhook: its host, and its port where that is a special one."""
        if not self.webhook:
            return ""
        parts = urlsplit(self.webhook)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def settings(db: Database) -> Settings:
    """What is set in a home. What this version cannot read, because another one wrote it, counts as not set."""
    kept = store.get_preference(db, PREFERENCE, {})
    try:
        return checked(Settings(), kept if isinstance(kept, dict) else {})
    except Refused:
        return Settings()


def change(db: Database, changes: Mapping[str, Any]) -> Settings:
    """Set what `changes` names and leave the rest; raises Refused. Alerts that waited unwanted are not sent later."""
    before = settings(db)
    after = checked(before, changes)
    with store.writing(db):
        store.silence_alerts(db, before.kinds if before.webhook and after.webhook else ())
        store.set_preference(db, PREFERENCE, asdict(after))
    return after


def checked(before: Settings, changes: Mapping[str, Any]) -> Settings:
    """What the settings would be with some changes, which may be any JSON; raises Refused."""
    for name, value in changes.items():
        if name not in Settings.__dataclass_fields__:
            raise Refused(
                f"Alerts have no setting {name[:40]!r}; they have {', '.join(Settings.__dataclass_fields__)}."
            )
        right = _is_list(value) if name == "kinds" else isinstance(value, str)
        if not right:
            raise Refused(f"{name} must be {'a list of kinds' if name == 'kinds' else 'text'}.")
    kinds = tuple(dict.fromkeys(changes.get("kinds", before.kinds)))
    given = {name: value.strip() if name == "webhook" else value for name, value in changes.items() if name != "kinds"}
    return replace(before, kinds=kinds, **given)


def public(found: Settings) -> dict[str, Any]:
    """The settings as anybody may see them."""
    return asdict(found) | {"webhook": found.host, "kinds": list(found.kinds)}


def sentence(alert: Row) -> str:
    """What happened, in words."""
    if alert["kind"] != "finished":
        return str(alert["message"]) or f"{KINDS[alert['kind']]}."
    known, where = alert["val_loss"], " on unseen text"
    if known is None:
        known, where = alert["train_loss"], ""
    read = f"{count(alert['tokens'])} tokens read"
    return f"{read}, loss {loss(known)}{where}." if known is not None else f"{read}."


def shown(alert: Row) -> dict[str, Any]:
    """An alert for people and programs."""
    names = ("id", "run_id", "name", "kind", "state", "tries", "error")
    return {name: alert[name] for name in names} | {
        "message": sentence(alert),
        "at": round(alert["created_at"]),
        "sent_at": alert["sent_at"] and round(alert["sent_at"]),
    }


def text(template: str, alert: Row) -> str:
    """The message of an alert. What is put in is not looked at for placeholders again."""
    whole = _PLACE.sub(lambda found: PLACEHOLDERS[found[1]](alert), template).strip()
    return whole if len(whole) <= LONGEST_TEXT else whole[: LONGEST_TEXT - 1] + "…"


def body(found: Settings, message: str) -> tuple[bytes, str]:
    """What is posted, and its content type."""
    if found.format == "json":
        return json.dumps({found.key: message}).encode(), "application/json"
    return message.encode("utf-8", errors="replace"), "text/plain; charset=utf-8"


def post(found: Settings, message: str, timeout: float = TIMEOUT) -> str:
    """Send a message to the webhook; "" when it was taken, else what went wrong in a sentence without the address."""
    content, kind = body(found, message)
    request = urllib.request.Request(found.webhook, content, {"Content-Type": kind, "User-Agent": _AGENT})
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        if 300 <= error.code < 400:
            return f"{found.host} answered {_named(error.code)}: it wants another address, which must be set here."
        return f"{found.host} answered {_named(error.code)}."
    except urllib.error.URLError as error:
        return f"{found.host} could not be reached: {_reason(error.reason)}."
    except OSError as error:
        return f"{found.host} did not answer: {_reason(error)}."
    except (http.client.HTTPException, ValueError) as error:  # their texts may have the address in them
        return f"{found.host} did not answer as a web server does ({type(error).__name__})."


def send_test(found: Settings) -> str:
    """Send a message that says it is a test; a sentence of success. Raises Refused with what went wrong."""
    if not found.webhook:
        raise Refused("There is no webhook to test; give its address first.")
    words = text(found.template, EXAMPLE)
    if problem := post(found, words):
        raise Refused(problem)
    return f"{found.host} has taken the test message."


def waiting(db: Database) -> tuple[Settings, list[Row]]:
    """The settings, and the alerts that wait to be sent, those that are being sent included."""
    found = settings(db)
    return found, store.alerts_to_send(db, found.kinds) if found.webhook else []


def is_over(alert: Row, now: float) -> bool:
    """Whether an alert is no news any more, or its last try was never settled, because the sender was killed."""
    return bool(now - alert["created_at"] > KEPT or (alert["tries"] >= TRIES and alert["due_at"] <= now))


def anything_waits(db: Database) -> bool:
    """Whether a supervisor has something to send."""
    return any(not is_over(alert, time.time()) for alert in waiting(db)[1])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET, and may lead anywhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _check(address: str) -> None:
    """Raise Refused for what is no address of a webhook."""
    if len(address) > LONGEST_ADDRESS:
        raise Refused(f"The webhook's address is longer than {LONGEST_ADDRESS:,} letters.")
    try:
        parts = urlsplit(address)
        whole = _whole(parts) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not address.isascii() or not address.isprintable() or " " in address:
        raise Refused("The webhook must be a whole address that begins with https:// or http://.")
    if parts.username is not None or parts.password is not None:
        raise Refused("The webhook's address must have no name or password before its host.")


def _whole(parts: SplitResult) -> bool:
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _named(code: int) -> str:
    try:
        return f"{code} ({HTTPStatus(code).phrase})"
    except ValueError:
        return str(code)


def _reason(error: Any) -> str:
    """Why a connection failed, in a few words without an address."""
    if isinstance(error, TimeoutError):
        return f"nothing came within {TIMEOUT:g} seconds"
    words = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or type(error).__name__
    return str(words).partition("\n")[0].rstrip(".")[:200]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) <= 50 and all(isinstance(one, str) for one in value)
