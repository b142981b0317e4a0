"""Slips and hostile surroundings: what a run does when the world around it is not as it should be."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from forked import start
from tiny_spec import nnspec as nnspec_anew
from tiny_spec import reach_epoch

import nnspec
from nnspec import engine as nn
from nnspec.checker import check
from nnspec.data import Dataset, Facts, Split
from nnspec.diagnostics import Source

SPEC = """\
data = Digits(train=60, test=20)
model { Linear(8); ReLU; Linear(10) }
loss = CrossEntropy
optimizer = SGD
train { epochs = 2 }
"""


def nnspec_process(*arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    (cwd / "a.nn").write_text(SPEC, encoding="utf-8")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return start(*arguments, cwd=cwd, variables=variables, **pipes)


@pytest.mark.parametrize("backend", ["module://nowhere.at_all", "nope"])
def test_a_backend_that_is_not_installed_does_not_matter(backend: str, tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(SPEC, encoding="utf-8")
    done = nnspec_anew("run", "a.nn", "-q", "--out", "out", cwd=tmp_path, MPLBACKEND=backend)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_terminated_run_keeps_what_was_trained(name: str, tmp_path: Path) -> None:
    process = nnspec_process("run", "a.nn", "--set", "train.epochs=1000000", "--out", "out", cwd=tmp_path)
    reach_epoch(process, 3)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "run interrupted: after " in out
    assert (tmp_path / "out" / "run" / "weights.npz").is_file()


def test_a_result_that_cannot_be_written_is_still_shown(tmp_path: Path) -> None:
    (tmp_path / "out" / "summary.json").mkdir(parents=True)
    process = nnspec_process("run", "a.nn", "-q", "--out", "out", "--force", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 2
    assert re.search(r"^run +2/2", out, re.MULTILINE)
    assert "the run cannot be written to out" in err
    with pytest.raises(nnspec.OutputError, match="cannot be written"):
        nnspec.run(tmp_path / "a.nn", out=tmp_path / "out", force=True)


def test_a_terminal_without_width_shows_something(tmp_path: Path) -> None:
    process = nnspec_process("show", "a.nn", cwd=tmp_path, COLUMNS="0")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "Linear1" in out


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\u202e"])
def test_no_string_can_play_with_the_terminal(character: str) -> None:
    text = SPEC + f'race "a{character}b" {{ Adam }}'
    (found,) = check(Source("x.nn", text)).diagnostics
    assert (found.code, found.span.text) == ("NN103", character)


def test_a_lane_has_a_name_that_a_folder_can_have() -> None:
    name = "n" * 65
    (found,) = check(Source("x.nn", SPEC + f"race {{ {name}: Adam; SGD }}")).diagnostics
    assert (found.code, found.span.text) == ("NN302", name)
    assert not check(Source("x.nn", SPEC + f"race {{ {name[1:]}: Adam; SGD }}")).diagnostics


def test_figures_of_one_lane_are_not_shown_as_those_of_all(tmp_path: Path) -> None:
    text = (
        SPEC
        + "model wide { Linear(16); Linear(10) }\nrace { a { seed = 1 }\n b { seed = 2; model = wide; loss = MSE } }"
    )
    (tmp_path / "a.nn").write_text(text, encoding="utf-8")
    result = nnspec.run(tmp_path / "a.nn")
    assert (result.seed, result.shapes) == (None, "")
    assert [result[lane].seed for lane in result] == [1, 2]
    assert result.summary["common_loss"] is None


@pytest.mark.usefixtures("drawn")
def test_the_files_that_are_named_are_there(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(SPEC, encoding="utf-8")
    good = nnspec.run(tmp_path / "a.nn", out=tmp_path / "good")
    assert set(good.place.files) == {"curves.png", "history.json", "summary.json", "trace.json", "run/weights.npz"}
    lost = nnspec.run(tmp_path / "a.nn", {"optimizer.lr": 1e30}, tmp_path / "lost")
    assert set(lost.place.files) == {"history.json", "summary.json", "trace.json"}
    for result, folder in ((good, "good"), (lost, "lost")):
        assert all((tmp_path / folder / name).is_file() for name in result.place.files)


def test_a_missing_figure_is_nan(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(SPEC, encoding="utf-8")
    with pytest.raises(KeyError):
        nnspec.run(tmp_path / "a.nn")["run"].final("acuracy")


@pytest.mark.parametrize("samples", [0, 17])
def test_a_gradient_check_says_how_many_samples_it_takes(samples: int, tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(SPEC, encoding="utf-8")
    with pytest.raises(ValueError, match="must be 1 to 16"):
        nnspec.gradcheck(tmp_path / "a.nn", samples=samples)


def test_a_layer_is_in_a_network_once() -> None:
    shared = nn.Tanh()
    network = nn.NumpyMLP(nn.Linear(3, 3), shared)
    with pytest.raises(ValueError, match="already"):
        network.add(shared)


def test_a_doubled_part_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(TypeError, match="two parts"):
        type("ReLU", (nn.ReLU,), {"spec_name": "ReLU", "__module__": "elsewhere"})


def test_a_long_run_does_not_slow_down_with_its_history(tmp_path: Path) -> None:
    """Each epoch's figures are added, not copied: the lists of a lane stay the same objects."""
    (tmp_path / "a.nn").write_text(SPEC, encoding="utf-8")
    result = nnspec.run(tmp_path / "a.nn", {"train.epochs": 300})
    assert {len(values) for values in result["run"].history.values()} == {300}


def test_a_lane_that_explodes_does_not_press_the_others_flat(tmp_path: Path) -> None:
    curves = {"a": [2.0, 1.0], "b": [2.5, 1.5], "wild": [1e9, 1e12]}
    figure = nnspec.view.plot_training_curves(curves, path=tmp_path / "x.png")
    linear, log = figure.axes
    assert linear.get_ylim()[1] < 10
    assert log.get_ylim()[1] > 1e12


def test_one_epoch_is_a_point_in_the_middle() -> None:
    for axis in nnspec.view.plot_training_curves({"a": [2.0]}).axes:
        assert axis.get_xlim()[0] < 1 < axis.get_xlim()[1]
        assert list(axis.get_xticks()) == [1]


def test_an_unused_data_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(SPEC, encoding="utf-8")
    with pytest.raises(nnspec.DataError, match="Digits reads no files"):
        nnspec.run(tmp_path / "a.nn", data_dir=tmp_path)


@pytest.mark.usefixtures("drawn")
def test_ctrl_c_while_the_picture_is_drawn_keeps_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nnspec.view.pictures.curves.plot_training_curves", pressed)
    (tmp_path / "a.nn").write_text(SPEC, encoding="utf-8")
    result = nnspec.run(tmp_path / "a.nn", out=tmp_path / "out")
    assert (result.exit_code, len(result["run"].history["loss"])) == (130, 2)
    assert set(result.place.files) == {"history.json", "summary.json", "trace.json", "run/weights.npz"}


def test_labels_that_are_not_classes_are_rejected_early() -> None:
    facts = Facts(shape=(2,), classes=10, train=2, test=1)
    good, bad = (Split(np.zeros((2, 2), np.uint8), np.array(labels)) for labels in ([0, 9], [0, 10]))
    Dataset("x", facts, good, good, 255.0, "", "")
    for train, test in ((bad, good), (good, bad)):
        with pytest.raises(nnspec.DataError, match="labels run from 0 to 10"):
            Dataset("x", facts, train, test, 255.0, "", "")


@pytest.mark.parametrize("epsilon", [0.0, -1e-5, float("nan")])
def test_a_gradient_check_takes_a_step(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon must be greater than 0"):
        nn.numerical_gradient_check(nn.Linear(2, 2), np.ones((3, 2)), epsilon=epsilon)


def test_cross_entropy_refuses_an_out_that_it_cannot_write_flat() -> None:
    loss = nn.CrossEntropyLoss()
    loss.forward(np.zeros((4, 3)), np.array([0, 1, 2, 0]))
    with pytest.raises(ValueError, match="C-contiguous"):
        loss.backward(out=np.empty((4, 3), order="F"))


@pytest.mark.parametrize(("count", "codes"), [(10_000, ["NN710"]), (10_001, ["NN304"])])
def test_a_list_has_a_longest_length(count: int, codes: list[str]) -> None:
    text = SPEC + f"let many = [{', '.join(['1'] * count)}]"
    assert [d.code for d in check(Source("x.nn", text)).diagnostics] == codes


def test_show_says_what_check_says(tmp_path: Path) -> None:
    process = nnspec_process("show", "a.nn", "--set", "model.Linear2.out_features=12", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0
    assert "warning[NN701]" in err
    assert "Linear2" in out
