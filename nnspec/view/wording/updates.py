"""How lanes update and keep their weights, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from nnspec.checker.program import Experiment
from nnspec.errors import some_of
from nnspec.results.lane import LaneResult

__all__ = ["averages_in_words", "evaluations_in_words"]


def evaluations_in_words(lanes: Sequence[LaneResult], experiments: Mapping[str, Experiment]) -> str:
    """Say how many gradients a step of each lane takes, unless it is one everywhere: lanes that evaluate more of them
    learn more from a step, and take longer for it.
    """
    counts: dict[str, list[str]] = {}
    for lane in _ordered(lanes, experiments):
        experiment = experiments[lane.name]
        steps, _ = _done(lane, experiment)
        if steps:
            count = sum(lane.evaluations) / steps if lane.evaluations else experiment.train.accumulate
            counts.setdefault(f"{count:.3g}", []).append(lane.name)
    if set(counts) <= {"1"}:
        return ""
    if len(lanes) == 1:
        return f"gradient evaluations per step: {next(iter(counts))}"
    return f"gradient evaluations per step: {', '.join(f'{n} ({some_of(names, 4)})' for n, names in counts.items())}"


def _done(lane: LaneResult, experiment: Experiment) -> tuple[int, int]:
    """Return how many steps a lane has made, and how many epochs that it has ended, be it at the end of training."""
    length, records = experiment.length, len(lane.records)
    epochs = length.epochs_at(records)
    return length.steps_at(records), math.ceil(epochs) if records == length.records else math.floor(epochs)


def _ordered(lanes: Sequence[LaneResult], experiments: Mapping[str, Experiment]) -> list[LaneResult]:
    """Return lanes in the order of the spec."""
    order = [*experiments]
    return sorted(lanes, key=lambda lane: order.index(lane.name))


def averages_in_words(lanes: Sequence[LaneResult], experiments: Mapping[str, Experiment]) -> Iterator[str]:
    """Say which weights the figures of lanes with an average are of."""
    averaged: list[tuple[str, str]] = []
    none_yet: list[tuple[str, str]] = []
    for lane in _ordered(lanes, experiments):
        rule, optimizer = experiments[lane.name].train.average, experiments[lane.name].optimizer
        if rule is None:
            if optimizer.part.evaluated:
                averaged.append((lane.name, optimizer.name))
            continue
        epochs = math.ceil(experiments[lane.name].length.epochs)
        done = [_done(one, experiments[lane.name]) for one in lane.trainings]
        begun = (rule.every_step and any(rule.share(step) for step in range(min(steps for steps, _ in done)))) or any(
            rule.includes(epoch, epochs) for epoch in range(min(last for _, last in done))
        )
        (averaged if begun else none_yet).append((lane.name, str(rule)))
    if averaged:
        rules = "; ".join(
            names if names == each else f"{names}: {each}"
            for each in dict.fromkeys(rule for _, rule in averaged)
            for names in [", ".join(name for name, rule in averaged if rule == each)]
        )
        yield f"held-out and test figures, and the weights kept, are those of averaged weights ({rules})"
    for name, each in none_yet:
        yield f"{name} ended before {each} averaged any weights"
