"""A loss over a data set is Σ w·l / Σ w over its samples, however they are divided into batches."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, OFFLINE, compiled, run, spec

from nnspec.analysis.meter import Meter
from nnspec.compiler.preparing import divide
from nnspec.engine.losses import CrossEntropyLoss, Loss, NLLLoss
from nnspec.engine.losses.contract import Mean
from nnspec.runner.options import RunOptions

TORCH = json.loads((Path(__file__).parent / "oracle" / "weighted_means.json").read_text())
ROWS = {row["batch"]: row for row in TORCH["cases"]}
FORMS = {"CrossEntropy": "Linear(3, init=zeros)", "NLL": "Linear(3, init=zeros); LogSoftmax"}


@pytest.fixture
def data(tmp_path: Path) -> str:
    arrays = {name: np.array(TORCH[name]) for name in ("x_train", "y_train", "x_test", "y_test")}
    arrays |= {name: array.astype(float) for name, array in arrays.items() if name[0] == "x"}
    np.savez(tmp_path / "data.npz", **arrays)
    return f'NPZ("{(tmp_path / "data.npz").as_posix()}")'


def text(data: str, loss: str, **more: str) -> str:
    return spec(
        FORMS[loss],
        data=data,
        loss=f"{loss}(class_weights={TORCH['class_weights']})",
        train=f"epochs = 3; shuffle = false; {more.pop('train', 'batch = 4')}",
        **{"optimizer": f"SGD(lr={TORCH['lr']})", "more": "dtype = float64", **more},
    )


@pytest.mark.parametrize("ways", [ALONE, RunOptions(jobs=1)], ids=["alone", "stacked"])
@pytest.mark.parametrize("loss", FORMS)
@pytest.mark.parametrize("batch", ROWS)
def test_figures_and_steps_are_those_of_pytorch(data: str, loss: str, batch: int, ways: RunOptions) -> None:
    lanes = f"a: SGD(lr={TORCH['lr']}); b: SGD(lr={TORCH['lr']})"
    for lane in run(text(data, loss, train=f"batch = {batch}", race=lanes), ways=ways).values():
        for figure in ("loss", "test_loss"):
            np.testing.assert_allclose(lane.history[figure], ROWS[batch][figure], rtol=1e-12)
        weight, bias = lane.network.parameters()
        np.testing.assert_allclose(weight.data, ROWS[batch]["weight"], rtol=1e-10)
        np.testing.assert_allclose(bias.data, ROWS[batch]["bias"], rtol=1e-10)


def by_hand(logits: np.ndarray, labels: np.ndarray) -> float:
    """Σ w·l / Σ w, number by number."""
    losses = [
        math.log(sum(map(math.exp, row))) - row[label] for row, label in zip(logits.tolist(), labels, strict=True)
    ]
    weights = [TORCH["class_weights"][label] for label in labels]
    return math.fsum(map(math.prod, zip(weights, losses, strict=True))) / math.fsum(weights)


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_so_are_samples_held_out_in_stacks_of_several_seeds(data: str, batch: int) -> None:
    words = text(data, "CrossEntropy", train=f"batch = {batch}; validation = 0.5; repeats = 2")
    result = run(words)
    assert result.summary["ways"]["stacks"]
    x, y = np.array(TORCH["x_train"], float), TORCH["y_train"]
    for one in result["run"].repeats:
        train = compiled(words).program.lanes[0].train
        _, held_out = divide(train, one.seed, np.array(y))
        expected = by_hand(one.network.forward(x[held_out]), [y[i] for i in held_out])
        assert one.history["val_loss"][-1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch", [2, 5, 17])
def test_penalties_are_averaged_as_the_loss_is(data: str, batch: int) -> None:
    """At a rate of nearly 0 the penalty is the same in every step, and counts once."""
    more = {"optimizer": "SGD(lr=1e-300)", "train": f"batch = {batch}; penalty = L2(0.5)"}
    words = text(data, "CrossEntropy", **more).replace("zeros", "fill(0.5)")
    assert run(words)["run"].history["loss"][0] == pytest.approx(math.log(3) + 0.5 * 12 * 0.25, rel=1e-12)


def test_the_loss_of_a_landscape_too(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(text(data, "CrossEntropy")).program
    (experiment,) = program.lanes
    dataset = experiment.data[0].source.load(OFFLINE)
    weights = np.linspace(-1, 1, 15)
    x, y = np.array(TORCH["x_train"], float), TORCH["y_train"]

    def loss(at: np.ndarray) -> float:
        return by_hand(x @ at[:12].reshape(4, 3) + at[12:], y)

    for batch in (3, 250):
        monkeypatch.setattr("nnspec.analysis.meter._BATCH", batch)
        meter = Meter(experiment, dataset)
        assert meter(weights) == pytest.approx(loss(weights), rel=1e-12)
        slopes = [(loss(weights + h) - loss(weights - h)) / 2e-6 for h in 1e-6 * np.eye(15)]
        np.testing.assert_allclose(meter.gradient(weights), slopes, atol=1e-8)


@pytest.mark.parametrize("make", [CrossEntropyLoss, NLLLoss])
def test_a_batch_without_any_weight_adds_nothing(make: Any) -> None:
    """Weights that float32 rounds to 0: such a batch has no mean of its own, and counts nothing in that of all."""
    loss: Loss = make(class_weights=[1.0, 1e-60])
    mean = Mean()
    assert math.isnan(mean.value)
    for labels in ([1, 1], [0, 1]):
        outputs = np.array([[-1.0, -2.0], [-0.5, -3.0]], np.float32)
        value = loss.forward(outputs, np.array(labels))
        mean.add(value, loss.weight(2))
        if labels == [1, 1]:
            assert (value, loss.weight(2)) == (0, 0)
            assert not loss.backward().any()
    assert mean.value == value > 0


def test_losses_of_equal_samples_count_rows() -> None:
    loss = CrossEntropyLoss(class_weights=[1.0, 3.0])
    loss.forward(np.zeros((4, 2)), np.eye(2)[[0, 1, 1, 1]])  # rows in the place of labels: PyTorch divides by B
    assert loss.weight(4) == 4
    loss.forward(np.zeros((4, 2)), np.array([0, 1, 1, 1]))
    assert loss.weight(4) == 10
