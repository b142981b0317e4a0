"""How lanes update and keep their weights, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nnspec.checker.program import Experiment
from nnspec.results.lane import LaneResult

__all__ = ["averages_in_words"]


def averages_in_words(lanes: Sequence[LaneResult], experiments: Mapping[str, Experiment]) -> Iterator[str]:
    """Say which weights the figures of lanes with an average are of."""
    averaged: list[tuple[str, str]] = []
    none_yet: list[tuple[str, str]] = []
    order = [*experiments]
    for lane in sorted(lanes, key=lambda lane: order.index(lane.name)):
        rule = experiments[lane.name].train.average
        if rule is None:
            continue
        done = min(len(one.records) for one in lane.repeats or (lane,))
        begun = any(rule.every_step or rule.includes(epoch, lane.epochs) for epoch in range(done))
        (averaged if begun else none_yet).append((lane.name, str(rule)))
    if averaged:
        rules = "; ".join(
            f"{', '.join(name for name, rule in averaged if rule == each)}: {each}"
            for each in dict.fromkeys(rule for _, rule in averaged)
        )
        yield f"held-out and test figures, and the weights kept, are those of averaged weights ({rules})"
    for name, each in none_yet:
        yield f"{name} ended before {each} averaged any weights"
