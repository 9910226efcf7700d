"""Drive Blueberry Studio from a script: every API name, once, with gradio_client (it comes with gradio).

Start the app, then:

    python docs/api_example.py http://127.0.0.1:7860
    python docs/api_example.py http://127.0.0.1:7860 --preset seedling --set train.tokens=400000

A refusal arrives as gradio_client.exceptions.AppError, with one sentence that says what is wrong.
"""

import argparse
import json
import time
from typing import Any

from gradio_client import Client

ENDED = ("finished", "stopped", "failed", "diverged", "crashed")


def main() -> None:
    """Start a run, stop and resume it, ask it something, keep the answer and find it again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:7860")
    parser.add_argument("--preset", default="seedling")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by its dotted name"
    )
    given = parser.parse_args()
    client = Client(given.address, verbose=False)

    # Values may be texts as one types them: "1M" is a million.
    overrides = dict(pair.split("=", 1) for pair in given.set)
    run = client.predict(given.preset, "from-a-script", json.dumps(overrides), api_name="/start_run")
    print(f"started {run}")

    wait(client, run, lambda status: status["step"] >= 1 or status["status"] in ENDED)
    client.predict(run, api_name="/stop_run")  # asks; the save takes a moment
    print(f"asked to stop: {wait(client, run, ended)['status']}")
    client.predict(run, api_name="/resume_run")  # goes on exactly where it stopped
    print(f"resumed: {wait(client, run, ended)['status']}")

    # run, step (-1: the newest weights), prompt, max_tokens, temperature, top_k, top_p, seed
    job = client.submit(run, -1, "Once upon a time", 40, 0.8, 0, 0.95, 7, api_name="/generate")
    pieces = list(job)  # each is the whole continuation so far; loop over the job to see them as they come
    print(f"said: {pieces[-1]!r}")

    # The same with any settings, by name: here what ends the answer, and no word said again and again.
    settings = {"max_tokens": 40, "min_p": 0.05, "repetition_penalty": 1.2, "stop": [".", "\n"]}
    sentence = list(client.submit(run, -1, "Once upon a time", json.dumps(settings), api_name="/generate_with"))
    print(f"its first sentence: {sentence[-1]!r}")

    sample = client.predict(run, 0, api_name="/list_samples")[-1]
    exhibit = client.predict(sample["id"], "strange", "Said to a script", "", api_name="/archive_sample")
    found = client.predict("said to a scr", run, "strange", api_name="/search_samples")
    print(f"kept as exhibit {exhibit}; found {found['total']}")

    for one in client.predict(api_name="/list_runs"):
        print(f"{one['id']:>20}  {one['name']:<20} {one['status']}")


def ended(status: dict[str, Any]) -> bool:
    """Whether a run does nothing any more."""
    return status["status"] in ENDED


def wait(client: Client, run: str, until: Any) -> dict[str, Any]:
    """The status of a run once `until` is true of it, asked for twice a second."""
    while True:
        status: dict[str, Any] = client.predict(run, api_name="/run_status")
        if until(status):
            return status
        time.sleep(0.5)


if __name__ == "__main__":
    main()
