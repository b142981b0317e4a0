"""What is measured of a training for its health: norms of gradients, dead units, and a baseline to compare with.

    gradients    after the last batch of every epoch, the L2 norm of each tensor's gradient, as the backward pass left
                 it: before penalties and clipping. An epoch that ends in a NaN or infinite loss has none.
    dead units   at the end, over at most `SAMPLES` of the training samples, evaluated as in a test: those units of
                 each layer with flat ends that were on a flat end for all of them
    baseline     at the end of a regression, the loss of predicting the mean of the training targets for every sample,
                 on the test data and on the samples held out

`results/health.py` says what follows from these.
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
"""The most samples that dead units are looked for in."""
_DIGITS = 6  # of a norm that are kept
_FLAT: dict[type[Layer], tuple[float, ...]] = {ReLU: (0.0,), HardSwish: (0.0,), HardSigmoid: (0.0, 1.0)}
"""Layers with flat ends, whose gradient is exactly 0 there, and their outputs on these."""


class Monitor:
    """Watches one training."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Views of the vectors: a network that trains narrowed has its rows in another order, which no norm tells.
        self._tensors = {f"{tensor.layer}.{tensor.name}": tensor for tensor in plan.layout.tensors}
        self.gradients: dict[str, float | None] = {}
        """The norm of each tensor's gradient after the last batch."""
        self._broken: dict[str, float | None] = {}
        plan.watch = self._look

    def _look(self, loss: float) -> None:
        """Measure the gradients of a batch, before the step; where its loss is NaN or infinite, the weights."""
        if math.isfinite(loss):
            self.gradients = self._measure("gradients", frozen=False)
        else:
            self._broken = self._measure("parameters")

    def _measure(self, vector: str, *, frozen: bool = True) -> dict[str, float | None]:
        array, found = self._plan.buffers[vector], self._tensors.items()
        return {name: _kept(norm(array[tensor.part])) for name, tensor in found if frozen or not tensor.frozen}

    def health(self, status: Status) -> dict[str, Any]:
        """Measure a training at its end; return fields of its LaneResult.

        `broken` of one that has diverged; `dead` and `baseline` of one that is done.
        """
        if status == "diverged":
            return {"broken": self._broken or self._measure("parameters")}
        if status == "done":
            return {"dead": dead_units(self._plan), "baseline": baseline(self._plan)}
        return {}


def baseline(plan: Plan) -> dict[str, float]:
    """Return the losses of predicting the mean training target for every sample, by the name of their figure.

    Empty but for regressions. Targets are taken as the loss gets them. The buffers of batches are written to.
    """
    experiment, data = plan.experiment, plan.data
    loss = experiment.loss.make()
    if not isinstance(loss, Distance) or (experiment.classes is not None and experiment.train.target != "input"):
        return {}
    total, count = np.zeros(()), 0
    for rows in data.trained(len(data.order)):
        total, count = total + data.targets(rows).sum(axis=0, dtype="float64"), count + rows
    losses = {}
    for name, batches in (("val_loss", data.validation()), ("test_loss", data.test())):
        parts = []
        for rows in batches:
            targets = data.targets(rows).astype("float64")
            parts.append((rows, loss.forward(np.broadcast_to(total / count, targets.shape).copy(), targets)))
        if parts:
            losses[name] = math.fsum(rows * part for rows, part in parts) / sum(rows for rows, _ in parts)
    return losses


def norm(array: NDArray[Any]) -> float:
    """The L2 norm of a vector, where squares that overflow or vanish do no harm; NaN or infinity where it holds such.

    Nothing is allocated but where that is needed.
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
    """Digits that matter; None for what is no number, which JSON has no word for."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


# Dead units


def dead_units(plan: Plan) -> dict[str, list[int]]:
    """Return, for each layer with flat ends by its full name, how many of its units are dead, of how many, over how
    many samples. A unit of images is a channel, and of sequences a feature.

    The network must have finite weights, and is left ready to train.
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
    """Yield the layers with flat ends: name, the name of the layer that it is fused into, its flat outputs."""
    absorbed = plan.layout.steps.absorbed
    for node in (inner for outer in plan.experiment.layers for inner in outer.walk()):
        if node.value.part in _FLAT:
            # A pool that does the work of a ReLU is positive where that is.
            yield node.name, absorbed.get(node.name, node.name), _FLAT[node.value.part]


def _moving(y: NDArray[Any], flat: Sequence[float]) -> NDArray[Any]:
    """Say of each unit, a feature or a channel, whether it is off its flat ends anywhere in a batch."""
    moving = y != flat[0]
    for end in flat[1:]:
        moving &= y != end
    units: NDArray[Any] = moving.any(axis=but_features(y))
    return units
