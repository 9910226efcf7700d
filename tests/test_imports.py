"""Who may import whom (docs: README, "Files"): read from the source, so that a wrong direction fails at once."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from engine.home import PROJECT

SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|VIEW|INDEX)|"
    r"PRAGMA)\b",
    re.S,
)
TORCH = {
    f"engine.{name}"
    for name in (
        "model",
        "experts",
        "stacks",
        "attention",
        "kernels",
        "fused",
        "batches",
        "gradients",
        "examine",
        "accelerate",
        "optim",
        "loss",
        "checkpoint",
        "decode",
        "decode_plain",
        "decode_triton",
        "export",
        "generate",
        "seat",
        "surprise",
        "certainty",
        "attempt",
        "current",
        "saver",
        "train",
        "device",
        "preflight",
        "trial",
    )
}
DRIVERS = {"sqlite3", "pysqlite3", "apsw", "sqlean"}
WITHOUT_TORCH = [
    "engine.alerts",
    "engine.asking",
    "engine.courier",
    "engine.capsule_pack",
    "engine.capsule_unpack",
    "engine.replay",
    "engine.launch",
    "engine.fork",
    "engine.queue",
    "engine.supervisor",
    "engine.sweep",
    "engine.turns",
    "engine.jobs",
    "engine.preparing",
    "engine.data.job",
    "engine.process",
    "engine.machine",
    "engine.metering",
    "engine.money",
    "engine.endings",
    "engine.doctor",
    "engine.manifest",
    "engine.store",
    "engine.data",
    "engine.tokenizer",
    "engine.pieces",
    "engine.wording",
    "engine.measures",
    "engine.judging",
    "engine.proposals",
    "engine.ngrams",
    "engine.ngrams_build",
    "engine.prompts",
    "engine.suites",
    "engine.home",
    "engine.talk",
    "engine.live",
    "engine.overheard",
    "engine.speaking",
    "engine.ask",
    "engine.answer",
    "engine.reply",
    "engine.probing",
    "engine.projection",
    "engine.worker",
    "engine.commands",
    "engine.gallery",
    "engine.elo",
    "engine.config",
    "engine.model_config",
    "engine.settings",
    "engine.space",
    "engine.schedule",
    "engine.report",
    "ui.page",
    "ui.server",
    "app",
]
"""What the page, the command line and the supervisor are made of: torch alone costs two seconds and 300 MB."""


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    files = [PROJECT / "app.py", *(PROJECT / "engine").rglob("*.py"), *(PROJECT / "ui").rglob("*.py")]
    return {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(path: Path, late: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; `late` includes those inside functions, which run only when they are called."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        if late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def imported(path: Path, late: bool = True) -> set[str]:
    """Dotted names that a file imports; of ours, the modules that they stand for."""
    found: set[str] = set()
    for statement in statements(path, late):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        assert statement.level == 0 and statement.module, f"{path.name}: relative imports hide directions"
        for alias in statement.names:
            whole = f"{statement.module}.{alias.name}"
            found.add(whole if whole in modules() else statement.module)
    return found


def ours(path: Path, late: bool = True) -> set[str]:
    return {name for name in imported(path, late) if name in modules()}


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def part(name: str) -> dict[str, Path]:
    return {module: path for module, path in modules().items() if module == name or module.startswith(f"{name}.")}


@pytest.mark.parametrize("module", part("engine"))
def test_the_engine_knows_nothing_of_the_page(module: str) -> None:
    assert not tops(modules()[module]) & {"gradio", "plotly", "ui", "app", "tests"}


@pytest.mark.parametrize("module", [*part("ui"), "app"])
def test_nothing_in_the_pages_process_imports_torch_or_what_does(module: str) -> None:
    path = modules()[module]

    assert not tops(path) & {"torch", "transformers", "safetensors"}
    assert not ours(path) & TORCH


def test_config_imports_only_its_machinery_and_the_schedule_only_it() -> None:
    assert ours(modules()["engine.settings"]) == set()
    assert ours(modules()["engine.config"]) == {"engine.model_config", "engine.settings"}
    assert ours(modules()["engine.schedule"]) <= {"engine.config"}
    assert ours(modules()["engine.home"]) == set()
    assert ours(modules()["engine.process"]) == set()
    assert ours(modules()["engine.say"]) == set()
    assert ours(modules()["engine.sync"]) == set()


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("engine.loss", {"kernels"}),
        ("engine.experts", {"config"}),
        ("engine.optim", {"config", "experts", "kernels", "stacks"}),
        ("engine.model", {"attention", "config", "experts", "fused", "loss", "stacks"}),
        ("engine.device", {"attention", "config", "gpu"}),
        ("engine.checkpoint", {"optim", "model", "manifest", "sync"}),
        ("engine.retention", {"config"}),
        ("engine.space", {"config", "home", "store"}),
        ("engine.guard", {"recorder"}),
        ("engine.recorder", {"store", "home", "outage", "say"}),
        ("engine.outage", {"store", "say"}),
        ("engine.meter", {"config", "data", "diagnose", "guard", "recorder"}),
        ("engine.tokenizer", {"config", "home", "store"}),
        ("engine.pieces", {"config", "store", "tokenizer"}),
        ("engine.prompts", {"config"}),
        ("engine.ask", {"config"}),
        (
            "engine.export",
            {"checkpoint", "config", "home", "space", "store", "sync", "tokenizer"},
        ),
        (
            "engine.generate",
            {"answer", "ask", "pick", "store", "tokenizer", "checkpoint", "config", "decode", "home", "model", "space"},
        ),
        ("engine.surprise", {"answer", "ask", "generate", "pieces", "store", "tokenizer"}),
        ("engine.answer", {"ask", "config"}),
        ("engine.pick", {"ask"}),
        ("engine.decode", {"ask", "decode_plain", "decode_triton", "model", "pick"}),
        ("engine.decode_plain", {"model"}),
        ("engine.decode_triton", set()),
        ("engine.stacks", set()),
        ("engine.attention", {"config"}),
        ("engine.kernels", set()),
        ("engine.fused", {"attention", "experts", "kernels", "loss", "model"}),
        ("engine.batches", {"attention", "config", "data", "device"}),
        ("engine.gradients", {"batches", "model"}),
        ("engine.accelerate", {"attention", "batches", "config", "device", "gradients", "model", "optim"}),
    ],
)
def test_a_part_of_the_trainer_knows_only_what_it_stands_on(module: str, allowed: set[str]) -> None:
    assert ours(modules()[module]) <= {f"engine.{name}" for name in allowed} | {"engine"}


@pytest.mark.parametrize("module", part("engine.store"))
def test_the_store_stands_on_the_config_and_the_disk_alone(module: str) -> None:
    others = {name for name in ours(modules()[module]) if not name.startswith("engine.store")}

    assert others <= {"engine.config", "engine.sync"}


def test_only_one_file_imports_an_sqlite_driver() -> None:
    found = {
        module for module, path in modules().items() if tops(path) & DRIVERS or "sqlite_utils.utils" in imported(path)
    }

    assert found == {"engine.store.connect"}


def test_only_the_store_writes_sql() -> None:
    found = set()
    for module, path in modules().items():
        constants = [node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)]
        if any(SQL.search(text) for text in constants if isinstance(text, str)):
            found.add(module)

    assert found and all(module.startswith("engine.store.") for module in found)


def test_no_module_needs_itself() -> None:
    """Packages stand for their __init__; what a function imports when it is called is left out."""
    graph = {}
    for module, path in modules().items():
        needed = ours(path, late=False) - {module}
        # A package and its own parts are one: `engine.store.runs` says `from engine.store.connect import ...`.
        graph[module] = {name for name in needed if not module.startswith(f"{name}.")}

    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_tabs_do_not_know_each_other() -> None:
    tabs = {module for module in modules() if module.startswith("ui.") and module.endswith("_tab")}

    assert tabs
    for tab in tabs:
        assert not ours(modules()[tab]) & (tabs - {tab})


def test_the_page_and_the_command_line_start_without_torch() -> None:
    names = [name for name in WITHOUT_TORCH if name in modules()]
    code = f"import sys, {', '.join(names)}; print(*sorted(sys.modules))"

    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60
    )

    assert len(names) > 12
    assert not {"torch", "transformers", "engine.train", "engine.generate", "engine.surprise"} & set(
        found.stdout.split()
    )


def test_an_import_does_nothing_but_define() -> None:
    """No call at the top of a module starts or opens anything; the few that are made there are named here."""
    allowed = {"getLogger", "resolve", "compile", "frozenset", "set", "dict", "tuple", "dtype"}
    for module, path in modules().items():
        for node in tree(path).body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                raise AssertionError(f"{module} calls something when it is imported, line {node.lineno}")
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
                called = node.value.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                assert name in allowed or name[:1].isupper(), f"{module}, line {node.lineno}: {name}()"
