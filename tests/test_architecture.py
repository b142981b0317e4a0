"""The house: which room may import which, what an import costs, and what no file may hold."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from unicodedata import normalize

import pytest
import rooms
from tiny_spec import RACE, ROOT, environment

PACKAGE = ROOT / "nnspec"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room, what it may import of the other rooms (a room with all in it, or one module), and why.
ROWS: list[tuple[str, set[str], str]] = [
    ("_version", set(), "a number that every room may read"),
    ("errors", set(), "the base of what every room may raise"),
    ("files", set(), "how every room writes a file"),
    ("reprs", set(), "the reprs of results: the room view is imported by name when one is shown"),
    ("text", set(), "how every room makes text safe to show and to parse"),
    ("templates", {"errors", "files"}, "texts to start from, and how they are written"),
    ("diagnostics", {"errors", "files", "text"}, "anything may have something to say, so it knows nobody"),
    ("syntax", {"diagnostics"}, "a tree has positions and mistakes, no meaning"),
    ("engine", {"errors"}, "a library in its own right"),
    ("native", {"engine", "files"}, "machine code for NumPy calls, whoever makes these"),
    ("data", {"engine", "errors", "files", "text"}, "a data source is a part, declared as the engine's parts are"),
    ("formatting", {"syntax", "diagnostics", "files", "errors"}, "rewrites texts, whatever they mean"),
    ("extensions", {"engine", "errors", "text"}, "parts of other packages: loaded by name, and described for records"),
    ("parts", {"engine", "data"}, "the names that it takes to write parts"),
    (
        "checker",
        {"syntax", "diagnostics", "engine", "data", "errors", "extensions", "text"},
        "holds the text against what parts declare",
    ),
    (
        "compiler",
        {"checker", "engine", "native", "data", "diagnostics", "errors"},
        "turns a program into a plan for the engine",
    ),
    (
        "checking",
        {"checker", "compiler.proofs", "data.source", "diagnostics", "errors", "reprs", "syntax", "text"},
        "checker and compiler joined: whoever has a text, or settings of Python, wants both",
    ),
    (
        "environment",
        {"native", "engine", "extensions", "_version", "errors"},
        "the machine that a run trains on: cores, BLAS threads, versions",
    ),
    ("interrupts", set(), "Ctrl-C, held back while something must not be cut in two"),
    ("statistics", {"engine"}, "numbers and figures compared, wherever they come from"),
    (
        "semantics",
        {"checker.program", "compiler", "engine", "errors", "reprs", "text"},
        "what a program means, as data: every value resolved, identity, and what differs",
    ),
    (
        "results",
        {"errors", "statistics", "checker.program", "compiler", "data", "engine", "environment", "reprs", "text"},
        "what a run gives, in memory, and what can be said of it",
    ),
    (
        "records",
        {
            "results",
            "semantics",
            "statistics",
            "checker",
            "compiler",
            "data",
            "engine",
            "environment",
            "errors",
            "extensions",
            "files",
            "text",
        },
        "runs on disk, written and read back",
    ),
    (
        "training",
        {
            "results",
            "records",
            "checker.program",
            "compiler",
            "data",
            "engine",
            "environment",
            "native",
            "errors",
            "files",
        },
        "trains plans, alone or in groups",
    ),
    (
        "executors",
        {
            "training",
            "results",
            "compiler",
            "data",
            "engine",
            "environment",
            "interrupts",
            "_version",
            "errors",
        },
        "where groups train: this process, others, a cluster",
    ),
    (
        "runner",
        {
            "executors",
            "training",
            "results",
            "records",
            "semantics",
            "statistics",
            "checker",
            "checking",
            "compiler",
            "data",
            "engine",
            "environment",
            "errors",
            "interrupts",
            "native",
            "reprs",
        },
        "a run from start to end: its search, data, gradient checks, lanes, verdicts, record",
    ),
    (
        "analysis",
        {
            "statistics",
            "reprs",
            "runner",
            "compiler",
            "data",
            "engine",
            "checker.program",
            "errors",
            "files",
            "environment",
            "records",
            "results",
            "training",
        },
        "looks at runs and networks that are there, and has them trained only where that is what is looked at",
    ),
    (
        "export",
        {
            "checker.program",
            "compiler",
            "data",
            "diagnostics",
            "engine",
            "environment",
            "errors",
            "files",
            "records",
            "results",
            "semantics",
            "text",
            "_version",
        },
        "networks as files for other programs, run there and compared",
    ),
    (
        "view",
        {
            "analysis",
            "testing",
            "runner",
            "compiler",
            "checker.program",
            "engine",
            "files",
            "errors",
            "reprs",
            "environment",
            "interrupts",
            "records",
            "results",
            "semantics",
            "statistics",
            "training",
            "text",
        },
        "shows results, and has no other business",
    ),
    (
        "api",
        {
            "reprs",
            "diagnostics",
            "engine",
            "data",
            "checker",
            "checking",
            "compiler",
            "semantics",
            "runner",
            "analysis",
            "view",
            "formatting",
            "templates",
            "native",
            "records",
            "results",
            "training",
        },
        "the rooms in order, for Python and the command line alike",
    ),
    (
        "runs",
        {
            "export",
            "checking",
            "semantics",
            "diagnostics",
            "compiler",
            "data",
            "runner",
            "analysis",
            "view",
            "errors",
            "files",
            "records",
            "results",
            "training",
        },
        "what is done with runs on disk, for Python and the command line alike",
    ),
    (
        "notebook",
        {"api", "data.source", "errors", "records.folder", "runner.options", "view"},
        "the magic of notebooks: it takes a cell, calls the api, and shows",
    ),
    (
        "project",
        {
            "extensions",
            "runner.options",
            "api",
            "diagnostics",
            "files",
            "errors",
            "_version",
            "checker.program",
            "compiler.proofs",
            "data.source",
            "engine.metrics",
            "environment",
            "results",
            "runner.gradients",
            "runner.load_data",
            "runner.verdicts",
            "semantics",
            "statistics",
            "training.observer",
            "text",
        },
        "many specs: which files, and the api for each, in several processes; their results as tests, now and before",
    ),
    (
        "benchmark",
        {
            "api",
            "checking",
            "runs",
            "project.inputs",
            "analysis.verify",
            "checker.program",
            "compiler",
            "data.source",
            "diagnostics",
            "environment",
            "errors",
            "files",
            "records",
            "results",
            "runner.drawing",
            "runner.options",
            "statistics",
            "text",
            "training.observer",
            "view",
            "_version",
        },
        "many problems and one set of contestants: a tuned run for each, and what follows from all of them",
    ),
    (
        "cli",
        {
            "benchmark",
            "export.certificate",
            "extensions",
            "runner.options",
            "api",
            "runs",
            "formatting",
            "project",
            "templates",
            "view",
            "diagnostics",
            "data.source",
            "_version",
            "errors",
            "files",
            "interrupts",
            "native",
            "testing",
            "records.folder",
            "records.saved",
            "records.write",
            "results.bench",
            "semantics.values",
            "text",
            "training.observer",
        },
        "no logic: it takes words, calls the api, and shows; it hands access and folders through",
    ),
    (
        "testing",
        {
            "checker",
            "compiler",
            "data",
            "diagnostics",
            "engine",
            "errors",
            "results",
            "runner",
            "semantics",
        },
        "what every part must do, and the runs that show it",
    ),
    (
        "sklearn",
        {"api", "compiler", "data", "native", "results", "runner", "training"},
        "estimators for scikit-learn: the api, and runs that continue in memory",
    ),
    ("__main__", {"cli"}, "`python -m nnspec` is the command line"),
    (
        "",
        {
            "api",
            "runs",
            "formatting",
            "data",
            "engine",
            "view",
            "results.lane",
            "results.run",
            "results.stored",
            "analysis.landscape",
            "benchmark",
            "results.bench",
            "results.tuning",
            "executors.dask_cluster",
            "executors.processes",
            "export.certificate",
            "records.folder",
            "records.reading",
            "runner.drawing",
            "templates",
            "extensions",
            "testing.check",
            "training.checkpoint",
            "_version",
            "errors",
            "diagnostics",
        },
        "the package itself names what is public, lazily",
    ),
]
TABLE = {room: allowed for room, allowed, _ in ROWS}

# Libraries, and the only rooms that may import them.
LIBRARIES = {
    "PIL": {"data"},
    "matplotlib": {"view"},
    "rich": {"view"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "click": {"cli"},
    "distributed": {"executors"},
    "jinja2": {"view"},
    "lark": {"syntax"},
    "llvmlite": {"native"},
    "numba": {"native", "testing"},
    "numpy": {
        "environment",
        "export",
        "engine",
        "native",
        "results",
        "statistics",
        "records",
        "training",
        "executors",
        "runner",
        "analysis",
        "data",
        "compiler",
        "checker",
        "testing",
        "sklearn",
    },
    "platformdirs": {"data", "native"},
    "sklearn": {"sklearn"},
    "pytest": {"testing"},
    "threadpoolctl": {"environment"},
}


@cache
def modules(files: tuple[Path, ...]) -> set[str]:
    """Return the dotted names of files."""
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files}


def nodes(path: Path) -> Iterator[ast.AST]:
    """Return all nodes of a file. They are not kept: those of all files would slow each collection of garbage."""
    return ast.walk(ast.parse(path.read_text("utf-8")))


def room_of(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py") if inside.parts != ("__init__.py",) else ""


@cache
def imports(path: Path) -> list[tuple[int, str]]:
    """Return line and dotted name of everything that a file imports, inside functions and for types too."""
    return [*_imports(path)]


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports name their module in full"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield node.lineno, name if name in modules(tuple(FILES)) else str(node.module)


def breaches(path: Path) -> Iterator[str]:
    room = room_of(path)
    for line, name in imports(path):
        top, *inside = name.split(".")
        if top == "nnspec":
            other = inside[0] if inside else ""
            allowed = {f"{a}." for a in TABLE[room]}
            if inside and other != room and not any(f"{'.'.join(inside)}.".startswith(a) for a in allowed):
                yield f"{path.relative_to(ROOT)}:{line}: {room or 'nnspec'} may not import {name}"
        elif top in LIBRARIES:
            if room not in LIBRARIES[top]:
                yield f"{path.relative_to(ROOT)}:{line}: only {', '.join(LIBRARIES[top])} may import {top}"
        elif top not in sys.stdlib_module_names:
            yield f"{path.relative_to(ROOT)}:{line}: {top} is no dependency"


def test_every_room_is_in_the_table_once() -> None:
    assert len(TABLE) == len(ROWS)
    assert {room_of(path) for path in FILES} == set(TABLE)
    assert all(reason for _, _, reason in ROWS)


def test_the_design_has_the_same_table() -> None:
    """docs/design.md lists the same imports for each room, without the modules that all rooms may use."""
    text = (ROOT / "docs/design.md").read_text("utf-8")
    rows = re.findall(r"^\| `nnspec/(\w+)(?:\.py)?` \|[^|]+\| ([^|]+) \|$", text, re.MULTILINE)
    shown = {room.replace("__init__", ""): set(re.findall(r"[\w.]+", imports)) for room, imports in rows}
    for_all = {"errors", "files", "reprs", "text", "_version"}
    assert shown == {room: allowed - for_all for room, allowed in TABLE.items() if room not in for_all}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    assert list(breaches(path)) == []


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("engine/new.py", "from nnspec.data.source import Split", "engine may not import nnspec.data.source"),
        ("engine/new.py", "import nnspec.runner.run", "engine may not import nnspec.runner.run"),
        ("syntax/new.py", "def f():\n    from nnspec import engine", "syntax may not import nnspec.engine"),
        ("view/new.py", "from nnspec.checker.shapes import chain", "view may not import nnspec.checker.shapes"),
        ("cli/new.py", "from nnspec.runner.run import run_program", "cli may not import nnspec.runner.run"),
        ("cli/new.py", "from nnspec.data import load_mnist", "cli may not import nnspec.data"),
        ("runner/new.py", "from nnspec.view import wording", "runner may not import nnspec.view"),
        ("api.py", "from nnspec.cli import main", "api may not import nnspec.cli"),
        ("runner/new.py", "import matplotlib.pyplot", "only view may import matplotlib"),
        ("engine/new.py", "import torch", "torch is no dependency"),
    ],
)
def test_the_table_sees_breaches(
    file: str, line: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "nnspec"
    (package / file).parent.mkdir(parents=True)
    (package / file).write_text(line)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", package)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    if line.endswith("from nnspec import engine"):
        (package / "engine").mkdir()
        (package / "engine/__init__.py").write_text("")
    monkeypatch.setattr(sys.modules[__name__], "FILES", sorted(package.rglob("*.py")))
    (breach,) = breaches(package / file)
    assert breach.endswith(found)


BACK_REFERENCES = {
    ("nnspec.compiler.plan", "nnspec.compiler.loop"),
    ("nnspec.compiler.plan", "nnspec.compiler.switch"),
}
"""Arrows that may close a circle, both for types only: a plan holds the loop that trains it, which holds the plan."""


def file_arrows(package: Path) -> dict[str, set[str]]:
    """Return which files of a package import which at module level, for types too."""
    return {
        module: {
            name for name in rooms.imports(module, package, in_functions=False) if (module, name) not in BACK_REFERENCES
        }
        for module in rooms.files(package)
    }


def test_no_files_import_each_other_in_a_circle() -> None:
    assert rooms.circles(file_arrows(PACKAGE)) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    """Inside functions neither."""
    assert rooms.circles(rooms.room_arrows()) == []


def test_circles_are_found(tmp_path: Path) -> None:
    files = {
        "a.py": "from nnspec.b import c",
        "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nnspec import d",
        "d.py": "import nnspec.a",
        "e.py": "import nnspec.f",
        "f.py": "def late():\n    from nnspec import e",
    }
    (tmp_path / "nnspec").mkdir()
    for name, text in files.items():
        (tmp_path / "nnspec" / name).write_text(text)
    assert rooms.circles(file_arrows(tmp_path / "nnspec")) == [["nnspec.a", "nnspec.b", "nnspec.d"]]
    assert rooms.circles(rooms.room_arrows(tmp_path / "nnspec")) == [["a", "b", "d"], ["e", "f"]]


def test_back_references_are_there() -> None:
    assert all(other in rooms.imports(module, in_functions=False) for module, other in BACK_REFERENCES)


def test_rooms_are_printed_with_their_arrows() -> None:
    """`python tests/rooms.py`: each room below those that it imports."""
    shown = [line.split() for line in rooms.table().splitlines()[1:]]
    names = [words[0] for words in shown]
    assert len(names) == len(TABLE)
    for place, (_, files, lines, *others) in enumerate(shown):
        assert int(lines) >= int(files) > 0
        assert {other.rstrip(",") for other in others} - {"–"} <= set(names[:place])
    assert "training.train" in rooms.room_table("training")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_benchmarks_import_what_there_is(path: Path) -> None:
    """They are run by hand, so a mismatch with the package would otherwise go unnoticed until then."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nnspec":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                found = hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}")
                assert found, f"{path.name}:{node.lineno}: there is no {alias.name} in {node.module}"


def test_grammars_are_grammars() -> None:
    assert {path.suffix for path in (ROOT / "grammars").iterdir()} == {".lark"}


# What an import costs

SMALL = ["--set", "train.epochs=1", "--set", "data=Digits(train=50, test=20)"]
BUDGET = [
    ("import nnspec", {"numpy", "lark", "matplotlib", "click", "rich"}),
    ("from nnspec.cli import _code; assert _code(['--help']) == 0", {"numpy", "lark", "matplotlib", "rich"}),
    (
        f"from nnspec.cli import _code; assert _code(['check', {str(RACE)!r}]) == 0",
        {"numpy._core", "matplotlib", "rich", "nnspec.diagnostics.explanations"},
    ),
    (f"from nnspec.cli import _code; assert _code(['show', {str(RACE)!r}]) == 0", {"numpy._core", "matplotlib"}),
    ("from nnspec.cli import _code; assert _code(['explain', 'NN401']) == 0", {"numpy._core", "matplotlib", "rich"}),
    ("from nnspec.cli import _code; assert _code(['explain']) == 0", {"numpy", "lark", "matplotlib", "rich"}),
    (
        f"from nnspec.cli import _code; assert _code(['show', '--resolved', {str(RACE)!r}]) == 0",
        {"numpy._core", "matplotlib"},
    ),
    (f"from nnspec.cli import _code; assert _code(['diff', *2 * [{str(RACE)!r}]]) == 0", {"numpy._core", "matplotlib"}),
    (
        f"from nnspec.cli import _code; assert _code(['run', {str(RACE)!r}, '-q', *{SMALL}]) in (0, 1)",
        {
            "matplotlib",
            "asyncio",
            "statistics",
            "numpy.ma",
            "lark",
            "jinja2",
            "distributed",
            "nnspec.diagnostics.explanations",
        },
    ),
    ("from nnspec.cli import _code; assert _code(['new']) == 0", {"numpy", "lark", "matplotlib", "rich"}),
    (
        f"from nnspec.cli import _code; assert _code(['fmt', '--check', {str(RACE)!r}]) == 0",
        {"numpy", "matplotlib", "rich", "nnspec.checker", "nnspec.engine"},
    ),
    (
        f"from nnspec.cli import _code; assert _code(['gradcheck', {str(RACE)!r}, '--samples=1', '--offline']) == 0",
        {"matplotlib", "numpy.ma", "nnspec.view.terminal.race", "nnspec.view.pictures.curves"},
    ),
    ("import nnspec; nnspec.check", {"numpy._core", "matplotlib", "click", "rich"}),
    ("from nnspec import engine", {"lark", "matplotlib", "click", "rich"}),
    ("import nnspec; nnspec.view", {"jinja2", "matplotlib", "numpy._core", "rich"}),
]


@pytest.mark.parametrize(("code", "unwanted"), BUDGET, ids=[row[0].replace(str(ROOT), "") for row in BUDGET])
def test_imports_stay_within_their_budget(code: str, unwanted: set[str], tmp_path: Path) -> None:
    report = f"{code}\nimport json, sys\nprint(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", report],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "nnspec" in loaded
    assert unwanted & loaded == set()


def test_the_command_line_lets_blas_start_no_threads(tmp_path: Path) -> None:
    """BLAS starts them when NumPy is imported, where that has not been ruled out before."""
    count = "import numpy, threadpoolctl; print([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])"
    code = f"import atexit\nfrom nnspec.cli import main\natexit.register(lambda: exec({count!r}))\nmain(['--version'])"
    variables = {name: text for name, text in environment(tmp_path).items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    threads = json.loads(done.stdout.splitlines()[-1])
    if not threads:
        pytest.skip("threadpoolctl sees no BLAS here")
    assert set(threads) == {1}


# What no file may hold


RUNS_TEXT = re.compile(r"\b(eval|exec|compile|__import__|pickle|marshal|shelve|allow_pickle)\b")
"""Names that the next test looks for; a file without them in its text, as Python normalises it, need not be parsed."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_file_runs_text_as_code(path: Path) -> None:
    for node in nodes(path) if RUNS_TEXT.search(normalize("NFKC", path.read_text("utf-8"))) else ():
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"{path}:{node.lineno}"
        assert name not in ("pickle", "marshal", "shelve"), f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
    assert not {"pickle", "marshal", "shelve"} & {name.split(".")[0] for _, name in imports(path)}


def hidden(name: str) -> bool:
    """Whether a name is that of a cache or a tool's folder, of no concern to a reader."""
    return name.startswith(".") and name not in (".ci", ".github", ".gitignore")


def tracked() -> list[Path]:
    skipped = {"__pycache__", "runs", "dist", "build"}
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and not skipped & set(path.relative_to(ROOT).parts)
        and path.suffix not in (".npz", ".safetensors", ".png", ".gz", ".pyc")
        and not any(hidden(part) or part.endswith(".egg-info") for part in path.relative_to(ROOT).parts)
    ]


HOMES = re.compile(r"(?<![\w.~<>$}])/(?:home|Users|root)/\w[\w.-]*")


def test_files_stand_alone() -> None:
    files = tracked()
    assert RACE in files
    for path in files:
        text = path.read_text("utf-8")
        assert HOMES.search(text) is None, (path, HOMES.search(text))


IMPORTS_TESTS = re.compile(r"(from|import|,)[\s\\]*(tests[\s\\]*\.[\s\\]*)?test_")
"""What a file holds that imports a file of tests; one without it need not be parsed."""


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_nothing_is_imported_from_a_file_of_tests(path: Path) -> None:
    """What two files of tests share is in a third, so that either can be changed, moved and run by itself."""
    for node in nodes(path) if IMPORTS_TESTS.search(path.read_text("utf-8")) else ():
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not [name for name in names if re.match(r"(tests\.)?test_", name)], f"{path}:{node.lineno}"


def test_types_ship_with_the_package() -> None:
    assert (PACKAGE / "py.typed").is_file()


def public(tree: ast.Module) -> Iterator[ast.AST]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_and_what_they_offer_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree)
    for node in public(tree):
        assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name}"  # type: ignore[attr-defined,arg-type]
