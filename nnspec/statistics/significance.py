"""Confidence intervals of means over repeats, and tests whether two samples differ significantly.

Lanes of a race are trained with the same seeds, so they are compared with Student's paired t-test: "Student" (1908),
The probable error of a mean, Biometrika 6(1). If several pairs are compared, their p-values are adjusted as in Holm
(1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6(2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "LEVEL",
    "Interval",
    "Test",
    "between_studies",
    "deviation",
    "holm",
    "interval",
    "mean",
    "paired",
    "t_cdf",
    "t_quantile",
    "varies",
    "welch",
]

LEVEL = 0.05
"""Significance level: a difference is significant if p < LEVEL. Confidence intervals have level 1 − LEVEL."""
_TINY = 1e-300
_ROUNDING = 1e-14
"""Differences that vary by less than this fraction of the values themselves only vary by rounding."""

_FEW = 6
"""Unequal samples of which one is smaller than this have the fewest degrees of freedom that they may have."""


def mean(values: Iterable[float]) -> float:
    """Return the mean; of equal values, exactly that value. Values are divided before summing, to avoid overflow."""
    numbers = list(values)
    if len(set(numbers)) == 1:
        return numbers[0]
    return math.fsum(number / len(numbers) for number in numbers)


def deviation(values: Iterable[float]) -> float:
    """Return the standard deviation of a sample, √(Σ(x − x̄)² / (n − 1)); NaN for fewer than two values."""
    numbers = list(values)
    return _error(numbers) * math.sqrt(len(numbers)) if len(numbers) > 1 else math.nan


def varies(values: Sequence[float], scale: float | None = None) -> bool:
    """Return whether values differ by more than rounding of numbers as large as `scale`, or else as the values are."""
    scale = max(map(abs, values)) if scale is None else scale
    return max(values) - min(values) > _ROUNDING * scale


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % t-interval. `low` and `high` are NaN for fewer than two values, `mean` too for none."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Test:
    """A t-test: the difference of two means with its 95 % confidence interval, and the two-sided p-value.

    All are NaN for fewer than two values; p is NaN if there is no variation to test against.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    """Number of pairs, or the smaller of the two sample sizes."""
    paired: bool


# Student's t


def t_cdf(t: float, freedom: float) -> float:
    """Return P(T ≤ t) of Student's t with ν = `freedom` degrees of freedom.

    1 − ½ I_x(ν/2, ½) for t ≥ 0, with x = ν / (ν + t²): Abramowitz & Stegun (1964), 26.7.1 and 26.5.27.
    """
    return _upper(-t, freedom) if t < 0 else 1.0 - _upper(t, freedom)


@lru_cache(maxsize=256)
def t_quantile(p: float, freedom: float) -> float:
    """Return t with P(T ≤ t) = p, by bisection of the upper tail down to adjacent floats."""
    if not 0 < p < 1:
        raise ValueError(f"p must be between 0 and 1, not {p}")
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
    """P(T > t) for t ≥ 0, to full precision even if it is small."""
    if freedom <= 0:
        raise ValueError(f"degrees of freedom must be positive, not {freedom}")
    share = (t / math.sqrt(freedom)) * (t / math.sqrt(freedom))
    if math.isinf(share):
        return 0.0
    return 0.5 * _incomplete_beta(freedom / 2, 0.5, 1 / (1 + share), share / (1 + share))


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """The regularised incomplete beta function I_x(a, b); y = 1 − x is passed separately to avoid cancellation.

    I_x(a, b) = x^a y^b / (a B(a, b)) · 1/(1 + d₁/(1 + d₂/(1 + …))): Abramowitz & Stegun (1964), 26.5.8; for large x,
    I_x(a, b) = 1 − I_y(b, a).
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

    Values that are not finite are ignored, since nothing was measured there.
    """
    numbers = [value for value in values if math.isfinite(value)]
    n = len(numbers)
    if n < 2:
        return Interval(numbers[0] if numbers else math.nan, math.nan, math.nan, n)
    middle = mean(numbers)
    half = t_quantile(1 - LEVEL / 2, n - 1) * _error(numbers)
    return Interval(middle, middle - half, middle + half, n)


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Test:
    """Test whether the mean of a − b over shared seeds is 0: t = d̄ / (s_d / √n), n − 1 degrees of freedom.

    If all differences are equal up to rounding, there is no variation to test against, and p is NaN.
    """
    pairs = [(a[seed], b[seed]) for seed in a if seed in b and math.isfinite(a[seed] - b[seed])]
    differences = [one - other for one, other in pairs]
    found = interval(differences)
    if found.n < 2:
        return Test(found.mean, math.nan, math.nan, math.nan, found.n, True)
    error = _error(differences)
    if not varies(differences, max(abs(value) for pair in pairs for value in pair)):
        return Test(found.mean, found.low, found.high, math.nan, found.n, True)
    p = min(1.0, 2 * _upper(abs(found.mean / error), found.n - 1))
    return Test(found.mean, found.low, found.high, p, found.n, True)


def welch(a: Sequence[float], b: Sequence[float]) -> Test:
    """Test whether the means of two unpaired samples differ, without assuming equal variances.

    t = (ā − b̄) / √(s_a²/n_a + s_b²/n_b), with the degrees of freedom of Welch (1947), The generalization of Student's
    problem when several different population variances are involved, Biometrika 34(1–2). If neither sample varies, p is
    NaN.

    If sizes differ and the smaller one is below 6, these degrees of freedom are too many: samples of 2 and 20 values of
    the same normal distribution would differ significantly in 12 % of cases instead of 5 %. There, min(n_a, n_b) − 1 is
    taken, with which 5 % is never exceeded: Mickey & Brown (1966), Bounds on the distribution functions of the
    Behrens-Fisher statistic, Ann. Math. Statist. 37(3). SciPy and R do not do this.
    """
    ours, theirs = ([value for value in values if math.isfinite(value)] for values in (a, b))
    n = min(len(ours), len(theirs))
    difference = mean(ours) - mean(theirs) if n else math.nan
    if n < 2:
        return Test(difference, math.nan, math.nan, math.nan, n, False)
    errors = [_error(values) for values in (ours, theirs)]
    error = math.hypot(*errors)
    if error == 0:
        return Test(difference, difference, difference, math.nan, n, False)
    shares = [(one / error) ** 4 / (len(values) - 1) for one, values in zip(errors, (ours, theirs), strict=True)]
    freedom = 1 / math.fsum(shares) if n >= _FEW or len(ours) == len(theirs) else n - 1
    half = t_quantile(1 - LEVEL / 2, freedom) * error
    p = min(1.0, 2 * _upper(abs(difference / error), freedom))
    return Test(difference, difference - half, difference + half, p, n, False)


def between_studies(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Test:
    """Test whether two tuned lanes differ, given the final figures of each study over its seeds: Welch's test of means.

    Seeds of one study share the setting that it chose, so that a test over these compares two settings. Studies differ
    in what their search happened to try: a test between their means compares what tuning gives, which is what is meant
    by "the better optimizer". Needs two studies of each lane; a study with a figure that is inf or NaN is not used.
    """
    ours, theirs = ([mean(study) if all(map(math.isfinite, study)) else math.nan for study in each] for each in (a, b))
    return welch(ours, theirs)


def holm(found: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: with p₍₁₎ ≤ … ≤ p₍ₘ₎, max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎).

    NaN stays NaN and is not counted.
    """
    adjusted = [math.nan] * len(found)
    tested = [index for index, p in enumerate(found) if not math.isnan(p)]
    highest = 0.0
    for rank, index in enumerate(sorted(tested, key=found.__getitem__)):
        highest = max(highest, min(1.0, (len(tested) - rank) * found[index]))
        adjusted[index] = highest
    return adjusted


def _error(values: Sequence[float]) -> float:
    """The standard error of the mean, s / √n; exactly 0 if all values are equal."""
    if min(values) == max(values):
        return 0.0
    middle = mean(values)
    return math.hypot(*(value - middle for value in values)) / math.sqrt((len(values) - 1) * len(values))
