"""The expected best of k trials and times to a target, held against enumeration of every draw."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean, median

import numpy as np
import pytest

from nnspec.statistics.budgets import Best, expected_best
from nnspec.statistics.targets import time_to_target, times_to_target

FIGURES = [0.5, 0.31, 2.3, 0.42, 0.31, 0.9, 0.75]


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_every_draw_of_k_trials_is_counted(lower_is_better: bool) -> None:
    best = min if lower_is_better else max
    curve = expected_best(FIGURES, lower_is_better)
    assert [each.trials for each in curve] == [1, 2, 3, 4, 5, 6, 7]
    for each in curve:
        draws = sorted(best(draw) for draw in combinations(FIGURES, each.trials))
        assert each.expected == pytest.approx(fmean(draws), rel=1e-13)
        from_best = draws if lower_is_better else draws[::-1]
        ends = [from_best[math.ceil(q * len(draws) - 1e-9) - 1] for q in (0.1, 0.9)]
        assert (each.low, each.high) == (min(ends), max(ends))
        assert each.median == from_best[math.ceil(0.5 * len(draws)) - 1]
        assert each.none == 0


def test_the_ends_are_the_mean_and_the_best_found() -> None:
    first, *_, last = expected_best(FIGURES, True)
    assert first.expected == pytest.approx(fmean(FIGURES))
    assert last == Best(7, 0.31, 0.31, 0.31, 0.31, 0.0)
    assert expected_best([4.0, 2.0, 3.0, 1.0], True)[0].median == 2.0, "half of the draws are at least as good"
    assert expected_best([0.2], True) == (Best(1, 0.2, 0.2, 0.2, 0.2, 0.0),)


def test_the_estimate_is_unbiased_and_that_with_replacement_is_not() -> None:
    """20 uniform trials, whose best of k has the expectation 1/(k + 1)."""
    draws = np.sort(np.random.default_rng(0).random((4000, 20)), axis=1)
    for k in (5, 15):
        ours = np.mean([expected_best(row, True)[k - 1].expected for row in draws[:1500].tolist()])
        assert ours == pytest.approx(1 / (k + 1), abs=4 * 0.06 / math.sqrt(1500))
        above = ((20 - np.arange(21)) / 20) ** k
        dodge = float((draws @ (above[:-1] - above[1:])).mean())
        assert dodge > 1 / (k + 1) + 0.01 * k / 15


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_divergence_is_the_worst_and_counts(lower_is_better: bool) -> None:
    worst = math.inf if lower_is_better else -math.inf
    curve = expected_best([0.5, math.nan, 0.7, -math.inf, math.inf], lower_is_better)
    assert [each.expected == worst for each in curve] == [True, True, True, False, False]
    assert [each.none for each in curve] == pytest.approx([3 / 5, 3 / 10, 1 / 10, 0, 0])
    assert curve[2].median == (0.5 if lower_is_better else 0.7)
    assert math.isfinite(curve[3].low)
    none = expected_best([math.nan, math.nan], lower_is_better)[-1]
    assert (none.expected, none.median, none.none) == (worst, worst, 1.0)


def test_figures_that_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="no trials"):
        expected_best([], True)
    with pytest.raises(ValueError, match="band must be"):
        expected_best([1.0], True, band=80)


def test_many_trials_have_their_digits() -> None:
    """400 trials 1 … 400: the expected smallest of k is (n + 1)/(k + 1)."""
    curve = expected_best([float(x) for x in range(400, 0, -1)], True)
    for k in (1, 7, 100, 399, 400):
        assert curve[k - 1].expected == pytest.approx(401 / (k + 1), rel=1e-12)


# Time to a target


def test_the_first_record_at_the_target() -> None:
    at, losses = [10, 20, 30, 40, 50], [2.0, math.nan, 0.5, 0.9, 0.4]
    assert time_to_target(at, losses, 0.5, True) == 30, "reached, and left again"
    assert time_to_target(at, losses, 0.45, True) == 50
    assert time_to_target(at, losses, 0.1, True) == math.inf
    assert time_to_target(at, losses, 1.9, False) == 10
    assert time_to_target([], [], 0.5, True) == math.inf
    with pytest.raises(ValueError, match="shorter"):
        time_to_target(at, losses[:2], 0.01, True)
    with pytest.raises(ValueError, match="NaN"):
        time_to_target(at, losses, math.nan, True)


def test_times_of_repeats_say_how_many_reached_it() -> None:
    times = times_to_target([30, math.inf, 50, 40, 60], spent=[100] * 5)
    assert times.text == "4 of 5 reached it"
    assert times.median == median([30, 40, 50, 60, math.inf]) == 50
    assert (times.first, times.last) == (30, math.inf)
    assert times.expected == (30 + 50 + 40 + 60 + 100) / 4
    assert times_to_target([30, 50]).expected == 40
    assert math.isnan(times_to_target([30, math.nan]).expected), "what the other one took is not known"
    assert times_to_target([30, math.inf]).median == math.inf
    assert math.isnan(times_to_target([30, math.inf]).expected)


def test_times_that_none_reached() -> None:
    times = times_to_target([math.inf, math.nan], [5, 5])
    assert (times.reached, times.median, times.expected) == (0, math.inf, math.inf)
    with pytest.raises(ValueError, match="no times"):
        times_to_target([])


def test_the_expected_time_is_that_of_starting_again() -> None:
    """Trainings that reach the target at step 10 or give up at 50, each with the chance ½: 10 + 50 on average."""
    random = np.random.default_rng(1)
    totals = [10 + 50 * int(failures) for failures in random.geometric(0.5, 20_000) - 1]
    times = times_to_target([10, math.inf] * 10, [50] * 20)
    assert times.expected == 60
    assert np.mean(totals) == pytest.approx(60, abs=2)
