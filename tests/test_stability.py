"""Whether winners stay winners, and performance profiles, held against enumeration of every resample."""

from __future__ import annotations

import math
from itertools import product
from statistics import fmean, median

import numpy as np
import pytest

from nnspec.statistics.bounded import bounded_means
from nnspec.statistics.profiles import Profile, profile_bands, profiles
from nnspec.statistics.resampling import RESAMPLES, resamples
from nnspec.statistics.stability import Stability, over_seeds, over_trials

CLOSE = {"SGD": [0.40, 0.44, 0.38, 0.47], "Adam": [0.41, 0.39, 0.39, 0.44], "Momentum": [0.41, 0.40, 0.39, 0.49]}


def by_seed(figures: dict[str, list[float]]) -> dict[str, dict[int, float]]:
    return {lane: dict(enumerate(each)) for lane, each in figures.items()}


def firsts(draws: list[tuple[float, ...]]) -> list[float]:
    """How often each column is the lowest, with ties split."""
    shares = [0.0] * len(draws[0])
    for draw in draws:
        lowest = [column for column, value in enumerate(draw) if value == min(draw)]
        for column in lowest:
            shares[column] += 1 / len(lowest) / len(draws)
    return shares


# Resampling


def test_resamples_are_one_smaller_and_the_same_every_time() -> None:
    drawn = resamples(5, 1000)
    assert drawn.shape == (1000, 4)
    assert set(drawn.ravel().tolist()) == {0, 1, 2, 3, 4}
    assert (drawn == resamples(5, 1000)).all()
    assert (drawn != resamples(5, 1000, seed=1)).any()
    assert (drawn != resamples(5, 1000, purpose=1)).any()
    assert (resamples(1, 3) == 0).all()
    with pytest.raises(ValueError, match="nothing to draw"):
        resamples(0)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_resampled_mean_varies_as_the_mean_does(n: int) -> None:
    """Over all draws of n − 1 items, the variance of the mean is s²/n exactly."""
    values = np.random.default_rng(n).normal(size=n)
    means = values[resamples(n, 200_000)].mean(axis=1)
    assert means.var() == pytest.approx(values.var(ddof=1) / n, rel=0.02)


# Seeds


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_every_resample_of_the_seeds_is_counted(lower_is_better: bool) -> None:
    sign = 1 if lower_is_better else -1
    lanes = [*CLOSE.values()]
    draws = [
        tuple(round(sign * fmean(lane[i] for i in rows), 12) for lane in lanes) for rows in product(range(4), repeat=3)
    ]
    stability = over_seeds(by_seed(CLOSE), lower_is_better)
    assert stability is not None
    assert stability.over == 4
    assert stability.winner == ("Adam" if lower_is_better else "SGD")
    error = 4 * 0.5 / math.sqrt(RESAMPLES)
    assert [*stability.first.values()] == pytest.approx(firsts(draws), abs=error)
    assert stability.share == stability.first[stability.winner]
    assert sum(stability.first.values()) == pytest.approx(1)


def test_lanes_are_paired_by_seed_in_every_resample() -> None:
    """A lane that is better by 0.01 with every seed is first in all resamples, however much seeds differ."""
    other = {3: 0.2, 7: 0.9, 8: 0.5}
    better = {seed: value - 0.01 for seed, value in reversed(other.items())} | {99: 5.0}
    stability = over_seeds({"a": other, "b": better}, True)
    assert stability == Stability("b", {"a": 0.0, "b": 1.0}, 3)


def test_equal_lanes_share_the_first_place() -> None:
    same = {0: 0.1, 1: 0.2, 2: 0.4}
    assert over_seeds({"a": same, "b": same}, True) == Stability("a", {"a": 0.5, "b": 0.5}, 3)


def test_a_diverged_seed_is_the_worst_where_it_is_drawn() -> None:
    for bad in (math.nan, math.inf, -math.inf):
        for lower_is_better in (True, False):
            good = 0.1 if lower_is_better else 0.9
            stability = over_seeds({"a": {0: good, 1: good, 2: bad}, "b": {0: 0.5, 1: 0.5, 2: 0.5}}, lower_is_better)
            assert stability is not None
            assert stability.winner == "b"
            assert stability.share == pytest.approx(1 - (2 / 3) ** 2, abs=0.03)


def test_stability_needs_three_seeds_and_two_lanes() -> None:
    a, b = {0: 0.1, 1: 0.2, 2: 0.3}, {1: 0.1, 2: 0.3, 3: 0.4}
    assert over_seeds({"a": a}, True) is None
    assert over_seeds({"a": a, "b": b}, True) is None
    assert over_seeds({"a": a, "b": a}, True) is not None


# Trials


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_every_resample_of_the_trials_is_counted(lower_is_better: bool) -> None:
    best = min if lower_is_better else max
    worst = math.inf if lower_is_better else -math.inf
    trials = {"a": [0.5, 0.3, 0.9, 0.9], "b": [0.31, 0.5, math.nan], "c": [0.5, 0.3]}
    bests = [
        [best(draw) for draw in product([worst if math.isnan(x) else x for x in each], repeat=len(each))]
        for each in trials.values()
    ]
    sign = 1 if lower_is_better else -1
    draws = [tuple(sign * value for value in draw) for draw in product(*bests)]
    stability = over_trials(trials, lower_is_better)
    assert stability is not None
    assert [*stability.first.values()] == pytest.approx(firsts(draws), abs=1e-10)
    assert stability.winner == "a"
    assert stability.over == 2


def test_a_lucky_trial_is_less_stable_than_several_good_ones() -> None:
    lucky = over_trials({"a": [0.1, *[0.9] * 19], "b": [0.5] * 20}, True)
    steady = over_trials({"a": [0.1] * 5 + [0.9] * 15, "b": [0.5] * 20}, True)
    assert lucky is not None
    assert steady is not None
    assert lucky.share == pytest.approx(1 - (19 / 20) ** 20)
    assert steady.share == pytest.approx(1 - (15 / 20) ** 20)


def test_trials_that_all_diverged_lose() -> None:
    assert over_trials({"a": [math.nan] * 3, "b": [2.0]}, True) == Stability("b", {"a": 0.0, "b": 1.0}, 1)
    assert over_trials({"a": [math.nan], "b": [math.inf]}, True) == Stability("a", {"a": 0.5, "b": 0.5}, 1)
    assert over_trials({"a": [], "b": [2.0]}, True) is None
    assert over_trials({"a": [1.0]}, True) is None


# Profiles

STEPS = {
    "SGD": [[100.0], [40.0], [math.inf], [math.inf], [90.0]],
    "Adam": [[50.0], [40.0], [300.0], [math.nan], [30.0]],
    "Lion": [[400.0], [20.0], [900.0], [math.inf], [30.0]],
}
"""By hand: ratios to the best of each problem."""
RATIOS = {
    "SGD": (2.0, 2.0, math.inf, math.inf, 3.0),
    "Adam": (1.0, 2.0, 1.0, math.inf, 1.0),
    "Lion": (8.0, 1.0, 3.0, math.inf, 1.0),
}


def test_profiles_are_those_by_hand() -> None:
    for profile in profiles(STEPS):
        assert profile.ratios == RATIOS[profile.contestant]
    sgd, adam, lion = profiles(STEPS)
    assert sgd.steps == ((1.0, 0.0), (2.0, 0.4), (3.0, 0.6))
    assert adam.steps == ((1.0, 0.6), (2.0, 0.8))
    assert lion.share(1) == 0.4, "a tie at 1 counts for both"
    assert lion.share(7.999) == 0.6
    assert (sgd.solved, adam.solved, lion.solved) == (0.6, 0.8, 0.8), "the problem that none solves counts"


def test_the_score_is_the_integral_of_the_profile() -> None:
    for profile in profiles(STEPS):
        for limit in (4.0, 10.0):
            taus = np.linspace(1, limit, 900_001)
            middle = (taus[1:] + taus[:-1]) / 2
            steps = np.array(profile.steps)
            shares = steps[np.searchsorted(steps[:, 0], middle, side="right") - 1, 1]
            assert profile.score(limit) == pytest.approx(shares.mean(), abs=1e-6)
    assert Profile("best", (1.0, 1.0)).score() == 1


def test_costs_are_medians_over_repeats() -> None:
    inf = math.inf
    costs = {"a": [[10, 20, inf], [inf, inf, 10]], "b": [[40, 30, 90], [10, 20, 60]]}
    assert [each.ratios for each in profiles(costs)] == [(1.0, inf), (2.0, 1.0)]
    assert [each.ratios for each in profiles({"a": [[math.nan]], "b": [[5.0]]})] == [(inf,), (1.0,)]


def test_the_highest_score_is_counted_over_all_resamples() -> None:
    """Four problems with one cost each: all 4³ resamples, one by one."""
    costs = {name: each[:4] for name, each in STEPS.items()}
    ratios = [RATIOS[name][:4] for name in STEPS]
    drawn = [*product(range(4), repeat=3)]
    bands = profile_bands(costs, (1.0, 2.0), band=0.5)
    scores = [[fmean(max(0.0, 4 - row[p]) / 3 for p in rows) for row in ratios] for rows in drawn]
    shares = firsts([tuple(-round(score, 12) for score in row) for row in scores])
    assert [band.best for band in bands] == pytest.approx(shares, abs=4 * 0.5 / math.sqrt(RESAMPLES))
    assert bands == profile_bands(costs, (1.0, 2.0), band=0.5)


def tail(n: int, k: int, p: float) -> float:
    """The probability of at least k successes of n."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_band_of_a_profile_is_the_interval_of_clopper_and_pearson(level: float) -> None:
    """Its ends are where so many successes, or so few, have a probability of (1 - level) / 2."""
    taus = (1.0, 2.0, 5.0)
    for profile, band in zip(profiles(STEPS), profile_bands(STEPS, taus, band=level), strict=True):
        n = len(profile.ratios)
        for tau, low, high in zip(taus, band.low, band.high, strict=True):
            k = round(n * profile.share(tau))
            assert low <= profile.share(tau) <= high
            assert low == 0 if k == 0 else tail(n, k, low) == pytest.approx((1 - level) / 2, abs=0.006)
            assert high == 1 if k == n else 1 - tail(n, k + 1, high) == pytest.approx((1 - level) / 2, abs=0.006)
        assert band.score[0] <= profile.score() <= band.score[1]


def test_the_interval_of_a_mean_by_hand() -> None:
    """Of one value x, the upper end is the quantile of 1 - u(1 - x), the lower one of ux, for u uniform in [0, 1].
    Values that are larger everywhere have a higher interval, and equal ones still have one of some width."""
    x = np.array([[0.0], [0.25], [1.0]])
    low, high = bounded_means(x, level=0.9)
    assert low == pytest.approx(0.05 * x[:, 0], abs=0.003)
    assert high == pytest.approx(1 - 0.05 * (1 - x[:, 0]), abs=0.003)
    low, high = bounded_means(np.array([[0.1, 0.4, 0.4], [0.2, 0.5, 0.4], [0.4, 0.4, 0.4]]))
    assert low[0] < low[1] < 0.4 < high[0] < high[1]
    assert low[2] < 0.4 - 0.1 < 0.4 + 0.1 < high[2]


def test_repeats_of_a_problem_are_drawn_again() -> None:
    """A single problem with three repeats: medians of all pairs of them, the same pair for both contestants."""
    costs = {"a": [[10.0, 20.0, 40.0]], "b": [[15.0, 15.0, 15.0]]}
    wins = fmean(median([costs["a"][0][i], costs["a"][0][j]]) <= 15 for i, j in product(range(3), repeat=2))
    (a, b) = profile_bands(costs, (1.0,), count=20_000)
    assert a.best == pytest.approx(wins - 0.5 * 2 / 9, abs=0.02), "the medians of 10 and 20 tie with 15"
    assert a.best + b.best == pytest.approx(1)
    assert a.best > 0.2
    (a, _) = profile_bands({name: each * 30 for name, each in costs.items()}, (1.0,))
    assert a.best < 0.05, "problems draw their repeats independently, so that their luck cancels"


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({}, "needs contestants"),
        ({"a": []}, "needs contestants"),
        ({"a": [[]]}, "needs contestants"),
        ({"a": [[1.0]], "b": [[1.0], [2.0]]}, r"b has \[1, 1\] costs by problem, but a has \[1\]"),
        ({"a": [[1.0]], "b": [[0.0]]}, "b has a cost of 0 for problem 1; costs are positive"),
    ],
)
def test_costs_that_have_no_profile(costs: dict[str, list[list[float]]], message: str) -> None:
    for call in (profiles, lambda costs: profile_bands(costs, (1.0,))):
        with pytest.raises(ValueError, match=message):
            call(costs)
