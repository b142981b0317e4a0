"""What a training has cost at the end of each of its records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from nnspec.checker.program import Experiment
from nnspec.results.lane import LaneResult

__all__ = ["Costs", "costs", "costs_of"]


class Costs(NamedTuple):
    """The costs until the end of each record."""

    steps: list[float]
    """Steps of the optimizer."""
    evaluations: list[float]
    """Evaluations of the gradient, each on one batch."""
    seconds: list[float]
    """Time of training, without evaluation."""


def costs(experiment: Experiment, seconds: Sequence[float], evaluations: Sequence[float]) -> Costs:
    """Return the costs of a training from the seconds and the evaluations of each record; without any evaluations, they
    are one for each batch."""
    steps = [float(experiment.length.steps_at(n)) for n in range(1, len(seconds) + 1)]
    each_batch = [step * experiment.train.accumulate for step in steps]
    return Costs(steps, [*accumulate(evaluations)] if evaluations else each_batch, [*accumulate(seconds)])


def costs_of(lane: LaneResult, experiment: Experiment) -> Costs:
    """Return the costs of a training."""
    return costs(experiment, lane.epoch_seconds, lane.evaluations)
