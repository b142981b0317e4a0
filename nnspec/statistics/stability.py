"""How often the winner would stay the winner: over other seeds, and over another draw of the trials of its tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnspec.engine._numpy import np
from nnspec.statistics.budgets import worst_if_not_finite
from nnspec.statistics.resampling import RESAMPLES, resamples

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stability", "over_seeds", "over_trials"]


@dataclass(frozen=True)
class Stability:
    """How often each lane comes first when the figures are resampled.

    A share is not a p-value: of two lanes that do not differ, one stays first in 95 % of resamples much more often than
    one time in twenty. See docs/statistics.md for the rates.
    """

    winner: str
    """The lane that is first; of equal ones, the one named first."""
    first: Mapping[str, float]
    """Lane -> share of the resamples in which it is first; lanes that tie for it have equal parts of it."""
    over: int
    """How many seeds, or trials of the lane with fewest, it was drawn from."""

    @property
    def share(self) -> float:
        """How often the winner stays first."""
        return self.first[self.winner]


def over_seeds(
    figures: Mapping[str, Mapping[int, float]], lower_is_better: bool, *, count: int = RESAMPLES, seed: int = 0
) -> Stability | None:
    """Re-draw the seeds that all lanes share, and count how often each lane has the best mean.

    All lanes get the same seeds in a resample, as in the race. A training that diverged (inf or NaN) makes the mean the
    worst in all resamples that draw it. None if there are fewer than two lanes or three shared seeds: of two, each draw
    is a single seed, and the best mean may be first with neither.
    """
    if len(figures) < 2:
        return None
    shared = sorted(set.intersection(*(set(each) for each in figures.values())))
    if len(shared) < 3:
        return None
    table = np.array([_costs([each[number] for number in shared], lower_is_better) for each in figures.values()])
    means = table[:, resamples(len(shared), count, seed=seed)].mean(axis=2)
    ties = means == means.min(axis=0)
    shares = (ties / ties.sum(axis=0)).mean(axis=1)
    winner = [*figures][int(np.argmin(table.mean(axis=1)))]
    return Stability(winner, dict(zip(figures, shares.tolist(), strict=True)), len(shared))


def over_trials(trials: Mapping[str, Sequence[float]], lower_is_better: bool) -> Stability | None:
    """Re-draw the trials of each lane, as many with replacement as it had, and compare the best ones; exact.

    The best of n draws from x₁ … xₙ, sorted from the best, is worse than xᵢ with the chance (1 − i/n)ⁿ; the draws of
    lanes are independent, so that their chances multiply. The figure of a trial is taken for the final one: it is that
    of one seed, and too good for a trial that was chosen because of it. Trials that diverged are the worst. The best
    trial is drawn again in only 1 − 1/e = 63 % of resamples, so that a lane whose success rests on one lucky trial is
    seen; a lane that found equally good settings several times is stable. None if there are fewer than two lanes, or
    if one has no trials.
    """
    if len(trials) < 2 or not all(trials.values()):
        return None
    costs = {name: sorted(_costs(each, lower_is_better)) for name, each in trials.items()}
    values = sorted({cost for each in costs.values() for cost in each})
    worse = np.array([_worse(np.array(each), values) for each in costs.values()])
    equal = -np.diff(worse, axis=1, prepend=1.0)
    shares = [_share(lane, worse, equal) for lane in range(len(costs))]
    winner = min(costs, key=lambda name: costs[name][0])
    return Stability(winner, dict(zip(costs, shares, strict=True)), min(map(len, costs.values())))


def _costs(figures: Sequence[float], lower_is_better: bool) -> list[float]:
    """Figures of which the lowest is the best."""
    figures = worst_if_not_finite(figures, lower_is_better)
    return figures if lower_is_better else [-figure for figure in figures]


def _worse(costs: NDArray[np.float64], values: Sequence[float]) -> NDArray[np.float64]:
    """The chance that the best of a resample is worse than each of the values."""
    n = len(costs)
    return ((n - np.searchsorted(costs, values, side="right")) / n) ** n


def _share(lane: int, worse: NDArray[np.float64], equal: NDArray[np.float64]) -> float:
    """The share of resamples in which a lane is first: the sum over the values that its best trial may have."""
    others = [np.delete(chances, lane, axis=0).T for chances in (worse, equal)]
    return sum(chance * _part(*at) for chance, *at in zip(equal[lane].tolist(), *others, strict=True) if chance > 0)


def _part(worse: NDArray[np.float64], equal: NDArray[np.float64]) -> float:
    """The part of the first place that a lane has whose best has the same value, given the chances of the others.

    With k others that have the same value and none better, the part is 1/(k + 1): ∫₀¹ Π (worseᵢ + equalᵢ z) dz.
    """
    ways = np.ones(1)
    for pair in zip(worse, equal, strict=True):
        ways = np.convolve(ways, pair)
    return float((ways / np.arange(1, len(ways) + 1)).sum())
