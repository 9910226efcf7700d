"""Exact de-duplication in flat memory, through kills and growth."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.data import seen
from engine.data.seen import Seen
from engine.store import Refused


def digest(word: object) -> bytes:
    return hashlib.blake2b(str(word).encode(), digest_size=seen.DIGEST).digest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen.bin"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that grow often."""
    monkeypatch.setattr(seen, "FIRST_BITS", 4)
    monkeypatch.setattr(seen, "TAIL", 32)
    monkeypatch.setattr(seen, "_BLOCK", 16)


def test_only_the_first_of_equal_documents_is_new(path: Path) -> None:
    table = Seen(path)
    found = [table.is_new(digest(word), number) for number, word in enumerate("abacab")]
    assert found == [True, True, False, True, False, False]
    assert len(table) == 3
    table.close()


def test_it_is_all_there_when_it_is_opened_again(path: Path) -> None:
    table = Seen(path)
    assert all(table.is_new(digest(number), number) for number in range(1000))
    table.close()
    again = Seen(path)
    assert len(again) == 1000
    assert not any(again.is_new(digest(number), 1000 + number) for number in range(1000))
    assert again.is_new(digest("other"), 2000)
    again.close()


def test_repeated_documents_of_a_killed_job_are_new_again_and_their_twins_are_not(path: Path) -> None:
    """Documents 4 to 9 are read a second time; 7 is equal to 2, and 8 to 5."""
    words = ["a", "b", "c", "d", "e", "f", "g", "c", "f", "h"]
    table = Seen(path)
    first = [table.is_new(digest(word), number) for number, word in enumerate(words)]
    table.close()
    again = Seen(path)
    second = [again.is_new(digest(words[number]), number) for number in range(4, 10)]
    assert second == first[4:] == [True, True, True, False, False, True]
    assert len(again) == 8
    again.close()


def test_an_entry_of_a_later_document_gives_way_to_the_earlier_one(path: Path) -> None:
    table = Seen(path)
    assert table.is_new(digest("x"), 9)
    assert table.is_new(digest("x"), 4)
    assert not table.is_new(digest("x"), 5)
    assert len(table) == 1
    table.close()


@pytest.mark.usefixtures("small")
def test_it_grows_and_forgets_nothing(path: Path) -> None:
    table, sizes = Seen(path), set()
    for number in range(3000):
        assert table.is_new(digest(number), number)
        sizes.add(path.stat().st_size)
        if number % 100 == 0:
            assert not any(table.is_new(digest(known), number + 1) for known in range(number + 1))
    assert len(sizes) == 10, "2^4 to 2^13 slots"
    assert len(table) == 3000
    assert [table.is_new(digest(number), number) for number in range(3000)] == [True] * 3000, "their own numbers"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    table.close()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("head", [b"\x00" * 8, b"\xff" * 8, b"\x80" + b"\x00" * 7])
def test_digests_that_begin_alike_find_each_other(path: Path, head: bytes) -> None:
    table = Seen(path)
    alike = [head + number.to_bytes(8, "big") for number in range(20)]
    others = [digest(number) for number in range(200)]
    for number, one in enumerate([*alike, *others]):
        assert table.is_new(one, number)
    assert not any(table.is_new(one, 1000) for one in [*alike, *others])
    table.close()


@pytest.mark.usefixtures("small")
def test_a_kill_while_it_grows_leaves_the_old_table(path: Path) -> None:
    table = Seen(path)
    for number in range(9):
        table.is_new(digest(number), number)
    path.with_name(f"{path.name}.larger").write_bytes(b"half")
    table.close()
    again = Seen(path)
    assert [again.is_new(digest(number), 100 + number) for number in range(300)] == [False] * 9 + [True] * 291
    again.close()


def test_what_was_seen_survives_a_kill(path: Path) -> None:
    """No flush, no close: the system keeps what a process wrote."""
    script = (
        "import hashlib, sys, time; from pathlib import Path; from engine.data.seen import Seen\n"
        "table = Seen(Path(sys.argv[1]))\n"
        "for number in range(2000):\n"
        "    table.is_new(hashlib.blake2b(str(number).encode(), digest_size=16).digest(), number)\n"
        "print('done', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"done\n"
        os.kill(process.pid, signal.SIGKILL)
    table = Seen(path)
    assert len(table) == 2000
    assert not any(table.is_new(digest(number), 5000) for number in range(2000))
    table.close()


def test_who_still_reads_after_the_close_is_told(path: Path) -> None:
    """The number of a closed file may be another file's by then: nothing must be written to it."""
    table = Seen(path)
    table.close()
    table.close()
    with pytest.raises(ValueError, match="closed"):
        table.is_new(digest("late"), 0)


@pytest.mark.usefixtures("small")
def test_one_thread_may_flush_while_another_adds(path: Path) -> None:
    table = Seen(path)
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(lambda: sum(table.is_new(digest(number), number) for number in range(5000)))
        while not adding.done():
            table.flush()
    assert adding.result() == len(table) == 5000
    table.close()


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x00" * 24 * 5000, b"\x00" * (24 * (2**16 + 4096) + 1)])
def test_a_file_that_is_no_table_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Refused, match=r"seen.bin, the list of documents that came before, is damaged"):
        Seen(path)


def test_a_full_disk_is_an_error_and_no_kill(path: Path) -> None:
    """A limit on the size of files stands for the disk: the table grows past it, and the old one stays good."""
    script = (
        "import hashlib, resource, signal, sys; from pathlib import Path; from engine.data import seen\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "table = seen.Seen(Path(sys.argv[1]))\n"
        "limit = 3 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try:\n"
        "    for number in range(60000):\n"
        "        table.is_new(hashlib.blake2b(str(number).encode(), digest_size=16).digest(), number)\n"
        "except OSError as error:\n"
        "    print('told', number)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("told "), done.stderr
    table = Seen(path)
    assert len(table) == int(done.stdout.split()[1]) + 1
    table.close()


def test_memory_stays_flat_and_a_document_costs_microseconds(path: Path) -> None:
    table = Seen(path)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for number in range(100_000):
        assert table.is_new(digest(number), number)
    seconds, after = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table.close()
    assert seconds < 10, "100 microseconds a document; some 10 are usual"
    assert after - before < 60_000, "kB: a table of 6 MB was copied in parts"
