"""nnspec as a Python library: what a program of a few lines uses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import RACE, environment, spec

import nnspec
from nnspec import engine as nn
from nnspec.data import Digits
from nnspec.view.palette import PALETTE, ink_of
from nnspec.view.pictures.curves import draw_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.nn").write_text(spec(race="SGD(lr=0.1); Adam(lr=0.01)"))
    (tmp_path / "bad.nn").write_text(spec("Linear(6); Linear(64, 10)", optimizer="Adma"))
    (tmp_path / "mnist.nn").write_text(spec(data="MNIST(train=50, test=20)"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NNSPEC_DATA_DIR", raising=False)
    return tmp_path


def test_every_public_name_is_there() -> None:
    assert sorted(nnspec.__all__) == nnspec.__all__
    for name in nnspec.__all__:
        assert getattr(nnspec, name) is not None
        assert name in dir(nnspec)
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = nnspec.rum


OF_THE_COMMAND_LINE = {"BaselineError", "ConfigError", "InputError", "LaneError", "ReportError"}
"""Errors that only commands raise."""
KINDS = {"FileFault"}
"""A kind of DataError that is caught as one."""


def test_every_error_is_public() -> None:
    package = Path(nnspec.__file__).parent
    text = "\n".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    known = {"NnspecError", "DataError"}
    errors = {name for name, base in re.findall(r"^class (\w+)\((\w+)", text, re.MULTILINE) if base in known}
    assert {"SpecError", "FileFault", "ClusterError"} <= errors
    assert errors - {*nnspec.__all__} == OF_THE_COMMAND_LINE | KINDS
    assert {nnspec.RunResult.__name__, nnspec.LaneResult.__name__} <= {*nnspec.__all__}


def test_check_finds_nothing_in_a_good_spec(here: Path) -> None:
    result = nnspec.check(here / "a.nn")
    assert result.ok
    assert result.diagnostics == ()
    assert str(result) == f"{(here / 'a.nn').as_posix()}: no findings"


def test_check_finds_every_mistake_in_one_go(here: Path) -> None:
    result = nnspec.check(str(here / "bad.nn"))
    assert not result.ok
    assert [(d.code, d.span.line) for d in result.diagnostics] == [("NN401", 2), ("NN201", 4)]
    assert "64 features" in str(result)
    assert "did you mean `Adam`?" in str(result)


def test_check_takes_settings(here: Path) -> None:
    assert nnspec.check(here / "a.nn", set={"train.epochs": 3}).ok
    assert not nnspec.check(here / "a.nn", set={"train.epochs": -3}).ok


@pytest.mark.parametrize(
    ("set", "epochs"),
    [
        ({"train.epochs": 3}, 3),
        ({"train.epochs": np.int64(3)}, 3),
        (["train.epochs=3"], 3),
        ({"train.epochs": "2 + 1"}, 3),
        ({"train.shuffle": False, "seed": 4, "metrics": ["accuracy"]}, 2),
        (None, 2),
    ],
)
def test_run_trains_with_settings_and_writes_nothing(here: Path, set: object, epochs: int) -> None:
    result = nnspec.run(here / "a.nn", set=set, out=None)
    assert list(result) == ["SGD", "Adam"]
    history = result["Adam"].history
    assert list(history) == ["loss", "accuracy", "test_loss", "test_accuracy"]
    assert all(len(values) == epochs for values in history.values())
    assert all(type(value) is float for values in history.values() for value in values)
    assert type(result["Adam"].seconds) is float
    assert result["Adam"].seconds > 0
    assert result.folder is None
    assert os.listdir(here / "work") == []


def test_settings_reach_one_lane(here: Path) -> None:
    result = nnspec.run(here / "a.nn", set={"Adam.optimizer.lr": 0.5})
    assert [lane.optimizer for lane in result.values()] == ["SGD(lr=0.1)", "Adam(lr=0.5)"]


def test_a_lane_that_is_not_there_is_named(here: Path) -> None:
    result = nnspec.run(here / "a.nn")
    with pytest.raises(KeyError, match="unknown lane 'Adma'; choose from SGD, Adam"):
        result["Adma"]


def test_the_network_computes_what_was_recorded(here: Path) -> None:
    (here / "d.nn").write_text(spec("Linear(6); ReLU; Dropout(0.5); Linear(10)", race="SGD(lr=0.1); Adam(lr=0.01)"))
    result = nnspec.run(here / "d.nn")
    _, _, x, y = nnspec.data.load_digits(50, 20)
    for lane in result.values():
        outputs = lane.network.forward(x)
        assert outputs.shape == (20, 10)
        assert np.mean(outputs.argmax(axis=1) == y) == lane.history["test_accuracy"][-1]
        assert nn.CrossEntropyLoss().forward(outputs, y) == pytest.approx(lane.history["test_loss"][-1], rel=1e-5)
        for rows in (1, 7, 20):
            np.testing.assert_allclose(lane.network.forward(x[:rows]), outputs[:rows], rtol=1e-5, atol=1e-6)


def test_run_with_out_writes_there_and_nowhere_else(here: Path) -> None:
    result = nnspec.run(here / "a.nn", out=here / "out")
    assert result.folder == (here / "out").as_posix()
    assert (here / "out/history.json").is_file()
    assert os.listdir(here / "work") == []


def test_errors_have_types_of_their_own(here: Path) -> None:
    with pytest.raises(nnspec.SpecError, match="64 features") as caught:
        nnspec.run(here / "bad.nn")
    assert caught.value.diagnostics
    with pytest.raises(nnspec.DataUnavailable):
        nnspec.run(here / "mnist.nn", offline=True)
    with pytest.raises(nnspec.DataError, match="does not exist"):
        nnspec.run(here / "mnist.nn", data_dir=here / "nowhere")
    with pytest.raises(nnspec.OutputError, match="not empty"):
        nnspec.run(here / "a.nn", out=here)
    with pytest.raises(TypeError, match="a setting must be"):
        nnspec.run(here / "a.nn", set={"seed": object()})


def test_unavailable_data_leaves_no_folder(here: Path) -> None:
    with pytest.raises(nnspec.DataUnavailable):
        nnspec.run(here / "mnist.nn", out=here / "out", offline=True)
    assert not (here / "out").exists()


def test_gradcheck_gives_a_proof_for_each_network(here: Path) -> None:
    (proof,) = nnspec.gradcheck(here / "a.nn", samples=2)
    assert proof.lanes == ("SGD", "Adam")
    assert proof.holds
    assert proof.report.error < proof.bound == 1e-7
    assert proof.lines["Linear2"] == f"{(here / 'a.nn').as_posix()}:2"


@pytest.mark.parametrize(("train", "drawn"), [("epochs = 1", 5), ("standardise = true", 300)])
def test_gradcheck_loads_the_samples_that_it_uses(
    train: str, drawn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those are all samples where it needs their mean; the figures are those of a check with all of them."""
    (tmp_path / "a.nn").write_text(spec("Linear(3); Tanh; Linear(10)", data="Digits(train=300, test=5)", train=train))
    loaded, load = [], Digits.load
    monkeypatch.setattr(Digits, "load", lambda self, access: (loaded.append(self.train), load(self, access))[1])
    (proof,) = nnspec.gradcheck(tmp_path / "a.nn", samples=5)
    assert loaded == [drawn]
    monkeypatch.setattr(Digits, "beginning", lambda self, samples: self)
    (whole,) = nnspec.gradcheck(tmp_path / "a.nn", samples=5)
    assert loaded == [drawn, 300]
    assert proof.report == whole.report


def test_set_seed_restarts_the_weights_of_layers_made_by_hand() -> None:
    def weights(seed: int) -> np.ndarray:
        nnspec.set_seed(seed)
        return nn.Linear(5, 4).weight.data

    np.testing.assert_array_equal(weights(3), weights(3))
    assert np.any(weights(3) != weights(4))


def test_mnist_comes_as_plain_arrays(mnist_dir: Path) -> None:
    x_train, y_train, x_test, y_test = nnspec.data.load_mnist(100, 30, data_dir=mnist_dir, offline=True)
    assert (x_train.shape, y_train.shape, x_test.shape, y_test.shape) == ((100, 784), (100,), (30, 784), (30,))
    assert (x_train.min(), x_train.max()) == (0, 1)
    assert list(y_train[:5]) == [5, 0, 4, 1, 9]


def test_the_race_on_the_real_mnist(mnist_dir: Path) -> None:
    result = nnspec.run(RACE, set={"train.epochs": 3}, data_dir=mnist_dir, offline=True)
    assert result.exit_code == 0
    assert {verdict.held for verdict in result.verdicts} == {True}
    assert result["Adam"].history["test_accuracy"][-1] > 0.8


# Pictures


def test_curves_return_a_figure_and_are_saved(tmp_path: Path) -> None:
    figure = nnspec.view.plot_training_curves({"SGD": [2.1, 1.8], "Adam": [1.5, 0.9]}, title="Two")
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Loss", "Training loss, logarithmic"]
    assert figure._repr_png_().startswith(b"\x89PNG")
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a", b"\x89PNG")):
        nnspec.view.plot_training_curves({"SGD": [2.1, 1.8]}, title="One", path=tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    assert sorted(os.listdir(tmp_path)) == ["a", "a.pdf", "a.png", "a.svg"]


@pytest.mark.parametrize("history", [{}, {"SGD": []}, {"SGD": {"loss": []}}, {"SGD": [float("nan")]}])
def test_nothing_to_draw_is_refused(history: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no curve to draw"):
        nnspec.view.plot_training_curves(history)


TEN = {f"lane{i}": [2.0 / (i + 1) / (epoch + 1) for epoch in range(20)] for i in range(10)}


@pytest.mark.parametrize(
    "history",
    [
        TEN,
        {name: values[:1] for name, values in TEN.items()},
        {"a": [1.0]},
        {"a": [0.0, 0.0]},
        {"a": np.array([2.0, 1.0], dtype=np.float32)},
        {"a": (2, 1)},
        {"a": [1.0, float("inf"), float("nan")], "b": [1.0, 0.5]},
        {"a": [float("nan")] * 3, "b": [1.0, 0.5]},
        {"a": [], "b": [1.0, 0.5]},
        {"a": [1e-30, 1e30]},
        {"same": [1.0, 1.0], "equal": [1.0, 1.0]},
        {"_hidden": [1.0, 0.5], r"$\frac$": [1.0, 0.4], "x" * 80: [1.0, 0.3], "层": [1.0, 0.2]},
        {"a": {"loss": [2.0, 1.0], "test_loss": [2.1, 1.2], "test_accuracy": [0.1, 1.0]}, "b": {"loss": [1.0]}},
    ],
    ids=lambda history: ", ".join(history)[:30],
)
def test_every_history_is_drawn_without_warnings(history: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = nnspec.view.plot_training_curves(history, title=r"100 $ and \frac$ of 训练", subtitle="$x$")
        assert figure._repr_png_().startswith(b"\x89PNG")
    names = {text.get_text()[:13] for text in figure.axes[0].texts}
    assert names <= {name[:13] for name in history}


@pytest.mark.parametrize("lanes", [1, 3, 10, 40])
@pytest.mark.parametrize("shape", [lambda i: [2.0, 1e-3 * i], lambda i: [1.0, 2.0 + 1e-3 * i], lambda i: [1.0 + i] * 2])
def test_names_stand_beside_their_panel_in_the_order_of_the_ends(lanes: int, shape: Any) -> None:
    figure = nnspec.view.plot_training_curves({f"lane{i}": shape(i) for i in range(lanes)})
    axis = figure.axes[0]
    heights = [text.xyann[1] for text in axis.texts]
    assert [text.get_text() for text in axis.texts] == [f"lane{i}" for i in range(min(lanes, 12))]
    assert heights == sorted(set(heights))
    assert axis.bbox.y0 - 1 <= min(heights) <= max(heights) <= axis.bbox.y1 + 1


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 23, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        nnspec.view.plot_training_curves({"a": [1.0, 0.5]})
        assert dict(matplotlib.rcParams) == before


def test_the_picture_of_a_run_says_what_stands_in_and_what_did_not_finish(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "b.nn").write_text(
        spec(data="MNIST(train=50, test=20) or Digits(train=50, test=20)", race="Momentum(lr=1e30); SGD; Adam")
    )
    with pytest.warns(nnspec.DataWarning, match="Digits stands in for MNIST"):
        result = nnspec.run(here / "b.nn", offline=True)
    drawn = []
    honest = nnspec.view.pictures.curves.plot_training_curves
    monkeypatch.setattr(
        nnspec.view.pictures.curves,
        "plot_training_curves",
        lambda *a, **k: drawn.append((a, honest(*a, **k))) or drawn[-1][1],
    )
    draw_run(result, here / "curves.png")
    figure = drawn[0][1]
    title, subtitle = (text.get_text() for text in figure.texts)
    assert title == "b – Digits stands in for MNIST"
    assert subtitle == "Digits 50 train / 20 test · 784 → 6 → 10 · seed 0 · Momentum diverged"
    colors = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colors == {"SGD": ink_of(PALETTE[1]), "Adam": ink_of(PALETTE[2])}


def test_an_incomplete_file_can_be_checked_but_not_run(tmp_path: Path) -> None:
    common = tmp_path / "common.nn"
    common.write_text("block Hidden(units) { Linear(units); ReLU }\n", encoding="utf-8")
    result = nnspec.check(common)
    assert result.ok
    assert [d.code for d in result.diagnostics] == ["NN711"]
    with pytest.raises(nnspec.NnspecError, match=r"common\.nn is not a complete experiment"):
        nnspec.run(common)
    common.write_text("# nn: ignore[NN711]\n" + common.read_text(encoding="utf-8"), encoding="utf-8")
    assert nnspec.check(common).diagnostics == ()
    with pytest.raises(nnspec.NnspecError, match=r"common\.nn is not a complete experiment"):
        nnspec.run(common)


def test_ctrl_c_while_numpy_is_imported_is_heard(tmp_path: Path) -> None:
    """`import numpy` reads the `__spec__` of a module, and ignores exceptions raised there."""
    code = """
from nnspec.engine._numpy import np
own = object.__getattribute__(np, "__dict__")
whole = own["__spec__"].loader
class Pressed:
    def exec_module(self, module):
        own["__spec__"].loader = whole
        raise KeyboardInterrupt
own["__spec__"].loader = Pressed()
try:
    import numpy
    numpy.zeros
except KeyboardInterrupt:
    print("heard")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "heard\n"


def test_threads_may_run_at_once_also_where_they_are_the_first_to_need_numpy(tmp_path: Path) -> None:
    """NumPy is loaded at its first use, by one of them while the others wait; the numbers are those of one alone."""
    (tmp_path / "tiny.nn").write_text(spec(race="SGD(lr=0.1); Adam(lr=0.01)"))
    code = """
import sys, threading, nnspec
assert "numpy._core" not in sys.modules
found, start = [], threading.Barrier(4)
def go():
    start.wait()
    found.append(nnspec.run("tiny.nn"))
threads = [threading.Thread(target=go) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
alone = nnspec.run("tiny.nn")
assert len(found) == 4
assert all(one[lane].trace == alone[lane].trace for one in found for lane in alone)
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(tmp_path), check=True, timeout=60)
