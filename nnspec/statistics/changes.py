"""Whether new figures differ from recorded ones by more than they vary between seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnspec.statistics.power import POWER, seeds_needed, smallest_shift
from nnspec.statistics.significance import LEVEL, deviation, mean, t_cdf, t_quantile, varies

__all__ = ["Change", "change", "change_by_seed", "fisher"]


@dataclass(frozen=True)
class Change:
    """New figures compared with recorded ones. Differences are new − old; what cannot be tested is NaN."""

    difference: float
    """The difference of the means of the finite figures; NaN if there are none on one side."""
    low: float
    high: float
    """The confidence interval of the difference, of level 1 − `level`; NaN if figures do not vary."""
    p: float
    """The two-sided p-value. It is 1 if these figures cannot show a change, whatever they are."""
    level: float
    sizes: tuple[int, int]
    """Number of old and of new figures; of each, the number of pairs if `paired`."""
    not_finite: tuple[int, int]
    """How many of them are inf or NaN: trainings that diverged, or never reached what was measured."""
    deviation: float
    """The standard deviation over the seeds, or of the differences of the pairs; NaN if it cannot be estimated."""
    paired: bool
    power: float

    @property
    def shown(self) -> bool:
        """Whether it is a change: p is below the level."""
        return self.p < self.level

    @property
    def same(self) -> bool:
        """Whether nothing changed at all: equal means, and the same share of figures that are not finite."""
        (old, new), (lost, newly_lost) = self.sizes, self.not_finite
        return lost * new == newly_lost * old and (self.difference == 0 or lost == old)

    @property
    def detectable(self) -> float:
        """The smallest difference that a test of as many figures detects with this `power`; NaN if they do not vary."""
        if not self.deviation > 0:
            return math.nan
        shift = smallest_shift(_freedom(*self._finite, self.paired), self.level, self.power)
        return shift * self.deviation * _unit(*self._finite, self.paired)

    @property
    def needed(self) -> int | None:
        """How many seeds, on both sides, detect a real difference as large as this one with this `power`.

        None if there is no difference, or no variation to judge it by, or if it takes more than 10,000.
        """
        if not self.deviation > 0:
            return None
        return seeds_needed(self.difference, self.deviation, paired=self.paired, level=self.level, power=self.power)

    @property
    def _finite(self) -> tuple[int, int]:
        (old, new), (lost, newly_lost) = self.sizes, self.not_finite
        return old - lost, new - newly_lost


def change(old: Sequence[float], new: Sequence[float], *, level: float = LEVEL, power: float = POWER) -> Change:
    """Test whether new figures come from the distribution of the old ones; one figure on one side is enough.

    If nothing changed, both are samples of one distribution, so that their variances are pooled (Student's test, not
    Welch's): t = (x̄_new − x̄_old) / (s √(1/m + 1/n)) with m + n − 2 degrees of freedom; with one new figure, this is the
    prediction interval of the next one. If neither side varies, the p-value is that of the exact permutation test. If
    some figures are inf or NaN, their shares are compared with Fisher's exact test, and p is twice the smaller p-value
    of both tests (Bonferroni). If several figures are tested, divide `level` by their number, or give the p-values to
    `holm`.

    Figures over the same seeds are better compared by `change_by_seed`.
    """
    before, after = _finite(old), _finite(new)
    sizes, lost = (len(old), len(new)), (len(old) - len(before), len(new) - len(after))
    m, n = len(before), len(after)
    difference = mean(after) - mean(before) if m and n else math.nan
    spread = _pooled(before, after) if m and n and m + n > 2 else math.nan
    if not m or not n or (not varies([*before, *after])):
        p = 1.0
    elif spread > 0:
        p = _two_sided(difference / (spread * _unit(m, n, False)), m + n - 2)
    else:
        p = (2 if m == n else 1) / math.comb(m + n, n)
    if any(lost):
        p = min(1.0, 2 * min(p, fisher(lost[0], sizes[0], lost[1], sizes[1])))
    return _changed(difference, spread, p, level, power, sizes, lost, paired=False)


def change_by_seed(
    old: Mapping[int, float], new: Mapping[int, float], *, level: float = LEVEL, power: float = POWER
) -> Change:
    """Test whether figures changed, seed by seed, if at least two seeds have finite figures on both sides.

    What differs from seed to seed (the split, the initial weights) cancels in the differences d of the pairs, so that
    smaller changes are found: t = d̄ / (s_d / √n) with n − 1 degrees of freedom. If the differences do not vary, p is
    that of the exact sign test, 2/2ⁿ. With fewer pairs, or if a figure is inf or NaN on one side only, it is
    `change(old, new)` of all figures.
    """
    shared = [seed for seed in old if seed in new and math.isfinite(old[seed]) and math.isfinite(new[seed])]
    one_sided = any(math.isfinite(old[seed]) != math.isfinite(new[seed]) for seed in old if seed in new)
    if len(shared) < 2 or one_sided:
        return change([*old.values()], [*new.values()], level=level, power=power)
    n = len(shared)
    differences = [float(new[seed]) - float(old[seed]) for seed in shared]
    scale = max(abs(float(value)) for seed in shared for value in (old[seed], new[seed]))
    difference = mean(differences)
    spread = deviation(differences) if varies(differences, scale) else 0.0
    if spread > 0:
        p = _two_sided(difference * math.sqrt(n) / spread, n - 1)
    else:
        p = 2 / 2**n if varies([difference, 0.0], scale) else 1.0
    return _changed(difference, spread, p, level, power, (n, n), (0, 0), paired=True)


def fisher(hits: int, of: int, other_hits: int, other_of: int) -> float:
    """Return the two-sided p-value of Fisher's exact test whether two shares, hits/of, differ.

    The sum of the hypergeometric probabilities of all outcomes that are at most as likely as this one: Fisher (1934),
    Statistical Methods for Research Workers, 5th ed., § 21.02.
    """
    total = hits + other_hits
    first, last = max(0, total - other_of), min(of, total)
    way = math.comb(of, first) * math.comb(other_of, total - first)
    ways = {}
    for k in range(first, last + 1):
        ways[k] = way
        way = way * (of - k) * (total - k) // ((k + 1) * (other_of - total + k + 1))
    return sum(way for way in ways.values() if way <= ways[hits]) / sum(ways.values())


def _changed(
    difference: float,
    spread: float,
    p: float,
    level: float,
    power: float,
    sizes: tuple[int, int],
    lost: tuple[int, int],
    *,
    paired: bool,
) -> Change:
    half = math.nan
    if spread > 0:
        m, n = sizes[0] - lost[0], sizes[1] - lost[1]
        half = t_quantile(1 - level / 2, _freedom(m, n, paired)) * spread * _unit(m, n, paired)
    return Change(difference, difference - half, difference + half, p, level, sizes, lost, spread, paired, power)


def _freedom(m: int, n: int, paired: bool) -> int:
    """The degrees of freedom of samples of these sizes, or of n pairs."""
    return n - 1 if paired else m + n - 2


def _unit(m: int, n: int, paired: bool) -> float:
    """The standard error of the difference for a deviation of 1."""
    return 1 / math.sqrt(n) if paired else math.sqrt(1 / m + 1 / n)


def _pooled(before: Sequence[float], after: Sequence[float]) -> float:
    """√(Σ(x − x̄)² over both samples / (m + n − 2)); exactly 0 if neither varies by more than rounding."""
    parts = [
        deviation(sample) * math.sqrt(len(sample) - 1)
        for sample in (before, after)
        if len(sample) > 1 and varies(sample)
    ]
    return math.hypot(*parts) / math.sqrt(len(before) + len(after) - 2)


def _two_sided(t: float, freedom: float) -> float:
    return min(1.0, 2 * t_cdf(-abs(t), freedom))


def _finite(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values if math.isfinite(value)]
