"""The outputs that each loss accepts for each kind of data, and the details of each loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.losses import Loss
from nnspec.testing.own.losses import SAMPLES
from nnspec.testing.samples import LossSample
from nnspec.testing.tables import own_parts

CLASSES = own_parts("loss")
LOGITS = LossSample("CrossEntropy").y(5)
LABELS = LossSample("CrossEntropy").targets(5)


def test_every_loss_is_sampled() -> None:
    assert {sample.part for sample in SAMPLES} == CLASSES.keys()


@pytest.mark.parametrize(
    ("cls", "outputs", "classes", "target"),
    [
        (nn.MAELoss, (10,), 10, ()),
        (nn.HuberLoss, (1,), None, ()),
        (nn.NLLLoss, (10,), 10, ()),
        (nn.KLDivLoss, (10,), 10, ()),
        (nn.HingeLoss, (10,), 10, ()),
        (nn.HingeLoss, (2,), 2, ()),
        (nn.HingeLoss, (1,), 2, ()),
        (nn.BCEWithLogitsLoss, (1,), 2, ()),
        (nn.BCEWithLogitsLoss, (2,), 2, ()),
        (nn.BCEWithLogitsLoss, (10,), 10, ()),
        (nn.BCEWithLogitsLoss, (1,), None, ()),
        (nn.CrossEntropyLoss, (7, 10), 10, (7,)),
        (nn.NLLLoss, (7, 12), 10, (7,)),
        (nn.HingeLoss, (7, 1), 2, (7,)),
        (nn.BCEWithLogitsLoss, (7, 1), 2, (7,)),
        (nn.MSELoss, (7, 10), 10, (7,)),
        (nn.MSELoss, (3,), None, (3,)),
        (nn.MSELoss, (2, 3), None, (2, 3)),
        (nn.MAELoss, (7, 1), None, (7,)),
    ],
)
def test_targets_of_any_shape_are_accepted(
    cls: type[Loss], outputs: tuple[int, ...], classes: int | None, target: tuple[int, ...]
) -> None:
    cls.fit(outputs, classes, target)


@pytest.mark.parametrize(
    ("cls", "outputs", "classes", "target", "message"),
    [
        (nn.CrossEntropyLoss, (10,), 10, (7,), "for each of 7 positions"),
        (nn.CrossEntropyLoss, (6, 10), 10, (7,), "for each of 7 positions"),
        (nn.MSELoss, (2, 3), None, (3, 2), "2×3 outputs with targets of 3×2"),
        (nn.MSELoss, (3,), None, (), "3 outputs with targets of 1"),
        (nn.MSELoss, (7,), 10, (7,), "one-hot"),
        (nn.BCEWithLogitsLoss, (1,), 3, (), "one output can only separate 2 classes, but the data has 3"),
        (nn.HingeLoss, (1,), 3, (), "only 1 output"),
    ],
)
def test_targets_of_another_shape_are_refused(
    cls: type[Loss], outputs: tuple[int, ...], classes: int | None, target: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        cls.fit(outputs, classes, target)


@pytest.mark.parametrize("cls", [nn.CrossEntropyLoss, nn.NLLLoss])
def test_a_weight_belongs_to_each_output(cls: Any) -> None:
    cls.fit((3,), 3, (), {"class_weights": [1, 2, 3]})
    with pytest.raises(ShapeError, match="2 weights for 3 outputs") as caught:
        cls.fit((3,), 3, (), {"class_weights": [1, 2]})
    assert caught.value.argument == "class_weights"
    with pytest.raises(ValueError, match=r"class_weights.*must be greater than 0"):
        cls(class_weights=[1.0, 0.0])


FAR = [
    (nn.BCEWithLogitsLoss, [[1e4, -1e4, 1e4, -1e4]], [[1.0, 0.0, 0.0, 1.0]], 5000.0),
    (nn.HuberLoss, [[1e4, -1e4]], [[0.0, 1e4]], 14999.5),
    (nn.MAELoss, [[1e4, -1e4]], [[0.0, 1e4]], 15000.0),
    (nn.MSELoss, [[1e4, -1e4]], [[0.0, 1e4]], 2.5e8),
    (nn.HingeLoss, [[1e4, -1e4]], [1], 20001.0),
    (nn.NLLLoss, [[-1e4, 0.0]], [0], 1e4),
    (nn.KLDivLoss, [[-1e4, 0.0]], [[1.0, 0.0]], 1e4),
    (nn.CrossEntropyLoss, [[1e4, -1e4]], [1], 2e4),
    (nn.FocalLoss, [[1e4, -1e4], [1e4, -1e4]], [1, 0], 1e4),
    (nn.BinaryFocalLoss, [[1e4, -1e4, 1e4, -1e4]], [[1.0, 0.0, 0.0, 1.0]], 2500.0),
    (nn.ContrastiveLoss, [[1e4], [1e4]], [[0.0], [1.0]], 2.5e7),
]


@pytest.mark.parametrize(("cls", "y", "wanted", "value"), FAR, ids=[cls.spec_name for cls, *_ in FAR])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_far_away_neither_overflow_nor_warn(
    cls: type[Loss], y: Any, wanted: Any, value: float, dtype: Any
) -> None:
    loss = cls()
    assert loss.forward(np.array(y, dtype), np.array(wanted)) == pytest.approx(value, rel=1e-6)
    assert np.isfinite(loss.backward()).all()


def test_all_losses_are_tried_far_away() -> None:
    assert {cls.spec_name for cls, *_ in FAR} == CLASSES.keys()


def test_equal_weights_change_nothing() -> None:
    plain, loss = nn.CrossEntropyLoss(), nn.CrossEntropyLoss(class_weights=[2.0] * 4)
    assert loss.forward(LOGITS, LABELS) == pytest.approx(plain.forward(LOGITS, LABELS), rel=1e-14)
    np.testing.assert_allclose(loss.backward(), plain.backward(), rtol=1e-13)


@pytest.mark.parametrize("arguments", [{"label_smoothing": 0.3}, {"class_weights": [1.0, 2.0, 3.0, 4.0]}], ids=str)
def test_smoothing_and_weights_of_one_hot_rows(arguments: dict[str, Any]) -> None:
    loss = nn.CrossEntropyLoss(**arguments)
    weights = np.array(arguments.get("class_weights", [1.0] * 4))[LABELS]
    value = loss.forward(LOGITS, LABELS) * weights.sum() / 5  # of rows the mean is over the batch
    grad = loss.backward() * weights.sum() / 5
    assert loss.forward(LOGITS, np.eye(4)[LABELS]) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(loss.backward(), grad, rtol=1e-12, atol=1e-16)


def test_nll_of_log_probabilities_is_cross_entropy_of_logits() -> None:
    logs = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    value = nn.CrossEntropyLoss().forward(LOGITS, LABELS)
    assert nn.NLLLoss().forward(logs, LABELS) == pytest.approx(value, rel=1e-14)
    assert nn.KLDivLoss().forward(logs, np.eye(4)[LABELS]) == pytest.approx(value, rel=1e-14)


def test_hinge_by_hand() -> None:
    loss = nn.HingeLoss()
    assert loss.forward(np.array([[2.0, 1.5, 0.0], [3.0, 0.0, 1.0]]), np.array([0, 0])) == 0.25
    np.testing.assert_array_equal(loss.backward(), [[-0.5, 0.5, 0], [0, 0, 0]])
    assert loss.forward(np.array([[0.25], [-3.0]]), np.array([1, 0])) == 0.375
    np.testing.assert_array_equal(loss.backward(), [[-0.5], [0]])


def test_a_right_answer_for_sure_costs_a_little_still() -> None:
    assert nn.BCEWithLogitsLoss().forward(np.array([[40.0]]), np.ones((1, 1))) == pytest.approx(
        np.exp(-40), rel=1e-14, abs=0
    )


def test_values_that_are_not_probabilities_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"targets are in \[0, 1\]"):
        nn.BCEWithLogitsLoss().forward(np.zeros((1, 2)), np.array([[0.5, 1.5]]))
    with pytest.raises(ValueError, match="at least 0"):
        nn.KLDivLoss().forward(np.zeros((1, 2)), np.array([[0.5, -0.5]]))


@pytest.mark.parametrize(
    ("loss", "weight", "wanted"),
    [
        (nn.MAELoss(), 1e-7, [[0.0]]),
        (nn.HuberLoss(), 1e-7, [[-1.0]]),
        (nn.HingeLoss(), 1.0, [1]),
    ],
    ids=["MAE", "Huber", "Hinge"],
)
def test_the_gradient_check_steps_over_no_kink(loss: Loss, weight: float, wanted: Any) -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data = [[weight]]
    report = nn.check_gradients(nn.NumpyMLP(layer), loss, np.ones((1, 1)), np.array(wanted))
    assert sum(tensor.kinks for tensor in report.tensors) >= 2


def test_one_output_is_singular() -> None:
    with pytest.raises(ShapeError, match="MSE compares 1 output with targets of 4"):
        nn.MSELoss.fit((1,), None, (4,))
    with pytest.raises(ShapeError, match="MSE compares 3 outputs with targets of 4"):
        nn.MSELoss.fit((3,), None, (4,))
