"""`nnspec fmt` as a person, an editor or a hook meets it: files, streams, exit codes, words."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tiny_spec import COMMAND, RACE, ROOT, environment

import nnspec
from nnspec.cli import _code
from nnspec.formatting import FormatResult, WriteError
from nnspec.syntax import format as formatter
from nnspec.syntax.format import FormatFault

UGLY, PRETTY = "a=1 ;b  = 2#c\n", "a = 1\nb = 2  # c\n"
DIFF = "--- ugly.nn\n+++ ugly.nn\n@@ -1 +1,2 @@\n-a=1 ;b  = 2#c\n+a = 1\n+b = 2  # c\n"

Output = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with a few specs, none of which would check."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "more").mkdir()
    for name, text in {"ugly": UGLY, "pretty": PRETTY, "broken": "a = \n", "more/ugly": UGLY}.items():
        (tmp_path / f"{name}.nn").write_bytes(text.encode())
    (tmp_path / "more/notes.txt").write_text(UGLY)
    return tmp_path


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


CASES = [
    ("ugly.nn", 0, "", "formatted ugly.nn\n1 file formatted\n"),
    ("pretty.nn", 0, "", "1 file left unchanged\n"),
    ("ugly.nn pretty.nn", 0, "", "formatted ugly.nn\n1 file left unchanged, 1 file formatted\n"),
    ("ugly.nn ugly.nn", 0, "", "formatted ugly.nn\n1 file formatted\n"),
    ("more", 0, "", "formatted more/ugly.nn\n1 file formatted\n"),
    ("*/*.nn u*.nn", 0, "", "formatted more/ugly.nn\nformatted ugly.nn\n2 files formatted\n"),
    ("more/notes.txt", 0, "", "formatted more/notes.txt\n1 file formatted\n"),
    ("--check pretty.nn", 0, "", "1 file would be left unchanged\n"),
    ("--check ugly.nn", 1, "", "would format ugly.nn\n1 file would be formatted\n"),
    ("--diff ugly.nn", 0, DIFF, "1 file would be formatted\n"),
    ("--diff pretty.nn", 0, "", "1 file would be left unchanged\n"),
    ("--diff --check ugly.nn", 1, DIFF, "would format ugly.nn\n1 file would be formatted\n"),
    ("", 2, "", "Missing argument 'PATH...'"),
    ("--indent 2 ugly.nn", 2, "", "No such option"),
    ("--stdin-filename x.nn ugly.nn", 2, "", "--stdin-filename requires `-`"),
    ("nowhere.nn", 2, "", "file not found: nowhere.nn"),
    ("x*.nn", 2, "", "no .nn file matches x*.nn"),
    ("nowhere.nn ugly.nn", 2, "", "formatted ugly.nn"),
    ("broken.nn", 2, "", "error[NN101]: missing value after `=`\n --> broken.nn:1:3"),
    ("broken.nn ugly.nn", 2, "", "formatted ugly.nn\n1 file not formatted, 1 file formatted"),
    ("--check broken.nn ugly.nn", 2, "", "1 file cannot be formatted, 1 file would be formatted"),
]


@pytest.mark.parametrize(("line", "code", "stdout", "stderr"), CASES, ids=[row[0] or "nothing" for row in CASES])
def test_exit_codes_and_words(here: Path, capsys: Output, line: str, code: int, stdout: str, stderr: str) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*.*")}
    assert _code(["fmt", *line.split()]) == code
    out, err = capsys.readouterr()
    assert (out, stderr in err) == (stdout, True), err
    writes = "--check" not in line and "--diff" not in line
    for path, data in before.items():
        name = path.relative_to(here).as_posix()
        assert path.read_bytes().decode() == (PRETTY if f"formatted {name}\n" in err and writes else data.decode())
    assert not [path for path in here.rglob("*") if path.name.startswith(".")]


# Standard input


@pytest.mark.parametrize(
    ("options", "data", "code", "stdout", "stderr"),
    [
        ("-", UGLY, 0, PRETTY, ""),
        ("-", PRETTY, 0, PRETTY, ""),
        ("-", "\ufeffa=1\r\nb='🙂'", 0, "a = 1\r\nb = '🙂'\r\n", ""),
        ("-", "", 0, "", ""),
        ("- --check", UGLY, 1, "", "would format <stdin>\n"),
        ("- --check", PRETTY, 0, "", ""),
        ("- --diff --stdin-filename ugly.nn", UGLY, 0, DIFF, ""),
        ("- --diff --check --stdin-filename ugly.nn", UGLY, 1, DIFF, "would format ugly.nn\n"),
        ("-", "a = ", 2, "", " --> <stdin>:1:3"),
        ("-", "a = \0", 2, "", "<stdin> contains a NUL byte"),
    ],
)
def test_standard_input_goes_to_standard_output(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
    options: str,
    data: str,
    code: int,
    stdout: str,
    stderr: str,
) -> None:
    feed(monkeypatch, data.encode())
    assert _code(["fmt", *options.split()]) == code
    out, err = capsysbinary.readouterr()
    assert out.decode() == stdout
    assert stderr in err.decode()
    assert err == b"" or stderr


def test_a_filter_in_a_separate_process(here: Path) -> None:
    text = "größe='🙂'#c\r\n"
    done = subprocess.run(
        [*COMMAND, "fmt", "-"],
        input=text.encode(),
        env=environment(here / ".cache", PYTHONIOENCODING="ascii"),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout.decode(), done.stderr) == ("größe = '🙂'  # c\r\n", b"")


# Files


def test_line_ends_and_a_byte_order_mark(here: Path, capsys: Output) -> None:
    (here / "a.nn").write_bytes(b"\xef\xbb\xbfa = 1\n")
    (here / "b.nn").write_bytes(b"a=1\r\nb=2")
    (here / "c.nn").write_bytes(b"a=1\rb=2\r")
    assert _code(["fmt", "--check", "a.nn"]) == 1
    assert _code(["fmt", "a.nn", "b.nn", "c.nn"]) == 0
    assert (here / "a.nn").read_bytes() == b"a = 1\n"
    assert (here / "b.nn").read_bytes() == b"a = 1\r\nb = 2\r\n"
    assert (here / "c.nn").read_bytes() == b"a = 1\rb = 2\r"
    assert _code(["fmt", "--check", "a.nn", "b.nn", "c.nn"]) == 0


@pytest.mark.parametrize("data", [b"a=1\r\nb=2\r\n", b"a=1\nb=2", b"\xef\xbb\xbfa = 1\n", b"\n\na='\xe2\x80\xa8'\n\n"])
def test_a_diff_can_be_applied(here: Path, capsysbinary: pytest.CaptureFixture[bytes], data: bytes) -> None:
    (here / "a.nn").write_bytes(data)
    _code(["fmt", "--diff", "a.nn"])
    diff = capsysbinary.readouterr().out
    _code(["fmt", "a.nn"])
    expected = (here / "a.nn").read_bytes()
    assert expected != data
    (here / "a.nn").write_bytes(data)
    subprocess.run(["git", "apply", "-p0", "--whitespace=nowarn", "-"], input=diff, cwd=here, check=True)
    assert (here / "a.nn").read_bytes() == expected


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o666])
def test_a_file_keeps_its_mode(here: Path, mode: int) -> None:
    (here / "ugly.nn").chmod(mode)
    assert _code(["fmt", "ugly.nn"]) == 0
    assert (here / "ugly.nn").read_text() == PRETTY
    assert (here / "ugly.nn").stat().st_mode & 0o777 == mode


def test_an_unchanged_file_is_not_touched(here: Path) -> None:
    os.utime(here / "pretty.nn", (1, 1))
    assert _code(["fmt", "pretty.nn"]) == 0
    assert (here / "pretty.nn").stat().st_mtime == 1


def test_a_link_stays_a_link(here: Path) -> None:
    (here / "link.nn").symlink_to("more/ugly.nn")
    assert _code(["fmt", "link.nn"]) == 0
    assert (here / "link.nn").is_symlink()
    assert (here / "more/ugly.nn").read_text() == PRETTY


def test_a_read_only_file_is_left_alone(here: Path, capsys: Output) -> None:
    (here / "ugly.nn").chmod(0o444)
    assert _code(["fmt", "ugly.nn", "more"]) == 2
    assert "error: ugly.nn cannot be written: it is read-only\n" in capsys.readouterr().err
    assert (here / "ugly.nn").read_text() == UGLY
    assert (here / "more/ugly.nn").read_text() == PRETTY
    assert _code(["fmt", "--check", "ugly.nn"]) == 1
    with pytest.raises(WriteError, match="it is read-only"):
        nnspec.format_spec("ugly.nn")


def test_a_folder_that_cannot_be_written_to(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert _code(["fmt", "ugly.nn"]) == 2
    assert "error: ugly.nn cannot be written: Permission denied\n" in capsys.readouterr().err
    assert (here / "ugly.nn").read_text() == UGLY


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.nn", b"\x7fELF\x00", "contains a NUL byte"),
        ("a.nn", b"a = '\xe9'", "is not UTF-8 text"),
        ("a.nn", "a = 1".encode("utf-16"), "is encoded in UTF-16"),
    ],
)
def test_files_that_are_not_text_are_not_changed(
    here: Path, capsys: Output, name: str, data: bytes, words: str
) -> None:
    (here / name).write_bytes(data)
    assert _code(["fmt", name]) == 2
    assert words in capsys.readouterr().err
    assert (here / name).read_bytes() == data


def test_what_the_project_excludes_is_left_alone(here: Path, capsys: Output) -> None:
    (here / "pyproject.toml").write_text('[tool.nnspec]\nexclude = ["more/"]\n')
    assert _code(["fmt", "--check", "."]) == 2
    assert "more" not in capsys.readouterr().err
    assert _code(["fmt", "--check", "more/ugly.nn"]) == 1
    assert _code(["fmt", "--check", "--force-exclude", "more/ugly.nn"]) == 0


# A fault of ours


def test_a_formatter_that_loses_a_comment_writes_nothing(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    monkeypatch.setattr(formatter, "lines", lambda pieces: ["a = 1", "b = 2"])
    (here / "fine.nn").write_text("a=1;b=2")
    assert _code(["fmt", "ugly.nn", "fine.nn"]) == 3
    err = capsys.readouterr().err
    assert "error: ugly.nn: a bug in nnspec: FormatFault: formatting ugly.nn lost" in err
    assert "Please report it, with the file " in err
    assert (here / "ugly.nn").read_text() == UGLY
    assert (here / "fine.nn").read_text() == "a = 1\nb = 2\n"
    with pytest.raises(FormatFault):
        nnspec.format_spec("ugly.nn")


def test_a_formatter_that_fails_writes_nothing(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> list[str]:
        raise IndexError("oops")

    monkeypatch.setattr(tempfile, "tempdir", str(here))
    monkeypatch.setattr(formatter, "lines", fail)
    assert _code(["fmt", "ugly.nn"]) == 3
    assert "IndexError: oops" in capsys.readouterr().err
    assert (here / "ugly.nn").read_text() == UGLY


# From Python


def test_from_python(here: Path) -> None:
    assert nnspec.format_text(UGLY) == PRETTY
    assert nnspec.format_spec("ugly.nn", write=False) == FormatResult("ugly.nn", UGLY, PRETTY)
    assert (here / "ugly.nn").read_text() == UGLY
    assert nnspec.format_spec("ugly.nn").changed
    assert (here / "ugly.nn").read_text() == PRETTY
    assert not nnspec.format_spec("ugly.nn").changed
    with pytest.raises(nnspec.SpecError, match="missing value after `=`"):
        nnspec.format_text("a = ")
    broken = nnspec.format_spec("broken.nn")
    assert (broken.after, broken.changed, [found.code for found in broken.diagnostics]) == ("a = \n", False, ["NN101"])
    with pytest.raises(nnspec.SourceError, match="file not found"):
        nnspec.format_spec("nowhere.nn")


def test_our_own_specs_are_formatted(capsys: Output) -> None:
    assert RACE.is_file()
    assert _code(["fmt", "--check", str(ROOT / "specs")]) == 0
