"""The picture of a run: drawn in a separate process, even if that process fails."""

from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_spec import COMMAND, OFFLINE, ROOT, compiled, environment, nnspec, reach_epoch, run, spec

import nnspec as package
from nnspec.api import run_into
from nnspec.cli import _code
from nnspec.environment import cores
from nnspec.records.folder import RunFolder
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.runner.drawing import NoDrawing, PictureError
from nnspec.runner.options import RunOptions
from nnspec.runner.run import run_program
from nnspec.training.groups import train_together
from nnspec.training.observer import Silent
from nnspec.view.pictures import drawing
from nnspec.view.pictures.curves import Picture, draw_run, panels
from nnspec.view.pictures.drawing import Apart, Here
from nnspec.view.pictures.figure import Blank, draw_figure, save

pytestmark = pytest.mark.usefixtures("drawn")

LANES = "SGD(lr=0.1); Adam(lr=0.01)"
needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
needs_cores = pytest.mark.skipif(cores() < 2, reason="on one core, the run draws itself")
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are listed in /proc")


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run(spec(race=LANES, train="epochs = 2; batch = 16; repeats = 2"))


@pytest.fixture(scope="module")
def expected(result: RunResult) -> bytes:
    content = io.BytesIO()
    draw_run(result, content)
    return content.getvalue()


def saboteur(path: Path, code: str) -> str:
    """Make a folder with a matplotlib that runs some code when it is imported."""
    (path / "matplotlib").mkdir(parents=True)
    (path / "matplotlib/__init__.py").write_text(code)
    return str(path)


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_run_that_is_not_drawn_does_not_claim_a_picture(tmp_path: Path) -> None:
    result = run_into(
        compiled(spec(race=LANES)),
        OFFLINE,
        Silent(),
        lambda: RunFolder.make("s.nn", tmp_path / "o"),
        RunOptions(1),
        drawing=NoDrawing(),
    )
    assert result.place is not None
    assert "summary.json" in result.place.files
    assert "curves.png" not in result.place.files


# Killed, wherever that may be

AT_THE_END = """
import nnspec.view.pictures.figure as drawn
usual = drawn.save
def save(figure, file, format):
    usual(figure, file, format)
    if {when}:
        os.kill(os.getpid(), signal.SIGKILL)
drawn.save = save
"""
DEATHS = {
    "importing matplotlib": "sys.modules['matplotlib'] = None; os.kill(os.getpid(), signal.SIGKILL)",
    "warming up": AT_THE_END.format(when="figure.texts[0].get_text() == '09aA'"),
    "drawing": AT_THE_END.format(when="figure.texts[0].get_text() != '09aA'"),
    "sending half of it": """
import nnspec.view.pictures.painter as painter
def half(source, out):
    source.read()
    out.write(b"\\x89PNG\\r\\n\\x1a\\n half of a picture")
    out.flush()
    os.kill(os.getpid(), signal.SIGKILL)
painter._draw = half
""",
}


@needs_signals
@pytest.mark.parametrize("when", DEATHS)
def test_a_process_that_is_killed_leaves_no_picture(
    when: str, result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, main = drawing._CODE.split("; from nnspec")
    monkeypatch.setattr(drawing, "_CODE", f"{setting}\nimport os, signal\n{DEATHS[when]}\nfrom nnspec{main}")
    with Apart() as apart:
        apart.start()
        assert apart._process is not None
        if when in ("importing matplotlib", "warming up"):  # before it is sent anything
            pid, ended = apart._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG
            wait_for(lambda: os.waitid(os.P_PID, pid, ended))
        apart.begin(result)
        with pytest.raises(PictureError) as caught:
            apart.finish(result, tmp_path / "x.png")
    assert str(caught.value) == "its process was killed by signal 9"
    assert list(tmp_path.iterdir()) == []


# What goes wrong in it, and around it


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('libpng16.so.16: cannot open shared object file')", "ImportError: libpng16.so.16: cannot"),
        ("raise MemoryError", "MemoryError"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("import os; os._exit(41)", "its process ended with exit code 41"),
        ("import os; os._exit(0)", "its process ended with exit code 0"),
    ],
)
def test_a_broken_matplotlib_is_reported(
    code: str, said: str, result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(saboteur(tmp_path / "broken", code))
    with Apart() as apart:
        apart.begin(result)
        with pytest.raises(PictureError) as caught:
            apart.finish(result, tmp_path / "x.png")
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "x.png").exists()


def test_a_process_that_cannot_be_started_is_reported(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    with Apart() as apart:
        apart.start()
        apart.begin(result)
        with pytest.raises(PictureError, match="cannot start a process to draw it: No such file or directory"):
            apart.finish(result, tmp_path / "x.png")


def test_a_process_that_hangs_is_waited_for_so_long_and_ended(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "PATIENCE", 0.1)
    monkeypatch.setattr(drawing, "_CODE", "import time; time.sleep(600)")
    with Apart() as apart:
        apart.begin(result)
        with pytest.raises(PictureError, match="it was not finished after 0 s"):
            apart.finish(result, tmp_path / "x.png")
    assert apart._process is not None
    assert apart._process.returncode is not None


def test_a_picture_that_cannot_be_written_is_an_error_of_the_system(result: RunResult, tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with Apart() as apart:
        apart.begin(result)
        with pytest.raises(IsADirectoryError):
            apart.finish(result, tmp_path / "x.png")
    assert [child.name for child in tmp_path.iterdir()] == ["x.png"]


# What it draws


def test_the_picture_is_the_same_to_the_byte_wherever_it_is_drawn(
    result: RunResult, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the current folder holds modules of the same names, and something in the process prints."""
    for name in ("matplotlib", "json", "numpy", "nnspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawing, "_CODE", f"print('noise', flush=True); {drawing._CODE}")
    with Apart() as apart:
        apart.start()
        apart.begin(result)
        apart.finish(result, tmp_path / "apart.png")
    Here().finish(result, tmp_path / "here.png")
    assert (tmp_path / "apart.png").read_bytes() == (tmp_path / "here.png").read_bytes() == expected


def curves(*losses: float, **more: list[float]) -> dict[str, object]:
    return {"loss": list(losses), "repeats": [], **more}


HISTORIES = {
    "a race": {"SGD": curves(2.3, 1.9, 1.2, accuracy=[0.1, 0.5, 0.8], test_accuracy=[0.1, 0.4, 0.7])},
    "one epoch": {"a": curves(2.3, test_accuracy=[0.5]), "b": curves(2.2, test_accuracy=[0.6])},
    "more lanes than panels have names": {
        f"lane {i}": curves(1.0 + i, 1.0 / (i + 1), test_accuracy=[0.1, 0.9]) for i in range(14)
    },
    "large": {"a": curves(3.1e7, 2.9e7, 1.2e6, test_r2=[-0.5, 0.1, 0.3])},
    "small": {"a": curves(3e-7, 2.5e-7, 1e-8, test_accuracy=[0.9991, 0.9992, 0.9993])},
    "of negative losses": {"a": curves(-1000.1, -1000.2, -1000.3)},
    "far apart": {"a": curves(1.0, 0.5), "b": curves(1.0, 1e9), "c": curves(1.1, math.nan)},
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_a_figure_created_in_advance_does_not_change_the_picture(
    history: dict[str, dict[str, object]],
) -> None:
    """A figure that has axes and ticks already gives the same picture as a new one."""
    usual, ready = io.BytesIO(), io.BytesIO()
    title, below = "A title", "and what is below it"
    draw_figure(history, panels(history), title, below, ready, Blank.warm())
    Picture(history, title, below).draw(usual)
    assert ready.getvalue() == usual.getvalue()


@pytest.mark.parametrize("settings", [{}, {"savefig.dpi": 50, "savefig.bbox": "tight"}], ids=["usual", "of a user"])
def test_png_has_the_pixels_that_matplotlib_writes(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib
    from matplotlib.image import imread

    with matplotlib.rc_context(settings):
        figure = draw_figure(HISTORIES["a race"], panels(HISTORIES["a race"]), "Title", "facts", tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(figure._repr_png_())
        with matplotlib.rc_context({"savefig.bbox": "tight"}):
            save(figure, tight := io.BytesIO(), "png")
        monkeypatch.setattr("nnspec.view.pictures.figure._png", lambda figure: b"")
        draw_figure(HISTORIES["a race"], panels(HISTORIES["a race"]), "Title", "facts", tmp_path / "c.png")
    ours, shown, theirs = (imread(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    assert theirs.shape == (702, 2145, 4)  # 5.4 by 1.2 + 3 × 4.9 + 3 × 0.2 inches, 130 dots each
    assert (ours == theirs).all()
    assert (shown == theirs).all()
    assert imread(io.BytesIO(tight.getvalue())).shape < theirs.shape


@pytest.mark.parametrize(
    "text",
    [
        spec(race=LANES),
        spec(race=LANES, train="epochs = 3; batch = 16; repeats = 3; validation = 0.2; early_stop = patience(1)"),
        spec(
            race="SGD(lr=0.1); wild { optimizer = SGD(lr=1e30); seed = 3 }", data="MNIST or Digits(train=50, test=20)"
        ),
    ],
    ids=["race", "repeats", "diverged"],
)
def test_plot_draws_the_picture_of_the_run_again(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NNSPEC_DATA_DIR", raising=False)
    Path("a.nn").write_text(text)
    assert _code(["run", "a.nn", "--out", "o", "-q", "--offline"]) in (0, 1)
    picture = Path("o/curves.png").read_bytes()
    Path("o/curves.png").unlink()
    capsys.readouterr()
    assert _code(["plot", "o"]) == 0
    assert capsys.readouterr().out == "o/curves.png\n"
    assert Path("o/curves.png").read_bytes() == picture
    assert _code(["plot", "o", "--out", "x.svg"]) == 0
    assert Path("x.svg").read_bytes().startswith(b"<?xml")
    assert _code(["plot", "o", "--out", "x.svg"]) == 2
    assert "x.svg already exists; choose another file with --out, or add --force" in capsys.readouterr().err
    assert _code(["plot", "o", "--out", "x.svg", "--force"]) == 0


def test_a_run_without_an_epoch_has_nothing_to_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.nn").write_text(spec(optimizer="SGD(lr=1e300)", train="epochs = 2; batch = 16"))
    _code(["run", "a.nn", "--out", "o", "-q"])
    assert not Path("o/curves.png").exists()
    capsys.readouterr()
    assert _code(["plot", "o"]) == 2
    assert capsys.readouterr().err == "error: o has no curves: no lane finished an epoch\n"


# The whole command


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "a.nn").write_text(spec(race=LANES))
    return tmp_path


@needs_signals
@needs_cores
def test_a_run_loses_nothing_but_the_picture_and_says_what_draws_it(tiny: Path) -> None:
    good = nnspec("run", "a.nn", "--out", "the whole", cwd=tiny)
    assert (good.returncode, good.stderr) == (0, "")
    broken = saboteur(tiny / "broken", "import os; os.kill(os.getpid(), 9)")
    done = nnspec("run", "a.nn", "--out", "a part", cwd=tiny, PYTHONPATH=f"{broken}{os.pathsep}{ROOT}")
    assert done.returncode == 0
    command = "nnspec plot 'a part'"
    assert done.stderr == f"the plot was not written: its process was killed by signal 9; `{command}` draws it\n"
    assert done.stdout.splitlines()[-1] == "a part: history.json, summary.json, trace.json, weights"
    names = [{child.name for child in (tiny / folder).rglob("*")} for folder in ("the whole", "a part")]
    assert names[0] - names[1] == {"curves.png"}
    assert nnspec("plot", "a part", cwd=tiny).returncode == 0
    assert (tiny / "a part/curves.png").read_bytes() == (tiny / "the whole/curves.png").read_bytes()


def test_python_code_is_warned_and_has_its_result(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ImportError("no fonts")

    monkeypatch.setattr("nnspec.view.pictures.curves.plot_training_curves", broken)
    with pytest.warns(RuntimeWarning, match="the plot was not written: ImportError: no fonts; `nnspec plot"):
        done = package.run(tiny / "a.nn", out=tiny / "o")
    assert done.exit_code == 0
    assert len(done["SGD"].history["loss"]) == 2


def test_nothing_is_started_for_a_spec_with_errors_nor_by_python_code_nor_on_one_core(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(drawing.subprocess, "Popen", refuse)
    package.run(tiny / "a.nn", out=tiny / "o")
    monkeypatch.delitem(sys.modules, "matplotlib")
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    (tiny / "bad.nn").write_text(spec(race="SDG(lr=0.1)"))
    assert _code(["run", str(tiny / "bad.nn")]) == 2
    with pytest.raises(AssertionError, match="a process was started"):
        drawing.drawing_for(package.check(tiny / "a.nn").compiled)
    drawing.drawing_for(package.check(tiny / "a.nn", {"train.epochs": 1_000_000_000}).compiled)
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    with drawing.drawing_for(package.check(tiny / "a.nn").compiled) as here:
        assert isinstance(here, Here)


# Gradients are proved while it draws


class Listener(Silent):
    def __init__(self, stop: int = 0) -> None:
        self.events: list[str] = []
        self.stop = stop

    def proving(self, lane: str) -> None:
        self.events.append("proving")

    def epoch_done(self, lane: LaneResult) -> None:
        self.events.append(f"epoch {len(lane.epoch_seconds)}")
        if len(lane.epoch_seconds) == self.stop:
            raise KeyboardInterrupt

    def trained(self, result: RunResult) -> None:
        self.events.append(f"trained {len(result['run'].history['loss'])}")


class Others:
    """Processes that train in this process."""

    remote = True

    def __init__(self, slots: int, *, script: bool) -> None:
        self.slots = slots

    def __enter__(self) -> Others:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def train(self, work: list[tuple], observer: Silent, take: Callable[[list], None]) -> None:
        for members, dataset in work:
            take(train_together(members, dataset, observer))

    def record(self) -> dict[str, object]:
        return {}


EPOCHS = ["epoch 1", "epoch 2"]


@pytest.mark.parametrize(
    ("text", "stop", "events"),
    [
        (spec(expect="gradient_error < 1e-7"), 0, [*EPOCHS, "trained 2", "proving"]),
        (spec(expect="gradient_error < 1e-7"), 1, ["epoch 1"]),
        (spec(), 0, [*EPOCHS, "trained 2"]),
        (spec(expect="gradient_error < 1e-7", train="epochs = 1; repeats = 2"), 0, ["proving", "epoch 1", "epoch 1"]),
    ],
    ids=["a run", "interrupted", "nothing to prove", "with workers"],
)
def test_gradients_are_proved_while_others_draw_or_start_to_train(
    text: str, stop: int, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnspec.runner.executor_choice.Processes", Others)
    listener = Listener(stop)
    done = run_program(compiled(text), OFFLINE, listener, options=RunOptions(jobs=2), trained=listener.trained)
    assert listener.events == events
    assert bool(done.gradients) == ("proving" in events)
    assert [verdict.held for verdict in done.verdicts] == ["proving" in events or None] * text.count("gradient_error")
    if done.gradients:
        assert done.gradient_error == run(text).gradient_error


# Interrupted


def painter_of(pid: int) -> int:
    """Return the process that is to draw for another one, which may have others beside it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (found,) = [int(child) for child in children if b"painter" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def long_run(tiny: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that trains for ever, and has its process for the picture."""
    arguments = ("run", "a.nn", "--out", "o", "--set", "train.epochs=100000", "--jobs", "1")
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tiny,
        env=environment(tiny / ".cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    reach_epoch(process, 2)
    yield process
    process.kill()
    process.communicate()


@needs_signals
@needs_proc
@needs_cores
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_has_a_picture_and_leaves_no_process(
    number: signal.Signals, long_run: subprocess.Popen[str], tiny: Path
) -> None:
    painter = painter_of(long_run.pid)
    long_run.send_signal(number)
    _, err = long_run.communicate(timeout=60)
    assert (long_run.returncode, err) == (130, "")
    assert not alive(painter)
    assert (tiny / "o/curves.png").read_bytes().startswith(b"\x89PNG")
    assert not [child for child in (tiny / "o").rglob("*") if child.name.endswith(".part")]


@needs_signals
@needs_proc
@needs_cores
def test_a_run_that_is_killed_takes_the_process_with_it(long_run: subprocess.Popen[str]) -> None:
    painter = painter_of(long_run.pid)
    long_run.kill()
    long_run.wait()
    wait_for(lambda: not alive(painter))


@needs_signals
@needs_proc
def test_ctrl_c_while_the_picture_is_waited_for_ends_both(result: RunResult, tmp_path: Path) -> None:
    with Apart() as apart:
        apart.begin(result)
        assert apart._process is not None
        os.kill(apart._process.pid, signal.SIGSTOP)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            apart.finish(result, tmp_path / "x.png")
    assert apart._process.returncode == -signal.SIGKILL
    assert not alive(apart._process.pid)
    assert list(tmp_path.iterdir()) == []
