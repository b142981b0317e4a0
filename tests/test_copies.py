"""Copies of a network evaluated as a batch: each has the same value as alone, whatever layers claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from derivatives import DERIVATIVES

from nnspec import engine as nn
from nnspec.engine import PARTS, copies
from nnspec.engine.copies import Copies, Lines, Tensor, independent, loss_of, sides_of
from nnspec.engine.layers.contract import Layer
from nnspec.testing.samples import LossSample
from nnspec.testing.tables import own_parts

LOSSES = own_parts("loss")
BOUND = 1e-7
LABELS = np.array([0, 1, 2, 2, 1, 0, 0, 2])


def normal(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(*layers: Layer) -> nn.NumpyMLP:
    return nn.NumpyMLP(*layers)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    nn.set_seed(7)


NETWORKS: dict[str, tuple[Callable[[], nn.NumpyMLP], tuple[int, ...]]] = {
    "dense": (lambda: network(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), (8, 5)),
    "batch norm": (lambda: network(nn.Linear(5, 4), nn.BatchNorm(4), nn.ReLU(), nn.Linear(4, 3)), (8, 5)),
    "dropout": (lambda: network(nn.Linear(5, 9), nn.Dropout(0.4), nn.GELU(), nn.Linear(9, 3)), (8, 5)),
    "residual": (
        lambda: network(nn.Linear(5, 4), nn.Residual([nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.3)]), nn.Linear(4, 3)),
        (8, 5),
    ),
    "branches": (
        lambda: network(
            nn.Linear(5, 4),
            nn.Concat(
                [nn.Linear(4, 3), nn.Residual([nn.ReLU(), nn.Linear(3, 3)]), nn.BatchNorm(3)],
                [nn.Add([nn.Linear(4, 2)], [nn.Tanh(), nn.Linear(4, 2)]), nn.ReLU()],
                [],
            ),
            nn.Linear(9, 3),
        ),
        (8, 5),
    ),
    "convolution": (
        lambda: network(nn.Conv2D(2, 3, 2), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Linear(6, 3)),
        (8, 2, 4, 5),
    ),
    "sequence": (
        lambda: network(
            nn.Linear(4, 4),
            nn.RNN(4, 4, activation="relu"),
            nn.MultiHeadAttention(4, 2),
            nn.Flatten(),
            nn.Linear(12, 3),
        ),
        (8, 3, 4),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("penalties", [(), (nn.L2(0.01), nn.L1(0.02))], ids=["", "penalties"])
def test_every_copy_is_worth_what_it_is_alone(name: str, penalties: tuple[nn.Penalty, ...]) -> None:
    make, shape = NETWORKS[name]
    model, x, loss = make(), normal(*shape), nn.CrossEntropyLoss()
    for layer in model.layers:
        for inner in layer.walk():
            inner.hold_noise = True
    evaluate = Copies(model, x, lambda outputs: loss_of(loss, LABELS, None, outputs), penalties)
    weights = [p.data for n, p in model.named_parameters().items() if "weight" in n and "Norm" not in n]

    def alone() -> tuple[float, np.ndarray]:
        y, sides = x, []
        for layer in model.layers:
            y = layer.forward(y)
            sides += [side.reshape(-1) for side in sides_of(layer)]
        total = loss.forward(y, LABELS)
        for penalty in penalties:
            total += sum(penalty.value(w.reshape(-1)) for w in weights)
            sides += [penalty.sides(w.reshape(-1)) for w in weights if penalty.sides(w.reshape(-1)) is not None]
        return total, np.concatenate([np.zeros(0), *sides])

    _, before = alone()
    tensors = [Tensor("input", x, x, 0)]
    for k, layer in enumerate(model.layers):
        tensors += [Tensor(key, p.data, p.grad, k, p) for key, p in layer.parameters().items()]
    for tensor in tensors:
        flat, size = tensor.array.reshape(-1), tensor.array.size
        which, t = np.array([0, 1, 0, 2]), np.array([0.3, -0.4, 0.0, 0.9])
        directions = normal(3, size)
        for lines in (Lines(np.array([0, size // 2, size - 1])), Lines(directions)):
            values, sides = evaluate(tensor, lines, which, t)
            crossing = np.broadcast_to(copies.crossed(sides, evaluate(tensor, lines, which, np.zeros(4))[1]), 4)
            for c, (line, step) in enumerate(zip(which, t, strict=True)):
                here = flat.copy()
                if lines.single:
                    flat[lines.along[line]] += step
                else:
                    flat += step * directions[line]
                expected, there = alone()
                flat[...] = here
                assert values[c] == pytest.approx(expected, rel=1e-12, abs=1e-12)
                assert crossing[c] == (not np.array_equal(there, before))


# --- What layers and losses declare is true of nnspec's own. ---


WIRING = {"from", "same", "transposed"}
"""Layers that only mean something in a network, where tests/test_graph.py has them."""


def own_layers() -> dict[str, tuple[Layer, np.ndarray]]:
    """A layer of every class, and an input for it."""
    found = {derivative.part: (derivative.make(), derivative.x()) for derivative in DERIVATIVES}
    ours = {name for name, cls in PARTS["layer"].items() if cls.__module__.startswith("nnspec.")}
    assert set(found) == ours - {"OneHot"} - WIRING  # ids have no derivative
    return found


def test_layers_without_noise_and_statistics_treat_samples_independently() -> None:
    mixing = {"BatchNorm", "Dropout", "SpatialDropout", "GaussianNoise", "Sample"}
    for name, (layer, x) in own_layers().items():
        assert layer.samples_independent == (name not in mixing), name
        assert independent(layer, x) == layer.samples_independent, name


def test_the_sides_of_independent_samples_have_a_row_for_each() -> None:
    bent = 0
    for name, (layer, x) in own_layers().items():
        layer.forward(x)
        if layer.samples_independent and (whole := layer.sides()) is not None:
            bent += 1
            for b in range(len(x)):
                layer.forward(x[b : b + 1])
                np.testing.assert_array_equal(layer.sides()[0], whole[b], err_msg=name)
    assert bent >= 6


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_many_copies_is_the_loss_of_each(name: str) -> None:
    loss, targets = LOSSES[name](), LossSample(name, {}, (3,), 2).targets(8)
    outputs = np.log(np.random.default_rng(0).dirichlet(np.ones(3), (5, 8)))
    values, sides = loss_of(loss, targets, None, outputs[0])(outputs)
    assert values == pytest.approx([loss.forward(copy, targets) for copy in outputs], rel=1e-14)
    assert all(len(side) == 5 for side in sides)


# --- What is not true is not relied on. ---


class Centred(Layer):
    """Takes the mean over the batch off, and claims that it does not."""

    samples_independent = True

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return np.subtract(x, x.mean(axis=0), out=out)

    def backward(self, grad: np.ndarray, out: np.ndarray | None = None, *, input_grad: bool = True) -> np.ndarray:
        return np.subtract(grad, grad.mean(axis=0), out=out)


class Adapted(nn.Linear):
    """y = x (W + u vᵀ), whose units are not those of Linear: v has an entry for each of them, u for none."""

    def __init__(self) -> None:
        super().__init__(5, 4, bias=False)
        self.u, self.v = nn.Parameter(normal(5, 1)), nn.Parameter(normal(1, 4))

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        self._input = x
        return np.matmul(x, self.weight.data + self.u.data @ self.v.data, out=out)

    def backward(self, grad: np.ndarray, out: np.ndarray | None = None, *, input_grad: bool = True) -> np.ndarray:
        self.weight.grad = self._input.T @ grad
        self.u.grad = self.weight.grad @ self.v.data.T
        self.v.grad = self.u.data.T @ self.weight.grad
        return np.matmul(grad, (self.weight.data + self.u.data @ self.v.data).T, out=out)

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"weight": self.weight, "u": self.u, "v": self.v}


class Mixed(nn.Linear):
    """y = x (W + the mean of W over the units), whose units are not independent, as those of Linear are."""

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        self._input = x
        return np.matmul(x, self.weight.data + self.weight.data.mean(axis=1, keepdims=True), out=out)

    def backward(self, grad: np.ndarray, out: np.ndarray | None = None, *, input_grad: bool = True) -> np.ndarray:
        slopes = self._input.T @ grad
        self.weight.grad = slopes + slopes.mean(axis=1, keepdims=True)
        return np.matmul(grad, (self.weight.data + self.weight.data.mean(axis=1, keepdims=True)).T, out=out)


class Worst(nn.MSELoss):
    """The largest squared error: a loss of the whole batch, which inherits that it takes many lanes at once."""

    def forward(self, outputs: np.ndarray, targets: Any, out: np.ndarray | None = None) -> float:
        self._errors = outputs - targets
        return float((self._errors**2).max())

    def backward(self, out: np.ndarray | None = None) -> np.ndarray:
        largest = np.abs(self._errors) == np.abs(self._errors).max()
        return 2 * self._errors * largest


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (lambda: network(nn.Linear(5, 4), Centred(), nn.Tanh(), nn.Linear(4, 3)), nn.MSELoss()),
        (lambda: network(Mixed(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)), nn.MSELoss()),
        (lambda: network(Adapted(), nn.Tanh(), nn.Linear(4, 3)), nn.MSELoss()),
        (lambda: network(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), Worst()),
    ],
    ids=["samples", "units", "parameters of other shapes", "loss"],
)
def test_a_claim_that_does_not_hold_makes_no_gradient_wrong(model: Callable[[], nn.NumpyMLP], loss: nn.MSELoss) -> None:
    report = nn.check_gradients(model(), loss, normal(8, 5), normal(8, 3, seed=4))
    assert report.error < BOUND
    assert all(tensor.checked == np.prod(tensor.shape) for tensor in report.tensors)


def test_a_custom_layer_claims_nothing() -> None:
    assert (Layer.samples_independent, Layer.units_independent, nn.Loss.stacks.fget(nn.Loss())) == (False, False, False)


# --- Memory is bounded. ---


def test_a_batch_of_copies_has_no_more_numbers_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "NUMBERS", 2000)
    model, x, largest = NETWORKS["dense"][0](), normal(8, 5), 0
    for layer in model.layers:
        forward = layer.forward

        def watched(x: np.ndarray, out: np.ndarray | None = None, forward: Any = forward) -> np.ndarray:
            nonlocal largest
            y = forward(x, out)
            largest = max(largest, y.size)
            return y

        monkeypatch.setattr(layer, "forward", watched)
    assert nn.check_gradients(model, nn.CrossEntropyLoss(), x, LABELS).error < BOUND
    assert 500 < largest <= 2000
