"""Problems of a training, found by measurement: losses that diverge or rise, regressions worse than a constant, dead
units, gradients that vanish or explode.

Healthy trainings get no findings: the thresholds are far outside their range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from nnspec.checker.program import Experiment, LayerNode
from nnspec.engine.layers.activations import ReLU
from nnspec.results.lane import LaneResult

if TYPE_CHECKING:
    pass

__all__ = ["DEAD", "Finding", "findings", "health_records"]

VANISHING = 1e-4
"""Ratio of the gradient of the first trained weight to that of the last (root mean squares of their entries) below
which gradients count as vanishing."""
EXPLODING = 1e3
"""Global gradient norm, and its growth since the first epoch, above which gradients count as exploding. For numeric
targets and a loss above 1, the norm is divided by the square root of the loss, so that the unit of the targets does not
matter."""
_GROWN = 10.0  # growth from a tiny norm is not an explosion
DEAD = 0.8
"""Share of dead units in a layer above which they are reported: healthy networks lose up to half of a layer."""
_ROUNDING = 1e-6


Kind = Literal["diverged", "risen", "worse than the mean", "exploding", "vanishing", "dead"]


@dataclass(frozen=True)
class Finding:
    """A problem of a training: where it is, what was measured, and what to try."""

    kind: Kind
    layer: str
    """Full name of the layer: `Linear1`, `residual1.ReLU1`; empty if the finding concerns the lane as a whole."""
    tensor: str
    """Full name of the parameter concerned; empty if there is none."""
    file: str
    """The file or import that defines the layer or loss; `line` is its line."""
    line: int
    text: str
    advice: str
    epoch: int
    """The first epoch, counted from 1, in which it occurred."""
    seeds: tuple[int, ...] = ()
    """For a lane with repeats, the seeds affected."""


def findings(lane: LaneResult, experiment: Experiment) -> tuple[Finding, ...]:
    """Return the problems of a lane, in this order: diverged, risen, worse than the mean, exploding, dead, vanishing.

    With repeats, each finding is listed once, as measured for the first seed affected.
    """
    found: dict[tuple[str, str], Finding] = {}
    for one in lane.trainings:
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
    if not dead:  # dead units would explain tiny gradients in earlier layers
        yield from _vanishing(lane, layers)


def _diverged(lane: LaneResult, layers: Mapping[str, LayerNode]) -> Iterator[Finding]:
    """Name the weights that show a divergence: the first with NaN or inf, or else the largest."""
    if lane.status != "diverged" or not lane.broken:
        return
    lost = next((tensor for tensor, size in lane.broken.items() if size is None), None)
    tensor = lost or max(lane.broken, key=lambda name: lane.broken[name] or 0.0)
    if lost is not None:
        text = f"when the loss became NaN or inf, {tensor} was the first tensor in the network with such values"
    else:
        text = f"when the loss became NaN or inf, {tensor} had the largest weights: norm {lane.broken[tensor]:.3g}"
    advice, epoch = "try a smaller learning rate, clip_norm, or a warm-up", len(lane.records) + 1
    yield _finding("diverged", _layer_of(tensor), tensor, layers, text, advice, epoch)


def _risen(lane: LaneResult, experiment: Experiment) -> Iterator[Finding]:
    """Compare the training loss at the end with that of the first epoch."""
    if lane.risen:
        first, last = lane.curve("loss")[0], lane.final("loss")
        text = f"the loss rose from {first:.3g} in {lane.when(1)} to {last:.3g} at the end"
        yield _of_lane("risen", text, "try a smaller learning rate, clip_norm, or a warm-up", lane, experiment)


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
            ways = ["more epochs", "another rate", *([] if experiment.train.scalers else ["standardise"])]
            ways.append("targets on a scale near 1")
            yield _of_lane("worse than the mean", text, f"try {', '.join(ways)}", lane, experiment)
            return


def _of_lane(kind: Kind, text: str, advice: str, lane: LaneResult, experiment: Experiment) -> Finding:
    """Return a finding about a lane as a whole, which points at its loss."""
    span = experiment.loss.origin.span
    return Finding(kind, "", "", span.source.name, span.line, text, advice, len(lane.records))


def _exploding(lane: LaneResult, layers: Mapping[str, LayerNode], experiment: Experiment) -> Iterator[Finding]:
    totals = [_total(norms) for norms in _epochs(lane)]
    if not totals:
        return
    numbers = experiment.classes is None
    losses = [max(1.0, abs(loss)) if numbers else 1.0 for loss in lane.curve("loss")]
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
        text = f"the gradient of {tensor} was NaN or inf at the end of {lane.when(epoch + 1)}"
    elif grown:
        times = totals[epoch] / totals[0]
        text = (
            f"the global gradient norm was {totals[epoch]:.3g} at the end of {lane.when(epoch + 1)}, {times:.3g} times "
            f"that of {lane.when(1)}; most of it in {tensor}"
        )
    else:
        text = (
            f"the global gradient norm was above {EXPLODING:g} in {len(large)} of {len(sizes)} {_records(lane)}, "
            f"{totals[epoch]:.3g} in {lane.when(epoch + 1)}; most of it in {tensor}"
        )
    clipped = experiment.train.clip_norm is not None or experiment.train.clip_value is not None
    ways = ["a smaller rate", *([] if clipped else ["clip_norm"]), "smaller starting weights", "standardise"]
    yield _finding("exploding", _layer_of(tensor), tensor, layers, text, f"try {', '.join(ways)}", epoch + 1)


def _vanishing(lane: LaneResult, layers: Mapping[str, LayerNode]) -> Iterator[Finding]:
    """Compare the gradients of the first and the last trained weight in the same epoch: after convergence both are
    small."""
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
            f"in {len(low)} of {len(shares)} {_records(lane)} below {VANISHING:g}"
        )
        advice = "try ReLU or GELU, a matching initialisation, residual { … }, BatchNorm, or fewer layers"
        yield _finding("vanishing", _layer_of(first), first, layers, text, advice, low[0])


def _dead(lane: LaneResult, layers: Mapping[str, LayerNode]) -> Iterator[Finding]:
    for name, (dead, units, samples) in lane.dead.items():
        if units > 1 and dead > DEAD * units:
            node = layers[name]
            ends = "makes them positive" if issubclass(node.value.part, ReLU) else "gives them a gradient"
            text = f"{dead} of {units} units are dead (no sample of {samples} {ends})"
            advice = "try a smaller learning rate, LeakyReLU, or init=he_normal"
            yield _finding("dead", name, "", layers, text, advice, len(lane.records))


def _finding(
    kind: Kind, layer: str, tensor: str, layers: Mapping[str, LayerNode], text: str, advice: str, epoch: int
) -> Finding:
    span = layers[layer].span
    return Finding(kind, layer, tensor, span.source.name, span.line, text, advice, epoch)


def _layer_of(tensor: str) -> str:
    """Return the full name of the layer that a parameter belongs to."""
    return tensor.rpartition(".")[0]


def _records(lane: LaneResult) -> str:
    return "epochs" if lane.length is None else "records"


def _epochs(lane: LaneResult) -> list[dict[str, float | None]]:
    """Return the gradient norms by tensor, one mapping per epoch."""
    count = min(map(len, lane.gradients.values()), default=0)
    return [{tensor: norms[epoch] for tensor, norms in lane.gradients.items()} for epoch in range(count)]


def _total(norms: Mapping[str, float | None]) -> float:
    """The norm of all gradients together; infinity if one is NaN or inf."""
    return math.inf if None in norms.values() else math.hypot(*(size or 0.0 for size in norms.values()))


def health_records(lane: LaneResult, experiment: Experiment) -> list[dict[str, Any]]:
    """Return the findings of a lane as plain data, with `seeds` if it has repeats."""
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
