"""The magic `%%nn`: findings below the cell, a curve that grows, a picture that stays, and results as variables."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, OFFLINE, TOGETHER, compiled, spec

import nnspec
from nnspec.api import run_into
from nnspec.results.lane import LaneResult
from nnspec.training.observer import Silent
from nnspec.view.notebook.curve import MOST_LANES, MOST_POINTS, NotebookCurve, Series
from nnspec.view.notebook.findings import findings_bundle

ipython = pytest.importorskip("IPython.core.interactiveshell", reason="notebooks need IPython")
capture = pytest.importorskip("IPython.utils.capture", reason="notebooks need IPython")

TINY = spec("Linear(4); ReLU; Linear(10)", expect="loss < 10", more="seed = 1")


@pytest.fixture(scope="module")
def _shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        shell = ipython.InteractiveShell.instance()
        shell.run_line_magic("load_ext", "nnspec")
        yield shell
        ipython.InteractiveShell.clear_instance()


@pytest.fixture
def shell(_shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session of IPython with the magic, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    _shell.user_ns.pop("result", None)
    return _shell


def cell(shell: Any, line: str, text: str = TINY) -> tuple[bool, list[dict[str, Any]], str]:
    """Run a cell; return whether it succeeded, what it displays, and what it prints to stderr."""
    with capture.capture_output() as printed:
        done = shell.run_cell(f"%%nn {line}\n{text}")
    return done.success, [output.data for output in printed.outputs], printed.stderr


def test_a_cell_is_trained_and_its_result_is_a_variable(shell: Any) -> None:
    good, shown, _ = cell(shell, "result --set train.epochs=3 --set seed=4")
    assert good
    result = shell.user_ns["result"]
    assert isinstance(result, nnspec.RunResult)
    assert (len(result["run"].records), result.seed) == (3, 4)
    (picture,) = [data for data in shown if "image/png" in data]
    assert picture["image/png"].startswith(b"\x89PNG")
    assert "epoch 3/3" in picture["text/plain"]
    (table,) = [data for data in shown if "<table>" in data.get("text/html", "")]
    assert "loss &lt; 10" in table["text/html"]
    assert result.spec == "result"
    assert not list(Path.cwd().iterdir()), "nothing is written"


def test_findings_are_shown_with_carets_and_nothing_is_trained(shell: Any) -> None:
    good, shown, printed = cell(shell, "result", TINY.replace("Linear(4)", "Linnear(4)"))
    assert not good
    assert "result" not in shell.user_ns
    (data,) = shown
    assert "did you mean `Linear`?" in data["text/plain"]
    assert "^^^^^^^" in data["text/plain"]
    assert "result:2:9" in data["text/html"]
    assert "UsageError: the spec has errors, so nothing was trained" in printed
    good, shown, _ = cell(shell, "result", TINY + "let unused = 1")
    assert good, "a warning is shown, and the run goes on"
    assert "NN710" in shown[0]["text/plain"]
    assert shell.user_ns["result"]["run"].status == "done"


def test_a_table_of_findings_names_the_text_of_each() -> None:
    spec = nnspec.Spec.parse("model { Linear(4) }\nlos = MSE", name="s.nn").with_(train__epoch=3)
    places = {line.split()[0] for line in repr(spec.check()).splitlines() if "NN201" in line}
    assert places == {"2", "set={'train.epoch':"}


def test_nothing_of_a_spec_is_markup() -> None:
    found = nnspec.Spec.parse('data = CSV("<script>alert(1)</script>", target="x")', name="<b>").check()
    html = findings_bundle(str(found))["text/html"]
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<b>" not in html
    curve = NotebookCurve()
    curve.lane_begins(lane("<script>"))
    curve._series["<script>"].append(1.0)
    assert "<script>" not in curve.bundle()["text/html"]


def test_data_comes_from_the_notebook(shell: Any) -> None:
    rng = np.random.default_rng(0)
    shell.user_ns["x"], shell.user_ns["y"] = rng.normal(size=(40, 3)), np.arange(40) % 2
    text = "model { Linear(4); Tanh; Linear(data.classes) }\nloss = CrossEntropy\noptimizer = Adam\ntrain.epochs = 1"
    good, _, printed = cell(shell, "result --data '(x, y)'", text)
    assert good, printed
    assert shell.user_ns["result"].data[0].source == "Given"
    pandas = pytest.importorskip("pandas")
    shell.user_ns["df"] = pandas.DataFrame({"a": rng.normal(size=40), "price": rng.normal(size=40)})
    text = "model { Linear(4); Tanh; Linear(1) }\nloss = MSE\noptimizer = Adam\ntrain.epochs = 1"
    good, _, printed = cell(shell, "result --data df --target price", text)
    assert good, printed
    assert shell.user_ns["result"].data[0].target_names == ("price",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--nonsense", "unrecognized arguments: --nonsense"),
        ("a b", "unrecognized arguments: b"),
        ("2x", "`2x` cannot be the name of a variable"),
        ("class", "`class` cannot be the name of a variable"),
        ("a --jobs 0", "--jobs must be at least 1, not 0"),
        ("'x", "No closing quotation"),
        ("--jobs x", "invalid int value: 'x'"),
        ("--data nothing", "--data nothing: NameError: name 'nothing' is not defined"),
        ("--target y", "`target` names a column of `data`, and no data was given"),
        ("--data-dir /nowhere", "--data-dir has no effect here"),
        ("--set train.epochz=3", "the spec has errors"),
        ("--out .", ". is not empty"),
    ],
)
def test_mistakes_in_the_line_are_one_sentence(shell: Any, line: str, said: str) -> None:
    Path("something").touch()
    good, _, printed = cell(shell, line)
    assert not good
    assert "Traceback" not in printed
    assert said in printed


def test_a_cell_can_be_checked_only_and_trained_without_output(shell: Any) -> None:
    good, shown, _ = cell(shell, "result --check")
    assert good
    assert shell.user_ns["result"].ok
    assert "no findings" in shown[0]["text/plain"]
    good, shown, _ = cell(shell, "result --quiet --out folder")
    assert good
    assert shown == []
    assert nnspec.runs.open_run("folder").lanes == ["run"]


def test_a_file_without_an_experiment_is_not_trained(shell: Any) -> None:
    good, _, printed = cell(shell, "result", "let width = 3")
    assert not good
    assert "error" in printed.lower()


def test_an_interrupt_leaves_the_epochs_so_far(shell: Any) -> None:
    text = spec("Linear(4); ReLU; Linear(10)", train="epochs = 1_000_000; batch = 16")
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        good, shown, printed = cell(shell, "result --jobs 1", text)
    finally:
        timer.cancel()
    assert good, printed
    result = shell.user_ns["result"]
    assert result.interrupted
    assert 0 < len(result["run"].records) < 1_000_000
    assert any("image/png" in data for data in shown)


TUNED = spec(
    "Linear(4); ReLU; Linear(10)",
    race="SGD { optimizer = SGD }; Adam { optimizer = Adam }",
    train="epochs = 3; batch = 16; validation = 0.2; repeats = 2",
    more="tune { budget = 6; SGD.optimizer.lr = loguniform(1e-3, 1); Adam.optimizer.lr = [0.01, 1e30] }",
)


def test_the_choice_of_a_search_is_shown(shell: Any) -> None:
    good, shown, printed = cell(shell, "result --jobs 1", TUNED)
    assert good, printed
    result = shell.user_ns["result"]
    chosen = {study.lane: study.chosen for study in result.tuned.studies}
    for text in (shown[-1]["text/plain"], shown[-1]["text/html"]):
        assert "tuned by val_loss: best of 2 to 6 trials per lane (halton search)" in text
        assert f"SGD: lr = {chosen['SGD'].settings['optimizer.lr']:.4g}, best val loss" in text
        assert "Adam: lr = 0.01, best val loss" in text
    table = str(result.tuned)
    assert len(table.splitlines()) == 4
    assert re.search(r"Adam +lr .* 0\.01 .* 1 of 2", table)
    assert "best val loss" in result.tuned._repr_html_()


def test_a_search_has_a_line_for_each_lane_and_the_race_curves_of_its_own() -> None:
    shown: list[dict[str, Any]] = []

    class Curve(NotebookCurve):
        def _put(self, data: dict[str, Any]) -> None:
            shown.append(data)

        def _show(self, bundle: Any) -> None:
            self._put(bundle())  # however short the time since the last one

    curve = Curve()
    curve.compiling(2)
    curve.fetching("a.gz", 1_000_000, 2_000_000)
    assert [each["text/plain"] for each in shown[-1:]] == ["fetching a.gz: 1.0 of 2.0 MB"]
    shown.clear()
    result = run_into(compiled(TUNED), OFFLINE, curve, None, TOGETHER)
    texts = [each["text/plain"].splitlines() for each in shown if "text/html" in each]
    search = [lines for lines in texts if lines[0].startswith("tuning: ")]
    assert all(re.fullmatch(r"tuning: \d of 8 trials done, \d+ % of the epochs", lines[0]) for lines in search)
    assert {tuple(line.split(":")[0] for line in lines[1:]) for lines in search} == {("SGD", "Adam")}
    assert search[-1][1].startswith("SGD: ")
    assert "best val loss" in search[-1][1]
    race = texts[len(search) :]
    assert {line.split(",")[0] for lines in race for line in lines} == {"SGD", "Adam"}
    assert all("seed" in line for lines in race for line in lines)
    assert all(("<svg" in each["text/html"]) == ("tuning" not in each["text/plain"]) for each in shown)
    curve.finish(result)
    assert shown[-1]["text/plain"].splitlines() == race[-1]


@pytest.mark.parametrize("count", [0, 2])
def test_an_interrupted_search_names_no_best_trial(count: int) -> None:
    class Stops(Silent):
        begun = 0

        def epoch_done(self, lane: LaneResult) -> bool | None:
            self.begun += 1
            if self.begun > count:
                raise KeyboardInterrupt
            return None

    result = run_into(compiled(TUNED), OFFLINE, Stops(), None, ALONE)
    assert result.interrupted
    text = repr(result)
    assert "best:" not in text
    assert "the search was interrupted: " in text


# The curve


def lane(name: str, epochs: int = 10) -> LaneResult:
    """Return a lane before its first epoch."""
    result = nnspec.Spec.parse(TINY).run(set={"train.epochs": 1})
    return replace(result["run"], name=name, epochs=epochs, records=[])


def test_messages_do_not_grow_with_the_number_of_epochs() -> None:
    curve = NotebookCurve()
    for number in range(MOST_LANES + 3):
        curve.lane_begins(lane(f"lane {number}", 10**6))
    sizes = {}
    for epoch in range(1, 50_001):
        for series in curve._series.values():
            series.append(10.0 / epoch)
        if epoch in (MOST_POINTS // 2, MOST_POINTS, 5_000, 50_000):
            sizes[epoch] = sum(map(len, curve.bundle().values()))
    assert max(sizes.values()) < 20_000
    assert sizes[50_000] < 1.2 * max(sizes[MOST_POINTS], sizes[5_000])
    assert curve.bundle()["text/plain"].endswith("and 3 more")


def test_a_series_keeps_evenly_spaced_points() -> None:
    series = Series("a", 1000)
    for epoch in range(1, 1001):
        series.append(float(epoch))
        assert len(series.points) <= MOST_POINTS
    steps = {after[0] - before[0] for before, after in zip(series.points, series.points[1:], strict=False)}
    assert len(steps) == 1
    assert all(loss == epoch for epoch, loss in series.points)
    assert series.text == "a: epoch 1000/1000, loss 1,000"


@pytest.mark.parametrize("losses", [[1.0], [1.0, float("nan")], [0.0, -3.0, 2.0], [5.0, 5.0], [1e308, 1e-308]])
def test_any_losses_can_be_drawn(losses: list[float]) -> None:
    curve = NotebookCurve()
    curve.lane_begins(lane("a"))
    for loss in losses:
        curve._series["a"].append(loss)
    html = curve.bundle()["text/html"]
    assert "nan" not in html.partition("</svg>")[0]
    assert "inf" not in html
