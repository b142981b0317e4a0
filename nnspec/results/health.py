"""What went wrong with a training, as it was measured: losses that diverge or rise, regressions that are worse than a
constant, units that are dead, gradients that vanish or explode.

    gradients    after the last batch of every epoch, the L2 norm of each tensor's gradient, as the backward pass left
                 it: before penalties and clipping. Of an epoch that ends in a loss that is no number there is none.
    dead units   at the end, over at most `SAMPLES` of the samples that were trained on, as they are measured: those
                 units of each layer with flat ends that were on a flat end for all of them
    baseline     at the end of a regression, the loss of predicting the mean of the training targets for every sample,
                 on the test data and on the samples held out

Nothing is said of a training that was healthy. The thresholds are far from what healthy trainings have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from nnspec.checker.program import Experiment, LayerNode
from nnspec.compiler.plan import Plan
from nnspec.engine._numpy import np
from nnspec.engine.layers.activations import HardSigmoid, ReLU
from nnspec.engine.layers.contract import Layer, but_features
from nnspec.engine.layers.smooth import HardSwish
from nnspec.engine.losses.regression import Distance
from nnspec.results.result import LaneResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEAD", "SAMPLES", "Finding", "Monitor", "baseline", "dead_units", "findings", "health_records", "norm"]

SAMPLES = 512
"""The most samples that dead units are looked for in."""
VANISHING = 1e-4
"""Gradient of the first trained weight to that of the last, root mean square of the entries each, below which
gradients vanish on their way back."""
EXPLODING = 1e3
"""Norm of all gradients, and its growth since the first epoch, above which they explode. Where the targets are numbers
and the loss is above 1, the norm is divided by its square root: the unit of the targets does not count."""
_GROWN = 10.0  # what has grown from next to nothing is no explosion
DEAD = 0.8
"""Share of the units of a layer above which it is worth a word: healthy networks lose up to half of some layer."""
_ROUNDING = 1e-6
_DIGITS = 6  # of a norm that are kept

_FLAT: dict[type[Layer], tuple[float, ...]] = {ReLU: (0.0,), HardSwish: (0.0,), HardSigmoid: (0.0, 1.0)}
"""Layers with flat ends, whose gradient is exactly 0 there, and their outputs on these."""

Kind = Literal["diverged", "risen", "worse than the mean", "exploding", "vanishing", "dead"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with a training: where, what was measured, and what to try."""

    kind: Kind
    layer: str
    """Its full name: `Linear1`, `residual1.ReLU1`; empty where it is about the lane as a whole."""
    tensor: str
    """The full name of the parameter that it shows in; empty where it shows in none."""
    file: str
    """Where the layer is, or the loss: in this file or import, on this line."""
    line: int
    text: str
    advice: str
    epoch: int
    """The first epoch, from 1 on, of which it is true."""
    seeds: tuple[int, ...] = ()
    """Of a lane with repeats, those that it was found with."""


class Monitor:
    """Watches one training, and notes in its lane what is measured."""

    def __init__(self, plan: Plan, lane: LaneResult) -> None:
        self._plan, self._lane = plan, lane
        # Views of the vectors: a network that trains narrowed has its rows in another order, which no norm tells.
        self._tensors = {f"{tensor.layer}.{tensor.name}": tensor for tensor in plan.layout.tensors}
        self._norms: dict[str, float | None] = {}
        plan.watch = self._look

    def _look(self, loss: float) -> None:
        """Measure the gradients of a batch, before the step; of one whose loss is no number, the weights."""
        if math.isfinite(loss):
            self._norms = self._measure("gradients", frozen=False)
        else:
            self._lane.broken = self._measure("parameters")

    def _measure(self, vector: str, *, frozen: bool = True) -> dict[str, float | None]:
        array, found = self._plan.buffers[vector], self._tensors.items()
        return {name: _kept(norm(array[tensor.part])) for name, tensor in found if frozen or not tensor.frozen}

    def epoch_done(self) -> None:
        """Add what was measured last to the lane."""
        for name, value in self._norms.items():
            self._lane.gradients.setdefault(name, []).append(value)

    def ended(self) -> None:
        """Note the weights of a lane that has diverged, or the dead units of one that is done."""
        if self._lane.status == "diverged":
            self._lane.broken = self._lane.broken or self._measure("parameters")
        elif self._lane.status == "done":
            self._lane.dead = dead_units(self._plan)
            self._lane.baseline = baseline(self._plan)


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


# Findings


def findings(lane: LaneResult, experiment: Experiment) -> tuple[Finding, ...]:
    """Return what is wrong with a lane, in this order: diverged, risen, worse than the mean, exploding, dead,
    vanishing.

    Over repeats, each finding once, as the first seed has it that it was found with.
    """
    found: dict[tuple[str, str], Finding] = {}
    for one in lane.repeats or (lane,):
        for finding in _findings(one, experiment):
            key = finding.kind, finding.layer if finding.kind == "dead" else ""
            first = found.setdefault(key, finding)
            if lane.repeats:
                found[key] = replace(first, seeds=(*first.seeds, one.seed))
    return tuple(found.values())


def _findings(lane: LaneResult, experiment: Experiment) -> Iterator[Finding]:
    layers = {inner.name: inner for node in experiment.layers for inner in node.walk()}
    dead = list(_dead(lane, layers))
    yield from _diverged(lane, layers)
    yield from _risen(lane, experiment)
    yield from _worse_than_the_mean(lane, experiment)
    yield from _exploding(lane, layers, experiment)
    yield from dead
    if not dead:  # whatever is in front of dead units has no gradient for that reason
        yield from _vanishing(lane, layers)


def _diverged(lane: LaneResult, layers: Mapping[str, LayerNode]) -> Iterator[Finding]:
    """Say in which weights it shows that a lane has diverged: the first that are no numbers, or the largest."""
    if lane.status != "diverged" or not lane.broken:
        return
    lost = next((tensor for tensor, size in lane.broken.items() if size is None), None)
    tensor = lost or max(lane.broken, key=lambda name: lane.broken[name] or 0.0)
    if lost is not None:
        text = f"when the loss was no number any more, {tensor} held none either, the first in the network"
    else:
        text = f"when the loss was no number any more, {tensor} had the largest weights: norm {lane.broken[tensor]:.3g}"
    advice, epoch = "try a smaller rate, clip_norm, a warm-up", len(lane.epoch_seconds) + 1
    yield _finding("diverged", _layer_of(tensor), tensor, layers, text, advice, epoch)


def _risen(lane: LaneResult, experiment: Experiment) -> Iterator[Finding]:
    """Compare the training loss at the end with that of the first epoch."""
    if lane.risen:
        first, last = lane.history["loss"][0], lane.final("loss")
        text = f"the loss rose from {first:.3g} in epoch 1 to {last:.3g} at the end"
        yield _of_lane("risen", text, "try a smaller rate, clip_norm, a warm-up", lane, experiment)


def _worse_than_the_mean(lane: LaneResult, experiment: Experiment) -> Iterator[Finding]:
    """Compare a regression with the mean of its training targets."""
    if lane.status != "done":
        return
    for name, constant in lane.baseline.items():
        if lane.final(name) > constant * (1 + _ROUNDING):
            text = (
                f"worse than predicting the mean of the targets: {name} is {lane.final(name):.4g}, "
                f"and {constant:.4g} for the mean"
            )
            ways = ["more epochs", "another rate", *([] if experiment.train.standardise else ["standardise"])]
            ways.append("targets on a scale near 1")
            yield _of_lane("worse than the mean", text, f"try {', '.join(ways)}", lane, experiment)
            return


def _of_lane(kind: Kind, text: str, advice: str, lane: LaneResult, experiment: Experiment) -> Finding:
    """Return a finding about a lane as a whole, which points at its loss."""
    span = experiment.loss.origin.span
    return Finding(kind, "", "", span.source.name, span.line, text, advice, len(lane.epoch_seconds))


def _exploding(lane: LaneResult, layers: Mapping[str, LayerNode], experiment: Experiment) -> Iterator[Finding]:
    totals = [_total(norms) for norms in _epochs(lane)]
    if not totals:
        return
    numbers = experiment.classes is None
    losses = [max(1.0, abs(loss)) if numbers else 1.0 for loss in lane.history["loss"]]
    sizes = [total / math.sqrt(loss) for total, loss in zip(totals, losses, strict=False)]
    large = [epoch for epoch, size in enumerate(sizes) if size > EXPLODING]
    grown = [epoch for epoch, size in enumerate(sizes) if totals[epoch] > EXPLODING * totals[0] > 0 and size > _GROWN]
    lost = [epoch for epoch, total in enumerate(totals) if math.isinf(total)]
    if not (2 * len(large) > len(sizes) or grown or lost):
        return
    epoch = min([*lost, *grown] or large)
    norms = _epochs(lane)[epoch]
    tensor = max(norms, key=lambda name: math.inf if norms[name] is None else norms[name] or 0.0)
    if math.isinf(totals[epoch]):
        text = f"the gradient of {tensor} was no number at the end of epoch {epoch + 1}"
    elif grown:
        times = totals[epoch] / totals[0]
        text = (
            f"the norm of all gradients was {totals[epoch]:.3g} at the end of epoch {epoch + 1}, {times:.3g} times "
            f"that of epoch 1; most of it in {tensor}"
        )
    else:
        text = (
            f"the norm of all gradients was above {EXPLODING:g} in {len(large)} of {len(sizes)} epochs, "
            f"{totals[epoch]:.3g} in epoch {epoch + 1}; most of it in {tensor}"
        )
    clipped = experiment.train.clip_norm is not None or experiment.train.clip_value is not None
    ways = ["a smaller rate", *([] if clipped else ["clip_norm"]), "smaller starting weights", "standardise"]
    yield _finding("exploding", _layer_of(tensor), tensor, layers, text, f"try {', '.join(ways)}", epoch + 1)


def _vanishing(lane: LaneResult, layers: Mapping[str, LayerNode]) -> Iterator[Finding]:
    """Compare the first trained weight with the last in the same epoch: in one that has converged both are small."""
    roots = {
        f"{name}.{parameter}": math.sqrt(prod(shape))
        for name, node in layers.items()
        if not node.branches
        for parameter, shape in node.geometry.parameters.items()
        if len(shape) > 1
    }
    weights = [tensor for tensor in lane.gradients if tensor in roots]
    if len(weights) < 2:
        return
    first, last = weights[0], weights[-1]
    shares = {
        epoch: (norms[first] or 0.0) / roots[first] / (behind / roots[last])
        for epoch, norms in enumerate(_epochs(lane), 1)
        if (behind := norms[last]) and norms[first] is not None
    }
    low = [epoch for epoch, share in shares.items() if share < VANISHING]
    if 2 * len(low) > len(shares):
        text = (
            f"the gradient of {first} is {shares[low[-1]]:.1g} times that of {last}, entry by entry, "
            f"in {len(low)} of {len(shares)} epochs below {VANISHING:g}"
        )
        advice = "try ReLU or GELU, the initialisation made for the activation, residual { … }, BatchNorm, fewer layers"
        yield _finding("vanishing", _layer_of(first), first, layers, text, advice, low[0])


def _dead(lane: LaneResult, layers: Mapping[str, LayerNode]) -> Iterator[Finding]:
    for name, (dead, units, samples) in lane.dead.items():
        if units > 1 and dead > DEAD * units:
            node = layers[name]
            ends = "makes them positive" if issubclass(node.value.part, ReLU) else "gives them a gradient"
            text = f"{dead} of {units} units are dead (no sample of {samples} {ends})"
            advice = "try a smaller rate, LeakyReLU, init=he_normal"
            yield _finding("dead", name, "", layers, text, advice, len(lane.epoch_seconds))


def _finding(
    kind: Kind, layer: str, tensor: str, layers: Mapping[str, LayerNode], text: str, advice: str, epoch: int
) -> Finding:
    span = layers[layer].span
    return Finding(kind, layer, tensor, span.source.name, span.line, text, advice, epoch)


def _layer_of(tensor: str) -> str:
    """Return the full name of the layer that a parameter belongs to."""
    return tensor.rpartition(".")[0]


def _epochs(lane: LaneResult) -> list[dict[str, float | None]]:
    """Return the norms by tensor, an epoch each."""
    count = min(map(len, lane.gradients.values()), default=0)
    return [{tensor: norms[epoch] for tensor, norms in lane.gradients.items()} for epoch in range(count)]


def _total(norms: Mapping[str, float | None]) -> float:
    """The norm of all gradients together; infinity where one is no number."""
    return math.inf if None in norms.values() else math.hypot(*(size or 0.0 for size in norms.values()))


def health_records(lane: LaneResult, experiment: Experiment) -> list[dict[str, Any]]:
    """Return the findings of a lane as plain data; `seeds` where it has repeats."""
    return [
        {
            "kind": found.kind,
            "layer": found.layer,
            "tensor": found.tensor,
            "file": found.file,
            "line": found.line,
            "epoch": found.epoch,
            "text": found.text,
            "advice": found.advice,
            **({"seeds": list(found.seeds)} if found.seeds else {}),
        }
        for found in findings(lane, experiment)
    ]
