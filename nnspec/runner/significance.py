"""What repeats can tell: how sure a mean is, and whether two lanes differ by more than their seeds do.

Lanes of a race are trained with the same seeds, so they are compared seed by seed: Student's paired t-test, which is
"Student" (1908), The probable error of a mean, Biometrika 6(1). Where several pairs are compared, their p are adjusted
as in Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6(2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

from nnspec.engine.metrics import higher_is_better
from nnspec.runner.history import LaneResult, mean

__all__ = [
    "Comparison",
    "Interval",
    "Paired",
    "compare_lanes",
    "compared_figure",
    "comparison_records",
    "holm",
    "interval",
    "interval_records",
    "paired",
    "t_cdf",
    "t_quantile",
    "welch",
]

LEVEL = 0.05
"""Below which p a difference counts as shown; intervals are of 1 − LEVEL."""
_MOST = 10  # lanes, the best ones, that are compared with each other
_TINY = 1e-300


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % t-interval. `low` and `high` are NaN for less than two values, `mean` too for none."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paired:
    """A paired t-test: the mean of a − b with its 95 % interval, and the two-sided p. NaN for less than two pairs."""

    difference: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Two lanes, the one with the better mean first, compared by a figure. `adjusted` is p after Holm.

    The interval is of this pair alone: it is not widened for the number of pairs, as `adjusted` is.
    """

    lanes: tuple[str, str]
    figure: str
    test: Paired
    adjusted: float
    pairs: int
    """How many pairs were compared with it, itself among them."""

    @property
    def shown(self) -> bool:
        """Whether there is a difference, at 5 %."""
        return self.adjusted < LEVEL

    @property
    def text(self) -> str:
        """What came of it, in words."""
        one, other = self.lanes
        low, high = self.test.low, self.test.high
        how = f"paired t-test over {self.test.n} seeds" + (f", Holm over {self.pairs} pairs" if self.pairs > 1 else "")
        p = "p < 0.0001" if self.adjusted < 1e-4 else f"p = {self.adjusted:.2g}"
        if not self.shown:
            found = f"{self.test.difference:.3g} [{low:.3g}, {high:.3g}]"
            return f"no difference shown between `{one}` and `{other}` in {self.figure}: {found}, {p} ({how})"
        word = "lower" if self.test.difference < 0 else "higher"
        low, high = sorted((low, high)) if word == "higher" else (-high, -low)
        found = f"{abs(self.test.difference):.3g} [{low:.3g}, {high:.3g}]"
        return f"`{one}` is {word} than `{other}` in {self.figure} by {found}, {p} ({how})"


# Student's t


def t_cdf(t: float, freedom: float) -> float:
    """Return P(T ≤ t) of Student's t with ν = `freedom` degrees of freedom.

    1 − ½ I_x(ν/2, ½) for t ≥ 0, with x = ν / (ν + t²): Abramowitz & Stegun (1964), 26.7.1 and 26.5.27.
    """
    return _upper(-t, freedom) if t < 0 else 1.0 - _upper(t, freedom)


@lru_cache(maxsize=256)
def t_quantile(p: float, freedom: float) -> float:
    """Return t with P(T ≤ t) = p, by bisection of the upper tail until there is no number in between."""
    if not 0 < p < 1:
        raise ValueError(f"p is between 0 and 1, not {p}")
    if p == 0.5:
        return 0.0
    tail = min(p, 1 - p)
    low, high = 0.0, 1.0
    while _upper(high, freedom) > tail:
        low, high = high, 2 * high
    while low < (middle := low + (high - low) / 2) < high:
        low, high = (middle, high) if _upper(middle, freedom) > tail else (low, middle)
    return high if p > 0.5 else -high


def _upper(t: float, freedom: float) -> float:
    """P(T > t) for t ≥ 0, to full precision also where it is small."""
    if freedom <= 0:
        raise ValueError(f"degrees of freedom are positive, not {freedom}")
    share = (t / math.sqrt(freedom)) * (t / math.sqrt(freedom))
    if math.isinf(share):
        return 0.0
    return 0.5 * _incomplete_beta(freedom / 2, 0.5, 1 / (1 + share), share / (1 + share))


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """The regularised incomplete beta function I_x(a, b), where y = 1 − x is given for its digits.

    I_x(a, b) = x^a y^b / (a B(a, b)) · 1/(1 + d₁/(1 + d₂/(1 + …))): Abramowitz & Stegun (1964), 26.5.8; where x is
    large, I_x(a, b) = 1 − I_y(b, a).
    """
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _incomplete_beta(b, a, y, x)
    beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return math.exp(a * math.log(x) + b * math.log(y) - beta) / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """1 + d₁/(1 + d₂/(1 + …)) by Lentz's method as in Thompson & Barnett (1986), J. Comput. Phys. 64(2).

    d₂ₘ = m (b − m) x / ((a + 2m − 1)(a + 2m)), d₂ₘ₊₁ = −(a + m)(a + b + m) x / ((a + 2m)(a + 2m + 1)).
    """
    value, c, d = 1.0, 1.0, 0.0
    for number in range(1, 20_000):
        m = number // 2
        even = number % 2 == 0
        top = m * (b - m) if even else -(a + m) * (a + b + m)
        term = top * x / ((a + number - 1) * (a + number))
        d = 1 / ((1 + term * d) or _TINY)
        c = (1 + term / c) or _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value


# Intervals and tests


def interval(values: Iterable[float]) -> Interval:
    """Return the 95 % interval of the mean, x̄ ± t₀.₉₇₅(n − 1) s / √n ("Student", 1908).

    Values that are no finite numbers are left out: nothing was measured there.
    """
    numbers = [value for value in values if math.isfinite(value)]
    n = len(numbers)
    if n < 2:
        return Interval(numbers[0] if numbers else math.nan, math.nan, math.nan, n)
    middle = mean(numbers)
    half = t_quantile(1 - LEVEL / 2, n - 1) * _error(numbers)
    return Interval(middle, middle - half, middle + half, n)


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Paired:
    """Test whether a − b is 0 on average over the seeds that both have: t = d̄ / (s_d / √n), n − 1 degrees of freedom.

    Where all differences are the same there is no spread to test against: p is 1 where they are 0, and else 0.
    """
    differences = [d for seed in a if seed in b and math.isfinite(d := a[seed] - b[seed])]
    found = interval(differences)
    if found.n < 2:
        return Paired(found.mean, math.nan, math.nan, math.nan, found.n)
    error = _error(differences)
    if error == 0:
        return Paired(found.mean, found.low, found.high, 0.0 if found.mean != 0 else 1.0, found.n)
    p = min(1.0, 2 * _upper(abs(found.mean / error), found.n - 1))
    return Paired(found.mean, found.low, found.high, p, found.n)


def welch(a: Sequence[float], b: Sequence[float]) -> Paired:
    """Test whether the means of two samples that are not paired differ, whatever their variances are.

    t = (ā − b̄) / √(s_a²/n_a + s_b²/n_b), with the degrees of freedom of Welch (1947), The generalization of Student's
    problem when several different population variances are involved, Biometrika 34(1–2). `n` is the smaller size.
    """
    ours, theirs = ([value for value in values if math.isfinite(value)] for values in (a, b))
    n = min(len(ours), len(theirs))
    difference = mean(ours) - mean(theirs) if n else math.nan
    if n < 2:
        return Paired(difference, math.nan, math.nan, math.nan, n)
    errors = [_error(values) for values in (ours, theirs)]
    error = math.hypot(*errors)
    if error == 0:
        return Paired(difference, difference, difference, 0.0 if difference != 0 else 1.0, n)
    shares = [(one / error) ** 4 / (len(values) - 1) for one, values in zip(errors, (ours, theirs), strict=True)]
    freedom = 1 / math.fsum(shares)
    half = t_quantile(1 - LEVEL / 2, freedom) * error
    p = min(1.0, 2 * _upper(abs(difference / error), freedom))
    return Paired(difference, difference - half, difference + half, p, n)


def holm(found: Sequence[float]) -> list[float]:
    """Return p adjusted for their number: with p₍₁₎ ≤ … ≤ p₍ₘ₎, max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎)."""
    adjusted = [0.0] * len(found)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(found)), key=found.__getitem__)):
        highest = max(highest, min(1.0, (len(found) - rank) * found[index]))
        adjusted[index] = highest
    return adjusted


def _error(values: Sequence[float]) -> float:
    """The standard error of the mean, s / √n; 0 to the last bit where all values are the same."""
    if min(values) == max(values):
        return 0.0
    middle = mean(values)
    return math.hypot(*(value - middle for value in values)) / math.sqrt((len(values) - 1) * len(values))


# Lanes


def compared_figure(lanes: Iterable[LaneResult]) -> str:
    """Return which figure lanes are compared by: `test_loss` where every lane has it, else `loss`."""
    return "test_loss" if all("test_loss" in lane.history for lane in lanes) else "loss"


def compare_lanes(lanes: Iterable[LaneResult], figure: str) -> list[Comparison]:
    """Compare all pairs of lanes that have repeats of at least two seeds in common; those that differ most first.

    Lanes with different losses are compared by `test_accuracy`, where both have it, and else not at all. Of more than
    ten lanes only the ten with the best means are compared. A repeat that did not finish counts for nothing.
    """
    repeated = [lane for lane in lanes if len(_finals(lane, figure)) >= 2]
    mixed = len({lane.loss for lane in repeated}) > 1 and all(_finals(lane, "test_accuracy") for lane in repeated)
    best = "test_accuracy" if mixed else figure
    repeated = sorted(repeated, key=lambda lane: _order(best, _mean(lane, best)))[:_MOST]
    tests: list[tuple[tuple[str, str], str, Paired]] = []
    for one, other in combinations(repeated, 2):
        by = figure if one.loss == other.loss or not figure.endswith("loss") else "test_accuracy"
        test = paired(_finals(one, by), _finals(other, by))
        names = (one.name, other.name)
        if test.n >= 2 and _order(by, test.difference) > 0:
            test, names = paired(_finals(other, by), _finals(one, by)), (other.name, one.name)
        if test.n >= 2:
            tests.append((names, by, test))
    adjusted = holm([test.p for _, _, test in tests])
    found = [Comparison(names, by, test, p, len(tests)) for (names, by, test), p in zip(tests, adjusted, strict=True)]
    return sorted(found, key=lambda comparison: (comparison.adjusted, comparison.test.p))


def interval_records(lane: LaneResult) -> dict[str, Any]:
    """Return, for the summary, the interval of each figure over the repeats that finished: {} without repeats."""
    if not lane.repeats:
        return {}
    found = {figure: interval(_finals(lane, figure).values()) for figure in lane.history}
    return {
        "intervals": {
            figure: {"mean": _number(one.mean), "low": _number(one.low), "high": _number(one.high), "n": one.n}
            for figure, one in found.items()
        }
    }


def comparison_records(lanes: Sequence[LaneResult]) -> dict[str, Any]:
    """Return, for the summary, the comparisons of lanes: {} where no lane has repeats."""
    if not any(lane.repeats for lane in lanes):
        return {}
    return {
        "comparisons": [
            {
                "lanes": list(one.lanes),
                "figure": one.figure,
                "difference": _number(one.test.difference),
                "low": _number(one.test.low),
                "high": _number(one.test.high),
                "p": _number(one.test.p),
                "p_adjusted": _number(one.adjusted),
                "n": one.test.n,
                "shown": one.shown,
                "text": one.text,
            }
            for one in compare_lanes(lanes, compared_figure(lanes))
        ]
    }


def _finals(lane: LaneResult, figure: str) -> dict[int, float]:
    """A figure of each repeat that finished, by its seed."""
    done = [one for one in lane.repeats if one.status == "done" and figure in one.history]
    return {one.seed: value for one in done if math.isfinite(value := one.final(figure))}


def _mean(lane: LaneResult, figure: str) -> float:
    return mean(_finals(lane, figure).values())


def _order(figure: str, value: float) -> float:
    """What sorts the best value first."""
    return -value if higher_is_better(figure) else value


def _number(value: float) -> float | None:
    """JSON has no NaN: what there is not is null."""
    return value if math.isfinite(value) else None
