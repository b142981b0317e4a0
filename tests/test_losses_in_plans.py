"""Every loss and every metric in the compiled plan: the numbers of the teaching API, and no memory on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_plan import ALLOCATION, peak_growth, train
from tiny_spec import OFFLINE, compiled, spec

from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.data.source import DataError
from nnspec.engine import PARTS
from nnspec.engine.losses import Loss
from nnspec.runner.gradients import prove_gradients
from nnspec.runner.load_data import load_data

WEIGHTS = "class_weights=[1, 2, 1, 1, 1, 1, 1, 1, 1, 0.5]"
# A loss as a spec writes it -> the data, and how wide the outputs are.
LOSSES = {
    "CrossEntropy(label_smoothing=0.1)": ("Digits", 10),
    f"CrossEntropy({WEIGHTS})": ("Digits", 10),
    f"NLL({WEIGHTS})": ("Digits", 10),
    "NLL": ("Digits", 10),
    "Hinge": ("Digits", 10),
    "Hinge(margin=0.5)": ("Moons", 1),
    "BCEWithLogits": ("Moons", 1),
    "BCEWithLogits(pos_weight=3)": ("Moons", 1),
    "Focal(gamma=1.5)": ("Digits", 10),
    f"Focal({WEIGHTS})": ("Digits", 10),
    "BinaryFocal": ("Moons", 1),
    "Contrastive": ("Moons", 1),
    "KLDiv": ("Digits", 10),
    "MAE": ("Sine", 1),
    "Huber(delta=0.1)": ("Sine", 1),
    "MSE": ("Sine", 1),
}
every_loss = pytest.mark.parametrize("loss", LOSSES)
BOTH = "accuracy, precision, recall, f1, confusion"


def text(loss: str, samples: int = 50, test: int = 20, batch: int = 16, **more: str) -> str:
    data, width = LOSSES[loss]
    model = f"Linear(12); Tanh; Linear({width})"
    return spec(model, loss=loss, data=f"{data}(train={samples}, test={test})", train=f"batch = {batch}", **more)


def plan_of(words: str) -> Plan:
    """Make the plan of a spec, with its own data."""
    program = compiled(words)
    (experiment,) = program.program.lanes
    return plan_alone(experiment, program.layouts["run"], experiment.data[0].source.load(OFFLINE))


def targets_of(loss: Loss, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    if loss.targets == "classes":
        return y.astype(int)
    return y.reshape(outputs.shape) if outputs.shape[1] == 1 else np.eye(10)[y]


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_first_step_is_that_of_the_teaching_api(loss: str, dtype: str) -> None:
    plan = plan_of(text(loss, batch=50, more=f"dtype = {dtype}"))
    other = plan_of(text(loss, batch=50, more=f"dtype = {dtype}"))
    plan.begin(0)
    value, _ = plan.train_batch(0)
    order = other.data._order
    other.data.shuffle(0)
    x = other.dataset.train.x[order].reshape(50, -1) / other.dataset.divisor
    for layer in other.network.layers:
        layer.lend({})
    outputs = other.network.forward(x.astype(dtype))
    part = other.experiment.loss.make()
    expected = part.forward(outputs, targets_of(part, outputs, other.dataset.train.y[order]))
    assert value == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-12)
    other.network.backward(part.backward())
    # The first weights are left out where features are always zero.
    grads = np.concatenate([p.grad.ravel() for p in other.network.parameters()[1:]])
    found = np.concatenate([p.grad.ravel() for p in plan.network.parameters()[1:]])
    np.testing.assert_allclose(found, grads, rtol=1e-4, atol=1e-6 if dtype == "float32" else 1e-13)


@every_loss
def test_training_allocates_no_arrays_and_lowers_the_loss(loss: str) -> None:
    plan = plan_of(text(loss, 1100, 519, 512, more="metrics = []", optimizer="Adam(lr=0.002)"))
    first = train(plan, 1)
    assert peak_growth(plan) <= ALLOCATION
    assert train(plan, 1)[-1] < first[0]


@every_loss
def test_gradients_hold_through_the_network(loss: str) -> None:
    plan = plan_of(text(loss))
    assert prove_gradients(plan.experiment, plan.dataset).error < 1e-7


@pytest.mark.parametrize(
    ("loss", "metrics"),
    [
        ("CrossEntropy(label_smoothing=0.1)", f"{BOTH}, top_k, perplexity"),
        ("BCEWithLogits", BOTH),
        ("MSE", "mse, mae, r2"),
    ],
)
def test_measuring_allocates_no_arrays(loss: str, metrics: str) -> None:
    plan = plan_of(text(loss, 1100, 519, 512, more=f"metrics = [{metrics}]"))
    train(plan, 1)
    assert peak_growth(plan) <= 2 * ALLOCATION  # as much again for Python's lists of figures


def test_every_loss_is_tested() -> None:
    ours: dict[str, Any] = {name: cls for name, cls in PARTS["loss"].items() if cls.__module__.startswith("nnspec.")}
    assert {loss.partition("(")[0] for loss in LOSSES} == ours.keys()


@pytest.mark.parametrize(
    ("loss", "model", "data", "more"),
    [
        ("BCEWithLogits", "Linear(1)", "Sine(train=7, test=9)", ""),
        ("KLDiv", "Linear(1)", "Sine(train=7, test=9)", ""),
        ("BCEWithLogits", "Linear(2)", "Moons(train=7, test=9)", "train.target = input"),
        ("BCEWithLogits", "Linear(784)", "Digits(train=7, test=9)", "train.target = input; train.standardise = true"),
    ],
)
def test_targets_that_a_loss_is_not_defined_for_are_refused(loss: str, model: str, data: str, more: str) -> None:
    program = compiled(spec(model, loss=loss, data=data, more=more)).program
    with pytest.raises(DataError, match=f"^{loss} requires targets .*0.*; "):
        load_data(program, OFFLINE)


def test_an_autoencoder_of_samples_from_0_to_1_may_take_probabilities() -> None:
    text = spec("Linear(784)", loss="BCEWithLogits", data="Digits(train=7, test=9)", more="train.target = input")
    assert load_data(compiled(text).program, OFFLINE)
