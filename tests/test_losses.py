"""What each loss is for: its numbers, and the targets that it refuses; what all must do is in nnspec.testing."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.losses import Loss
from nnspec.testing.samples import LossSample

batches = pytest.mark.parametrize("batch", [1, 5])


def logits(batch: int) -> np.ndarray:
    return LossSample("CrossEntropy").y(batch)


def labels_of(batch: int) -> np.ndarray:
    return LossSample("CrossEntropy").targets(batch)


def test_mse_by_hand() -> None:
    loss = nn.MSELoss()
    assert loss.forward(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])) == 2.5
    np.testing.assert_array_equal(loss.backward(), [[0.5, 0], [0, 1.5]])


@pytest.mark.parametrize("shape", [(4,), (4, 1), (3, 2), (4, 2, 1), ()])
def test_mse_refuses_targets_of_another_shape_instead_of_broadcasting(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"outputs have shape \(4, 2\)"):
        nn.MSELoss().forward(np.ones((4, 2)), np.ones(shape))


def test_cross_entropy_by_hand() -> None:
    loss = nn.CrossEntropyLoss()
    assert loss.forward(np.zeros((2, 4)), np.array([0, 3])) == pytest.approx(math.log(4), rel=1e-15)
    np.testing.assert_allclose(loss.backward() * 8, [[-3, 1, 1, 1], [1, 1, 1, -3]], rtol=1e-15)


@batches
def test_one_hot_rows_mean_the_same_as_class_numbers(batch: int) -> None:
    loss, labels = nn.CrossEntropyLoss(), labels_of(batch)
    value = loss.forward(logits(batch), labels)
    grad = loss.backward()
    for one_hot in (np.eye(4)[labels], np.eye(4, dtype=int)[labels], np.eye(4)[labels].tolist()):
        assert loss.forward(logits(batch), one_hot) == pytest.approx(value, rel=1e-14)
        np.testing.assert_allclose(loss.backward(), grad, rtol=1e-14, atol=1e-17)


def test_class_numbers_may_follow_one_hot_rows() -> None:
    loss, labels = nn.CrossEntropyLoss(), labels_of(5)
    loss.forward(logits(5), labels)
    grad = loss.backward()
    loss.forward(logits(5), np.full((5, 4), 0.25))
    assert not np.allclose(loss.backward(), grad)
    loss.forward(logits(5), labels)
    np.testing.assert_array_equal(loss.backward(), grad)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint32, np.int64, np.uint64, list])
def test_class_numbers_may_be_of_any_integer_type(dtype: Any) -> None:
    loss, labels = nn.CrossEntropyLoss(), labels_of(300)
    value = loss.forward(logits(300), labels)
    grad = loss.backward()
    assert loss.forward(logits(300), labels.tolist() if dtype is list else labels.astype(dtype)) == value
    np.testing.assert_array_equal(loss.backward(), grad)


def test_far_logits_neither_overflow_nor_lose_the_answer() -> None:
    loss = nn.CrossEntropyLoss()
    logits = np.array([[1000.0, -1000.0], [-1000.0, -1000.0], [1e300, 0.0]])
    assert loss.forward(logits, np.array([1, 0, 0])) == pytest.approx((2000 + math.log(2)) / 3, rel=1e-15)
    np.testing.assert_allclose(loss.backward() * 3, [[1, -1], [-0.5, 0.5], [0, 0]], atol=1e-15)


@pytest.mark.parametrize("shift", [-1000.0, 1000.0])
def test_what_is_added_to_all_logits_of_a_row_changes_nothing(shift: float) -> None:
    loss, labels = nn.CrossEntropyLoss(), labels_of(5)
    value = loss.forward(logits(5), labels)
    grad = loss.backward()
    assert loss.forward(logits(5) + shift, labels) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(loss.backward(), grad, atol=1e-12)


def test_cross_entropy_gradient_sums_to_zero_in_each_row() -> None:
    loss = nn.CrossEntropyLoss()
    loss.forward(logits(5), labels_of(5))
    np.testing.assert_allclose(loss.backward().sum(axis=1), 0, atol=1e-16)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 4], "labels run from 0 to 4, classes from 0 to 3"),
        ([-1, 0, 1], "labels run from -1 to 1"),
        ([0, 1], "labels are 3 integers"),
        ([0, 1, 2, 3], "labels are 3 integers"),
        ([0.0, 1.0, 2.0], "not float64"),
        ([True, False, True], "not bool"),
        (["0", "1", "2"], "labels are 3 integers"),
        (1, "labels are 3 integers"),
        ([[0], [1], [2]], "one-hot labels"),
        ([[1, 0, 0, 0]], "one-hot labels"),
        ([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], "sum to 1"),
        ([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], "sum to 1"),
        ([[1, 0, 0, 0], [0, 1, 0, 0], [0, float("nan"), 0, 0]], "sum to 1"),
    ],
)
def test_bad_labels_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.CrossEntropyLoss().forward(np.zeros((3, 4)), np.array(labels))


def test_logits_are_rows() -> None:
    with pytest.raises(ValueError, match="logits are"):
        nn.CrossEntropyLoss().forward(np.zeros(4), np.array([0, 1, 2]))


def test_a_place_of_a_sequence_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="labels are 3×4 integers"):
        nn.CrossEntropyLoss().forward(np.zeros((3, 4, 1)), np.array([0, 1, 2]))


@pytest.mark.parametrize(
    ("cls", "shape", "classes"),
    [
        (nn.CrossEntropyLoss, (10,), 10),
        (nn.CrossEntropyLoss, (12,), 10),
        (nn.MSELoss, (10,), 10),
        (nn.MSELoss, (1,), None),
    ],
)
def test_outputs_that_fit_the_data_are_accepted(cls: type[Loss], shape: tuple[int, ...], classes: int | None) -> None:
    cls.fit(shape, classes)


@pytest.mark.parametrize(
    ("cls", "shape", "classes", "help"),
    [
        (nn.CrossEntropyLoss, (9,), 10, r"Linear\(10\)"),
        (nn.CrossEntropyLoss, (2, 5), 10, "GlobalAvgPool"),
        (nn.CrossEntropyLoss, (10,), None, "MSE"),
        (nn.MSELoss, (12,), 10, r"Linear\(10\)"),
        (nn.MSELoss, (1,), 10, r"Linear\(10\)"),
    ],
)
def test_outputs_that_do_not_fit_the_data_are_refused_with_help(
    cls: type[Loss], shape: tuple[int, ...], classes: int | None, help: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        cls.fit(shape, classes)
    assert re.search(help, caught.value.help)
