"""Parts of other packages: only those that the project lists are imported, and a run records where they come from."""

from __future__ import annotations

import importlib
import json
import linecache
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tiny_spec import command, spec

import nnspec
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import PARTS
from nnspec.executors.processes import Processes
from nnspec.extensions import ExtensionError, load_extensions, missing_parts, not_loaded, provenance
from nnspec.project.checking import Checker
from nnspec.testing import conform

PACKAGES = Path(__file__).parent / "packages"
TEXT = spec("Linear(6); ReGLU; Linear(10)", race="FirstAdan(lr=0.01); Signum(lr=0.01)")
LISTED = '[tool.nnspec]\nextensions = ["Foreign_Parts"]\n'


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with installed packages: foreign-parts, and what a test puts there. All is forgotten afterwards."""
    before = {kind: dict(parts) for kind, parts in PARTS.items()}
    modules = {*sys.modules}
    folder = tmp_path / "site"
    shutil.copytree(PACKAGES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(folder)
    yield folder
    forget(before, modules)


def forget(before: dict[str, dict[str, Any]], modules: set[str]) -> None:
    for kind, parts in before.items():
        PARTS[kind].clear()
        PARTS[kind].update(parts)
    for name in {*sys.modules} - modules:
        if "foreign" in name or "hostile" in name:
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, site: Path) -> Path:
    """A folder with a spec that uses parts of foreign-parts."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.nn").write_text(TEXT)
    (folder / "pyproject.toml").write_text(LISTED)
    return folder


def install(site: Path, name: str, entries: str, code: str = "") -> None:
    """Install a package of one module."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)
    (site / f"{name}.py").write_text(code)
    importlib.invalidate_caches()


def without_parts() -> None:
    """Forget what foreign-parts declares, as in a new process."""
    for parts in PARTS.values():
        for name in ("FirstAdan", "Signum", "ReGLU"):
            parts.pop(name, None)
    sys.modules.pop("foreign_parts", None)


HOSTILE = "from pathlib import Path\nPath({marker!r}).write_text('imported')\n"


@pytest.mark.parametrize("arguments", [(), ("--isolated",)])
@pytest.mark.parametrize("name", ["check", "show", "run", "gradcheck", "test", "diff"])
def test_a_package_that_the_project_does_not_list_is_never_imported(
    name: str, arguments: tuple[str, ...], project: Path, site: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    install(site, "hostile", "[nnspec.parts]\nLion2 = hostile\nReLU = hostile\n", HOSTILE.format(marker=str(marker)))
    (project / "a.nn").write_text(spec(optimizer="Lion2(lr=0.01)"))
    specs = ["a.nn", "a.nn"] if name == "diff" else ["a.nn"]
    done = command(name, *specs, *arguments, cwd=project)
    assert done.returncode == (1 if name in ("check", "test") else 2)
    said = " ".join((done.stdout + done.stderr).split())
    assert "unknown optimizer `Lion2`" in said
    assert '`Lion2` is provided by the package hostile; list it in [tool.nnspec]: `extensions = ["hostile"]`' in said
    assert not marker.exists()
    assert ("foreign_parts" in sys.modules) is not bool(arguments)
    (project / "pyproject.toml").write_text('[tool.nnspec]\nextensions = ["hostile"]\n')
    if not arguments:  # the marker works
        command("check", "a.nn", cwd=project)
        assert marker.exists()


def test_processes_of_check_import_no_more(project: Path, site: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    install(site, "hostile", "[nnspec.parts]\nLion2 = hostile\n", HOSTILE.format(marker=str(marker)))
    names = [str(project / f"{i}.nn") for i in range(16)]
    for i, name in enumerate(names):
        Path(name).write_text(TEXT if i % 2 else spec(optimizer="Lion2"))
    load_extensions(["foreign-parts"])
    found = [*Checker(extensions=["foreign-parts"]).files(names, processes=2)]
    assert [bool(outcome.lanes) for outcome in found] == [False, True] * 8
    assert not marker.exists()


@pytest.mark.parametrize("listed", ["foreign-parts", "foreign_parts", "Foreign.Parts"])
def test_a_listed_package_is_loaded(listed: str, project: Path) -> None:
    (project / "pyproject.toml").write_text(f'[tool.nnspec]\nextensions = ["{listed}"]\n')
    done = command("check", "a.nn", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")


def test_isolated_loads_no_package_and_names_it(project: Path) -> None:
    done = command("check", "--isolated", "a.nn", cwd=project)
    assert done.returncode == 1
    assert "`FirstAdan` is provided by the package foreign-parts" in done.stdout
    assert "`ReGLU` is provided by the package foreign-parts" in done.stdout
    assert "foreign_parts" not in sys.modules


@pytest.mark.parametrize(
    ("name", "entries", "code", "said"),
    [
        ("gone", None, "", "extension `gone`: no such package is installed; `pip install gone`, or remove it"),
        (
            "empty",
            "[console_scripts]\nx = empty:main\n",
            "",
            "`empty`: empty 1.0 has no parts: its pyproject",
        ),
        (
            "broken",
            "[nnspec.parts]\nBroken = broken\n",
            "1 / 0",
            "extension `broken`: its module broken cannot be imported: ZeroDivisionError: division by zero",
        ),
        ("quits", "[nnspec.parts]\nQ = quits\n", "raise SystemExit(0)", "quits cannot be imported: SystemExit: 0"),
        ("lost", "[nnspec.parts]\nQ = elsewhere\n", "", "module elsewhere cannot be imported: ModuleNotFoundError"),
        ("odd", "[nnspec.parts]\nQ = !!!\n", "", "module !!! cannot be imported: ModuleNotFoundError"),
        ("void", "[nnspec.parts]\nQ =\n", "", "module  cannot be imported: ValueError: Empty module name"),
        ("torn", "[nnspec.parts]\nQ\n", "", "`torn`: torn 1.0 has no parts"),
        (
            "base",
            "[nnspec.parts]\nQ = base\n",
            "class Stop(BaseException): ...\nraise Stop(1)",
            "imported: base.Stop: 1",
        ),
        ("lines", "[nnspec.parts]\nQ = lines\n", "raise ValueError('a\\x1b[31m\\nb')", "ValueError: a\\x1b[31m b"),
        (
            "mute",
            "[nnspec.parts]\nQ = mute\n",
            "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
            "imported: mute.Mute: <exception str() failed>",
        ),
    ],
)
def test_an_extension_that_cannot_be_loaded_is_an_error_that_names_it(
    name: str, entries: str | None, code: str, said: str, project: Path, site: Path
) -> None:
    if entries is not None:
        install(site, name, entries, code)
    (project / "pyproject.toml").write_text(f'[tool.nnspec]\nextensions = ["{name}"]\n')
    for arguments in (["check", "a.nn"], ["run", "a.nn"]):
        done = command(*arguments, cwd=project)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    with pytest.raises(ExtensionError, match="extension"):
        load_extensions([name])


@pytest.mark.parametrize(
    ("metadata", "entries"),
    [
        (b"Name: damaged\nVersion: 1.0\n", b"[nnspec.parts]\nLion2 = !!!\n"),
        (b"Name: damaged\nVersion: 1.0\n", b"[nnspec.parts]\nLion2\n"),
        (b"Name: damaged\nVersion: 1.0\n", b"[nnspec.parts]\nLion2 = \xff\n"),
        (b"Name: \xff\n", b"[nnspec.parts]\nLion2 = damaged\n"),
        (b"Version: 1.0\n", b"[nnspec.parts]\nLion2 = damaged\n"),
        (b"Name: x --index-url=y\n", b"[nnspec.parts]\nLion2 = damaged\n"),
    ],
)
def test_damaged_metadata_of_a_package_that_is_not_listed_is_no_concern_of_a_spec(
    metadata: bytes, entries: bytes, project: Path, site: Path
) -> None:
    install(site, "damaged", "")
    (site / "damaged-1.0.dist-info/METADATA").write_bytes(metadata)
    (site / "damaged-1.0.dist-info/entry_points.txt").write_bytes(entries)
    (project / "b.nn").write_text(spec(optimizer="Lion2(lr=0.01)"))
    done = command("check", "a.nn", "b.nn", cwd=project)
    assert (done.returncode, done.stderr) == (1, "")
    assert "unknown optimizer `Lion2`" in done.stdout
    assert "index-url" not in done.stdout
    assert "the package None" not in done.stdout


def test_what_an_extension_prints_is_not_between_the_results(project: Path, site: Path) -> None:
    install(site, "chatty", "[nnspec.parts]\nQ = chatty\n", "print('hello')")
    (project / "pyproject.toml").write_text('[tool.nnspec]\nextensions = ["chatty"]\n')
    (project / "a.nn").write_text(spec())
    done = command("check", "a.nn", "--format", "json", cwd=project)
    assert json.loads(done.stdout)["errors"] == 0
    assert done.stderr == "hello\n"


def test_a_record_of_a_part_suggests_no_command_of_its_author(site: Path) -> None:
    record = {"part": "Q", "kind": "optimizer", "package": "q; rm x #", "version": "1", "module": "q"}
    (said,) = missing_parts([record])
    assert said == "the optimizer `Q` of q: import the module that defines it before using the run"
    (said,) = missing_parts([record | {"package": "q", "version": "1 --index-url=x"}])
    assert "`pip install q`, and" in said


def test_in_python_importing_the_module_is_enough(project: Path) -> None:
    assert "provided by" in str(nnspec.check(project / "a.nn"))
    importlib.import_module("foreign_parts")
    assert nnspec.check(project / "a.nn").ok
    assert not_loaded("FirstAdan") == ""


def test_a_run_records_package_version_and_source(project: Path, site: Path) -> None:
    done = command("run", "a.nn", "--out", "out", "-q", "--jobs", "1", cwd=project)
    assert done.returncode in (0, 1), done.stderr
    for name in ("run.json", "summary.json"):
        parts = json.loads((project / "out" / name).read_text())["environment"]["parts"]
        assert {each["part"] for each in parts} == {"FirstAdan", "Signum", "ReGLU"}
        (adan,) = (each for each in parts if each["part"] == "FirstAdan")
        assert (adan["kind"], adan["package"], adan["version"]) == ("optimizer", "foreign-parts", "1.2")
        assert adan["module"] == "foreign_parts"
        assert len(adan["sha256"]) == 64
    done = command("verify", "out", "--offline", cwd=project)
    assert (done.returncode, "foreign-parts" in done.stdout) == (0, False)
    # another version with another source
    without_parts()
    (site / "foreign_parts.py").write_text((site / "foreign_parts.py").read_text() + "\n# changed\n")
    (site / "foreign_parts-1.2.dist-info").rename(site / "foreign_parts-1.3.dist-info")
    metadata = site / "foreign_parts-1.3.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("1.2", "1.3"))
    nnspec.extensions._entries_on.cache_clear()  # type: ignore[attr-defined]
    importlib.invalidate_caches()
    done = command("verify", "out", "--offline", cwd=project)
    assert done.returncode == 0
    assert "! optimizer FirstAdan: foreign-parts 1.2, source " in done.stdout
    assert ", and foreign-parts 1.3, source " in done.stdout


def test_a_run_whose_parts_are_missing_says_which(project: Path, site: Path) -> None:
    command("run", "a.nn", "--out", "out", "-q", "--jobs", "1", cwd=project)
    without_parts()
    (project / "pyproject.toml").unlink()
    said = "used the layer `ReGLU` of the package foreign-parts 1.2: list foreign-parts as an extension"
    commands = [
        ("eval", "out", "--offline"),
        ("verify", "out", "--offline"),
        ("run", "a.nn", "--out", "out", "--resume"),
        ("predict", "out", "x.npy"),
    ]
    for arguments in commands:
        done = command(*arguments, cwd=project)
        assert (done.returncode, said in done.stderr) == (2, True), (arguments, done.stderr)
    shutil.rmtree(site / "foreign_parts-1.2.dist-info")
    nnspec.extensions._entries_on.cache_clear()  # type: ignore[attr-defined]
    done = command("eval", "out", "--offline", cwd=project)
    assert "`pip install foreign-parts==1.2`, and list foreign-parts as an extension" in done.stderr


def test_processes_train_with_parts_of_a_package(project: Path) -> None:
    load_extensions(["foreign-parts"])
    here, there = (nnspec.run(project / "a.nn", offline=True, jobs=jobs) for jobs in (1, 2))
    for name in ("FirstAdan", "Signum"):
        assert here[name].history == there[name].history
        assert here[name].status == "done"


def test_processes_refuse_parts_of_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    with pytest.raises(nnspec.WorkerError, match=r"defined in a notebook .* put them into a module and import it, or"):
        Processes(2, script=True)
    Processes(2)  # none of its parts are


def test_a_class_of_a_notebook_is_recorded_by_its_own_source(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook is a module without a file, whose cells Python knows the lines of."""
    digests = []
    for factor in (2, 2, 3):
        cell, names = f"<cell {len(digests)}>", {"__name__": "a_notebook"}
        text = (
            "from nnspec.parts import Initializer\n\nclass Twice(Initializer):\n    spec_name = 'twice'\n\n"
            f"    def draw(self, shape, fan_in, fan_out, rng):\n        return {factor} * rng.normal(size=shape)\n"
        )
        monkeypatch.setitem(sys.modules, "a_notebook", ModuleType("a_notebook"))
        monkeypatch.setitem(linecache.cache, cell, (len(text), None, text.splitlines(keepends=True), cell))
        PARTS["initializer"].pop("twice", None)
        exec(compile(text, cell, "exec"), names)
        found = provenance(PARTS["initializer"]["twice"])
        assert (found["package"], found["version"], found["module"]) == ("", "", "a_notebook")
        digests.append(found["sha256"])
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 64


# The packages of the tests conform, and are what their papers say.


def test_foreign_parts_conform(site: Path) -> None:
    conformance = conform("foreign_parts")
    assert conformance.good, [outcome for outcome in conformance.outcomes if not outcome.good]
    assert conformance.ran >= 58
    assert conformance.count("expected") == 0


def test_adan_is_algorithm_1_of_its_paper(site: Path) -> None:
    """Number by number, with bias corrections, as in the authors' code: restarts and the proximal step left aside."""
    adan = importlib.import_module("foreign_parts").FirstAdan
    lr, (b1, b2, b3), eps = 0.05, (0.9, 0.7, 0.8), 1e-3
    gradients = np.random.default_rng(3).normal(size=(12, 4))
    parameter = Parameter(np.array([0.3, -1.2, 2.0, 0.0]))
    optimizer = adan([parameter], lr, betas=(b1, b2, b3), eps=eps, weight_decay=0.1)
    theta = parameter.data.copy()
    for i in range(4):
        m = v = n = 0.0
        last = gradients[0, i]
        for t, g in enumerate(gradients[:, i].tolist(), 1):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * (g - last)
            n = b3 * n + (1 - b3) * (g + b2 * (g - last)) ** 2
            last = g
            step = (m / (1 - b1**t) + b2 * v / (1 - b2**t)) / ((n / (1 - b3**t)) ** 0.5 + eps)
            theta[i] = theta[i] * (1 - lr * 0.1) - lr * step
    for row in gradients:
        parameter.grad = row
        optimizer.step()
    np.testing.assert_allclose(parameter.data, theta, rtol=1e-12)


def test_specs_without_foreign_parts_look_for_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.extensions._entries_on", lambda path: pytest.fail("packages are listed"))
    assert check(Source("a.nn", spec())).program is not None
