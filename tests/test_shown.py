"""What a prompt and a notebook show of results: short tables, one line of progress, warnings, and a figure."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_reader import Page
from rich.console import Console
from tiny_spec import compiled, environment, spec

import nnspec
from nnspec import api, runs
from nnspec.results.run import RunResult
from nnspec.view.notebook.progress import RewrittenLine
from nnspec.view.terminal.progress import LineProgress, progress_for
from nnspec.view.wording import numbers

SPEC = spec(
    race="SGD(lr=0.1); Adam(lr=0.01)",
    train="epochs = 3; batch = 16; repeats = 2; validation = 0.2",
    expect="Adam.loss < 1000; gradient_error < 1e-6",
    more="seed = 42",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "a.nn").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> RunResult:
    return nnspec.run(folder / "a.nn", out=folder / "run")


def lines(thing: object) -> list[str]:
    text = repr(thing)
    assert len(text) < 3000
    Page(thing._repr_html_())  # type: ignore[attr-defined]  # closes its tags
    return text.splitlines()


def test_a_run_is_a_table_of_its_lanes(result: RunResult) -> None:
    title, head, *rows = lines(result)
    assert title.startswith("a: 2 lanes (")
    assert head.split()[:3] == ["lane", "epochs", "loss"]
    assert {row.split()[0] for row in rows[:2]} == {"SGD", "Adam"}
    adam = next(row for row in rows if row.startswith("Adam"))
    final = sum(one.history["loss"][-1] for one in result["Adam"].repeats) / 2
    assert adam.split()[1:3] == ["3/3", f"{final:.3f}"]
    assert any(row.startswith("✓ Adam.loss < 1000: ") for row in rows)
    assert repr(result.verdicts[0]).startswith("<✓ Adam.loss < 1000")
    html = result._repr_html_()
    assert html.count("<tr>") == 3
    assert f'<td style="text-align:right">{final:.3f}</td>' in html


def test_a_lane_is_a_table_of_its_figures(result: RunResult) -> None:
    title, head, *rows = lines(result["SGD"])
    assert title == "SGD: SGD(lr=0.1), 3/3 epochs, the mean of 2 seeds, done"
    assert head.split() == ["figure", "first", "epoch", "last"]
    assert [row.split("  ")[0] for row in rows][:2] == ["loss", "accuracy"]


def test_of_many_rows_ten_are_shown(result: RunResult) -> None:
    many = RunResult("many", "many.nn", {f"lane {i}": result["SGD"] for i in range(40)}, result.data)
    assert lines(many)[-1] == "and 30 more rows"
    assert len(lines(many)) == 13
    assert many._repr_html_().count("<tr>") == 11


def test_names_are_escaped(result: RunResult) -> None:
    evil = RunResult("<b>\x1b[31m", "<script>.nn", dict(result.lanes), result.data)
    assert "<script>" not in evil._repr_html_()
    assert "\x1b" not in repr(evil) + evil._repr_html_()


def test_checks_proofs_and_what_is_read_back_are_short(folder: Path, result: RunResult) -> None:
    assert lines(nnspec.check(folder / "a.nn")) == [f"{folder}/a.nn: no findings; 2 lanes"]
    (folder / "bad.nn").write_text(SPEC.replace("ReLU", "Relu").replace("loss = Cross", "loss = Crozz"))
    title, head, *rows = lines(nnspec.check(folder / "bad.nn"))
    assert re.fullmatch(r".*bad\.nn: \d+ errors?", title)
    assert head.split() == ["line", "code", "message"]
    assert any("`Relu`" in row for row in rows)
    (proof,) = nnspec.gradcheck(folder / "a.nn")
    assert lines(proof)[0].startswith("SGD, Adam: the gradients are correct, ")
    assert lines(runs.verify(folder / "run"))[0].endswith(": identical, bit for bit")
    assert lines(runs.evaluate(folder / "run", "Adam")[0])[0].endswith("as recorded, bit for bit")
    assert lines(runs.compare_runs([folder / "run"]))[0] == "1 run compared"
    assert "mean the same" in lines(api.diff(folder / "a.nn", folder / "a.nn"))[0]
    found = api.landscape(folder / "a.nn", {"train.repeats": 1, "train.epochs": 1}, grid=3)
    assert lines(found)[0] == "a: loss landscape, 3 × 3 points"
    assert any("This is a projection onto 2 of " in line for line in lines(found))
    assert len(lines(found.lanes["Adam"])) == 1


def test_a_result_draws_itself(result: RunResult, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = result.plot(tmp_path / "a.svg")
    assert isinstance(figure, Figure)
    assert (tmp_path / "a.svg").read_text("utf-8").lstrip().startswith("<?xml")
    assert {text.get_text() for text in figure.axes[0].texts} == {"SGD", "Adam"}


def test_matplotlib_is_imported_for_a_plot_and_not_for_a_table(folder: Path) -> None:
    code = (
        "import sys, nnspec; r = nnspec.run('a.nn', set={'train.epochs': 1}); repr(r); r._repr_html_();"
        "assert 'matplotlib' not in sys.modules; r.plot(); assert 'matplotlib' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Stand-ins


@pytest.mark.parametrize("ask", ["run", "gradcheck"])
def test_data_that_stands_in_is_a_warning(ask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "a.nn").write_text(spec(data="MNIST(train=50, test=20) or Digits(train=50, test=20)"))
    with pytest.warns(nnspec.DataWarning, match="^Digits stands in for MNIST: ") as told:
        getattr(nnspec, ask)(tmp_path / "a.nn", offline=True)
    assert [each.filename for each in told] == [__file__], "the line that asked for it"


def test_the_warning_names_the_problem_of_each_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NNSPEC_MNIST_MIRRORS", "http://127.0.0.1:1/a http://127.0.0.1:1/b")
    (tmp_path / "a.nn").write_text(spec(data="MNIST(train=50, test=20) or Digits(train=50, test=20)"))
    with pytest.warns(nnspec.DataWarning) as caught:
        nnspec.run(tmp_path / "a.nn")
    _, *reasons = str(caught[0].message).splitlines()
    assert [line.split()[0] for line in reasons] == ["http://127.0.0.1:1/a/:", "http://127.0.0.1:1/b/:"]
    assert all("cannot be reached" in line for line in reasons)


def test_without_a_stand_in_there_is_no_warning(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nnspec.run(folder / "a.nn", set={"train.epochs": 1})


# Progress


def test_progress_shows_what_the_command_shows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nnspec.run(folder / "a.nn", set={"train.repeats": 1})
    assert capsys.readouterr().out == ""
    nnspec.run(folder / "a.nn", set={"train.repeats": 1}, progress=True)
    told = capsys.readouterr().out
    assert "SGD: epoch 3/3, loss " in told
    assert re.search(r"^lane +epoch +loss", told, re.MULTILINE)
    assert "✓ Adam.loss < 1000" in told


class Handle:
    """Counts what a notebook shows and updates."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def display(self, data: dict[str, str], **_: Any) -> Handle:
        self.texts.append("shown")
        self.update(data)
        return self

    def update(self, data: dict[str, str], **_: Any) -> None:
        self.texts.append(data["text/plain"])


def test_in_a_notebook_progress_is_one_output_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Handle()
    shell = type("Shell", (), {"kernel": object()})()
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": staticmethod(lambda: shell)}))
    monkeypatch.setitem(sys.modules, "IPython.display", type("display", (), {"display": handle.display}))
    monkeypatch.setattr("nnspec.view.notebook.progress._SECONDS", 0.0)
    progress = progress_for(Console(file=io.StringIO()), compiled(SPEC))
    assert isinstance(progress, LineProgress)
    for lane in ("SGD", "Adam"):
        progress.proving(lane)
    progress.close()
    assert handle.texts == ["shown", "SGD: proving the gradients", "Adam: proving the gradients", ""]


def test_a_command_in_a_notebook_rewrites_one_line(folder: Path) -> None:
    variables = environment(folder / ".cache", JPY_PARENT_PID=str(os.getpid()))
    arguments = [sys.executable, "-m", "nnspec", "run", "a.nn", "--set", "train.repeats=1"]
    done = subprocess.run(arguments, cwd=folder, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout.decode()
    assert "\x1b" not in told
    progress, table = told.split("\n", 1)
    assert progress.count("\r") >= 2
    assert progress.split("\r")[-1].strip() == "", "the line is taken away"
    assert "\r" not in table


def test_a_rewritten_line_covers_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.view.notebook.progress._SECONDS", 0.0)
    stream = io.StringIO()
    line = RewrittenLine(stream)
    line.show("long text")
    line.show("short")
    line.close()
    assert stream.getvalue() == "\rlong text\rshort    \r     \r"


def test_predictions_are_short(folder: Path, result: RunResult) -> None:
    np.save(folder / "x.npy", np.zeros((3, 784)))
    (found,) = runs.predict(runs.load(folder / "run"), [folder / "x.npy"])
    title, head, *rows = lines(found)
    assert title == "predictions for 3 samples"
    assert head.split() == ["sample", "probabilities"]
    assert len(rows) >= 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(15821.5, "15,822"), (-2310.123, "-2,310"), (2.3456, "2.346"), (1.5e8, "1.50e+08"), (0.00012, "1.2e-04")],
)
def test_large_figures_are_written_out(value: float, text: str) -> None:
    assert numbers.loss(value) == text


def test_half_an_interval_is_written_as_its_figure_is() -> None:
    assert numbers.figure("test_mae", 15821.5, 1316.2) == "15,822 ± 1,316"
    assert numbers.figure("test_mae", 0.3342, 0.0301) == "0.334 ± 0.030"
