"""Performance profiles: on which share of problems a contestant is at most τ times as costly as the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nnspec.engine._numpy import np
from nnspec.statistics.bounded import bounded_means
from nnspec.statistics.resampling import RESAMPLES, resamples

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LIMIT", "Profile", "ProfileBand", "profile_bands", "profiles"]

LIMIT = 4.0
"""The largest ratio that counts for the score, as in AlgoPerf."""

Costs = Mapping[str, Sequence[Sequence[float]]]
"""Contestant -> problem -> repeat: steps or seconds to the target, inf or NaN if it was never reached."""


@dataclass(frozen=True)
class Profile:
    """The performance profile of a contestant s: ρ(τ) = share of the problems p with r(p, s) ≤ τ.

    r(p, s) = cost(p, s) / min over all contestants of cost(p, ·): Dolan & Moré (2002), Benchmarking optimization
    software with performance profiles, Math. Program. 91(2). A ratio depends on who takes part: removing a contestant
    may change the order of the others (Gould & Scott, 2016, ACM TOMS 43(2)).
    """

    contestant: str
    ratios: tuple[float, ...]
    """r by problem: 1 for the best and for all that tie with it, inf where the target was not reached."""

    def share(self, tau: float) -> float:
        """ρ(τ)."""
        return sum(ratio <= tau for ratio in self.ratios) / len(self.ratios)

    @property
    def steps(self) -> tuple[tuple[float, float], ...]:
        """(τ, ρ(τ)) at 1 and wherever the curve rises; it is constant in between."""
        return tuple((tau, self.share(tau)) for tau in sorted({1.0, *filter(math.isfinite, self.ratios)}))

    @property
    def solved(self) -> float:
        """The share of problems whose target it reached at all: ρ(∞)."""
        return sum(map(math.isfinite, self.ratios)) / len(self.ratios)

    def score(self, limit: float = LIMIT) -> float:
        """Return 1/(limit − 1) ∫ ρ(τ) dτ from 1 to `limit`: 1 if it is the best everywhere.

        Dahl et al. (2023), Benchmarking Neural Network Training Algorithms, arXiv 2306.07179. The integral of a step
        function is Σ max(0, limit − r) / (limit − 1) / number of problems.
        """
        return sum(max(0.0, limit - ratio) for ratio in self.ratios) / (limit - 1) / len(self.ratios)


@dataclass(frozen=True)
class ProfileBand:
    """Confidence intervals of a profile, pointwise for each τ, and of its score."""

    contestant: str
    taus: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    score: tuple[float, float]
    """The same for the score."""
    best: float
    """Share of the resamples of problems and seeds in which this contestant has the highest score; ties have equal
    parts."""


def profiles(costs: Costs) -> tuple[Profile, ...]:
    """Return the profile of each contestant; of several repeats of a problem, the median cost counts.

    If half of the repeats or more never reach the target, so that the median is infinite, the problem is a failure. A
    problem that no contestant solves counts against all. Raises ValueError if there are no contestants or problems, if
    contestants differ in problems or repeats, or if a cost is not positive.
    """
    table = _table(costs)
    ratios = _ratios(np.array([[_median(repeats) for repeats in each] for each in table]))
    return tuple(Profile(name, tuple(row.tolist())) for name, row in zip(costs, ratios, strict=True))


def profile_bands(
    costs: Costs,
    taus: Sequence[float],
    *,
    band: float = 0.95,
    limit: float = LIMIT,
    count: int = RESAMPLES,
    seed: int = 0,
) -> tuple[ProfileBand, ...]:
    """Return the confidence intervals of the profiles at each τ, and of the scores, and how often each contestant has
    the highest score if problems and seeds are drawn again.

    The intervals are those of `bounded_means`, over the problems: for ρ(τ), which is a proportion, that is the interval
    of Clopper & Pearson. They say what infinitely many problems of this kind would show; variation between
    seeds is part of the variation between problems. They are not simultaneous: a whole profile leaves its band more
    often than one of its points does.

    A resample draws problems, the same ones for all contestants, and for each problem that has several repeats, draws
    these too (the same numbers for all contestants, who share seeds), and compares anew. Raises ValueError as
    `profiles` does.
    """
    table = _table(costs)
    own = [np.array(profile.ratios) for profile in profiles(costs)]
    lows, highs = _proportions(len(own[0]), band)
    counts = [[int((ratios <= tau).sum()) for tau in taus] for ratios in own]
    worth = np.maximum(0.0, limit - np.stack(own)) / (limit - 1)
    worst, best_score = bounded_means(worth, level=band)

    medians = np.stack([_resampled(table, problem, count, seed) for problem in range(len(table[0]))], axis=2)
    drawn = resamples(len(table[0]), count, seed=seed)
    ratios = np.take_along_axis(_ratios(medians), drawn[None], axis=2)
    scores = np.maximum(0.0, limit - ratios).mean(axis=2) / (limit - 1)
    ties = scores == scores.max(axis=0)
    best = (ties / ties.sum(axis=0)).mean(axis=1)
    return tuple(
        ProfileBand(
            name,
            tuple(taus),
            tuple(lows[counts[i]].tolist()),
            tuple(highs[counts[i]].tolist()),
            (float(worst[i]), float(best_score[i])),
            float(best[i]),
        )
        for i, name in enumerate(costs)
    )


@cache
def _proportions(n: int, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the confidence interval of a proportion k / n, for each k."""
    return bounded_means(np.tri(n + 1, n, -1), level=level)


def _table(costs: Costs) -> list[list[NDArray[np.float64]]]:
    """Contestant, problem -> costs of the repeats, checked, with NaN as inf."""
    shapes = {name: [len(repeats) for repeats in each] for name, each in costs.items()}
    first = next(iter(shapes.values()), [])
    if not first or not all(first):
        raise ValueError("a profile needs contestants, problems, and at least one cost of each")
    for name, shape in shapes.items():
        if shape != first:
            raise ValueError(f"{name} has {shape} costs by problem, but {next(iter(shapes))} has {first}")
    table = [[np.array(repeats, float) for repeats in each] for each in costs.values()]
    for name, each in zip(costs, table, strict=True):
        for number, repeats in enumerate(each):
            repeats[np.isnan(repeats)] = math.inf
            if (repeats <= 0).any():
                raise ValueError(f"{name} has a cost of {repeats.min():g} for problem {number + 1}; costs are positive")
    return table


def _median(repeats: NDArray[np.float64]) -> float:
    return float(np.median(repeats))


def _resampled(table: list[list[NDArray[np.float64]]], problem: int, count: int, seed: int) -> NDArray[np.float64]:
    """Median costs of one problem by contestant and resample of its repeats."""
    drawn = resamples(len(table[0][problem]), count, seed=seed, purpose=problem + 1)
    return np.median(np.stack([each[problem] for each in table])[:, drawn], axis=2)


def _ratios(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Costs, contestant first, divided by the lowest; inf where the lowest is infinite."""
    lowest = costs.min(axis=0)
    return np.where(np.isfinite(costs), costs / np.where(np.isfinite(lowest), lowest, 1.0), math.inf)
