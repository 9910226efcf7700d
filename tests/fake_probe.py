"""A measurement without torch: says what it is told to on the command line, one option a line of output.

wait        until somebody ends it         lock        takes the device's lock, as the real one does
{...}       prints this line               die         ends as if the system had killed it
orphan      leaves a process behind that keeps the output open
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from engine import process
from engine.home import Home


def main(script: list[str], home: str, device: str) -> None:
    """Do what each word says."""
    held = []
    question = sys.stdin.readline()
    folder = Home.at(home).probe(device)
    for word in script:
        if word == "wait":
            time.sleep(60)
        elif word == "lock":
            held.append(process.hold_lock(folder / "lock"))
            (folder / "process.json").write_text(json.dumps(process.identity()), encoding="utf-8")
        elif word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "orphan":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        elif word == "scratch":
            (folder / "scratch").mkdir()
        elif word == "question":
            Path(folder / "question").write_text(question, encoding="utf-8")
        else:
            print(word, flush=True)


if __name__ == "__main__":
    at = sys.argv.index("--home")
    main(sys.argv[1:at], sys.argv[at + 1], sys.argv[at + 3])
