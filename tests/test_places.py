"""Where files are read and written: full disks, pipes, devices, links, odd names, folders that are gone."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from outcomes import outcome
from tiny_spec import OFFLINE, spec

from nnspec import files
from nnspec.api import compile_spec, run_into
from nnspec.cli import _code
from nnspec.project.inputs import InputError, find_specs
from nnspec.records.folder import OutputError, RunFolder
from nnspec.results.run import RunResult
from nnspec.runner.options import RunOptions
from nnspec.training.observer import Silent
from nnspec.view.pictures import curves

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")
SPEC = spec(race="SGD(lr=0.1); Adam(lr=0.01)", data="Blobs(train=40, test=20)", model="Linear(3)")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a spec, where nothing takes the time to be drawn."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(curves, "plot_training_curves", lambda *_, path, **__: path.write(b"drawn"))
    (tmp_path / "s.nn").write_text(SPEC)
    (tmp_path / "one.csv").write_text("1,2\n")
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def train(out: str, *, force: bool = False, resume: bool = False) -> RunResult:
    make = partial(RunFolder.make, "s.nn", out, force, resume)
    return run_into(
        compile_spec("s.nn"),
        OFFLINE,
        Silent(),
        make,
        options=RunOptions(jobs=1, resume=resume, checkpoint=0, stack=False),
    )


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = _code(arguments)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "bug in nnspec" not in err
    return code, out, err


# Disks that are full


class Disk:
    """Every file that is written, in order; the n-th finds no room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.full_at = -1
        make = tempfile.mkstemp

        def mkstemp(*, dir: Path, prefix: str, suffix: str) -> tuple[int, str]:
            self.names.append(f"{Path(dir).name}/{prefix[1:-1]}")
            if len(self.names) - 1 == self.full_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return make(dir=dir, prefix=prefix, suffix=suffix)

        monkeypatch.setattr(tempfile, "mkstemp", mkstemp)


def everything(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.usefixtures("drawn")
def test_whichever_file_finds_no_room_all_others_are_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    assert train("whole").place.unwritten == ""
    writes, whole = [*disk.names], everything("whole")
    assert len(whole) == 10  # run.json, spec.nn, three records, a picture, and weights and a checkpoint of each lane
    for number, name in enumerate(writes):
        out = f"out{number}"
        disk.names, disk.full_at = [], number
        short = name.replace("whole/", f"{out}/")
        if short in (f"{out}/run.json", f"{out}/spec.nn"):  # nothing was trained yet
            with pytest.raises(OutputError, match=f"cannot write to {out}: No space left on device"):
                train(out)
            continue
        result = train(out)
        lost = short.removeprefix(f"{out}/")
        missing = whole - everything(out)
        if "seed-" in lost:  # a checkpoint; one on the way is followed by another one
            assert missing <= {f"checkpoints/{lost}"}, (name, missing)
            words = f"checkpoints/{lost} cannot be written: No space left on device"
            assert (words in result.place.unwritten) == (name not in writes[number + 1 :])
        else:
            assert missing == {lost}, (name, missing)
            assert f"the run cannot be written to {out}: {lost} (No space left on device)" in result.place.unwritten
            assert f"--out {out} --resume" in result.place.unwritten
        disk.full_at = -1
        assert train(out, resume=True).place.unwritten == ""
        assert everything(out) == whole
        assert outcome(Path(out)) == outcome(Path("whole"))


def test_a_run_that_is_not_all_written_says_so_and_exits_with_2(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = files.os.replace

    def replace(source: Any, target: Any) -> None:
        if Path(target).name == "weights.npz":
            raise OSError(errno.EFBIG, "File too large")
        write(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    code, out, err = command(capsys, "run", "s.nn", "-q", "--out", "o")
    assert code == 2
    assert "Adam" in out
    assert "SGD/weights.npz (File too large), Adam/weights.npz (File too large)" in err
    assert json.loads(Path("o/summary.json").read_text())["lanes"][0]["name"] == "SGD"
    assert command(capsys, "report", "o")[0] == 0
    monkeypatch.undo()
    os.chdir(here)
    assert command(capsys, "run", "s.nn", "-q", "--out", "o", "--resume")[0] == 0
    assert Path("o/SGD/weights.npz").is_file()


# What lies where a file is to be written

COMMANDS = {
    "x.html": ("report", "o", "--out", "x.html", "--force"),
    "x.npz": ("export", "o", "x.npz", "--force"),
    "x.csv": ("predict", "o", "one.csv", "--out", "x.csv", "--force"),
    "x.xml": ("test", "s.nn", "--junit", "x.xml"),
    "x.json": ("check", "s.nn", "--format", "json", "--output", "x.json"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_lies_where_a_file_is_to_be_written(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    train("o")
    place, target = Path(name), Path("target")
    run = partial(command, capsys, *COMMANDS[name])

    os.mkfifo(place)  # and nobody reads
    code, _, err = run()
    assert (code, stat.S_ISFIFO(place.stat().st_mode)) == (2, True)
    assert f"{name} cannot be written: No such device or address" in err
    place.unlink()

    place.mkdir()
    code, _, err = run()
    assert code == 2
    assert "folder" in err or "Is a directory" in err
    place.rmdir()

    place.symlink_to("/dev/null")
    assert run()[0] == 0
    assert (place.is_symlink(), stat.S_ISCHR(os.stat("/dev/null").st_mode)) == (True, True)
    place.unlink()

    place.symlink_to(target)
    target.write_bytes(b"")
    target.chmod(0o600)
    assert run()[0] == 0
    assert (place.is_symlink(), target.stat().st_size > 0, stat.S_IMODE(target.stat().st_mode)) == (True, True, 0o600)

    target.write_bytes(b"kept")
    target.chmod(0o444)
    code, _, err = run()
    assert (code, target.read_bytes()) == (2, b"kept")
    assert f"{name} cannot be written: it is read-only" in err


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nothing", path)])
def test_a_file_that_is_not_a_report_is_not_overwritten(
    here: Path, make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    train("o")
    make("o/report.html")
    code, _, err = command(capsys, "report", "o")
    assert code == 2
    assert "o/report.html already exists and is not a report; name another file, or add --force" in err


@pytest.mark.parametrize("name", ["history.json", "summary.json", "trace.json", "curves.png", "SGD/weights.npz"])
@pytest.mark.usefixtures("drawn")
def test_links_in_the_folder_of_a_run_are_not_followed(here: Path, name: str) -> None:
    train("o")
    outside = here / "outside"
    outside.write_bytes(b"mine")
    Path("o", name).unlink()
    Path("o", name).symlink_to(outside)
    assert train("o", force=True).place.unwritten == ""
    assert outside.read_bytes() == b"mine"
    assert Path("o", name).is_file()
    assert not Path("o", name).is_symlink()


# Ctrl-C, wherever it comes

RUN = "nnspec.runner.run."


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("nnspec.api.check", None),
        (f"{RUN}load_data", None),
        ("nnspec.records.folder.RunFolder.begin", None),
        (f"{RUN}prove_gradients", {"summary.json"}),
        ("nnspec.executors.in_process.Turns", {"summary.json"}),
        (f"{RUN}judge", {"summary.json", "SGD/weights.npz", "checkpoints/SGD/seed-0.npz"}),
        ("nnspec.records.write.finite", {"summary.json", "SGD/weights.npz", "checkpoints/SGD/seed-0.npz"}),
        ("nnspec.view.pictures.curves.plot_training_curves", {"summary.json", "SGD/weights.npz"}),
        ("nnspec.view.terminal.race.print_result", {"summary.json", "SGD/weights.npz", "curves.png"}),
    ],
)
@pytest.mark.usefixtures("drawn")
def test_ctrl_c_keeps_what_was_trained_at_every_stage(
    here: Path, where: str, kept: set[str] | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is pressed where that function is called, once; while a result is made and written, it is heard afterwards."""
    import importlib

    module, _, name = where.rpartition(".")
    owner = RunFolder if module.endswith("RunFolder") else importlib.import_module(module)
    usual, pressed = getattr(owner, name), []

    def press(*arguments: Any, **named: Any) -> Any:
        if not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)
        return usual(*arguments, **named)

    monkeypatch.setattr(owner, name, press)
    Path("s.nn").write_text(SPEC + "expect { gradient_error < 1e-3 }\n")
    code, _, err = command(capsys, "run", "s.nn", "-q", "--out", "o")
    assert (code, pressed) == (130, [True])
    assert err == "" or err.strip() == "interrupted"
    assert kept is None or kept <= everything("o")


# Names that are not UTF-8

LATIN = os.fsdecode(b"exp\xe9rience")


def test_a_name_that_is_not_utf_8_goes_through_all_commands(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        Path(LATIN).mkdir()
    except OSError:
        pytest.skip("the file system has UTF-8 names only")
    os.chdir(LATIN)
    Path(f"{LATIN}.nn").write_text(SPEC)
    Path(f"{LATIN}.csv").write_text("1,2\n")
    for arguments in (
        ("check", "."),
        ("check", f"{LATIN}.nn", "--format", "sarif"),
        ("fmt", "--check", "."),
        ("show", f"{LATIN}.nn"),
        ("test", f"{LATIN}.nn", "--junit", f"{LATIN}.xml"),
        ("run", f"{LATIN}.nn", "-q", "--out", LATIN),
        ("run", f"{LATIN}.nn", "--json", "--out", LATIN, "--resume"),
        ("eval", LATIN),
        ("verify", LATIN),
        ("compare", LATIN),
        ("report", LATIN),
        ("export", LATIN, f"{LATIN}.npz"),
        ("predict", LATIN, f"{LATIN}.csv", "--out", f"{LATIN}-out.csv"),
    ):
        code, _, err = command(capsys, *arguments)
        assert code == (1 if arguments[0] == "fmt" else 0), (arguments, err)
    summary = json.loads(Path(LATIN, "summary.json").read_bytes())
    assert (summary["spec"]["path"], summary["title"]) == (f"{LATIN}.nn", "exp\\udce9rience")


def test_a_title_that_is_not_utf_8_is_drawn(tmp_path: Path) -> None:
    curves.plot_training_curves({LATIN: [2.0, 1.0]}, LATIN, subtitle=LATIN, path=tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_lane_whose_folder_cannot_be_named_is_refused_before_training(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.fsencode", lambda name: name.encode("ascii"))
    Path("s.nn").write_text(SPEC.replace("Adam(lr", "\xe9lan: Adam(lr"), encoding="utf-8")
    code, out, err = command(capsys, "run", "s.nn", "-q", "--out", "o")
    assert (code, out) == (2, "")
    assert "lane '\\xe9lan' needs a folder of its name" in err
    assert "set PYTHONUTF8=1, or LC_ALL=C.UTF-8" in err


# Folders


@pytest.mark.parametrize(
    "arguments",
    [("check", "../s.nn"), ("check", "."), ("fmt", "."), ("test", "."), ("run", "../s.nn"), ("new", "a.nn")],
)
def test_a_removed_folder_is_reported(
    here: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    code, _, err = command(capsys, *arguments)
    assert code == 2
    assert (
        "the current folder no longer exists; change to another one" in err
        or "file not found" in err
        or ("cannot be written" in err)
    )


def test_no_folder_of_a_run_is_searched(here: Path) -> None:
    """Its copy of the spec is a record. By its own name it is found."""
    train("runs/s/1")
    Path("runs/s/1/other.nn").write_text(SPEC)
    Path("mine").mkdir()
    Path("mine/run.json").write_text("{}")  # no run: a folder with a file of that name
    Path("mine/a.nn").write_text(SPEC)
    assert find_specs(["."]) == ["mine/a.nn", "s.nn"]
    assert find_specs(["**/*.nn"]) == ["mine/a.nn", "s.nn"]
    assert find_specs(["runs/s/1/spec.nn"]) == ["runs/s/1/spec.nn"]
    for argument in ("runs", "runs/s/1", "runs/*/*/spec.nn", "runs/**"):
        with pytest.raises(InputError, match="outside run folders"):
            find_specs([argument])
