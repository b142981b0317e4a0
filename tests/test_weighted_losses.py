"""Losses of weighted samples: what holds for every loss. PyTorch's numbers are in `test_oracle.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.losses import Loss
from nnspec.engine.losses.contract import weighted
from nnspec.testing.memory import growth
from nnspec.testing.own.losses import SAMPLES
from nnspec.testing.samples import LossSample

every_loss = pytest.mark.parametrize("sample", SAMPLES, ids=str)
W = np.array([0.5, 2.0, 0.0, 1.0, 3.0])


def found(loss: Loss, y: np.ndarray, t: np.ndarray, w: np.ndarray | None) -> tuple[float, np.ndarray, float]:
    """The value, the gradient, and the weight of the batch."""
    value = loss(y, t, w)
    return value, loss.backward(), loss.weight(len(y))


@every_loss
def test_gradient_agrees_with_finite_differences(sample: LossSample) -> None:
    loss, y, t = sample.make(), sample.y(5), sample.targets(5)
    numerical = np.empty_like(y)
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = 1e-5
        numerical[i] = (loss(y + step, t, W) - loss(y - step, t, W)) / 2e-5
    loss(y, t, W)
    np.testing.assert_allclose(loss.backward(), numerical, rtol=1e-7, atol=1e-9)


@every_loss
def test_a_weight_counts_as_that_many_equal_samples_and_zero_as_none(sample: LossSample) -> None:
    loss, y, t, counts = sample.make(), sample.y(5), sample.targets(5), np.array([1, 2, 0, 1, 3])
    value, grad, weight = found(loss, y, t, counts.astype(float))
    many = np.repeat(np.arange(5), counts)
    value_of_many, grads, weight_of_many = found(loss, y[many], t[many], None)
    summed = np.zeros_like(grad)
    np.add.at(summed, many, grads)
    assert value == pytest.approx(value_of_many, rel=1e-14)
    np.testing.assert_allclose(grad, summed, rtol=1e-13, atol=1e-16)
    assert weight == pytest.approx(weight_of_many, rel=1e-15)


@every_loss
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_equal_weights_have_the_bits_of_none(sample: LossSample, scale: float) -> None:
    value, grad, weight = found(sample.make(), sample.y(5), sample.targets(5), None)
    weighted = found(sample.make(), sample.y(5), sample.targets(5), np.full(5, scale))
    if "class_weights" in sample.arguments:  # their mean is a quotient, which rounds
        assert weighted[0] == pytest.approx(value, rel=1e-15)
        np.testing.assert_allclose(weighted[1], grad, rtol=1e-14, atol=0)
    else:
        assert weighted[0] == value
        np.testing.assert_array_equal(weighted[1], grad)
    assert weighted[2] == pytest.approx(scale * weight, rel=1e-15)


@every_loss
def test_weights_do_not_last_beyond_their_batch(sample: LossSample) -> None:
    loss, y, t = sample.make(), sample.y(5), sample.targets(5)
    first = found(loss, y, t, None)
    found(loss, y, t, W)
    again = found(loss, y, t, None)
    assert (again[0], again[2]) == (first[0], first[2])
    np.testing.assert_array_equal(again[1], first[1])


@every_loss
def test_a_batch_without_any_weight_counts_nothing(sample: LossSample) -> None:
    value, grad, weight = found(sample.make(), sample.y(5), sample.targets(5), np.zeros(5))
    assert (value, weight) == (0.0, 0.0)
    np.testing.assert_array_equal(np.abs(grad), 0)


@every_loss
def test_lent_arrays_and_out_change_no_number_and_nothing_is_allocated(sample: LossSample) -> None:
    batch = 2_000
    loss, reference, y, t = sample.make(), sample.make(), sample.y(batch), sample.targets(batch)
    w = np.random.default_rng(3).uniform(0, 2, batch)
    value, grad, _ = found(reference, y, t, w)
    lent = sample.work_arrays(batch) | {name: np.empty((batch, *work.shape)) for name, work in weighted(()).items()}
    loss.lend(lent)
    worked_in = np.empty_like(y)
    assert loss.forward(y, t, worked_in, w) == value
    np.testing.assert_array_equal(loss.backward(worked_in), grad)
    np.testing.assert_array_equal(y, sample.y(batch))
    assert growth(lambda: (loss.forward(y, t, worked_in, w), loss.backward(worked_in))) < 12_000


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(4), "the weights of 5 samples are 5 numbers, not float64 of shape (4,)"),
        (np.ones((5, 1)), "not float64 of shape (5, 1)"),
        (["a"] * 5, "not <U1"),
        ([1, 1, 1, 1, -1], "weights are finite and at least 0, not from -1 to 1"),
        ([1, 1, 1, 1, np.nan], "weights are finite and at least 0"),
        ([1, 1, 1, 1, np.inf], "weights are finite and at least 0, not from 1.0 to inf"),
    ],
)
def test_invalid_weights_are_rejected(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match="MSELoss: ") as error:
        nn.MSELoss()(np.ones((5, 2)), np.ones((5, 2)), weights)
    assert message in str(error.value)


def test_every_loss_takes_weights_and_one_of_your_own_need_not() -> None:
    class Plain(Loss):
        targets = "values"

        def forward(self, outputs: Any, targets: Any, out: Any = None) -> float:  # type: ignore[override]
            return float(np.mean(outputs))

    assert all(sample.cls.takes_weights() for sample in SAMPLES)
    assert not Plain.takes_weights()
    assert Plain()(np.ones((2, 1)), np.ones((2, 1))) == 1.0
    with pytest.raises(TypeError, match="weights"):
        Plain()(np.ones((2, 1)), np.ones((2, 1)), np.ones(2))
