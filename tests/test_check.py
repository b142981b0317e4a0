"""`nnspec check` as a person, an editor and a CI job meet it: exit codes, streams, inputs, fixes, faults."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from findings import BASE
from tiny_spec import COMMAND, ROOT, environment

from nnspec.checker import check as honest_check
from nnspec.cli import _code
from nnspec.diagnostics import Source
from nnspec.diagnostics.formats import FORMATS
from nnspec.project import fixing

GOOD = "seed = 1\n" + BASE
WARNING = GOOD.replace("Linear(10)", "Linear(20)")
WRONG = GOOD.replace("Linear(10)", "Linear(3, 10)")
PASTED = GOOD.replace("Linear(16)", "Linear(2 × 8)")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository to work in, with a few specs."""
    folder = tmp_path / "here"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    (folder / "specs").mkdir()
    for name, text in {"good": GOOD, "warning": WARNING, "wrong": WRONG}.items():
        (folder / f"specs/{name}.nn").write_text(text)
    return folder


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in that folder."""

    def run(line: str) -> tuple[int, str, str]:
        code = _code(["check", *line.split()])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


# Exit codes

EXIT = [
    ("specs/good.nn", 0),
    ("specs/warning.nn", 0),
    ("specs/wrong.nn", 1),
    ("specs", 1),
    ("specs/good.nn --fail-level warning", 0),
    ("specs/warning.nn --fail-level warning", 1),
    ("specs/warning.nn --fail-level error", 0),
    ("specs/wrong.nn --fail-level warning", 1),
    ("specs/good.nn --set seed=-1", 1),
    ("specs/wrong.nn --set seed=2", 1),
    ("specs/good.nn nowhere.nn", 2),
    ("specs/wrong.nn nowhere.nn", 2),
    ("specs/*.txt", 2),
    ("specs/*.txt specs/good.nn", 2),
    ("specs/*.txt specs/wrong.nn --allow-empty", 1),
    ("specs/*.txt --allow-empty", 0),
    ("nowhere.nn --allow-empty", 2),
    ("nowhere/*.nn --allow-empty", 2),
    ("specs/good.nn --format xml", 2),
    ("specs/good.nn --unsafe-fixes", 2),
    ("specs/good.nn --diff", 2),
    ("specs/good.nn --fix --diff --format json", 2),
    ("specs/good.nn --fix --diff -o x", 2),
    ("specs/good.nn --stdin-filename x.nn", 2),
    ("specs/good.nn --config pyproject.toml --isolated", 2),
    ("specs/good.nn --config none.toml", 2),
    ("specs/good.nn --output nowhere/x.json", 2),
    ("specs/good.nn --output specs", 2),
    ("- --fix", 2),
]


@pytest.mark.parametrize(("line", "code"), EXIT)
def test_exit_codes(run: Run, line: str, code: int) -> None:
    found, out, err = run(line)
    assert found == code, out + err


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("line", "code"), EXIT[:18])
def test_exit_codes_do_not_depend_on_the_format(run: Run, line: str, code: int, format: str) -> None:
    assert run(f"{line} --format {format}")[0] == code


# What is said


def test_one_file_is_named_and_many_are_counted(run: Run, here: Path) -> None:
    assert run("specs/good.nn")[1] == "specs/good.nn: no findings in 1 lane\n"
    (here / "specs/race.nn").write_text(GOOD + "race { SGD; Adam }\n")
    assert run("specs/race.nn")[1] == "specs/race.nn: no findings in 2 lanes\n"
    assert run("specs/good.nn specs/race.nn")[1] == "2 files checked, no findings\n"
    assert run("specs")[1].endswith("\n\n1 error and 1 warning in 2 of 4 files\n")
    assert run("specs/*.txt --allow-empty")[1] == "0 files checked, no findings\n"
    assert run("specs/wrong.nn")[1].endswith("\n1 error in specs/wrong.nn\n")


def test_quiet_says_nothing_where_there_is_nothing(run: Run) -> None:
    assert run("specs/good.nn -q") == (0, "", "")
    assert run("specs/wrong.nn -q")[1] != ""
    assert run("specs/good.nn -q -o out.txt") == (0, "", "")


def test_an_error_in_an_import_is_reported_once(run: Run, here: Path) -> None:
    (here / "specs/common.nn").write_text("loss = CrossEntropie\n")
    rest = GOOD.replace("loss = CrossEntropy\n", "")
    for name in ("a", "b"):
        (here / f"specs/{name}.nn").write_text(f'import "common.nn"\n{rest}')
    out = run("specs/a.nn specs/b.nn")[1]
    assert out.count("error[NN201]") == 1
    assert out.endswith("\n1 error in 1 of 2 files\n")


def test_unreadable_files_go_to_stderr_for_people_and_into_the_document_for_machines(run: Run, here: Path) -> None:
    (here / "specs/binary.nn").write_bytes(b"\x7fELF\0\xff")
    os.mkfifo(here / "specs/pipe.nn")
    (here / "specs/loop.nn").symlink_to("loop.nn")
    code, out, err = run("specs nowhere.nn")
    assert code == 2
    assert err.splitlines() == [
        "error: file not found: nowhere.nn",
        "error: specs/binary.nn is not UTF-8 text (byte 5 is 0xff); is it a spec?",
        "error: specs/loop.nn cannot be read: Too many levels of symbolic links",
        "error: specs/pipe.nn is not a regular file",
    ]
    assert out.endswith("\n1 error and 1 warning in 2 of 3 files\n")
    code, out, err = run("specs nowhere.nn --format concise")
    assert err == ""
    assert "nowhere.nn:1:1: error[NN901] file not found: nowhere.nn\n" in out
    assert out.count("NN901") == 4
    assert code == 2


def test_only_unreadable_files_leave_nothing_to_sum_up(run: Run) -> None:
    assert run("nowhere.nn") == (2, "", "error: file not found: nowhere.nn\n")
    assert run("none*.nn") == (2, "", "error: no .nn file matches none*.nn\n")


STATES = ["specs/good.nn", "specs", "specs nowhere.nn", "none*.nn", "none*.nn --allow-empty", "specs/good.nn --set x=1"]


@pytest.mark.parametrize("line", STATES)
def test_json_and_sarif_are_valid_whatever_happens(run: Run, line: str) -> None:
    schema = json.loads((ROOT / "nnspec/diagnostics/formats/check.schema.json").read_text())
    _, out, _ = run(f"{line} --format json")
    jsonschema.validate(json.loads(out), schema)
    _, out, _ = run(f"{line} --format sarif")
    document = json.loads(out)
    path = ROOT.parent / "shared/data/sarif/sarif-schema-2.1.0.json"
    if path.is_file():
        jsonschema.validate(document, json.loads(path.read_text(encoding="utf-8")))
    assert document["version"] == "2.1.0"


def test_machine_readable_output_is_utf_8_regardless_of_the_locale(here: Path) -> None:
    (here / "specs/wrong.nn").write_text(WRONG.replace("Linear(3, 10)", "Linéar(10)"))
    for form in ("json", "sarif", "github", "concise"):
        done = subprocess.run(
            [*COMMAND, "check", "specs", "--format", form],
            env=environment(here / ".cache", PYTHONIOENCODING="latin-1"),
            cwd=here,
            capture_output=True,
        )
        assert "Linéar" in done.stdout.decode("utf-8")


def test_a_service_gets_paths_from_the_top_of_the_repository(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here / "specs")
    assert run("wrong.nn --format github")[1].startswith("::error file=specs/wrong.nn,line=")
    assert '"uri": "specs/wrong.nn"' in run("wrong.nn --format sarif")[1]
    assert '"path": "wrong.nn"' in run("wrong.nn --format json")[1]


def test_a_message_cannot_start_a_new_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["check", "x\n::error::y*", "--format", "github"]) == 2
    assert capsys.readouterr().err == "error: no .nn file matches x\\n::error::y*\n"


# Files to write to


def test_output_is_a_whole_file_and_a_line_on_stderr(run: Run, here: Path) -> None:
    code, out, err = run("specs --format json -o report.json")
    assert (code, out, err) == (1, "", "report.json: 1 error and 1 warning in 2 of 3 files\n")
    assert json.loads((here / "report.json").read_text())["errors"] == 1
    assert run("specs/good.nn --output -")[1] == "specs/good.nn: no findings in 1 lane\n"
    (here / "link.txt").symlink_to("report.json")
    run("specs/good.nn -o link.txt")
    assert (here / "link.txt").is_symlink()
    assert (here / "report.json").read_text() == "specs/good.nn: no findings in 1 lane\n"
    assert [path.name for path in here.iterdir() if path.name.endswith(".part")] == []


def test_a_pipe_is_written_to_and_not_replaced(run: Run, here: Path) -> None:
    os.mkfifo(here / "pipe")
    reader = os.open(here / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert run("specs/good.nn -o pipe") == (0, "", "pipe: specs/good.nn: no findings in 1 lane\n")
    assert os.read(reader, 1000) == b"specs/good.nn: no findings in 1 lane\n"
    os.close(reader)
    assert (here / "pipe").is_fifo()


def test_colours_go_to_terminals_only(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(*more: str) -> str:
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        _code(["check", "specs/wrong.nn", *more])
        return stream.getvalue()

    assert "\x1b[1;31merror[NN401]" in shown()
    shown("-o", "out.txt")
    assert "\x1b" not in (here / "out.txt").read_text()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown()


# Inputs


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, WRONG.encode())
    assert run("- --format concise")[1].startswith("<stdin>:6:12: error[NN401] ")
    (here / "specs/common.nn").write_text("loss = CrossEntropy\n")
    importing = f'import "common.nn"\n{GOOD}'.replace("loss = CrossEntropy\n", "").encode()
    feed(monkeypatch, importing)
    out = run("- --stdin-filename specs/new.nn specs/good.nn")
    assert out == (0, "2 files checked, no findings\n", "")
    feed(monkeypatch, importing)
    assert run("-")[0] == 1
    feed(monkeypatch, b"\xff\xfe")
    assert run("-") == (
        2,
        "",
        "error: <stdin> is encoded in UTF-16, but specs must be UTF-8: save it as UTF-8\n",
    )


def test_a_fix_for_standard_input_is_only_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, PASTED.encode())
    code, out, err = run("- --fix --diff --stdin-filename specs/new.nn")
    assert (code, err) == (1, "1 fix would be applied in 1 file\n")
    assert out.startswith("--- specs/new.nn\n+++ specs/new.nn\n")
    feed(monkeypatch, PASTED.encode())
    assert "--fix" not in run("-")[1]


def test_the_project_has_its_say(run: Run, here: Path) -> None:
    config = here / "pyproject.toml"
    config.write_text('[tool.nnspec]\nexclude = ["wrong.nn"]\nfail-level = "warning"\n')
    assert run("specs")[0] == 1
    assert "wrong.nn" not in run("specs")[1]
    assert run("specs --fail-level error")[0] == 0
    assert run("specs/wrong.nn")[0] == 1
    assert run("specs/wrong.nn --force-exclude") == (0, "0 files checked, no findings\n", "")
    assert "wrong.nn" in run("specs --isolated")[1]
    config.write_text('[tool.nnspec]\nignore = ["NN701"]\n')
    assert run("specs/warning.nn --fail-level warning") == (0, "specs/warning.nn: no findings in 1 lane\n", "")
    config.rename(here / "other.toml")
    assert run("specs/warning.nn --config other.toml --fail-level warning")[0] == 0
    assert run("specs/warning.nn --fail-level warning")[0] == 1
    (here / ".gitignore").write_text("wrong.nn\n")
    assert "wrong.nn" not in run("specs")[1]
    assert "wrong.nn" in run("specs --no-gitignore")[1]
    config.write_text("[tool.nnspec]\nrespect-gitignore = false\n")
    assert "wrong.nn" in run("specs")[1]
    config.write_text('[tool.nnspec]\nfail-lvl = "error"\n')
    message = "pyproject.toml: unknown key `fail-lvl` in [tool.nnspec]; did you mean `fail-level`?"
    assert run("specs") == (2, "", f"error: {message}\n")


def test_lint_can_be_silenced_in_the_file(run: Run, here: Path) -> None:
    (here / "specs/warning.nn").write_text(WARNING.replace("Linear(20)", "Linear(20)  # nn: ignore[NN701]"))
    assert run("specs/warning.nn --fail-level warning")[0] == 0


# Fixes


def test_fix_changes_the_file_and_says_so(run: Run, here: Path) -> None:
    spec = here / "specs/pasted.nn"
    spec.write_text(PASTED)
    spec.chmod(0o640)
    code, out, err = run("specs/pasted.nn")
    assert code == 1
    assert "  = fix: replace `×` with `*` (--fix)" in out
    assert out.endswith("\n\n1 error in specs/pasted.nn; fixable with `--fix`\n")
    code, out, err = run("specs/pasted.nn --fix --diff")
    assert (code, err) == (1, "1 fix would be applied in 1 file\n")
    assert "\n-    Linear(2 × 8)\n+    Linear(2 * 8)\n" in out
    assert spec.read_text() == PASTED
    code, out, err = run("specs/pasted.nn --fix")
    assert (code, out) == (0, "specs/pasted.nn: no findings in 1 lane\n1 fix applied in 1 file\n")
    assert spec.read_text() == PASTED.replace("×", "*")
    assert spec.stat().st_mode & 0o777 == 0o640
    assert run("specs/pasted.nn --fix")[1] == "specs/pasted.nn: no findings in 1 lane\n"


def test_a_machine_gets_its_document_from_a_fixing_run_too(run: Run, here: Path) -> None:
    (here / "specs/pasted.nn").write_text(PASTED)
    code, out, err = run("specs/pasted.nn --fix --format json")
    assert (code, json.loads(out)["diagnostics"], err) == (0, [], "1 fix applied in 1 file\n")


def test_only_named_files_are_fixed(run: Run, here: Path) -> None:
    common, main = here / "specs/common.nn", here / "specs/main.nn"
    common.write_text(PASTED)
    main.write_text('import "common.nn"\nseed = 1 × 2\n')
    code, _, _ = run("specs/main.nn --fix")
    assert (code, common.read_text()) == (1, PASTED)
    assert main.read_text() == 'import "common.nn"\nseed = 1 * 2\n'
    run("specs/main.nn --fix")
    assert common.read_text() == PASTED
    assert run("specs/main.nn specs/common.nn --fix")[0] == 0
    assert "×" not in common.read_text()


def test_a_finding_fixed_in_an_import_is_not_reported_for_the_importing_files(run: Run, here: Path) -> None:
    (here / "specs/z.nn").write_text(PASTED)
    for name in ("a", "b"):
        (here / f"specs/{name}.nn").write_text('import "z.nn"\nseed = 2\n')
    run("specs/a.nn specs/b.nn")
    out = run("specs/a.nn specs/b.nn specs/z.nn --fix")
    assert out == (0, "3 files checked, no findings\n1 fix applied in 1 file\n", "")


def test_a_file_that_cannot_be_written_is_reported(run: Run, here: Path) -> None:
    spec = here / "specs/pasted.nn"
    spec.write_text(PASTED)
    spec.chmod(0o444)
    code, out, err = run("specs/pasted.nn --fix")
    assert (code, err) == (2, "error: specs/pasted.nn cannot be written: it is read-only\n")
    assert "applied" not in out
    assert spec.read_text() == PASTED


def test_unsafe_fixes_are_put_in_on_demand(run: Run, here: Path) -> None:
    spec = here / "specs/warning.nn"
    text = WARNING.replace("Linear(20)", "Linear(20)  # nn: ignore[N701]")
    spec.write_text(text)
    assert "replace `N701` with `NN701` (--fix --unsafe-fixes)" in run("specs/warning.nn")[1]
    run("specs/warning.nn --fix")
    assert spec.read_text() == text
    assert "1 fix applied in 1 file" in run("specs/warning.nn --fix --unsafe-fixes")[1]
    assert spec.read_text() == text.replace("N701", "NN701")


# Faults


def faulty(monkeypatch: pytest.MonkeyPatch, error: BaseException, *names: str) -> None:
    def check(source: Source, *more: Any) -> Any:
        if Path(source.name).name in names:
            raise error
        return honest_check(source, *more)

    monkeypatch.setattr("nnspec.checking.check_source", check)


@pytest.mark.parametrize("format", FORMATS)
def test_a_fault_over_one_file_leaves_the_others(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, format: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    faulty(monkeypatch, RuntimeError("boom\nbang"), "good.nn", "warning.nn")
    code, out, err = run(f"specs --format {format}")
    assert code == 3
    assert err.startswith("error: specs/good.nn: a bug in nnspec: RuntimeError: boom")
    assert err.splitlines()[-1].startswith("error: specs/warning.nn: a bug in nnspec: RuntimeError: boom")
    (report,) = tmp_path.glob("nnspec-fault-*.txt")
    assert "RuntimeError: boom" in report.read_text()
    assert "NN401" in out
    if format == "full":
        assert out.endswith("\n1 error in specs/wrong.nn\n")
    else:
        assert out.count("a bug in nnspec: ") == 2
        assert "NN902" in out
    if format in ("json", "sarif"):
        json.loads(out)


def test_a_fault_over_a_fix_leaves_the_file_and_the_others(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("a", "b"):
        (here / f"specs/{name}.nn").write_text(PASTED)
    honest = fixing.put_in

    def put_in(source: Source, fixes: Any) -> str:
        if source.name.endswith("a.nn"):
            raise RuntimeError("boom")
        return honest(source, fixes)

    monkeypatch.setattr(fixing, "put_in", put_in)
    code, out, err = run("specs/a.nn specs/b.nn --fix --format json")
    assert (code, json.loads(out)["errors"]) == (3, 1)
    assert err.startswith("error: specs/a.nn: a bug in nnspec: RuntimeError: boom\n")
    assert ["×" in (here / f"specs/{name}.nn").read_text() for name in ("a", "b")] == [True, False]


def test_too_little_memory_is_not_a_bug(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty(monkeypatch, MemoryError(), "good.nn")
    code, out, err = run("specs")
    assert (code, err) == (2, "error: not enough memory to check specs/good.nn\n")
    assert "NN401" in out


def test_an_interrupt_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty(monkeypatch, KeyboardInterrupt(), "wrong.nn")
    code, out, err = run("specs")
    assert (code, out, err.strip()) == (130, "", "interrupted")
