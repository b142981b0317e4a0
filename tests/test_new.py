"""`new`: starter specs that are right, and a command that never takes anything away."""

from __future__ import annotations

import json
import os
import re
import stat
from itertools import pairwise
from pathlib import Path

import pytest
from tiny_spec import ROOT, command

from nnspec.api import check, new
from nnspec.cli import _code
from nnspec.formatting import format_spec
from nnspec.templates import TEMPLATES, StarterError, template

FOLDER = ROOT / "nnspec/templates"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    return tmp_path


def test_every_template_is_in_the_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.nn")} == set(TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_starter_has_no_findings_and_is_formatted(name: str) -> None:
    found = check(FOLDER / f"{name}.nn")
    assert found.diagnostics == ()
    assert not format_spec(FOLDER / f"{name}.nn", write=False).changed


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_starter_runs_offline_and_holds_what_it_promises(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code(["new", "--template", name]) == 0
    assert _code(["run", "experiment.nn", "--offline", "--quiet"]) == 0, capsys.readouterr()
    assert "✗" not in capsys.readouterr().out


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_starter_runs_in_a_tiny_form_from_the_command_line(name: str, here: Path, undrawn: None) -> None:
    done = command("new", "tiny.nn", "--template", name, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    tiny = ("--set", "train.epochs=1", "--set", "data.train=60", "--set", "data.test=20")
    done = command("run", "tiny.nn", *tiny, "--json", cwd=here)
    assert done.returncode in (0, 1), done.stderr  # so short a training may miss what is expected of the whole
    record = json.loads(done.stdout)
    assert [lane["epochs"] for lane in record["lanes"]] == [1] * len(record["lanes"])
    assert [use["source"] for use in record["data"]] == ["Digits"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_starter_explains_its_lines(name: str) -> None:
    """There is a comment before or after each section and setting that is not self-explanatory."""
    lines = template(name).splitlines()
    assert lines[0].startswith("# ")
    assert all(len(line) <= 120 for line in lines)
    plain = {"loss = CrossEntropy", "optimizer = Adam(lr=0.001)", "let steps = 10", "train {"}
    for before, line in pairwise(lines):
        if re.match(r"\w", line) and line not in plain and not line.startswith("model residual"):
            assert "#" in line or before.startswith("# "), line


# The command


def test_it_says_what_it_wrote_and_what_to_do_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["new"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"experiment.nn: {TEMPLATES['race']}", "next: nnspec run experiment.nn"]
    assert err == ""
    assert Path("experiment.nn").read_bytes() == (FOLDER / "race.nn").read_bytes()
    assert os.listdir() == ["experiment.nn"]
    assert _code(["new", "my own.nn", "--template", "sweep"]) == 0
    assert capsys.readouterr().out.endswith("next: nnspec run 'my own.nn'\n")
    assert Path("my own.nn").read_text() == template("sweep")


def test_it_overwrites_nothing_without_force(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiment.nn").write_text("mine")
    Path("experiment.nn").chmod(0o640)
    assert _code(["new"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: experiment.nn already exists; use --force to overwrite it\n")
    assert Path("experiment.nn").read_text() == "mine"
    assert _code(["new", "--force"]) == 0
    assert Path("experiment.nn").read_text() == template("race")
    assert stat.S_IMODE(Path("experiment.nn").stat().st_mode) == 0o640


def test_a_link_that_leads_nowhere_is_something_that_is_there(here: Path) -> None:
    Path("experiment.nn").symlink_to("nowhere.nn")
    assert _code(["new"]) == 2
    assert _code(["new", "--force"]) == 2
    assert Path("experiment.nn").is_symlink()
    assert not Path("nowhere.nn").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["new", "no/such/a.nn"], "folder not found: no/such; create it first"),
        (["new", "a"], "the name of a spec must end in .nn: a.nn"),
        (["new", ""], ". is a folder"),
        (["new", "a.txt"], "must end in .nn: a.nn"),
        (["new", "folder.nn"], "folder.nn is a folder"),
        (["new", "folder.nn", "--force"], "folder.nn is a folder"),
        (["new", "sealed.nn", "--force"], "sealed.nn cannot be written"),
        (["new", "--template", "rac"], "'rac' is not one of 'race'"),
        (["new", "--list", "a.nn"], "--list cannot be used with other options"),
        (["new", "a.nn", "b.nn"], "unexpected extra argument"),
        (["new", "a" * 300 + ".nn"], "cannot be written: "),
    ],
)
def test_what_cannot_be_written_exits_with_2(
    line: list[str], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder.nn").mkdir()
    Path("sealed.nn").write_text("mine")
    Path("sealed.nn").chmod(0o444)
    assert _code(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert sorted(os.listdir()) == ["folder.nn", "sealed.nn"]
    assert Path("sealed.nn").read_text() == "mine"


def test_it_lists_what_there_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["new", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(TEMPLATES)
    assert all(len(line) <= 80 for line in lines)
    assert os.listdir() == []


def test_it_is_there_for_python_too(here: Path) -> None:
    assert new("a.nn") == Path("a.nn")
    with pytest.raises(StarterError, match="unknown template rac; choose from race"):
        new("b.nn", "rac")
    with pytest.raises(StarterError, match="already exists"):
        new("a.nn")
    new("a.nn", "deep", force=True)
    assert Path("a.nn").read_text() == template("deep")


def test_a_write_that_fails_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StarterError, match="No space left"):
        new("a.nn")
    assert os.listdir() == []
