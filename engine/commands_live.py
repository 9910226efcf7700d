"""What `python -m engine generate RUN@live` does: talk to the run that trains now. engine/__main__.py has the words."""

import argparse
import sys
from contextlib import closing

from engine import launch, overheard, store
from engine.follow import print_json
from engine.home import Home
from engine.phrases import count, plain


def generate(home: Home, given: argparse.Namespace) -> int:
    """Let a run that trains go on with a prompt, between its steps; printed as it grows, with what it cost."""
    names = ("max_tokens", "temperature", "top_k", "top_p", "seed", "min_p", "repetition_penalty", "stop")
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        run = store.find_run(db, given.run.removesuffix("@live"))
    if not given.json:
        print(plain(given.prompt), end="", flush=True)
    shown = ""
    for message in overheard.stream(home, run, given.prompt, **{name: getattr(given, name) for name in names}):
        if not given.json and message["text"].startswith(shown):
            print(plain(message["text"][len(shown) :]), end="", flush=True)
            shown = message["text"]
    if given.json:
        return print_json(message | {"run_id": run["id"], "prompt": given.prompt})
    cost = message.get("training")
    slower = (
        f"; meanwhile training made {count(cost['while'])} tokens a second instead of {count(cost['alone'])}"
        if cost
        else ""
    )
    kept = f"; sample {message['sample_id']}, words only" if message["sample_id"] else ""
    print(f"\n({run['id']} at step {message['step']:,}, {message['new_tokens']} tokens{kept}{slower})", file=sys.stderr)
    return 0
