"""Targets at positions that count in no loss and no metric: padding, and labels that are ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, run, spec

import nnspec
from nnspec.data import NPZ, Access, DataError, FileFault
from nnspec.engine import PARTS
from nnspec.engine.losses.contract import weighted
from nnspec.engine.metrics import Metric
from nnspec.engine.metrics.contract import Places
from nnspec.runner.options import RunOptions
from nnspec.testing.own.losses import SAMPLES
from nnspec.testing.samples import LossSample

METRICS = json.loads((Path(__file__).parent / "oracle/metrics.json").read_text(encoding="utf-8"))["cases"]
OF_CLASSES = [case for case in METRICS if np.ndim(case["outputs"]) == 2 and np.ndim(case["targets"]) == 1]
OF_CLASSES = [case for case in OF_CLASSES if PARTS["metric"][case["part"]].needs_classes and len(case["outputs"]) >= 6]
W = np.array([[0.5, 0.0, 2.0], [1.0, 1.0, 0.0]])
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(2, 7, 60)
X = RNG.integers(1, 20, (60, 6)) * (np.arange(6) < LENGTHS[:, None])
Y = X * 3 % 7
Y[X == 0] = RNG.integers(0, 7, (X == 0).sum())  # whatever is there does not count


# The parts


@pytest.mark.parametrize("sample", [each for each in SAMPLES if len(each.outputs) == 1], ids=str)
def test_weights_of_places_are_those_of_as_many_samples(sample: LossSample) -> None:
    y, t = sample.y(6), sample.targets(6)
    flat, places = sample.make(), sample.make()
    value = flat(y, t, W.reshape(-1))
    assert places(y.reshape(2, 3, -1), t.reshape(2, 3, *t.shape[1:]), W) == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(places.backward().reshape(y.shape), flat.backward(), rtol=1e-13, atol=0)
    assert places.weight(2) * 3 == pytest.approx(flat.weight(6), rel=1e-14) or "class_weights" in sample.arguments
    places.lend({name: np.empty((2, *work.shape)) for name, work in weighted((3,)).items()})
    assert places(y.reshape(2, 3, -1), t.reshape(2, 3, *t.shape[1:]), W) == pytest.approx(value, rel=1e-14)


def test_weights_of_another_shape_are_rejected() -> None:
    loss = PARTS["loss"]["CrossEntropy"]()
    with pytest.raises(ValueError, match="2 numbers, or 2×3 of their positions, not float64 of shape"):
        loss(np.zeros((2, 3, 4)), np.zeros((2, 3), int), np.ones((2, 4)))


@pytest.mark.parametrize("case", OF_CLASSES, ids=lambda case: f"{case['part']} {case['arguments']}")
@pytest.mark.parametrize("lent", [False, True])
def test_metrics_of_places_see_those_that_count(case: dict[str, Any], lent: bool) -> None:
    metric, reference = (PARTS["metric"][case["part"]](**case["arguments"]) for _ in range(2))
    assert isinstance(metric, Metric)
    assert isinstance(reference, Metric)
    outputs, targets = np.array(case["outputs"])[:6], np.array(case["targets"])[:6]
    measure = Places(metric)
    if lent:
        kinds = {"float": outputs.dtype, "bool": np.bool_, "index": np.intp}
        work = Places.work(type(metric), (3, outputs.shape[1]), (3,), case["arguments"])
        measure.lend({name: np.empty((2, *each.shape), kinds[each.dtype]) for name, each in work.items()})
    metric.begin()
    measure.add(outputs.reshape(2, 3, -1), targets.reshape(2, 3).astype(np.intp), W)
    measure.add(outputs.reshape(2, 3, -1), targets.reshape(2, 3).astype(np.intp), np.zeros((2, 3)))
    reference.begin()
    reference.add(outputs[W.reshape(-1) > 0], targets[W.reshape(-1) > 0].astype(np.intp))
    np.testing.assert_array_equal(metric.result(), reference.result())


# Data


def saved(folder: Path, **more: Any) -> NPZ:
    np.savez(folder / "t.npz", x=X, y=Y)
    return NPZ(folder / "t.npz", ids=20, shuffle=False, **more)


def test_padded_places_have_the_target_minus_one(tmp_path: Path) -> None:
    data = saved(tmp_path, padding=0).load(Access())
    assert (data.facts.padding, data.facts.ignores, data.facts.weight) == (0, True, (6,))
    np.testing.assert_array_equal(data.train.y, np.where(X == 0, -1, Y)[:48])
    assert data.test.y.min() == -1


def test_ignored_labels_have_the_target_minus_one_and_are_no_class(tmp_path: Path) -> None:
    y = np.where(X == 0, -100, Y)
    np.savez(tmp_path / "t.npz", x=X, y=y)
    data = NPZ(tmp_path / "t.npz", ids=20, ignore=-100, shuffle=False).load(Access())
    assert (data.facts.classes, data.facts.padding) == (7, None)
    np.testing.assert_array_equal(data.train.y, np.where(X == 0, -1, Y)[:48])
    with pytest.raises(FileFault, match="`y` has no label 99 to ignore"):
        NPZ(tmp_path / "t.npz", ids=20, ignore=99).facts()


def test_whole_samples_without_padding_or_labels_of_samples_are_not_weighted(tmp_path: Path) -> None:
    assert saved(tmp_path).facts().weight is None
    np.savez(tmp_path / "t.npz", x=X, y=Y[:, 0])
    facts = NPZ(tmp_path / "t.npz", ids=20, padding=0).facts()
    assert (facts.padding, facts.ignores) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": 0}, "`padding` names an id, but samples are not ids"),
        ({"ids": 20, "padding": 20}, "`padding` must be an id, from 0 to 19"),
    ],
)
def test_padding_is_one_of_the_ids(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    with pytest.raises(FileFault) as error:
        NPZ(tmp_path / "t.npz", **arguments).facts()
    assert (error.value.message, error.value.argument) == (message, "padding")


def test_samples_with_weights_have_no_ignored_places(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=X, y=Y, w=np.ones(60))
    with pytest.raises(FileFault, match="only one of the two is possible"):
        NPZ(tmp_path / "t.npz", ids=20, padding=0).facts()


# Runs


def tagging(
    folder: Path,
    loss: str = "CrossEntropy",
    train: str = "",
    top: str = "",
    padding: str = ", padding=0",
    race: str = "",
) -> str:
    data = f'NPZ("{(folder / "t.npz").as_posix()}", ids=20{padding}, shuffle=false)'
    settings = f"epochs = 3; batch = 16; {train}"
    return spec("Embedding(4); Linear(7)", data=data, loss=loss, train=settings, more=top, race=race)


def test_what_is_at_ignored_places_changes_nothing(tmp_path: Path) -> None:
    metrics = "metrics = [accuracy, perplexity, f1, confusion]\ndtype = float64"
    found = []
    for other in (0, 5):
        np.savez(tmp_path / "t.npz", x=X, y=np.where(X == 0, other, Y))
        text = tagging(tmp_path, "CrossEntropy(class_weights=balanced)", train="validation = last(0.25)", top=metrics)
        found.append(run(text)["run"])
    one, two = found
    assert one.history == two.history
    assert one.tables == two.tables
    counts = np.bincount(Y[:36][X[:36] > 0])
    np.testing.assert_allclose(one.learned["class_weights"], counts.sum() / (7 * counts), rtol=1e-12)
    np.savez(tmp_path / "t.npz", x=X, y=np.where(X == 0, 5, Y))
    counted = run(tagging(tmp_path, train="validation = 0.25", padding="", top=metrics))["run"]
    assert counted.history["loss"] != one.history["loss"]
    assert sum(map(sum, one.tables["confusion"])) == (X[48:] > 0).sum()
    plain = run(tagging(tmp_path, top="metrics = [perplexity]\ndtype = float64"))["run"]
    assert plain.history["test_perplexity"][-1] == pytest.approx(np.exp(plain.history["test_loss"][-1]), rel=1e-12)


@pytest.mark.parametrize("loss", ["CrossEntropy", "CrossEntropy(class_weights=balanced)", "MSE"])
def test_all_ways_of_training_have_the_same_bits(tmp_path: Path, loss: str) -> None:
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    race = "a: SGD(lr=0.1); b: Adam(lr=0.01)"
    text = tagging(tmp_path, loss, train="validation = 0.25; repeats = 2", race=race)
    alone, stacked = run(text, ways=ALONE), run(text)
    assert stacked.summary["ways"]["stacks"]
    for other in [stacked, *([run(text, ways=RunOptions(jobs=2))] if loss == "CrossEntropy" else [])]:
        for name, lane in alone.items():
            assert [each.history for each in lane.repeats] == [each.history for each in other[name].repeats]
            assert [each.trace for each in lane.repeats] == [each.trace for each in other[name].repeats]


def test_compiled_steps_leave_places_to_python_and_have_the_same_bits(tmp_path: Path, kernels: Path) -> None:
    pytest.importorskip("numba", reason="compiled steps need Numba")
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    numpy = run(tagging(tmp_path))["run"]
    replayed = run(tagging(tmp_path), ways=RunOptions(jobs=1, compiled="always"))["run"]
    assert (numpy.history, numpy.trace) == (replayed.history, replayed.trace)
    assert replayed.compiled is not None
    assert replayed.compiled["python"]["Accuracy"] == "it picks the positions that count in Python"


def test_a_test_set_without_any_place_that_counts_is_refused(tmp_path: Path) -> None:
    x = X.copy()
    x[48:] = 0
    np.savez(tmp_path / "t.npz", x=x, y=Y)
    with pytest.raises(DataError, match="all 12 test samples of NPZ have only ignored positions"):
        run(tagging(tmp_path))


def test_samples_of_a_file_are_evaluated_at_the_places_that_count(tmp_path: Path) -> None:
    y = np.where(X == 0, -1, Y)
    y[:, 1] = -1
    np.savez(tmp_path / "t.npz", x=X, y=y)
    (tmp_path / "s.nn").write_text(tagging(tmp_path, padding=", padding=0, ignore=-1"))
    result = nnspec.run(tmp_path / "s.nn", out=tmp_path / "run")
    np.savez(tmp_path / "more.npz", x=X[48:], y=y[48:])
    (evaluation,) = nnspec.runs.evaluate(tmp_path / "run", data=str(tmp_path / "more.npz"))
    assert evaluation.figures["test_loss"] == result["run"].final("test_loss")
    counted = (y[48:] >= 0) & (X[48:] > 0)
    confusion = evaluation.confusion()
    assert confusion is not None
    assert confusion.sum() == counted.sum()
    means = evaluation.losses @ counted.sum(axis=1) / counted.sum()
    assert means == pytest.approx(evaluation.figures["test_loss"], rel=1e-6)
