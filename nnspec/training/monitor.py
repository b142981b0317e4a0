"""Measurements of a training's health: gradient norms, dead units, and a baseline to compare with.

    gradients    after the last batch of every epoch, the L2 norm of each tensor's gradient from the backward pass,
                 before penalties and clipping. An epoch that ends in a NaN or infinite loss has none.
    dead units   after training, in each layer whose activation has flat regions: the units that are in a flat region
                 for all of at most `SAMPLES` training samples, evaluated in inference mode
    baseline     after a regression, the loss of predicting the mean training target for every sample, on the test data
                 and on the held-out samples

`results/health.py` draws conclusions from these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import Plan
from nnspec.engine._numpy import np
from nnspec.engine.layers.activations import HardSigmoid, ReLU
from nnspec.engine.layers.contract import Layer, but_features
from nnspec.engine.layers.smooth import HardSwish
from nnspec.engine.losses.regression import Distance
from nnspec.results.lane import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLES", "Monitor", "baseline", "dead_units", "norm"]

SAMPLES = 512
"""Maximum number of samples used to find dead units."""
_DIGITS = 6  # significant digits of a stored norm
_FLAT: dict[type[Layer], tuple[float, ...]] = {ReLU: (0.0,), HardSwish: (0.0,), HardSigmoid: (0.0, 1.0)}
"""Layers with flat regions, where their gradient is exactly 0, and their outputs there."""


class Monitor:
    """Measures one training."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Views of the vectors: a narrowed network has its rows in another order, which does not change norms.
        self._tensors = {f"{tensor.layer}.{tensor.name}": tensor for tensor in plan.layout.tensors}
        self.gradients: dict[str, float | None] = {}
        """The norms of each tensor's gradient after the last batch."""
        self._broken: dict[str, float | None] = {}
        plan.watch = self._look

    def _look(self, loss: float) -> None:
        """Measure the gradients of a batch before the step, or the weights if its loss is NaN or infinite."""
        if math.isfinite(loss):
            self.gradients = self._measure("gradients", frozen=False)
        else:
            self._broken = self._measure("parameters")

    def _measure(self, vector: str, *, frozen: bool = True) -> dict[str, float | None]:
        array, found = self._plan.buffers[vector], self._tensors.items()
        return {name: _kept(norm(array[tensor.part])) for name, tensor in found if frozen or not tensor.frozen}

    def health(self, status: Status) -> dict[str, Any]:
        """Measure a training that has ended; return fields of its LaneResult.

        These are `broken` if it diverged, and `dead` and `baseline` if it is done and not a trial of a search.
        """
        if status == "diverged":
            return {"broken": self._broken or self._measure("parameters")}
        if status == "done" and self._plan.experiment.trial is None:
            return {"dead": dead_units(self._plan), "baseline": baseline(self._plan)}
        return {}


def baseline(plan: Plan) -> dict[str, float]:
    """Return the losses of predicting the mean training target for every sample, by figure name.

    Empty unless it is a regression whose loss is that of the outputs alone.
    Targets are scaled as for the loss. The buffers of batches are overwritten.
    """
    experiment, data = plan.experiment, plan.data
    loss = experiment.loss.make()
    if plan.loss.parts:
        return {}
    if not isinstance(loss, Distance) or (experiment.classes is not None and experiment.train.target != "input"):
        return {}
    total, count = np.zeros(()), 0.0
    for rows in data.trained(len(data.order)):
        targets, w = data.targets(rows), data.weights(rows)
        weighted = targets if w is None else targets * w.reshape(-1, *(1,) * (targets.ndim - 1))
        total, count = total + weighted.sum(axis=0, dtype="float64"), count + (rows if w is None else float(w.sum()))
    losses = {}
    for name, batches in (("val_loss", data.validation()), ("test_loss", data.test())):
        parts = []
        for rows in batches:
            targets = data.targets(rows).astype("float64")
            value = loss(np.broadcast_to(total / count, targets.shape).copy(), targets, data.weights(rows))
            parts.append((loss.weight(rows), value))
        if parts:
            losses[name] = math.fsum(w * part for w, part in parts) / math.fsum(w for w, _ in parts)
    return losses


def norm(array: NDArray[Any]) -> float:
    """Return the L2 norm of a vector, without overflow or underflow of squares; NaN or inf if the vector has any.

    Memory is only allocated if squares overflow or underflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.dot(array, array))
    if 1e-30 < square < math.inf:
        return math.sqrt(square)
    largest = float(np.abs(array).max()) if array.size else 0.0
    if largest == 0 or not math.isfinite(largest):
        return largest
    scaled = np.divide(array, largest, dtype="float64")
    return largest * math.sqrt(float(np.dot(scaled, scaled)))


def _kept(value: float) -> float | None:
    """Round to significant digits; None for NaN and inf, which JSON cannot represent."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


# Dead units


def dead_units(plan: Plan) -> dict[str, list[int]]:
    """Return, by full name of each layer with flat regions, the number of dead units, of units, and of samples.

    In images a unit is a channel, in sequences a feature. The network must have finite weights, and is left in training
    mode.
    """
    alive: dict[str, NDArray[Any]] = {}
    flat_layers = {works: (name, flat) for name, works, flat in _flat_layers(plan)}
    if not flat_layers:
        return {}

    def look(op: str, node: str, nanoseconds: int, written: NDArray[Any] | None) -> None:
        if op == "forward" and node in flat_layers and written is not None:
            name, flat = flat_layers[node]
            moving = _moving(written, flat)
            alive[name] = alive[name] | moving if name in alive else moving

    samples = plan.show(SAMPLES, look)
    return {name: [int(np.count_nonzero(~units)), len(units), samples] for name, units in alive.items()}


def _flat_layers(plan: Plan) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """Yield for each layer with flat regions: its name, that of the layer that it is fused into, its flat outputs."""
    absorbed = plan.layout.steps.absorbed
    for node in (inner for outer in plan.experiment.layers for inner in outer.walk()):
        if node.value.part in _FLAT:
            # A pooling layer with a fused ReLU is positive exactly where the ReLU is.
            yield node.name, absorbed.get(node.name, node.name), _FLAT[node.value.part]


def _moving(y: NDArray[Any], flat: Sequence[float]) -> NDArray[Any]:
    """Return for each unit (feature or channel) whether it is outside its flat regions anywhere in a batch."""
    moving = y != flat[0]
    for end in flat[1:]:
        moving &= y != end
    units: NDArray[Any] = moving.any(axis=but_features(y))
    return units
