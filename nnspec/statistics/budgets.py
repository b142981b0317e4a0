"""The expected best figure as a function of the number of trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["BAND", "Best", "expected_best", "worst_if_not_finite"]

BAND = 0.8
"""The share of the distribution that a band covers: from its 10 % to its 90 % quantile."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Best:
    """The best figure of k trials, drawn from n without replacement."""

    trials: int
    """k."""
    expected: float
    """Its mean; infinite while k trials may all have diverged, and −infinity if higher is better."""
    median: float
    low: float
    high: float
    """The band: with `band` = 0.8, its 10 % and 90 % quantiles; `low` ≤ `high`, whichever is better."""
    none: float
    """The chance that all of the k trials diverged."""


def expected_best(figures: Sequence[float], lower_is_better: bool, *, band: float = BAND) -> tuple[Best, ...]:
    """Return the exact distribution of the best of k trials, for k = 1 … n.

    With figures sorted from best to worst, x₁ … xₙ, the best of k trials that are drawn without replacement is xᵢ with
    the chance C(n − i, k − 1) / C(n, k). Its mean is an unbiased estimate of the expected best of k random trials: Tang
    et al. (2020), Showing Your Work Doesn't Always Work, ACL. The estimate of Dodge et al. (2019), Show Your Work,
    EMNLP, draws with replacement, P(best ≤ xᵢ) = (i/n)ᵏ up to ties; it is biased, since the k draws repeat trials, and
    calls the best of all n trials worse than the best that was found.

    The band covers `band` of those who draw k of these n trials. It describes the luck of the draw among these trials,
    not what other trials would find, and shrinks to a point at k = n. Trials of a Halton sequence cover a space more
    evenly than random ones, so that the first k of them usually find somewhat better figures than k random ones.

    Trials that diverged (inf or NaN) count as trials and are the worst. Raises ValueError if there are no figures.
    """
    if not figures:
        raise ValueError("no trials to choose the best of")
    if not 0 < band < 1:
        raise ValueError(f"band must be between 0 and 1, not {band}")
    ordered = sorted(worst_if_not_finite(figures, lower_is_better), reverse=not lower_is_better)
    failed = sum(map(math.isinf, ordered))
    return tuple(_best(ordered, k, failed, band) for k in range(1, len(ordered) + 1))


def worst_if_not_finite(figures: Iterable[float], lower_is_better: bool) -> list[float]:
    """Return the figures with inf, −inf and NaN replaced by the worst: inf, or −inf if higher is better."""
    worst = math.inf if lower_is_better else -math.inf
    return [float(figure) if math.isfinite(figure) else worst for figure in figures]


def _best(ordered: Sequence[float], k: int, failed: int, band: float) -> Best:
    chances = _chances(len(ordered), k)
    expected = math.fsum(chance * x for chance, x in zip(chances, ordered, strict=False) if chance > 0)
    first, middle, last = (_quantile(ordered, chances, q) for q in ((1 - band) / 2, 0.5, (1 + band) / 2))
    none = math.comb(failed, k) / math.comb(len(ordered), k)
    return Best(k, expected, middle, min(first, last), max(first, last), none)


def _chances(n: int, k: int) -> list[float]:
    """The chance that the best of k of n trials is the i-th best of all: i = 1 … n − k + 1."""
    chances = [k / n]
    for i in range(1, n - k + 1):
        chances.append(chances[-1] * (n - i - k + 1) / (n - i))
    return chances


def _quantile(ordered: Sequence[float], chances: Sequence[float], q: float) -> float:
    """The first figure, from the best, at which the chance of one at least as good reaches q."""
    reached = 0.0
    for chance, x in zip(chances, ordered, strict=False):
        reached += chance
        if reached >= q - _ROUNDING:
            return x
    return ordered[len(chances) - 1]
