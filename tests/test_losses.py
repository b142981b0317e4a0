"""The contract of losses, held against every loss that is registered, and what each is for."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from allocations import growth
from loss_samples import SAMPLES, LossSample

from nnspec import engine as nn
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.losses import Loss

every_loss = pytest.mark.parametrize("sample", SAMPLES, ids=str)
batches = pytest.mark.parametrize("batch", [1, 5])


def slopes(loss: Loss, y: np.ndarray, wanted: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Central differences of the loss, entry by entry."""
    found = np.empty_like(y)
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = epsilon
        found[i] = (loss.forward(y + step, wanted) - loss.forward(y - step, wanted)) / (2 * epsilon)
    return found


@every_loss
@batches
def test_gradient_agrees_with_finite_differences(sample: LossSample, batch: int) -> None:
    loss, y, wanted = sample.make(), sample.y(batch), sample.targets(batch)
    numerical = slopes(loss, y, wanted)
    loss.forward(y, wanted)
    np.testing.assert_allclose(loss.backward(), numerical, rtol=1e-7, atol=1e-9)


@every_loss
@batches
def test_the_value_is_a_float_and_the_gradient_has_the_outputs_shape(sample: LossSample, batch: int) -> None:
    loss = sample.make()
    value = loss.forward(sample.y(batch), sample.targets(batch))
    assert type(value) is float
    assert math.isfinite(value)
    assert loss.backward().shape == (batch, *sample.outputs)


@every_loss
@batches
def test_out_gives_the_same_numbers_as_allocating(sample: LossSample, batch: int) -> None:
    loss, wanted = sample.make(), sample.targets(batch)
    value = loss.forward(sample.y(batch), wanted)
    grad = loss.backward()
    worked_in, written = np.full((batch, *sample.outputs), np.nan), np.full((batch, *sample.outputs), np.nan)
    assert loss.forward(sample.y(batch), wanted, out=worked_in) == value
    assert loss.backward(out=written) is written
    np.testing.assert_array_equal(written, grad, strict=True)


@every_loss
@batches
def test_it_may_work_in_its_outputs_and_write_the_gradient_there(sample: LossSample, batch: int) -> None:
    loss, wanted, y = sample.make(), sample.targets(batch), sample.y(batch)
    value = loss.forward(y, wanted)
    grad = loss.backward()
    assert loss.forward(y, wanted, out=y) == value
    assert loss.backward(out=y) is y
    np.testing.assert_array_equal(y, grad, strict=True)


@every_loss
def test_allocating_calls_leave_their_arguments_alone(sample: LossSample) -> None:
    loss, y, wanted = sample.make(), sample.y(5), sample.targets(5)
    loss.forward(y, wanted)
    loss.backward()
    np.testing.assert_array_equal(y, sample.y(5))
    np.testing.assert_array_equal(wanted, sample.targets(5))


@every_loss
def test_backward_twice_is_the_same_twice(sample: LossSample) -> None:
    loss = sample.make()
    loss.forward(sample.y(5), sample.targets(5))
    np.testing.assert_array_equal(loss.backward(), loss.backward())


@every_loss
@pytest.mark.parametrize("lent_for", [3, 5, 8])
def test_lent_work_arrays_change_no_number(sample: LossSample, lent_for: int) -> None:
    reference, loss, wanted = sample.make(), sample.make(), sample.targets(5)
    loss.lend(sample.work_arrays(lent_for))
    for _ in range(2):
        assert loss.forward(sample.y(5), wanted) == reference.forward(sample.y(5), wanted)
        np.testing.assert_array_equal(loss.backward(), reference.backward())


@every_loss
def test_lent_work_arrays_are_used_up_to_the_batch(sample: LossSample) -> None:
    loss, lent = sample.make(), sample.work_arrays(8)
    for work in lent.values():
        work.fill(77)
    loss.lend(lent)
    loss.forward(sample.y(5), sample.targets(5))
    loss.backward()
    for name, work in lent.items():
        assert not np.any(work[:5] == 77), f"{name} is not used"
        assert np.all(work[5:] == 77), f"{name} is written beyond the batch"


@every_loss
def test_with_out_and_lent_work_no_array_is_allocated(sample: LossSample) -> None:
    batch = 2_000
    loss, y, wanted = sample.make(), sample.y(batch), sample.targets(batch)
    loss.lend(sample.work_arrays(batch))
    loss.forward(y.copy(), wanted, out=np.empty_like(y))  # once before, for what is kept over batches
    grown = growth(lambda: (loss.forward(y, wanted, out=y), loss.backward(out=y)))
    assert grown < 12_000  # the smallest array here, a number a sample, is 16 kB


@every_loss
def test_only_saved_work_lives_from_forward_to_backward(sample: LossSample) -> None:
    loss, lent = sample.make(), sample.work_arrays(5)
    loss.forward(sample.y(5), sample.targets(5))
    reference = loss.backward()
    loss.lend(lent)
    loss.forward(sample.y(5), sample.targets(5))
    for name, work in sample.cls.work(sample.outputs, sample.arguments).items():
        if not work.saved:
            lent[name].fill(np.nan if work.dtype == "float" else 1)
    np.testing.assert_array_equal(loss.backward(), reference)


@every_loss
@pytest.mark.parametrize("arranged", [np.asfortranarray, lambda y: np.repeat(y, 2, axis=1)[:, ::2]])
def test_memory_order_changes_no_number(sample: LossSample, arranged: Any) -> None:
    loss, wanted = sample.make(), sample.targets(5)
    value = loss.forward(sample.y(5), wanted)
    grad = loss.backward()
    assert loss.forward(arranged(sample.y(5)), wanted) == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), grad, rtol=1e-14)


@every_loss
def test_float32_is_followed(sample: LossSample) -> None:
    loss, double, wanted = sample.make(), sample.make(), sample.targets(5)
    single = wanted.astype(np.float32) if sample.cls.targets == "values" else wanted
    assert loss.forward(sample.y(5, np.float32), single) == pytest.approx(double.forward(sample.y(5), wanted), rel=1e-5)
    assert loss.backward().dtype == np.float32
    np.testing.assert_allclose(loss.backward(), double.backward(), rtol=1e-5, atol=1e-6)


@every_loss
def test_backward_before_forward_is_an_error(sample: LossSample) -> None:
    with pytest.raises(RuntimeError, match="backward needs a forward pass first"):
        sample.make().backward()


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
        (nn.CrossEntropyLoss, (2, 5), 10, "Flatten"),
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
