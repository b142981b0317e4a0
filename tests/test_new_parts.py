"""Packages that `nnspec new --part` writes: their tests pass at once, and specs can use the parts when installed."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import NoReturn

import pytest
from tiny_spec import ROOT, command, environment

from nnspec.engine.part import PARTS
from nnspec.templates.packages import KINDS

NAMES = {kind: f"my_{kind.replace(' ', '_')}" for kind in KINDS}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package for every kind of part, by its default name."""
    folder = tmp_path_factory.mktemp("packages")
    for kind, name in NAMES.items():
        done = command("new", "--part", kind.replace(" ", "-"), cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == f"next: cd {name} && pip install --editable '.[test]' && pytest"
    return folder


def test_a_package_for_every_kind_of_part_passes_its_tests(packages: Path, tmp_path: Path) -> None:
    tests = [f"{name}/test_{name}.py" for name in NAMES.values()]
    options = ["-q", "-p", "no:cacheprovider", "-p", "nnspec.testing.plugin", "--conform", "my_schedule"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--conform-at-least", "6", *tests],
        cwd=packages,
        env=environment(tmp_path, PYTHONWARNINGS="", PYTHONPATH=f"{ROOT}:{packages / 'my_schedule'}"),
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed, (\d+) skipped in", done.stdout)
    assert passed, done.stdout
    assert (int(passed[1]) >= 93, done.returncode) == (True, 0)
    assert "checks of my_schedule: 6 passed, 0 failed, 0 skipped" in done.stdout


@pytest.fixture
def installed(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of an optimizer, as its wheel installs it."""
    hatchling = pytest.importorskip("hatchling.build", reason="building a package needs hatchling")
    with chdir(packages / "my_optimizer"):
        wheel = hatchling.build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield packages / "my_optimizer"
    PARTS["optimizer"].pop("MyOptimizer", None)
    sys.modules.pop("my_optimizer", None)


def test_a_spec_uses_an_installed_package(installed: Path) -> None:
    assert command("check", "--isolated", "example.nn", cwd=installed).returncode == 1
    done = command("run", "example.nn", "-q", "--offline", "--jobs", "1", "--out", "out", cwd=installed)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"package": "my-optimizer"' in (installed / "out/run.json").read_text()


def test_a_package_that_does_not_fit_on_the_disk_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nnspec.templates.packages.atomic", full)
    done = command("new", "--part", "layer", "mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: mine cannot be written: No space left on device\n")
    assert not (tmp_path / "mine").exists()


def test_conform_prints_counts_and_fails_if_they_fall(installed: Path) -> None:
    done = command("conform", "my_optimizer", cwd=installed)
    assert done.returncode == 0
    assert re.search(r"✓ +MyOptimizer +optimizer +17 +1\b", done.stdout)
    assert "skipped: it has no `kernel`; in compiled runs its steps are NumPy calls (MyOptimizer: loop)" in done.stdout
    assert done.stdout.endswith("✓ 17 checks ran, 0 failed, 1 skipped\n")
    done = command("conform", "-q", "--at-least", "18", "my_optimizer", cwd=installed)
    assert (done.returncode, "✗ 17 checks ran, fewer than the 18 of --at-least" in done.stdout) == (1, True)
    assert command("conform", "-q", "--at-least", "17", "my_optimizer", cwd=installed).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["adam", "--part", "optimizer"], "there is already an optimizer `Adam`; choose another name"),
        (["random", "--part", "layer"], "there is a module random already; choose another name"),
        (["numpy", "--part", "layer"], "there is a module numpy already"),
        (["2fast", "--part", "layer"], "2fast cannot be the name of a module"),
        (["class", "--part", "layer"], "class cannot be the name of a module"),
        (["a/b", "--part", "layer"], "folder not found: a; create it first"),
        (["there", "--part", "layer"], "there already exists; choose another name"),
        (["--part", "layer", "--list"], "--part cannot be used with other options"),
        (["--part", "layer", "--force"], "--part cannot be used with other options"),
    ],
)
def test_what_cannot_be_written_is_said(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = command("new", *arguments, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != ".cache"] == ["there"]
