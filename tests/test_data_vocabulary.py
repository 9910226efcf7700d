"""The tokenizer that a recipe names: bundled, from a file, from a hub (a small one that is played here)."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from engine.config import ConfigError
from engine.data.vocabulary import resolve
from engine.home import PROJECT
from engine.store import Refused
from engine.tokenizer import END, LARGEST_FILE, learn_bpe, vocabulary_size

WAY_OUT = "choose smollm2 or bpe:SIZE, or download its tokenizer.json elsewhere and give the path"


@pytest.fixture(scope="module")
def words() -> str:
    """A small tokenizer.json."""
    return str(learn_bpe(["the cat sat on the mat"], 265).to_str())


@pytest.fixture
def file(tmp_path: Path, words: str) -> Path:
    path = tmp_path / "allowed" / "tokenizer.json"
    path.parent.mkdir()
    path.write_text(words, encoding="utf-8")
    return path


def test_smollm2_needs_no_network() -> None:
    assert vocabulary_size(resolve("smollm2", [])) == 49_152


def test_a_file_or_its_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent.parent)
    for name in (str(file), str(file.parent), "allowed", "./allowed", "allowed/tokenizer.json"):
        assert resolve(name).token_to_id(END) == 0
    assert resolve(str(file), [file.parent]).token_to_id(END) == 0


def test_a_tokenizer_without_our_separator_is_read_too(tmp_path: Path, words: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(words.replace(END, "</s>"), encoding="utf-8")
    assert resolve(str(path)).token_to_id("</s>") == 0


@pytest.mark.parametrize("size", ["bpe:4096", "bpe:300"])
def test_a_tokenizer_that_is_learned_cannot_be_named_alone(size: str) -> None:
    with pytest.raises(ConfigError, match=f"^The tokenizer {size} is learned from a text"):
        resolve(size)


@pytest.mark.parametrize("name", ["bpe:", "bpe:99999999", "bpe:x"])
def test_an_unusable_size_says_what_is_right(name: str) -> None:
    with pytest.raises(ConfigError, match="must be bpe:SIZE with a whole number"):
        resolve(name)


@pytest.mark.parametrize("name", ["", "x y", "a/b/c", "-x", "\0", "a" * 5000, "name\n", "http://x/y", "é/x", "@main"])
def test_what_is_no_name_is_refused_with_what_would_be(name: str) -> None:
    with pytest.raises(ConfigError, match="a name on the hub, smollm2 or bpe:SIZE"):
        resolve(name)


def test_a_path_outside_the_roots_is_refused_whether_there_is_something_or_not(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "link.json").symlink_to(file)
    (other / "tokenizer.json").symlink_to(file)
    inside = other / ".." / "allowed" / "tokenizer.json"
    for path in (file, file.parent, tmp_path / "none.json", other / "link.json", other, inside, Path("/etc/passwd")):
        with pytest.raises(Refused, match="outside the folders that may be read"):
            resolve(str(path), [other])


def test_who_may_read_some_folders_learns_nothing_of_other_files(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """A bare name is one of the hub, whether there is a file of that name or not."""
    monkeypatch.chdir(file.parent.parent)
    monkeypatch.setattr("engine.data.vocabulary._downloaded", lambda name, revision: Path(f"hub/{name}"))
    for name in ("allowed", "nothing"):
        with pytest.raises(Refused, match="is not there"):
            resolve(name, [])


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"^The tokenizer none.json is not there; give the path of a tokenizer.json, a"):
        resolve(str(tmp_path / "none.json"))
    (tmp_path / "half.json").write_text('{"version": "1.0", "model"')
    with pytest.raises(Refused, match=r"^The tokenizer half.json is damaged \(no whole JSON\); give the path of"):
        resolve(str(tmp_path / "half.json"))


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for the models of `answers`; counts what it was asked."""

    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        status, headers, body = self.answers.get(self.path, (404, {"X-Error-Code": "RepoNotFound"}, b""))
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub(words: str) -> Iterator[str]:
    found = {"X-Repo-Commit": "c" * 40, "ETag": '"abc"'}
    Hub.answers = {
        "/owner/good/resolve/main/tokenizer.json": (200, found, words.encode()),
        "/owner/good/resolve/v2/tokenizer.json": (200, found | {"ETag": '"v2"'}, words.encode()),
        "/owner/good/resolve/v9/tokenizer.json": (404, {"X-Error-Code": "RevisionNotFound"}, b""),
        "/owner/bare/resolve/main/tokenizer.json": (404, {"X-Error-Code": "EntryNotFound"}, b""),
        "/owner/gated/resolve/main/tokenizer.json": (403, {"X-Error-Code": "GatedRepo"}, b""),
        "/owner/broken/resolve/main/tokenizer.json": (500, {}, b""),
        "/owner/huge/resolve/main/tokenizer.json": (200, found | {"Content-Length": str(LARGEST_FILE + 1)}, b""),
        "/owner/html/resolve/main/tokenizer.json": (200, found | {"ETag": '"html"'}, b"<html>"),
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def asked(names: list[str], cache: Path, **environment: str) -> dict[str, str]:
    """What becomes of each name in a process of its own, as the library reads its environment only once."""
    script = (
        "import json, sys; from engine.data.vocabulary import resolve; from engine.store import Refused\n"
        "told = {}\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        told[name] = str(resolve(name, []).get_vocab_size())\n"
        "    except Refused as error:\n"
        "        told[name] = str(error)\n"
        "print(json.dumps(told))\n"
    )
    here = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(names)],
        cwd=PROJECT,
        env=here | {"HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_name_on_the_hub_is_read_once_and_kept(hub: str, tmp_path: Path) -> None:
    names = ["owner/good", "owner/good@v2"]
    assert asked(names, tmp_path, HF_ENDPOINT=hub) == dict.fromkeys(names, "265")
    of_models = [line for line in Hub.asked if "/owner/" in line]
    assert {line.split("/")[-1] for line in of_models} == {"tokenizer.json"}, "nothing else of a model is read"
    read = [line for line in Hub.asked if line.startswith("GET /owner/")]
    assert asked(names, tmp_path, HF_ENDPOINT=hub) == dict.fromkeys(names, "265")
    assert [line for line in Hub.asked if line.startswith("GET /owner/")] == read

    offline = asked([*names, "owner/other"], tmp_path, HF_HUB_OFFLINE="1")
    assert [offline[name] for name in names] == ["265", "265"]
    assert offline["owner/other"] == f"The hub cannot be reached, and owner/other was not read here before; {WAY_OUT}."


def test_what_the_hub_does_not_give_is_a_sentence(hub: str, tmp_path: Path) -> None:
    told = asked(
        [f"owner/{name}" for name in ("none", "good@v9", "bare", "gated", "broken", "huge", "html")],
        tmp_path,
        HF_ENDPOINT=hub,
    )
    assert told == {
        "owner/none": "The hub shows no model owner/none: check its name, or log in with `hf auth login`.",
        "owner/good@v9": "owner/good has no revision v9 on the hub; leave it out for the newest.",
        "owner/bare": "owner/bare has no tokenizer.json on the hub, so nothing of it can be used here; give the path "
        "of a tokenizer.json, a name on the hub, smollm2 or bpe:SIZE.",
        "owner/gated": "owner/gated asks for consent before it is read: give it on huggingface.co/owner/gated and log "
        f"in with `hf auth login`, or {WAY_OUT}.",
        "owner/broken": f"The tokenizer owner/broken could not be read from the hub; try again, or {WAY_OUT}.",
        "owner/huge": "The tokenizer.json of owner/huge has 268,435,457 bytes, which is no tokenizer; give the path of "
        "a tokenizer.json, a name on the hub, smollm2 or bpe:SIZE.",
        "owner/html": f"The tokenizer owner/html is damaged (no whole JSON); {WAY_OUT}.",
    }


def test_an_unreachable_hub_is_a_sentence_at_once(tmp_path: Path) -> None:
    told = asked(["owner/good"], tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert told == {"owner/good": f"The hub cannot be reached, and owner/good was not read here before; {WAY_OUT}."}


def test_a_tokenizer_that_loses_the_text_is_refused(tmp_path: Path) -> None:
    """As BERT's: lower case, no blanks; what a model writes with it is no text, and it has no bits per byte."""
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "##s": 2, "naïve": 3}, unk_token="[UNK]"))
    made.save(str(tmp_path / "bert.json"))
    with pytest.raises(Refused, match="not byte-level"):
        resolve(str(tmp_path / "bert.json"))
