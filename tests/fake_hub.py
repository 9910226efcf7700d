"""A hub of datasets on a loopback port: as much of the real one's protocol as its libraries ask for."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Repository:
    """One dataset: its commits, the newest last, each with all files."""

    commits: list[dict[str, bytes]]
    gated: bool = False
    statuses: dict[str, int] = field(default_factory=dict)
    """What is answered to whoever reads one of the files, where it is not its bytes."""
    drops: dict[str, list[int]] = field(default_factory=dict)
    """Of a file, which of its readings (from 0) break off in the middle of the answer."""
    read: dict[str, int] = field(default_factory=dict)
    """How often each file was read."""
    card: dict[str, Any] = field(default_factory=dict)

    def shas(self) -> list[str]:
        """A name of 40 digits for each commit."""
        return [hashlib.sha1(str(number).encode()).hexdigest() for number in range(len(self.commits))]

    def commit(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit of a revision with its files."""
        shas = self.shas()
        sha = shas[-1] if revision == "main" else revision
        return (sha, self.commits[shas.index(sha)]) if sha in shas else None


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would wait for each other for 40 ms
    repositories: dict[str, Repository]
    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the console."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _answer(self, body: str = "") -> None:
        url = urlsplit(self.path)
        self.asked.append(f"{self.command} {url.path}")
        match unquote(url.path).strip("/").split("/"):
            case ["api", "datasets", owner, name, *rest]:
                self._api(f"{owner}/{name}", rest, body, parse_qs(url.query))
            case ["datasets", owner, name, "resolve", revision, *path]:
                self._file(f"{owner}/{name}", revision, "/".join(path))
            case ["login", *_]:
                self._send(200, b"<html>Welcome to this hotel</html>", {"Content-Type": "text/html"})
            case _:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit; answered already when there is none."""
        if name not in self.repositories:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return None
        found = self.repositories[name].commit(revision)
        if found is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return found

    def _api(self, name: str, rest: list[str], body: str, query: dict[str, list[str]]) -> None:
        what, revision, below = (*rest, "revision", "main")[0], (*rest, "", "")[1] or "main", "/".join(rest[2:])
        if (found := self._commit(name, revision)) is None:
            return
        sha, files = found
        entries = [
            {"type": "file", "path": path, "size": len(raw), "oid": hashlib.sha1((sha + path).encode()).hexdigest()}
            for path, raw in files.items()
        ]
        folders = {path.rsplit("/", 1)[0] for path in files if "/" in path}
        entries += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders]
        if what == "paths-info":
            wanted = parse_qs(body).get("paths") or json.loads(body)["paths"]
            self._json([entry for entry in entries if entry["path"] in wanted])
        elif what == "tree":
            deep = query.get("recursive", ["false"])[0].lower() == "true"
            inside = [entry for entry in entries if not below or str(entry["path"]).startswith(f"{below}/")]
            if not inside:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            prefix = len(below) + 1 if below else 0
            self._json([entry for entry in inside if deep or "/" not in str(entry["path"])[prefix:]])
        else:
            repository = self.repositories[name]
            self._json(
                {
                    "id": name,
                    "sha": sha,
                    "private": False,
                    "gated": "manual" if repository.gated else False,
                    "cardData": repository.card,
                    "siblings": [{"rfilename": path} for path in files],
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                }
            )

    def _file(self, name: str, revision: str, path: str) -> None:
        if (found := self._commit(name, revision)) is None:
            return
        sha, files = found
        if self.repositories[name].gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        elif path not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
        elif path in self.repositories[name].statuses:
            self._send(self.repositories[name].statuses[path], b"<html>", {})
        else:
            raw, status, headers = files[path], 200, {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
            headers["ETag"] = f'"{hashlib.sha1((sha + path).encode()).hexdigest()}"'
            if part := self.headers.get("Range"):
                begin, _, end = part.removeprefix("bytes=").partition("-")
                last = min(int(end or len(raw)), len(raw) - 1)
                headers["Content-Range"] = f"bytes {begin}-{last}/{len(raw)}"
                raw, status = raw[int(begin) : last + 1], 206
            if self.command == "GET" and self._drops(self.repositories[name], path):
                raw = raw[: len(raw) // 2]
                headers["Content-Length"] = str(2 * len(raw) + 1)  # and then nothing more comes
                self.close_connection = True
            self._send(status, raw, headers)

    @staticmethod
    def _drops(repository: Repository, path: str) -> bool:
        number = repository.read.get(path, 0)
        repository.read[path] = number + 1
        return number in repository.drops.get(path, ())

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)


@contextlib.contextmanager
def serving(repositories: dict[str, Repository]) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub with these datasets, and the requests that came to it."""
    asked: list[str] = []
    handler = type("Answers", (_Answers,), {"repositories": repositories, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
