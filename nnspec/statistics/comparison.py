"""Comparing lanes over their seeds: which is better, and whether the difference is significant.

Lanes that share at least two seeds are compared with a paired test, others with Welch's test. If several pairs are
compared, their p-values are adjusted as in Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from nnspec.engine.metrics.contract import higher_is_better
from nnspec.statistics.significance import LEVEL, Interval, Test, holm, interval, mean, paired, welch

__all__ = ["Comparison", "Contender", "among", "best_of", "compare"]

_MOST = 10  # number of lanes to compare with each other: the best ones

Name = Callable[["Contender"], str]


@dataclass(frozen=True)
class Contender:
    """A lane to be compared with others."""

    run: str
    """The name of its run if there are several; otherwise empty."""
    lane: str
    loss: str
    """The loss in spec syntax: `CrossEntropy`."""
    each: Mapping[int, Mapping[str, float]]
    """Seed -> final figures, of the trainings that are done."""

    def values(self, figure: str) -> dict[int, float]:
        """Return the finite values of a figure by seed."""
        found = {seed: final[figure] for seed, final in self.each.items() if figure in final}
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def mean(self, figure: str) -> float:
        """Return the mean of a figure over the seeds."""
        return mean(self.values(figure).values())

    def interval(self, figure: str) -> Interval:
        """Return the 95 % confidence interval of the mean of a figure over the seeds."""
        return interval(self.values(figure).values())


@dataclass(frozen=True)
class Comparison:
    """The comparison of two lanes by a figure; the one with the better mean comes first.

    Unlike `adjusted`, the confidence interval is not corrected for the number of pairs.
    """

    one: Contender
    other: Contender
    figure: str
    test: Test
    adjusted: float
    """The p-value after Holm's correction; NaN if there is no variation to test against."""
    pairs: int
    """Number of pairs tested, including this one."""

    @property
    def shown(self) -> bool:
        """Whether the difference is significant at the 5 % level."""
        return self.adjusted < LEVEL

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of seeds of each lane."""
        return len(self.one.values(self.figure)), len(self.other.values(self.figure))

    def text(self, name: Name = lambda lane: f"`{lane.lane}`") -> str:
        """Return the result as a sentence; `name` formats a lane."""
        one, other, test = name(self.one), name(self.other), self.test
        sizes = f"{self.sizes[0]}" if self.sizes[0] == self.sizes[1] else f"{self.sizes[0]} and {self.sizes[1]}"
        how = f"paired t-test over {test.n} seeds" if test.paired else f"Welch's t-test over {sizes} seeds"
        if test.difference == 0 and math.isnan(test.p):
            return f"{one} and {other} have the same {self.figure} with every seed ({sizes} seeds)"
        if math.isnan(test.p):
            found = f"{one} and {other} differ in {self.figure} by {abs(test.difference):.3g} with every seed"
            return f"{found}: there is no variation to test this against ({how})"
        how += f", Holm over {self.pairs} pairs" if self.pairs > 1 else ""
        p = "p < 0.0001" if self.adjusted < 1e-4 else f"p = {self.adjusted:.2g}"
        if not self.shown:
            found = f"{test.difference:.3g} [{test.low:.3g}, {test.high:.3g}]"
            return f"no difference shown between {one} and {other} in {self.figure}: {found}, {p} ({how})"
        word = "lower" if test.difference < 0 else "higher"
        low, high = (test.low, test.high) if word == "higher" else (-test.high, -test.low)
        found = f"{abs(test.difference):.3g} [{low:.3g}, {high:.3g}]"
        return f"{one} is {word} than {other} in {self.figure} by {found}, {p} ({how})"


def compare(pairs: Iterable[tuple[Contender, Contender]], figure: str) -> list[Comparison]:
    """Compare pairs of lanes with at least two seeds each; the most significant comes first.

    Lanes with different losses are compared by `test_accuracy` if both have it, and otherwise not at all.
    """
    tests: list[tuple[Contender, Contender, str, Test]] = []
    for one, other in pairs:
        by = _common(figure, (one, other))
        test = _test(one, other, by)
        if test.n >= 2 and _order(by, test.difference) > 0:
            one, other = other, one
            test = _test(one, other, by)
        if test.n >= 2:
            tests.append((one, other, by, test))
    count = sum(not math.isnan(test.p) for *_, test in tests)
    adjusted = holm([test.p for *_, test in tests])
    found = [
        Comparison(one, other, by, test, p, count) for (one, other, by, test), p in zip(tests, adjusted, strict=True)
    ]
    return sorted(found, key=lambda each: (math.isnan(each.adjusted), each.adjusted, each.test.p))


def among(lanes: Iterable[Contender], figure: str) -> Iterator[tuple[Contender, Contender]]:
    """Yield all pairs of lanes with at least two seeds; if there are more than ten lanes, only of the best ten."""
    repeated = [lane for lane in lanes if len(lane.values(figure)) >= 2]
    by = _common(figure, repeated)
    by = by if all(lane.values(by) for lane in repeated) else figure
    yield from combinations(sorted(repeated, key=lambda lane: _order(by, lane.mean(by)))[:_MOST], 2)


def best_of(lanes: Sequence[Contender], figure: str) -> Contender | None:
    """Return the best lane; None if there is none, or if they have different losses and no `test_accuracy`."""
    found = [lane for lane in lanes if lane.values(figure)]
    by = _common(figure, found)
    if not all(lane.values(by) for lane in found):
        return None
    return min(found, key=lambda lane: _order(by, lane.mean(by)), default=None)


def _common(figure: str, lanes: Sequence[Contender]) -> str:
    """Return the figure to compare lanes by; `test_accuracy` if their losses differ."""
    return figure if len({lane.loss for lane in lanes}) < 2 else "test_accuracy"


def _test(one: Contender, other: Contender, figure: str) -> Test:
    ours, theirs = one.values(figure), other.values(figure)
    seed_by_seed = paired(ours, theirs)
    return seed_by_seed if seed_by_seed.n >= 2 else welch([*ours.values()], [*theirs.values()])


def _order(figure: str, value: float) -> float:
    """Return a sort key that puts the best value first."""
    return -value if higher_is_better(figure) else value
