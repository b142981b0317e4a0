"""The power of t-tests: how likely a difference is detected, how small it may be, and how many seeds it takes.

With samples of sizes m and n whose means differ by d and whose deviation is s, Student's t has the noncentral
distribution with shift δ = (d/s) / √(1/m + 1/n) and m + n − 2 degrees of freedom; for n pairs whose differences have
the deviation s, δ = (d/s) √n with n − 1: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, ch. 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from nnspec.engine._numpy import np
from nnspec.statistics.significance import LEVEL, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_SEEDS", "POWER", "seeds_needed", "smallest_shift", "t_power"]

POWER = 0.8
"""The default power, the probability of detecting a difference (Cohen, 1988)."""
MOST_SEEDS = 10_000
"""The largest number of seeds that is considered."""
_NODES = 100
_Z = NormalDist()
_WIDTHS = 9.0
"""How many standard deviations of the sample deviation are integrated over, on either side."""


def t_power(shift: float, freedom: float, level: float = LEVEL) -> float:
    """Return the probability that a two-sided t-test detects a difference: P(|T| > c) of the noncentral t with shift δ.

    c is the critical value, the quantile 1 − level/2 of Student's t. With S = √(χ²_ν / ν), T = (Z + δ) / S, so that the
    power is 1 − E[Φ(c S − δ) − Φ(−c S − δ)]: Johnson, Kotz & Balakrishnan (1995), Continuous Univariate Distributions,
    vol. 2, ch. 31. The expectation over S is a Gauss-Legendre sum. Raises ValueError unless 0 < level < 1 and ν > 0.
    """
    if math.isinf(shift):
        return 1.0
    critical = t_quantile(1 - level / 2, freedom)
    kept = sum(
        weight * (_normal(critical * s - shift) - _normal(-critical * s - shift)) for s, weight in _spread_of(freedom)
    )
    return min(1.0, max(level, 1.0 - kept))


def smallest_shift(freedom: float, level: float = LEVEL, power: float = POWER) -> float:
    """Return the shift δ that a two-sided t-test detects with probability `power`, by bisection.

    Multiplied by the standard error of the difference, it is the smallest difference that can be relied on to be found.
    """
    if not level < power < 1:
        raise ValueError(f"power must be between the level, {level}, and 1, not {power}")
    low, high = 0.0, 1.0
    while t_power(high, freedom, level) < power:
        low, high = high, 2 * high
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_power(middle, freedom, level) < power else (low, middle)
    return high


def seeds_needed(
    difference: float,
    deviation: float,
    *,
    recorded: int | None = None,
    paired: bool = False,
    level: float = LEVEL,
    power: float = POWER,
) -> int | None:
    """Return how many seeds a t-test needs to detect a difference of means with probability `power`.

    `deviation` is that of the figure over the seeds or, if `paired`, that of the difference of the pairs. Without
    `recorded`, both samples have as many seeds; with it, one sample has `recorded` seeds, and the number is that of the
    other one. None if MOST_SEEDS are too few: beside 5 recorded seeds, say, no number of new ones finds a difference of
    half a deviation.
    """
    if difference == 0 or not math.isfinite(difference) or not math.isfinite(deviation) or (recorded or 1) < 1:
        return None
    size = math.inf if deviation == 0 else abs(difference) / deviation

    def enough(n: int) -> bool:
        shift, freedom = _design(n, recorded, paired)
        return freedom > 0 and t_power(size * shift, freedom, level) >= power

    least = _least(size, recorded, paired, level, power)
    return None if least is None else _first(enough, least)


def _design(n: int, recorded: int | None, paired: bool) -> tuple[float, int]:
    """The shift for a difference of one standard deviation, and the degrees of freedom."""
    if paired:
        return math.sqrt(n), n - 1
    other = n if recorded is None else recorded
    return 1 / math.sqrt(1 / other + 1 / n), other + n - 2


def _least(size: float, recorded: int | None, paired: bool, level: float, power: float) -> int | None:
    """A number that is not too high: what a z-test needs, which knows the deviation; None if it is above MOST_SEEDS."""
    shift = max(0.0, _Z.inv_cdf(1 - level / 2) + _Z.inv_cdf(power)) if power >= 0.5 else 0.0
    share = (size / shift) ** 2 if shift else math.inf  # what 1/n, or 1/m + 1/n, may be at most
    if not paired:
        share = share / 2 if recorded is None else share - 1 / recorded
    least = 1 / share if share > 0 else math.inf
    return max(2 if paired else 1, math.ceil(least - 1e-6)) if least <= MOST_SEEDS else None


def _first(enough: Callable[[int], bool], least: int) -> int | None:
    """The smallest number from `least` that is enough, if every number above it is enough too."""
    low, high, step = least - 1, least, 1
    while not enough(high):
        if high >= MOST_SEEDS:
            return None
        low, high, step = high, min(high + step, MOST_SEEDS), 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(_NODES)


@lru_cache(maxsize=64)
def _spread_of(freedom: float) -> tuple[tuple[float, float], ...]:
    """Nodes and weights that integrate over S = √(χ²_ν / ν).

    Its density is 2 (ν/2)^(ν/2) / Γ(ν/2) s^(ν−1) e^(−ν s²/2).
    """
    half = freedom / 2
    width = _WIDTHS / math.sqrt(2 * freedom)
    low, high = max(0.0, 1 - width), 1 + width
    nodes, weights = _gauss_legendre()
    places = low + (high - low) * (nodes + 1) / 2
    density = np.exp(
        math.log(2) + half * math.log(half) - math.lgamma(half) + (freedom - 1) * np.log(places) - half * places**2
    )
    masses = weights * density
    return tuple(zip(places.tolist(), (masses / masses.sum()).tolist(), strict=True))


def _normal(z: float) -> float:
    """Φ(z), to full precision in the lower tail."""
    return 0.5 * math.erfc(-z / math.sqrt(2))
