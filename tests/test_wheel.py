"""The built wheel: its contents, and that it works from another folder, without the source tree."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_spec import RACE, ROOT, environment

missing = [name for name in ("build", "hatchling") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"building a wheel needs {' and '.join(missing)}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that nothing is left in the tree."""
    source, built = tmp_path_factory.mktemp("source") / "nnspec", tmp_path_factory.mktemp("built")
    out = shutil.ignore_patterns(".*", "__pycache__", "runs", "dist", "build", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=out, symlinks=True)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(source)],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = built.glob("nnspec-*.whl")
    return found


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_package_and_its_grammar_and_no_more(wheel: Path) -> None:
    found = names(wheel)
    assert {"nnspec/grammars/nn.lark", "nnspec/py.typed", "nnspec/__init__.py"} <= set(found)
    assert "nnspec/diagnostics/formats/check.schema.json" in found
    assert {name.split("/")[0] for name in found} == {
        "nnspec",
        next(n for n in found if "/METADATA" in n).split("/")[0],
    }
    files = [name.split("/") for name in found]
    assert not [f for f in files if "tests" in f or f[-1].startswith(("test_", "conftest")) or f[-1].endswith(".pyc")]
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nnspec/templates").glob("*.nn")}
    assert {name for name in found if name.endswith(".nn")} == templates
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nnspec/view").rglob("*.j2")}
    assert {name for name in found if name.endswith(".j2")} == pages
    assert "nnspec/view/report/page.html.j2" in pages
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nnspec").rglob("*.py")}
    assert {name for name in found if name.endswith(".py")} == modules


def test_the_wheel_names_its_command_and_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.split("/")[-1]: archive.read(name).decode() for name in archive.namelist() if "dist-info" in name}
    assert "nnspec = nnspec.cli:main" in texts["entry_points.txt"]
    assert "Requires-Dist: numpy" in texts["METADATA"]
    assert "LICENSE" in texts


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel in `site` and a spec, far from the tree."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    shutil.copy(RACE, folder / "race.nn")
    return folder


def python(elsewhere: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=elsewhere,
        env=environment(elsewhere / ".cache", PYTHONPATH=str(elsewhere / "site")),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


# Says on stderr which package it was.
MAIN = "import sys, nnspec; print(nnspec.__file__, file=sys.stderr); from nnspec.cli import main; main()"


def test_the_package_that_is_imported_is_the_wheels(elsewhere: Path) -> None:
    done = python(elsewhere, "import nnspec; print(nnspec.__file__)")
    assert Path(done.stdout.strip()) == elsewhere / "site/nnspec/__init__.py"


def test_check_and_run_work_from_the_wheel(elsewhere: Path) -> None:
    done = python(elsewhere, MAIN, "check", "race.nn")
    assert (done.returncode, done.stdout) == (0, "race.nn: no findings in 3 lanes\n")
    assert Path(done.stderr.strip()).is_relative_to(elsewhere / "site")
    done = python(elsewhere, MAIN, "run", "race.nn", "--offline", "--set", "train.epochs=1", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("! Digits stands in for MNIST")
    summary = json.loads((elsewhere / "out/summary.json").read_text())
    assert [lane["epochs"] for lane in summary["lanes"]] == [1, 1, 1]
    assert (elsewhere / "out/curves.png").is_file()
    done = python(elsewhere, MAIN, "report", "out", "--offline")
    assert (done.returncode, done.stdout) == (0, "out/report.html\n"), done.stderr
    assert "<svg" in (elsewhere / "out/report.html").read_text("utf-8")
