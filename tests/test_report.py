"""engine/report.py: a report tells what was measured, says where, and nothing that a text in it wants is done."""

import json
import re
import struct
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from report_runs import BATCH, CARD, NOW, add_curves, finish, give_card, seedling
from sqlite_utils import Database
from ui_helpers import add_answer, add_points, make_run

from engine import config, money, store
from engine.__main__ import main
from engine.home import PROJECT, Home
from engine.money import Price
from engine.report import Report, file_name, make_report
from engine.report_card import header
from engine.report_document import Command, Sentence, Table

HOSTILE = "</title></style><script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>\" onload=\"hurt()"
BREAKER = "```\n````\n~~~\n|x|\n# h\n![a](http://evil.example/x.png) [b](javascript:hurt()) <b>c</b> $x$ \u202e"
OWN_LINK = ("a", "http://evil.example/x.")
"""What a person may write as a link is one, and no picture."""


def report_of(home: Home, db: Database, run_id: str) -> Report:
    return make_report(home, db, store.get_run(db, run_id), NOW)


def cells(report: Report, name: str) -> dict[str, tuple[str, ...]]:
    """The rows of a section's tables by their first cell."""
    section = next(one for one in report.document.sections if one.name == name)
    tables = [part for part in section.parts if isinstance(part, Table)]
    return {row[0]: row[1:] for table in tables for row in table.rows}


def commands(report: Report) -> list[str]:
    section = next(one for one in report.document.sections if one.name == "reproduce")
    return [part.command for part in section.parts if isinstance(part, Command)]


def test_a_run_without_measurements_has_no_figures(home: Home, db: Database) -> None:
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", "new", "cpu")

    report = report_of(home, db, run_id)

    text = report.markdown()
    assert report.document.interim == "Interim report: new is not at its end. Step 0 of 733 was reached."
    assert "new, a model of 3.4 M parameters, has read nothing yet." in text
    assert report.picture() == b"" and "training.png" not in {*report.files(), text}
    assert cells(report, "metrics") == cells(report, "cost") == {}
    assert set(cells(report, "environment")) == {"Device"}
    assert [row[0] for row in cells(report, "comparison").values()].count("–") == 5
    for absent in ("Energy", "$", "nan", "None", "Hall of fame", "Ended", "Began"):
        assert absent not in text, absent
    assert "model-index" not in report.card() and "metrics:" not in report.card()


def test_each_figure_appears_only_once_it_is_measured(home: Home, db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 10)
    db.conn.execute("UPDATE evals SET val_accuracy = NULL, val_bits_per_byte = NULL WHERE run_id = ?", [run_id])
    report = report_of(home, db, run_id)
    assert set(cells(report, "metrics")) == {"Training loss", "Validation loss", "Perplexity"}
    assert "guesses" not in report.document.summary
    assert report.facts.curves == ("training loss", "learning rate"), "one evaluation makes no curve"

    db.conn.execute("UPDATE evals SET val_loss = NULL WHERE run_id = ?", [run_id])
    assert set(cells(report_of(home, db, run_id), "metrics")) == {"Training loss"}
    assert "was not measured yet" in report_of(home, db, run_id).markdown()


def test_a_report_is_summed_up_in_true_sentences(home: Home, db: Database) -> None:
    run_id = make_run(db)
    add_points(db, run_id, 1, 10)

    def summary(**state: object) -> str:
        store.update_state(db, run_id, **state)
        return report_of(home, db, run_id).document.summary

    read = "one, a model of 3.4 M parameters, has so far read 41 k of 3 M tokens of starter in 75 s."
    assert summary(elapsed_seconds=75.0) == (
        f"{read} On unseen text its loss is 8.000; it guesses 10.0% of the tokens right. The published Blueberry-Nano, "
        "44 times its size and 12,207 times its age, reached 3.194 and 40.2% on a text of its own in tokens of its own."
    )
    assert "has read all of its 3 M tokens of starter in 4 min. On" in summary(
        status="finished", tokens=3_002_368, elapsed_seconds=240.0
    )
    assert "read 41 k of 3 M tokens of starter, then it was stopped. On" in summary(
        status="stopped", tokens=40_960, elapsed_seconds=0.0
    )
    assert ", then it crashed. On" in summary(status="crashed")
    assert summary(status="queued", tokens=0) == "one, a model of 3.4 M parameters, has read nothing yet."


def test_money_and_energy_only_where_they_are_known(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run = seedling(home, db, monkeypatch)
    assert cells(report_of(home, db, run["id"]), "cost") == {
        "Price of the machine": ("$0.36 an hour", "given by a person"),
        "Cost": ("$0.034", "price by wall-clock time of its processes"),
        "Cost of a million tokens": ("$0.011", "cost by tokens seen"),
    }

    money.set_price(db, None, run["id"])
    assert cells(report_of(home, db, run["id"]), "cost") == {}
    assert "energy and the price in money" in report_of(home, db, run["id"]).markdown()

    store.update_state(db, run["id"], joules=360_000.0)
    found = cells(report_of(home, db, run["id"]), "cost")
    assert found == {
        "Energy": ("0.10 kWh", "measured at the GPU"),
        "Energy of a million tokens": ("33 Wh", "energy by tokens seen"),
    }
    money.set_price(db, Price(per_kwh=0.3, watts=100.0), run["id"])
    found = cells(report_of(home, db, run["id"]), "cost")
    assert found["Energy besides"] == ("9.2 Wh", "from the power that a person gave, not measured")
    assert "Energy of a million tokens" not in found


def test_cost_and_energy_of_a_fork_are_its_own(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run = seedling(home, db, monkeypatch)
    money.set_price(db, Price(per_hour=3.6), run["id"])
    store.update_state(db, run["id"], process_seconds=1000.0, joules=360_000.0)
    db.conn.execute("UPDATE runs SET parent_step = 489 WHERE id = ?", [run["id"]])  # it has read 999,424 tokens itself

    report = report_of(home, db, run["id"])

    assert cells(report, "cost") == {
        "Price of the machine": ("$3.60 an hour", "given by a person"),
        "Cost since the fork": ("$1.00", "price by wall-clock time of its processes"),
        "Cost of a million tokens": ("$1.00", "cost by tokens seen since the fork"),
        "Energy since the fork": ("0.10 kWh", "measured at the GPU"),
        "Energy of a million tokens": ("0.10 kWh", "energy by tokens seen since the fork"),
    }
    machine = cells(report, "environment")
    assert machine["Time worked"][1] == (
        "measured, in one attempt since the fork and in its parent's before it, without pauses"
    )
    assert machine["Time of its processes"][1] == "measured by the clock since the fork, pauses included"


def test_the_published_figures_are_marked_and_their_count_is_told(home: Home, db: Database) -> None:
    text = report_of(home, db, make_run(db)).markdown()

    assert "Blueberry-Nano (published)" in text and "500 M counted" in text
    assert "It was published as trained on 1 B tokens; counted are 500 M: the log ends at micro-batch 61,035" in text
    assert "Radford et al., Improving Language Understanding by Generative Pre-Training, 2018" in text
    assert "117 M" in text and "about 5 GB" in text and "about 1 month on 8 GPUs" in text


def test_a_published_run_has_no_report_here(home: Home, db: Database) -> None:
    with pytest.raises(store.Refused, match="published elsewhere"):
        report_of(home, db, store.REFERENCE_ID)


def test_a_fork_names_its_parents_and_what_was_changed(home: Home, db: Database) -> None:
    parent = make_run(db, "elder", "mps")
    store.update_state(db, parent, status="finished")
    chosen = config.load_preset("seedling", {"optimizer.muon_lr": 0.01})
    child = store.create_run(db, chosen, "seedling", "younger", "cpu")
    db.conn.execute("UPDATE runs SET parent_run_id = ?, parent_step = 400 WHERE id = ?", [parent, child])
    with store.writing(db):
        store.add_changes(db, child, 400, {"eval.every": 10})
        store.add_changes(db, child, 500, {"rate_factor": 0.5})
        store.add_changes(db, child, 600, {"train.tokens": 4_005_888, "rate_factor": 0.1234567})

    report = report_of(home, db, child)

    assert commands(report) == [
        "python -m engine start --preset seedling --name elder",
        "python -m engine fork elder --step 400 --name younger --set optimizer.muon_lr=0.01",
        "python -m engine set younger rate_factor=0.5",
        "python -m engine set younger train.tokens=4005888",
        "python -m engine set younger rate_factor=0.1234567",
        "python -m engine report younger --out report",
    ]
    assert cells(report, "identity")["Forked"] == ("from elder as it was at step 400",)


def test_a_fork_whose_parent_was_deleted_says_so(home: Home, db: Database) -> None:
    parent = make_run(db, "elder", "mps")
    child = make_run(db, "younger")
    db.conn.execute("UPDATE runs SET parent_run_id = ?, parent_step = 400 WHERE id = ?", [parent, child])
    store.hide_run(db, store.get_run(db, parent))

    text = report_of(home, db, child).markdown()

    assert "that run was deleted. So this does not make it again." in text


def test_no_folder_of_this_machine_is_told(home: Home, db: Database) -> None:
    chosen = config.load_preset("seedling", {"data.tokenizer": f"{home.path}/words of mine/tokenizer.json"})
    run_id = store.create_run(db, chosen, "seedling", "one", "cpu")
    add_curves(db, run_id, 40)
    finish(db, run_id, "failed", 40)
    store.update_state(db, run_id, error=f"ValueError: {home.path}/datasets/a.bin and '/srv/my texts/b.txt' are bad")
    recipe = {"sources": [{"where": f"{home.path}/texts"}], "tokenizer": "/srv/tokenizer.json"}
    made = (
        f"python -m engine prepare starter --source '{home.path}/my texts,weight=0.2' --tokenizer /srv/tokenizer.json"
    )
    give_card(home, "starter", CARD | {"recipe": recipe, "command": made})

    report = report_of(home, db, run_id)

    for name, content in report.files().items():
        if not name.endswith(".png"):
            for folder in (str(home.path), str(PROJECT), "/srv", "my texts/"):
                assert folder not in content.decode(), (name, folder)
    assert commands(report)[:2] == [
        "python -m engine prepare starter --source 'path/to/my texts,weight=0.2' --tokenizer path/to/tokenizer.json",
        "python -m engine start --preset seedling --name one --set data.tokenizer=path/to/tokenizer.json",
    ]


class Tags(HTMLParser):
    """The elements of a page, and what is addressed by them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.to: set[tuple[str, str]] = set()
        self.handlers: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            self.handlers |= {name} if name.startswith("on") else set()
            self.to |= {(tag, (value or "")[:22])} if name in ("src", "srcset", "href") else set()


def poisoned(home: Home, db: Database, patch: pytest.MonkeyPatch) -> str:
    """A run all of whose texts are hostile."""
    run_id = str(seedling(home, db, patch)["id"])
    for column in ("name", "preset", "dataset", "note"):
        db.conn.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", [f"{HOSTILE}{BREAKER}", run_id])
    db.conn.execute("UPDATE samples SET prompt = ?, text = ? WHERE run_id = ?", [BREAKER, HOSTILE + BREAKER, run_id])
    db.conn.execute("UPDATE archive SET title = ?, note = ?, category = ?", [HOSTILE, BREAKER, HOSTILE])
    store.update_state(db, run_id, environment={"device_name": HOSTILE + BREAKER}, error=HOSTILE, status="failed")
    for block, longest in store.REPORT_BLOCKS.items():
        store.set_report_block(db, run_id, block, HOSTILE[:longest] if longest < 1000 else BREAKER + HOSTILE)
    return run_id


def test_hostile_texts_are_texts_in_the_page(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = Tags()
    tags.feed(report_of(home, db, poisoned(home, db, monkeypatch)).html())

    assert not tags.seen & {"script", "b", "iframe", "object"} and not tags.handlers
    assert tags.to == {(tag, "data:image/png;base64,") for tag in ("img", "source")} | {OWN_LINK}
    assert "article" in tags.seen


def test_hostile_texts_are_texts_in_markdown_and_card(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from markdown_it import MarkdownIt

    report = report_of(home, db, poisoned(home, db, monkeypatch))
    for text in (report.markdown(), report.card().split("\n---\n", 1)[1]):
        tags = Tags()
        tags.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))
        assert not tags.seen & {"script", "b", "iframe", "object"} and not tags.handlers, tags.seen
        assert tags.to <= {("img", "training.png"), OWN_LINK}
        assert not re.search(r"(?<!\\)\$", re.sub(r"(?s)(`{3,}).*?\n\1\n", "", text)), "nothing is mathematics"


def test_the_header_of_the_card_is_yaml_that_the_hub_reads(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = seedling(home, db, monkeypatch)
    give_card(home, "starter", CARD | {"recipe": {"sources": [{"where": "hub:roneneldan/TinyStories"}]}})
    facts = report_of(home, db, run["id"]).facts
    told = yaml.safe_load(header(facts).strip("-\n"))
    assert "license" not in told and "language" not in told
    assert told["datasets"] == ["roneneldan/TinyStories"] and told["metrics"] == ["perplexity", "accuracy"]
    result = told["model-index"][0]["results"][0]
    assert {one["type"]: one["value"] for one in result["metrics"]}["loss"] == pytest.approx(3.755872, abs=1e-6)

    store.set_report_block(db, run["id"], "licence", "apache-2.0")
    store.set_report_block(db, run["id"], "language", "en, fr")
    told = yaml.safe_load(header(report_of(home, db, run["id"]).facts).strip("-\n"))
    assert (told["license"], told["language"]) == ("apache-2.0", ["en", "fr"])
    hostile = yaml.safe_load(header(report_of(home, db, poisoned_again(db, run["id"])).facts).strip("-\n"))
    assert hostile["model-index"][0]["name"].startswith("</title>") and set(hostile) == set(told)


def poisoned_again(db: Database, run_id: str) -> str:
    db.conn.execute("UPDATE runs SET name = ? WHERE id = ?", [f"{HOSTILE}\n- x: {BREAKER}: '\\", run_id])
    return run_id


def test_pictures_are_drawn_without_a_warning_in_both_looks(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of(home, db, seedling(home, db, monkeypatch)["id"])
    light, dark = report.picture(), report.picture("dark")

    assert light != dark and light == report.picture()
    for picture in (light, dark):
        assert picture.startswith(b"\x89PNG") and struct.unpack(">II", picture[16:24]) == (1440, 900)


def test_a_long_run_is_averaged_and_numbers_that_are_none_are_left_out(home: Home, db: Database) -> None:
    run_id = make_run(db)
    add_curves(db, run_id, 2000)
    db.conn.execute("UPDATE metrics SET train_loss = NULL WHERE step < 10")
    loss = report_of(home, db, run_id).curves.train_loss

    assert loss is not None and len(loss.values) == 400
    assert loss.tokens[0] == 11.5 * BATCH and 3.7 < loss.values[-1] < loss.values[0] < 8.3


def test_only_some_exhibits_of_a_category_are_shown(home: Home, db: Database) -> None:
    run_id, other = make_run(db), make_run(db, "other", "mps")
    for number in range(15):
        store.keep(db, add_answer(db, run_id, f" {number}"), "good", f"Title {number}")
    store.keep(db, add_answer(db, other, " of another run"), "strange", "Not mine")

    report = report_of(home, db, run_id)

    assert [(room.category, len(room.exhibits), room.more) for room in report.facts.rooms] == [("The Good", 12, 3)]
    assert "3 more are in the time capsule." in report.markdown() and "Not mine" not in report.markdown()


def test_settings_of_an_exhibit_that_changed_something_are_told(home: Home, db: Database) -> None:
    run_id = make_run(db)
    store.keep(db, add_answer(db, run_id, " a"), "good", "Plainly asked")
    more = {"min_p": 0.05, "repetition_penalty": 1.2, "stop": '["The end"]'}
    store.keep(db, add_answer(db, run_id, " b", **more), "good", "Asked for more")

    text = report_of(home, db, run_id).markdown()

    assert "Asked with seed 7, temperature 0.8, top-k 0, top-p 0.95, 80 tokens at most." in text
    assert 'min-p 0.05, repetition penalty 1.2, until it said "The end", 80 tokens at most.' in text


def test_blocks_are_kept_changed_and_taken_away(home: Home, db: Database) -> None:
    run_id = make_run(db)
    store.set_report_block(db, run_id, "title", " My first model ", before="")
    store.set_report_block(db, run_id, "learned", "a\r\nb")
    assert store.report_blocks(db, run_id) == {"title": "My first model", "learned": "a\nb"}
    assert report_of(home, db, run_id).document.title == "My first model"

    with pytest.raises(store.Refused, match="changed in another window"):
        store.set_report_block(db, run_id, "title", "Mine", before="")
    store.set_report_block(db, run_id, "title", "", before="My first model")
    assert store.report_blocks(db, run_id) == {"learned": "a\nb"}
    for block, text, words in (
        ("story", "x", "is none of them"),
        ("title", "x" * 121, "takes 120 characters; these are 121"),
        ("author", "a\nb", "is one line"),
    ):
        with pytest.raises(store.Refused, match=words):
            store.set_report_block(db, run_id, block, text)
    with pytest.raises(store.Refused, match="published elsewhere"):
        store.set_report_block(db, store.REFERENCE_ID, "title", "x")


def test_blocks_go_with_their_run(home: Home, db: Database) -> None:
    run_id = make_run(db)
    store.set_report_block(db, run_id, "author", "Ada")
    assert store.count_rows(db, run_id)["report_blocks"] == 1
    db.conn.execute("DELETE FROM commands")
    store.hide_run(db, store.get_run(db, run_id))
    while store.remove_some(db, run_id):
        pass
    assert store.remove_run(db, run_id) and store.report_blocks(db, run_id) == {}


def test_the_zip_has_the_markdown_and_what_belongs_to_it(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of(home, db, seedling(home, db, monkeypatch)["id"])

    with zipfile.ZipFile(BytesIO(report.zipped())) as found:
        assert found.namelist() == ["report.md", "training.png", "MODEL_CARD.md"]
        assert "![Curves" in found.read("report.md").decode()


def test_names_of_downloads_are_plain(db: Database) -> None:
    run = store.get_run(db, make_run(db))
    assert file_name(run, "report.html") == "one-report.html"
    assert file_name(run | {"name": '../"\r\n'}, "report.html") == "run-report.html"


def test_the_command_line(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    seedling(home, db, monkeypatch)
    words = ["report", "seedling-1", "--home", str(home.path), "--out", str(tmp_path / "out")]
    assert main([*words, "--text", "author=Ada", "--text", "learned=That **boats** talk."]) == 0
    names = ["report.md", "report.html", "training.png", "MODEL_CARD.md"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in names]
    assert "That **boats** talk." in (tmp_path / "out" / "report.md").read_text()

    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["interim"] is False and [Path(path).name for path in told["paths"]] == names

    for more, line in (
        (["--text", "author"], "must be BLOCK=TEXT"),
        (["--text", "story=x"], "is none of them"),
        (["--out", str(home.database)], "is a file"),
    ):
        assert main([*words, *more]) == 1
        assert line in capsys.readouterr().err


def test_an_interim_report_says_so_on_the_command_line(
    home: Home, db: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_id = make_run(db, "half")
    finish(db, run_id, "stopped", 300)
    assert main(["report", "half", "--home", str(home.path), "--out", str(tmp_path / "out")]) == 0

    assert capsys.readouterr().out.startswith(
        "Interim report: half is stopped and has not come to its end. Step 300 of 733 was reached.\n"
    )
    assert "Metrics so far" in (tmp_path / "out" / "report.md").read_text()


def test_the_page_and_the_command_line_start_without_matplotlib() -> None:
    code = "import sys, app, ui.server, engine.commands, engine.report; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_notes_are_sentences(home: Home, db: Database) -> None:
    for section in report_of(home, db, make_run(db)).document.sections:
        for part in section.parts:
            assert not isinstance(part, Sentence) or part.text[-1] in ".:", part.text
