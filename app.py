"""The page: `python app.py`, then http://127.0.0.1:7860. Closing it changes nothing for a run."""

import argparse
import getpass
import os
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path
from typing import NoReturn

from engine import deleting, launch, preparing, store
from engine.home import Home

UNUSABLE: tuple[type[Exception], ...] = (store.StoreError, *store.DatabaseError, OSError)


def main(argv: list[str] | None = None) -> None:
    """Check what can be checked at once, make the database, then serve until Ctrl-C."""
    args = parse(argv)
    password = ask_password(args.host)
    listener = reserve(args.host, args.port)
    try:
        home = Home.at(args.home)
        launch.open_home(home)
    except UNUSABLE as error:
        refuse(f"The home {args.home or ''} cannot be used: {error}")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ["BLUEBERRY_DATA_ROOTS"] = os.pathsep.join(str(Path(root).resolve()) for root in args.data_root)
    serve(home, listener, args, password)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments of CONTRACT.md."""
    parser = argparse.ArgumentParser(
        prog="app.py", description="Blueberry Studio: train a small language model and keep what it says."
    )
    parser.add_argument(
        "--home", metavar="DIR", help="folder with runs.db and checkpoints (default: $BLUEBERRY_HOME, else this folder)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="address to listen on; any but this machine's own needs a password",
    )
    parser.add_argument("--port", type=int, default=7860, metavar="P")
    parser.add_argument(
        "--auth-user", default="blueberry", metavar="U", help="name that goes with the password in $BLUEBERRY_PASSWORD"
    )
    parser.add_argument(
        "--allow-host", nargs="+", action="extend", default=[], metavar="NAME", help="host names that a proxy may use"
    )
    parser.add_argument(
        "--data-root",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="folders from which the page may read texts",
    )
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    return parser.parse_args(argv)


def ask_password(host: str) -> str:
    """The password from the environment or, for a host that others can reach, from the terminal."""
    from ui.guard import is_loopback

    password = os.environ.get("BLUEBERRY_PASSWORD", "")
    if not password and not is_loopback(host):
        if sys.stdin.isatty():
            password = getpass.getpass("Password for this page: ")
        if not password:
            refuse(
                f"Others can reach {host}, so the page needs a password: set BLUEBERRY_PASSWORD, or leave --host "
                "out and use an SSH tunnel."
            )
    return password


def reserve(host: str, port: int) -> socket.socket:
    """Bind the port before the slow imports, so that a second app fails at once."""
    if not 0 <= port <= 65535:
        refuse(f"--port {port} must be from 0 to 65535.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it. asyncio sets it only where a socket names its protocol, and without it each
        # answer waits 40 ms until the browser acknowledges its headers (Nagle, RFC 896; delayed ACKs, RFC 1122).
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        refuse(
            f"Port {port} on {host} cannot be used ({error.strerror}). If Blueberry Studio runs already, open "
            f"http://{host}:{port}, else choose another with --port."
        )
    return listener


def serve(home: Home, listener: socket.socket, args: argparse.Namespace, password: str) -> None:
    """Build the page and answer requests until Ctrl-C."""
    import uvicorn

    from engine.talk import Talker
    from ui.server import create_app

    app = create_app(
        home,
        launch=launch,
        talker=Talker(home),
        preparing=preparing,
        hosts=(args.host, *args.allow_host),
        user=args.auth_user,
        password=password,
        ahead=True,
    )
    # Open pages hold their event streams; without a limit Ctrl-C would wait for them.
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
    threading.Thread(target=greet, args=(server, listener, args), daemon=True).start()
    threading.Thread(target=finish_deletions, args=(home,), daemon=True).start()
    server.run(sockets=[listener])
    print("The page is closed. A model that trains goes on; python app.py shows it again.", flush=True)


def finish_deletions(home: Home) -> None:
    """Remove what is left of runs whose deletion was interrupted; nobody waits for it."""
    try:
        for problem in deleting.finish(home).values():
            print(f"Not all of a deleted run is removed: {problem}.", file=sys.stderr)
    except UNUSABLE as error:
        print(f"What is left of deleted runs stays until the next start: {error}", file=sys.stderr)


def greet(server: object, listener: socket.socket, args: argparse.Namespace) -> None:
    """Print the address and open the browser once the page answers."""
    while not getattr(server, "started", False):
        time.sleep(0.02)
    host = f"[{args.host}]" if ":" in args.host else args.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    print(f"Blueberry Studio is open at {address}  (Ctrl-C closes the page; a running model goes on)", flush=True)
    if not args.no_open:
        webbrowser.open(address)


def refuse(sentence: str) -> NoReturn:
    """End with one clear line."""
    print(sentence, file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
