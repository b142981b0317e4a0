"""Weights of samples in data: what training, figures and preparation do with them; all ways of training agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, compiled, run, spec

import nnspec
from nnspec.analysis.meter import Meter
from nnspec.compiler.scaling import scaling, target_scaling
from nnspec.data.source import Access, DataError
from nnspec.engine import PARTS
from nnspec.engine.losses import Loss
from nnspec.engine.scalers import Standard
from nnspec.results.run import RunResult
from nnspec.runner.gradients import prove_gradients
from nnspec.runner.load_data import load_data
from nnspec.runner.options import RunOptions

RNG = np.random.default_rng(0)
X, COUNTS = RNG.normal(2, 3, (40, 5)), RNG.integers(0, 4, 40)
LABELS, NUMBERS = RNG.integers(0, 3, 40), RNG.normal(5, 2, 40)
MANY = np.repeat(np.arange(40), COUNTS)
# A loss -> the last layer, and the targets.
LOSSES: dict[str, tuple[str, np.ndarray]] = {
    "CrossEntropy": ("Linear(3)", LABELS),
    "CrossEntropy(class_weights=[1, 2, 3])": ("Linear(3)", LABELS),
    "CrossEntropy(label_smoothing=0.1)": ("Linear(3)", LABELS),
    "NLL": ("Linear(3); LogSoftmax", LABELS),
    "Hinge": ("Linear(3)", LABELS),
    "BCEWithLogits": ("Linear(3)", LABELS),
    "KLDiv": ("Linear(3); LogSoftmax", LABELS),
    "MSE": ("Linear(1)", NUMBERS),
    "MAE": ("Linear(1)", NUMBERS),
    "Huber": ("Linear(1)", NUMBERS),
}
every_loss = pytest.mark.parametrize("loss", LOSSES)


def saved(folder: Path, y: np.ndarray, *, w: bool = True, many: bool = False, test: int = 10) -> str:
    """Return an NPZ source: the samples with weights, or each as often as its weight says."""
    rows = MANY if many else np.arange(40)
    arrays = {"x_train": X[rows], "y_train": y[rows], "x_test": X[:test], "y_test": y[:test]}
    if w:
        arrays |= {"w_train": COUNTS[rows].astype(float)}
    np.savez(folder / f"{w}{many}.npz", **arrays)
    return f'NPZ("{(folder / f"{w}{many}.npz").as_posix()}")'


def words(loss: str, data: str, *, batch: int = 1000, epochs: int = 5, more: str = "", **others: Any) -> str:
    last, y = LOSSES[loss]
    settings = f"epochs = {epochs}; batch = {batch}; standardise = true; {more}"
    settings += "; standardise_target = true" if y is NUMBERS and "standardise_target" not in more else ""
    more = others.pop("top", "dtype = float64")
    return spec(f"Linear(6); Tanh; {last}", loss=loss, data=data, train=settings, more=more, **others)


@every_loss
def test_a_weight_counts_as_that_many_samples(loss: str, tmp_path: Path) -> None:
    y = LOSSES[loss][1]
    weighted = run(words(loss, saved(tmp_path, y), optimizer="Adam(lr=0.1)"))["run"]
    repeated = run(words(loss, saved(tmp_path, y, w=False, many=True), optimizer="Adam(lr=0.1)"))["run"]
    for figure in ("loss", "test_loss"):
        np.testing.assert_allclose(weighted.history[figure], repeated.history[figure], rtol=1e-10)
    for name, array in weighted.network.state_dict().items():
        np.testing.assert_allclose(array, repeated.network.state_dict()[name], rtol=1e-8, atol=1e-12)
    assert weighted.baseline == pytest.approx(repeated.baseline, rel=1e-12)
    assert weighted.history["loss"] != run(words(loss, saved(tmp_path, y, w=False)))["run"].history["loss"]


@every_loss
def test_all_ways_of_training_have_the_same_bits(loss: str, tmp_path: Path) -> None:
    race = "a: SGD(lr=0.1); b: Momentum(lr=0.01); c: Adam(lr=0.01)"
    source = saved(tmp_path, LOSSES[loss][1])
    settings = "standardise_target = false; validation = 0.25; repeats = 2"
    text = words(loss, source, batch=16, epochs=2, race=race, more=settings, top="")
    alone = run(text, ways=ALONE)
    stacked = run(text)
    assert stacked.summary["ways"]["stacks"]
    assert all(np.isfinite(lane.final("val_loss")) for lane in alone.values())
    ways = [stacked, run(text, ways=RunOptions(jobs=1, stack=False, profile=True))]
    if loss in ("CrossEntropy", "MSE"):
        ways.append(run(text, ways=RunOptions(jobs=2)))
    for other in ways:
        same(alone, other)


def same(one: RunResult, other: RunResult) -> None:
    for name, lane in one.items():
        for mine, theirs in zip(lane.repeats, other[name].repeats, strict=True):
            assert mine.history == theirs.history
            assert mine.trace == theirs.trace


@pytest.mark.parametrize("loss", ["CrossEntropy", "MSE"])
def test_compiled_steps_leave_the_weighted_loss_to_python_and_have_the_same_bits(
    loss: str, tmp_path: Path, kernels: Path
) -> None:
    pytest.importorskip("numba", reason="compiled steps need Numba")
    text = words(loss, saved(tmp_path, LOSSES[loss][1]), batch=16, more="validation = 0.25")
    numpy, replayed = run(text), run(text, ways=RunOptions(jobs=1, compiled="always"))
    assert numpy["run"].history == replayed["run"].history
    assert numpy["run"].trace == replayed["run"].trace
    compiled_steps = replayed["run"].compiled
    assert compiled_steps is not None
    assert list(compiled_steps["python"]) == [f"{loss}Loss"]


def test_weights_of_one_give_the_same_bits_as_no_weights(tmp_path: Path) -> None:
    x, y = X.astype(np.float32), LABELS
    plain = nnspec.Spec.parse(words("CrossEntropy", "Given(test=0.2)", batch=16, top=""))
    one = plain.run(data={"x_train": x, "y_train": y, "w_train": np.ones(40)})
    none = plain.run(data={"x_train": x, "y_train": y})
    assert one["run"].history == none["run"].history


def test_scaling_is_that_of_repeated_samples(tmp_path: Path) -> None:
    everything = np.arange(40), np.arange(len(MANY))
    found = []
    for many, rows in zip((False, True), everything, strict=True):
        program = compiled(words("MSE", saved(tmp_path, NUMBERS, w=not many, many=many))).program
        dataset, _ = load_data(program, Access())["run"]
        found.append((*scaling(dataset, rows, [Standard()]), *target_scaling(dataset, rows, [Standard()])))
    for weighted, repeated in zip(*found, strict=True):
        np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


def test_gradients_are_checked_with_weights_at_samples_that_count(tmp_path: Path, monkeypatch: Any) -> None:
    seen = []
    forward = PARTS["loss"]["MSE"].forward

    def listening(self: Loss, y: Any, t: Any, out: Any = None, weights: Any = None) -> float:
        seen.append(weights)
        return float(forward(self, y, t, out, weights))

    monkeypatch.setattr(PARTS["loss"]["MSE"], "forward", listening)
    program = compiled(words("MSE", saved(tmp_path, NUMBERS))).program
    dataset, _ = load_data(program, Access())["run"]
    report = prove_gradients(program.lanes[0], dataset, samples=8)
    assert report.error < 1e-7
    expected = COUNTS[COUNTS > 0][:8]
    assert len(set(expected)) > 1
    assert all(weights.tolist() == expected.tolist() for weights in seen)


def test_the_landscape_measures_the_weighted_loss(tmp_path: Path) -> None:
    found = []
    for many in (False, True):
        program = compiled(words("CrossEntropy", saved(tmp_path, LABELS, w=not many, many=many))).program
        dataset, _ = load_data(program, Access())["run"]
        meter = Meter(program.lanes[0], dataset)
        weights = np.random.default_rng(1).normal(0, 1, sum(p.size for p in meter.parameters.values()))
        found.append((meter(weights), meter.gradient(weights)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)


def test_test_samples_may_have_weights_of_their_own() -> None:
    text = nnspec.Spec.parse(words("CrossEntropy", "Given", batch=7, more="shuffle = false"))
    data = {"x_train": X, "y_train": LABELS, "x_test": X[MANY], "y_test": LABELS[MANY]}
    repeated = text.run(data=data)["run"]
    data = {"x_train": X, "y_train": LABELS, "x_test": X, "y_test": LABELS, "w_test": COUNTS}
    weighted = text.run(data=data)["run"]
    assert weighted.history["loss"] == repeated.history["loss"]
    np.testing.assert_allclose(weighted.history["test_loss"], repeated.history["test_loss"], rtol=1e-12)


def test_metrics_count_every_sample_once() -> None:
    text = nnspec.Spec.parse(words("CrossEntropy", "Given(test=0)", top="metrics = accuracy"))
    figures = text.run(data={"x_train": X, "y_train": LABELS, "w_train": COUNTS})["run"].history["accuracy"]
    assert all(abs(value * 40 - round(value * 40)) < 1e-9 for value in figures)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(39), "`w_train` has 39 numbers, but weights are one number for each of 40 samples"),
        (np.ones((40, 2)), "`w_train` has 40 × 2 numbers"),
        (np.array(["a"] * 40), "`w_train` has 40 texts"),
        (np.full(40, -1.0), "weights of samples must be finite numbers, at least 0"),
        (np.full(40, np.nan), "NaN"),
        (np.zeros(40), "all 40 training samples of Given have weight 0"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights: np.ndarray, message: str) -> None:
    text = nnspec.Spec.parse(words("CrossEntropy", "Given(test=0)"))
    with pytest.raises(nnspec.NnspecError) as error:
        text.run(data={"x_train": X, "y_train": LABELS, "w_train": weights})
    assert message in " ".join(str(error.value).split())


def test_weights_without_samples_are_refused() -> None:
    with pytest.raises(DataError, match="has no 'x_val'"):
        nnspec.Spec.parse(words("CrossEntropy", "Given")).run(
            data={"x_train": X, "y_train": LABELS, "w_val": np.ones(3)}
        )


def test_a_loss_that_takes_no_weights_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(PARTS["loss"]["MSE"], "takes_weights", lambda: False)
    with pytest.raises(DataError, match="the samples of Given have weights, and MSE takes none"):
        nnspec.Spec.parse(words("MSE", "Given(test=0)")).run(
            data={"x_train": X, "y_train": NUMBERS, "w_train": np.ones(40)}
        )
