"""What `python -m engine alerts` does and prints: which alerts there were, what is told, and where it is sent."""

import argparse
from contextlib import closing
from datetime import datetime

from engine import alerts, launch, store
from engine.follow import print_json
from engine.home import Home
from engine.phrases import plain, table

Arguments = argparse.Namespace
NEWEST = 20


def words(command: argparse.ArgumentParser) -> None:
    """What may follow `alerts` on the command line."""
    places = ", ".join(f"{{{name}}}" for name in alerts.PLACEHOLDERS)
    command.add_argument("--webhook", metavar="URL", help="address that alerts are posted to, or none")
    command.add_argument("--format", choices=alerts.FORMATS, help="json (default): an object with the text; or plain")
    command.add_argument("--key", metavar="K", help="name of the text in it: text (default; Slack), content (Discord)")
    command.add_argument("--template", metavar="T", help=f"the text; {places} are filled in")
    command.add_argument("--kinds", metavar="K,K,...", help=f"what is told: {', '.join(alerts.KINDS)}")
    command.add_argument("--test", action="store_true", help="send a test message now")


def show(given: Arguments) -> int:
    """Show the newest alerts; choose what is told and which webhook gets it."""
    home = Home.at(given.home)
    launch.open_home(home)
    with closing(store.connect(home.database, durable=True)) as db:
        changes = _changes(given)
        found = alerts.change(db, changes) if changes else alerts.settings(db)
        newest = [alerts.shown(row) for row in store.list_alerts(db, found.kinds, limit=NEWEST)]
    sent = alerts.send_test(found) if given.test else ""
    if given.json:
        return print_json(alerts.public(found) | {"test": sent, "alerts": newest})
    if sent or changes:
        print(sent or _described(found))
        return 0
    print(_described(found))
    if newest:
        head = ("WHEN", "RUN", "WHAT", "SENT", "")
        print(table(head, [_row(alert, bool(found.webhook)) for alert in newest]))
    return 0


def _changes(given: Arguments) -> dict[str, object]:
    """The options that were given, as settings."""
    named = ("webhook", "format", "key", "template")
    changes: dict[str, object] = {name: getattr(given, name) for name in named if getattr(given, name) is not None}
    if changes.get("webhook") == "none":
        changes["webhook"] = ""
    if given.kinds is not None:
        changes["kinds"] = [kind.strip() for kind in given.kinds.split(",") if kind.strip()]
    return changes


def _described(found: alerts.Settings) -> str:
    """The settings in a sentence."""
    told = f"Told: {', '.join(found.kinds) or 'nothing'}"
    if not found.webhook:
        return f"{told}; on the page only (--webhook sends it elsewhere)."
    how = f"as JSON under {found.key!r}" if found.format == "json" else "as plain text"
    return f"{told}; sent to {found.host} {how}."


def _row(alert: dict[str, object], webhook: bool) -> tuple[str, ...]:
    when = datetime.fromtimestamp(float(str(alert["at"])))
    sent = {"sent": "yes", "failed": "no", "waiting": "not yet" if webhook else "–", "quiet": "–"}[str(alert["state"])]
    said = f"{alert['message']} {alert['error']}".strip()
    return f"{when:%Y-%m-%d %H:%M}", str(alert["name"]), str(alert["kind"]), sent, plain(said).replace("\n", " ")
