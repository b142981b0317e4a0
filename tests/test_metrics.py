"""Metrics: scikit-learn's numbers, batch after batch as all at once, and none where they make no sense."""

from __future__ import annotations

import io
import json
import math
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import cases
from rich.console import Console
from tiny_spec import compiled, run, spec

from nnspec import engine as nn
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.metrics import Metric
from nnspec.view.terminal.confusion import counts
from nnspec.view.terminal.race import print_result

CASES = json.loads((Path(__file__).parent / "oracle/metrics.json").read_text(encoding="utf-8"))["cases"]
CLASSES = {name: cls for name, cls in PARTS["metric"].items() if cls.__module__.startswith("nnspec.")}

every_case = cases(reference={name: [case for case in CASES if case["part"] == name] for name in CLASSES})
every_metric = pytest.mark.parametrize("name", CLASSES)


def measured(metric: Metric, outputs: np.ndarray, targets: np.ndarray, batch: int) -> Any:
    metric.begin()
    for start in range(0, len(outputs), batch):
        metric.add(outputs[start : start + batch], targets[start : start + batch])
    return metric.result()


def work_arrays(metric: Metric, outputs: tuple[int, ...], batch: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    kinds = {"float": dtype, "bool": np.bool_, "index": np.intp}
    return {
        name: np.full((batch, *work.shape), 1, kinds[work.dtype]) for name, work in type(metric).work(outputs).items()
    }


@every_case
def test_it_agrees_with_scikit_learn_however_the_batches_are_cut(reference: dict[str, Any]) -> None:
    metric = CLASSES[reference["part"]](**reference["arguments"])
    outputs, targets = np.array(reference["outputs"]), np.array(reference["targets"])
    for batch in (1, 4, 1000):
        for _ in range(2):  # `begin` forgets everything
            found = measured(metric, outputs, targets, batch)
            np.testing.assert_allclose(found, reference["value"], rtol=1e-10, atol=1e-12, err_msg=f"batch={batch}")


@every_case
def test_lent_arrays_change_no_number_and_outputs_are_left_alone(reference: dict[str, Any]) -> None:
    metric, lent = (CLASSES[reference["part"]](**reference["arguments"]) for _ in range(2))
    outputs, targets = np.array(reference["outputs"]), np.array(reference["targets"])
    lent.lend(work_arrays(lent, outputs.shape[1:], 6))
    before = outputs.copy(), targets.copy()
    np.testing.assert_array_equal(measured(lent, outputs, targets, 5), measured(metric, outputs, targets, 5))
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(targets, before[1])


def test_every_metric_has_a_reference_case() -> None:
    assert {case["part"] for case in CASES} == CLASSES.keys()


@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if not cls.keeps_scores])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_is_measured_without_an_array_of_its_size(name: str, dtype: Any) -> None:
    metric, batch = CLASSES[name](), 20_000
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((batch, 10)).astype(dtype)
    targets = rng.standard_normal((batch, 10)).astype(dtype) if metric.needs_numbers else rng.integers(0, 10, batch)
    metric.lend(work_arrays(metric, (10,), batch, dtype))
    metric.begin()
    metric.add(outputs, targets)
    tracemalloc.start()
    try:
        metric.add(outputs, targets)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150_000  # NumPy casts through 64 KiB an array; the smallest array here, a number a sample, is 160 kB
    metric.result()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_kept_in_a_number_and_a_byte_each(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((8192, 4)).astype(dtype), rng.integers(0, 2, (8192, 4))
    metric = nn.AUC()
    for _ in range(3):  # epochs, each in the room of the first
        measured(metric, outputs, targets, 64)
    assert metric._scores is not None
    assert metric._truths is not None
    assert metric._scores.dtype == dtype
    assert metric._scores.nbytes + metric._truths.nbytes == outputs.size * (outputs.itemsize + 1)


def test_the_area_is_how_often_a_pair_is_in_order() -> None:
    rng = np.random.default_rng(4)
    scores, truths = rng.integers(0, 6, 40).astype(float), rng.integers(0, 2, 40)
    pairs = [(a > b) + (a == b) / 2 for a in scores[truths == 1] for b in scores[truths == 0]]
    assert measured(nn.AUC(), scores[:, None], truths, 7) == pytest.approx(sum(pairs) / len(pairs), rel=1e-14)
    assert measured(nn.AUC(), np.exp(scores)[:, None], truths, 7) == measured(nn.AUC(), scores[:, None], truths, 7)
    assert math.isnan(measured(nn.AUC(), np.array([[1.0], [math.nan]]), np.array([0, 1]), 1))


def test_equal_outputs_are_taken_in_order() -> None:
    outputs = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    for labels, once, twice in (([0, 1], 1.0, 1.0), ([1, 2], 0.0, 1.0), ([2, 0], 0.0, 0.0)):
        assert measured(nn.Accuracy(), outputs, np.array(labels), 2) == once
        assert measured(nn.TopK(1), outputs, np.array(labels), 2) == once
        assert measured(nn.TopK(2), outputs, np.array(labels), 2) == twice


def test_the_share_of_variance_in_float32_is_that_in_float64() -> None:
    rng = np.random.default_rng(3)
    targets = (1e5 + 0.02 * rng.standard_normal((5000, 1))).astype(np.float32)
    outputs = (targets + 0.02 * rng.standard_normal(targets.shape)).astype(np.float32)
    double = measured(nn.R2(), outputs.astype(np.float64), targets.astype(np.float64), 100)
    assert measured(nn.R2(), outputs, targets, 100) == pytest.approx(double, abs=1e-4)


def test_perplexity_of_guessing_is_the_number_of_classes_and_too_much_is_infinite() -> None:
    assert measured(nn.Perplexity(), np.zeros((3, 7)), np.array([0, 3, 6]), 2) == pytest.approx(7, rel=1e-14)
    assert measured(nn.Perplexity(), np.array([[1e4, 0.0]]), np.array([1]), 1) == math.inf


@pytest.mark.parametrize(
    ("metrics", "code", "message"),
    [
        ("[mse]", "NN305", "`mse` compares numbers, but the data has classes"),
        ("[r2]", "NN305", "`r2` compares numbers"),
        ("[top_k(10)]", "NN402", "always correct with k=10"),
        ("[f1(average=samples)]", "NN3", "one of `macro`, `micro`, `weighted`, `binary`"),
        ("[f1(average=binary)]", "NN402", "`binary` is the score of class 1 of two, but there are 10 classes"),
        ("[auc]", "NN402", "`auc` ranks samples of two classes, but there are 10 classes"),
        ("[roc_auc]", "NN201", "unknown metric `roc_auc`"),
        ("[precision(0.5)]", "NN3", ""),
    ],
)
def test_a_metric_that_does_not_fit_classes_is_refused(metrics: str, code: str, message: str) -> None:
    found = check(Source("x.nn", spec(more=f"metrics = {metrics}"))).diagnostics
    assert [d.code for d in found if d.code.startswith(code)], found
    assert any(message in d.message for d in found)


@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if cls.needs_classes])
def test_a_metric_of_classes_is_refused_for_a_regression(name: str) -> None:
    text = spec("Linear(1)", loss="MSE", data="Sine(train=50, test=20)", more=f"metrics = {name}")
    (found,) = check(Source("x.nn", text)).diagnostics
    assert (found.code, found.message) == ("NN305", f"`{name}` needs classes, but the data has none")


@pytest.mark.parametrize(
    ("cls", "outputs", "classes", "target", "message"),
    [
        (nn.Accuracy, (2, 5), 5, (), "takes a row of outputs"),
        (nn.Accuracy, (5,), 5, (3,), "for each of 3 positions"),
        (nn.Perplexity, (1,), 2, (), "one output per class"),
        (nn.Confusion, (101,), 101, (), "100 at most"),
        (nn.R2, (3,), None, (), "3 outputs with targets of 1"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(cls: Any, outputs: Any, classes: Any, target: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        cls.fit(outputs, classes, target)


def test_a_table_is_not_a_figure_and_is_stored_with_the_lane() -> None:
    result = run(spec(more="metrics = [accuracy, confusion]\nexpect { test_accuracy >= 0 }"))["run"]
    assert not [name for name in result.history if "confusion" in name]
    table = np.array(result.tables["confusion"])
    assert table.shape == (10, 10)
    assert table.sum() == 20
    assert np.trace(table) / 20 == result.history["test_accuracy"][-1]
    lines = list(counts(result, (), 80))
    assert len(lines) == 13
    assert list(counts(result, (), 20)) == ["confusion of run: 10 × 10 counts, in summary.json"]


def test_tables_of_the_best_lanes_are_printed_and_no_more() -> None:
    lanes = "; ".join(f"lane{i}: SGD(lr=0.0{i})" for i in range(1, 9))
    text = spec(race=lanes, train="epochs = 1", more="metrics = confusion")
    console = Console(record=True, file=io.StringIO(), width=100)
    print_result(run(text), compiled(text), console)
    assert console.export_text().count("on test data: one row per label") == 6


def test_a_table_cannot_be_expected() -> None:
    (found,) = check(Source("x.nn", spec(more="metrics = [confusion]\nexpect { test_confusion > 0 }"))).diagnostics
    assert found.code.startswith("NN2") or found.code.startswith("NN6")


def test_metrics_of_a_regression_in_a_run() -> None:
    text = spec(
        "Linear(8); Tanh; Linear(1)",
        loss="Huber",
        data="Sine(train=50, test=20)",
        optimizer="Adam(lr=0.02)",
        more="metrics = [r2, mse, mae]",
    )
    lane = run(text)["run"]
    assert lane.history["test_mae"][-1] ** 2 <= lane.history["test_mse"][-1]
    assert lane.history["test_r2"][-1] < 1


def test_the_plan_lends_what_metrics_ask_for() -> None:
    work_of = compiled(spec(more="metrics = [top_k(3), perplexity]")).layouts["run"].steps.work_of
    assert [{name for name, _ in work_of[metric]} for metric in ("metric1", "metric2")] == [
        {"before", "alike", "index", "own"},
        {"powers", "top", "own", "index"},
    ]
