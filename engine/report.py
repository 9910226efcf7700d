"""The milestone report of a run, and its model card: made of the database alone, written in several forms.

engine/report_facts.py reads what was measured, report_sections.py makes a document of it, report_markdown.py,
report_html.py and report_card.py write that; the picture is report_plot.py's. No torch.
"""

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from engine.home import Home
from engine.report_card import card
from engine.report_curves import Curves, read_curves
from engine.report_document import Document
from engine.report_facts import Facts, gather
from engine.report_files import write_files
from engine.report_html import html
from engine.report_markdown import PICTURE, markdown
from engine.report_plot import plot
from engine.report_sections import document
from engine.store import Row

MARKDOWN, HTML, CARD = "report.md", "report.html", "MODEL_CARD.md"


@dataclass(frozen=True)
class Report:
    """A report of a run as it is now."""

    facts: Facts
    document: Document
    curves: Curves

    def markdown(self) -> str:
        """Markdown beside its picture."""
        return markdown(self.document, PICTURE if self.facts.curves else "")

    def html(self) -> str:
        """One page that needs nothing else."""
        return html(self.document, self.picture("light"), self.picture("dark"))

    def card(self) -> str:
        """The README.md of a model on the Hugging Face hub."""
        return card(self.facts, self.document)

    def picture(self, look: str = "light") -> bytes:
        """The training plot as a PNG, b"" where nothing was measured."""
        return plot(self.curves, look) if self.facts.curves else b""

    def files(self, *, page: bool = True) -> dict[str, bytes]:
        """Everything by name; without the `page`, what the Markdown needs."""
        found = {MARKDOWN: self.markdown().encode()}
        found |= {HTML: self.html().encode()} if page else {}
        if picture := self.picture():
            found[PICTURE] = picture
        return found | {CARD: self.card().encode()}

    def zipped(self) -> bytes:
        """The Markdown and what belongs to it, as one file."""
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in self.files(page=False).items():
                file.writestr(name, content)
        return written.getvalue()


def make_report(home: Home, db: Database, run: Row, now: float) -> Report:
    """The report of a run of this studio at `now`; raises Refused for a published one."""
    facts = gather(home, db, run, now)
    return Report(facts, document(facts), read_curves(db, run["id"]))


def write_report(home: Home, db: Database, run: Row, now: float, folder: Path) -> tuple[Report, list[Path]]:
    """The same as files in a folder; raises Refused, and then nothing that was there is changed."""
    report = make_report(home, db, run, now)
    return report, write_files(folder, report.files())


def file_name(run: Row, ending: str) -> str:
    """What a download of a run's report is called."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', run['name']).strip('.-')[:64] or 'run'}-{ending}"
