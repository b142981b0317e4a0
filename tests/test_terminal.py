"""The command line in a separate process: pipes, terminals, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import forked, start
from tiny_spec import COMMAND, environment, nnspec, reach_epoch, spec

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and terminals")
COLOR = re.compile(r"\x1b\[[\d;]*(?<!\d)(?:3[0-8]|9[0-7])(?!\d)[\d;]*m")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "a.nn").write_text(spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 3; batch = 16"))
    (tmp_path / "stand_in.nn").write_text(spec(data="MNIST(train=50, test=20) or Digits(train=50, test=20)"))
    return tmp_path


@pytest.mark.usefixtures("drawn")
def test_a_run_says_nothing_on_stderr_and_makes_no_warnings(here: Path) -> None:
    done = nnspec("run", "a.nn", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("runs/a/1: curves.png, history.json, summary.json, trace.json, weights\n")
    assert sorted(os.listdir(here)) == ["a.nn", "runs", "stand_in.nn"]


@pytest.mark.usefixtures("drawn")
def test_divergence_makes_no_warnings(here: Path) -> None:
    done = forked("run", "a.nn", "--set", "SGD.optimizer.lr=1e30", cwd=here)
    assert done.returncode == 1
    assert done.stderr.startswith("warning[NN706]: lr=1e30 is unusually large for SGD\n")
    assert done.stderr.endswith("\n1 warning in --set\n")


@pytest.mark.usefixtures("drawn")
def test_a_title_that_no_font_has_makes_no_warnings(here: Path) -> None:
    titled = 'race "训练 $\\\\frac$" { SGD }'
    (here / "b.nn").write_text(spec().replace("optimizer = SGD(lr=0.1)", titled), "utf-8")
    done = forked("run", "b.nn", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert "训练 $\\frac$" in done.stdout


def test_a_stand_in_is_named_in_output_summary_and_title(here: Path, undrawn: None) -> None:
    done = forked("run", "stand_in.nn", "--offline", "--out", "out", cwd=here)
    assert done.returncode == 0
    assert done.stdout.startswith("! Digits stands in for MNIST: MNIST is not in the cache folder")
    assert json.loads((here / "out/summary.json").read_text())["data"][0]["stands_in"] is True


def test_force_color_gives_colours_but_no_table_that_is_drawn_again(here: Path, undrawn: None) -> None:
    done = forked("run", "a.nn", cwd=here, FORCE_COLOR="1", COLUMNS="100")
    assert COLOR.search(done.stdout)
    assert "\x1b[2K" not in done.stdout
    assert "SGD: epoch 3/3" in done.stdout


def test_an_encoding_that_lacks_a_sign_gets_a_question_mark(here: Path, undrawn: None) -> None:
    done = forked("run", "a.nn", cwd=here, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "784 ? 6 ? 10" in done.stdout


@posix
@pytest.mark.parametrize("line", ["show a.nn", "show a.nn --json", "--help", "check a.nn", "run a.nn --json"])
def test_a_reader_that_closes_the_pipe_is_not_an_error(here: Path, line: str, undrawn: None) -> None:
    done = gone(here, line.split())
    assert (done.returncode, done.stderr) == (0, b"")


@posix
def test_a_run_whose_reader_goes_away_is_still_recorded(here: Path) -> None:
    done = gone(here, ["run", "a.nn"])
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads((here / "runs/a/1/summary.json").read_text())["exit_code"] == 0


def gone(here: Path, arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run the command line with a stdout without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with start(*arguments, cwd=here, stdout=writer, stderr=subprocess.PIPE) as process:
            err = process.communicate(timeout=120)[1]
        return subprocess.CompletedProcess(arguments, process.returncode, None, err)
    finally:
        os.close(writer)


@posix
def test_without_stdout_the_exit_code_still_counts(here: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "check", "a.nn"],
        cwd=here,
        env=environment(here / ".cache"),
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@posix
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("show a.nn >&-", 0),
        ("test a.nn >&-", 0),
        ("test a.nn -q >&- 2>&-", 0),
        ("check - <&-", 2),
        ("run gone.nn 2> /dev/full", 2),
        ("run gone.nn >&- 2>&-", 2),
        ("show a.nn > /dev/full", 2),
    ],
)
def test_streams_that_are_closed_or_full(here: Path, line: str, code: int) -> None:
    if "/dev/full" in line and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = subprocess.run(
        ["sh", "-c", f'"$@" {line}', "sh", *COMMAND],
        cwd=here,
        env=environment(here / ".cache"),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "bug in nnspec" not in done.stderr


@posix
def test_a_run_under_nohup_outlives_its_terminal(here: Path) -> None:
    with subprocess.Popen(
        ["nohup", *COMMAND, "run", "a.nn", "--set", "train.epochs=150"],
        cwd=here,
        env=environment(here / ".cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "epoch" in line)
        process.send_signal(signal.SIGHUP)
        assert "150/150" in process.communicate(timeout=60)[0]
    assert process.returncode == 0


@posix
@pytest.mark.usefixtures("drawn")
def test_ctrl_c_keeps_what_was_trained_on_disk(here: Path) -> None:
    words = ("run", "a.nn", "--set", "train.epochs=1000000", "--no-stack", "--jobs", "1")
    with start(*words, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            reach_epoch(process, 3, lane="SGD")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
    assert "✗ SGD interrupted: after " in out
    assert "– not trained: Adam" in out
    folder = here / "runs/a/1"
    losses = json.loads((folder / "history.json").read_text())["lanes"]["SGD"]["loss"]
    assert len(losses) >= 3
    assert json.loads((folder / "summary.json").read_text())["interrupted"] is True
    assert (folder / "SGD/weights.npz").is_file()
    assert (folder / "curves.png").is_file()


@posix
@pytest.mark.parametrize(("jobs", "name"), [("1", "SIGINT"), ("2", "SIGINT"), ("2", "SIGTERM"), ("2", "SIGHUP")])
def test_ctrl_c_ends_all_lanes_that_train(here: Path, jobs: str, name: str) -> None:
    words = ("run", "a.nn", "--set", "train.epochs=1000000", "--jobs", jobs)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with start(*words, cwd=here, start_new_session=True, **pipes) as process:
        assert process.stdout is not None
        try:
            for lane in ("SGD", "Adam"):
                next(line for line in process.stdout if line.startswith(f"{lane}: epoch "))
            os.killpg(process.pid, getattr(signal, name))  # as a terminal does: to the workers too
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
    assert out.endswith("– to resume it: nnspec run a.nn --resume --out runs/a/1 --set train.epochs=1000000\n")
    for lane in ("SGD", "Adam"):
        assert f"✗ {lane} interrupted: after " in out
        assert (here / f"runs/a/1/{lane}/weights.npz").is_file()


def on_a_terminal(here: Path, arguments: list[str], columns: int = 100, **variables: str) -> tuple[int, str]:
    """Run the command line on a pseudo-terminal; return its code and everything that was written there."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables |= {"TERM": "xterm-256color"}
    process = start(*arguments, cwd=here, variables=variables, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    return process.wait(timeout=120), text.decode().replace("\r\n", "\n")


@posix
@pytest.mark.usefixtures("drawn")
def test_a_terminal_shows_a_live_table_with_colours_and_ends_clean(here: Path) -> None:
    code, text = on_a_terminal(here, ["run", "a.nn"])
    assert code == 0
    assert COLOR.search(text)
    assert "SGD: epoch" not in text
    hidden, shown = text.rindex("\x1b[?25l"), text.rindex("\x1b[?25h")
    assert hidden < shown, "the cursor is back"
    final = text[shown:]
    assert plain(final).count("\nlane ") == 1
    assert "\x1b[2K" not in final[final.index("a.nn · seed 0") :]
    assert plain(final).endswith("runs/a/1: curves.png, history.json, summary.json, trace.json, weights\n")


@posix
@pytest.mark.parametrize("arguments", [["run", "a.nn"], ["run", "nowhere.nn"], ["show", "a.nn"], ["check", "a.nn"]])
def test_no_color_means_none_on_a_terminal_either(here: Path, arguments: list[str], undrawn: None) -> None:
    _, text = on_a_terminal(here, arguments, NO_COLOR="1")
    assert text.strip()
    assert not COLOR.search(text)


@posix
def test_a_narrow_terminal_loses_columns_and_keeps_rows(here: Path, undrawn: None) -> None:
    code, text = on_a_terminal(here, ["run", "a.nn"], columns=40)
    assert code == 0
    lines = plain(text[text.rindex("\x1b[?25h") :]).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("lane"))
    assert {line.split()[0] for line in lines[head + 1 : head + 3]} == {"SGD", "Adam"}
    assert all(len(line.rstrip()) <= 40 for line in lines[head : head + 3])


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
