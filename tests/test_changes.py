"""Whether new figures differ from recorded ones, held against SciPy and exact enumeration; the power of t-tests."""

from __future__ import annotations

import math
from itertools import combinations

import mpmath
import pytest

from nnspec.statistics.changes import Change, change, change_by_seed, fisher
from nnspec.statistics.power import MOST_SEEDS, seeds_needed, smallest_shift, t_power

OLD = [0.41, 0.39, 0.44, 0.40, 0.43]
NEW = [0.47, 0.49, 0.45]


# Two samples


def test_a_change_is_students_pooled_t_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    for new in (NEW, NEW[:2], OLD[::-1], [0.2, 0.9]):
        result = change(OLD, new)
        expected = stats.ttest_ind(new, OLD, equal_var=True)
        interval = expected.confidence_interval(0.95)
        assert result.p == pytest.approx(expected.pvalue, rel=1e-10)
        assert (result.low, result.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
        assert result.sizes == (5, len(new))
    assert change(OLD, NEW).shown
    assert change(OLD, NEW).difference == pytest.approx(0.47 - 0.414)


def test_one_new_figure_is_held_against_the_prediction_interval_of_the_next() -> None:
    stats = pytest.importorskip("scipy.stats")
    half = stats.t.ppf(0.975, 4) * 0.0207364413533278 * math.sqrt(1 + 1 / 5)  # statistics.stdev(OLD)
    for new, shown in ((0.414 + 0.999 * half, False), (0.414 + 1.001 * half, True), (0.414 - 1.001 * half, True)):
        assert change(OLD, [new]).shown is shown
        assert change([new], OLD).shown is shown, "the test is symmetric"


def test_a_level_decides_what_is_shown() -> None:
    p = change(OLD, NEW).p
    assert change(OLD, NEW, level=p * 1.01).shown
    assert not change(OLD, NEW, level=p * 0.99).shown
    strict = change(OLD, NEW, level=0.001)
    assert strict.low < change(OLD, NEW).low
    assert strict.detectable > change(OLD, NEW).detectable


@pytest.mark.parametrize(
    ("old", "new"), [([1.0] * 5, [0.9]), ([1.0] * 5, [0.9] * 5), ([1.0] * 3, [2.0] * 4), ([1.0], [2.0])]
)
def test_without_variation_p_is_that_of_all_permutations(old: list[float], new: list[float]) -> None:
    """All ways of choosing which of the figures are new, counted one by one."""
    result, every = change(old, new), [*old, *new]
    observed = abs(sum(new) / len(new) - sum(old) / len(old))
    ways = [
        abs(sum(every[i] for i in rows) / len(new) - (sum(every) - sum(every[i] for i in rows)) / len(old))
        for rows in combinations(range(len(every)), len(new))
    ]
    assert result.p == pytest.approx(sum(way >= observed - 1e-12 for way in ways) / len(ways), rel=1e-12)
    assert result.needed is None
    assert math.isnan(result.detectable)
    assert math.isnan(result.low)


def test_equal_figures_are_no_change() -> None:
    for result in (change([0.3] * 4, [0.3]), change([0.1], [0.1]), change_by_seed({0: 0.1, 1: 0.2}, {0: 0.1, 1: 0.2})):
        assert result.same
        assert not result.shown
        assert result.p == 1
    assert not change(OLD, NEW).same
    rounded = change([0.3] * 4, [0.3 + 1e-16])
    assert rounded.p == 1, "rounding is no change"


@pytest.mark.parametrize(("old", "new"), [([], [1.0]), ([1.0, 2.0], []), ([math.nan], [math.inf]), ([1.0], [2.0])])
def test_too_few_figures_show_nothing(old: list[float], new: list[float]) -> None:
    result = change(old, new)
    assert not result.shown
    assert result.p == 1


# Figures that are not finite


def test_fishers_test_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for hits, of, other_hits, other_of in ((0, 5, 3, 3), (1, 10, 4, 6), (2, 4, 2, 4), (0, 3, 0, 2), (5, 5, 0, 20)):
        expected = stats.fisher_exact([[hits, of - hits], [other_hits, other_of - other_hits]]).pvalue
        assert fisher(hits, of, other_hits, other_of) == pytest.approx(expected, rel=1e-12)
    assert fisher(5_000, 10_000, 4_900, 10_000) == pytest.approx(0.16146929150845823, rel=1e-12)  # SciPy, too


def test_divergence_is_a_change_if_its_share_is() -> None:
    nan, inf = math.nan, math.inf
    one = change(OLD, [nan])
    assert one.p == pytest.approx(min(1.0, 2 / 6)), "one new training of one diverged, none of five before"
    assert one.not_finite == (0, 1)
    assert not one.same
    every = change(OLD, [nan, inf, nan, nan, inf])
    assert every.p == pytest.approx(2 / math.comb(10, 5) * 2)
    assert every.shown
    assert change([nan, nan], [inf]).same, "all diverged before and after"
    mixed = change([*OLD, nan], NEW)
    assert mixed.p == pytest.approx(2 * min(change(OLD, NEW).p, fisher(1, 6, 0, 3)))


# Seed by seed


def test_a_change_by_seed_is_the_paired_t_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    old, new = dict(enumerate(OLD)), {seed: value + 0.01 + 0.001 * (-1) ** seed for seed, value in enumerate(OLD)}
    result = change_by_seed(old, new | {99: 5.0})
    expected = stats.ttest_rel([new[seed] for seed in old], [*old.values()])
    interval = expected.confidence_interval(0.95)
    assert result.paired
    assert result.p == pytest.approx(expected.pvalue, rel=1e-8)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert result.shown
    assert not change(OLD, [*new.values()]).shown, "unpaired, so small a change is lost in the spread of the seeds"


def test_equal_differences_are_judged_by_their_signs() -> None:
    for n, shown in ((2, False), (5, False), (6, True)):
        result = change_by_seed({seed: seed + 1.0 for seed in range(n)}, {seed: seed + 1.25 for seed in range(n)})
        assert result.p == 2 / 2**n
        assert result.shown is shown


def test_without_pairs_all_figures_are_compared() -> None:
    old = dict(enumerate(OLD))
    alone = change_by_seed(old, {0: 0.55})
    assert alone == change(OLD, [0.55])
    assert not alone.paired
    diverged = {**old, 3: math.nan}
    assert change_by_seed(old, diverged) == change(OLD, [*diverged.values()])


# Power


def exact_power(shift: float, freedom: int, critical: float) -> float:
    """1 − P(−c < T < c), integrated to 30 digits over the sample deviation by mpmath."""
    with mpmath.workdps(30):
        v, half = mpmath.mpf(freedom), mpmath.mpf(freedom) / 2

        def inside(s: mpmath.mpf) -> mpmath.mpf:
            density = 2 * half**half / mpmath.gamma(half) * s ** (v - 1) * mpmath.exp(-half * s * s)
            return density * (mpmath.ncdf(critical * s - shift) - mpmath.ncdf(-critical * s - shift))

        return float(1 - mpmath.quad(inside, [0, 0.5, 1, 1.5, 2, 4, 8, 20]))


@pytest.mark.parametrize("freedom", [1, 4, 18])
def test_power_is_that_of_the_noncentral_t(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    critical = stats.t.ppf(0.975, freedom)
    assert t_power(2.0, freedom) == pytest.approx(exact_power(2.0, freedom, critical), abs=1e-8)
    for shift in (0.5, 2.0, 5.0):
        expected = stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift)
        assert t_power(shift, freedom) == pytest.approx(expected, abs=1e-7)
        assert t_power(-shift, freedom) == pytest.approx(t_power(shift, freedom), abs=1e-12)


def test_power_without_a_difference_is_the_level() -> None:
    for freedom in (1, 3, 50, 20_000):
        for level in (0.05, 0.01):
            assert t_power(0.0, freedom, level) == pytest.approx(level, abs=1e-8)
    assert t_power(math.inf, 4) == 1


def test_the_smallest_shift_has_the_power() -> None:
    for freedom, power in ((2, 0.8), (8, 0.8), (8, 0.95), (100, 0.5)):
        assert t_power(smallest_shift(freedom, power=power), freedom) == pytest.approx(power, abs=1e-7)
    with pytest.raises(ValueError, match="power must be between"):
        smallest_shift(5, power=0.01)


def test_the_published_numbers_of_seeds() -> None:
    """Cohen (1988), table 2.4.1, and what R's power.t.test says: 26 each for d = 0.8, 64 for 0.5; 34 pairs for 0.5."""
    assert seeds_needed(0.8, 1.0) == 26
    assert seeds_needed(0.5, 1.0) == 64
    assert seeds_needed(0.2, 1.0) == 394
    assert seeds_needed(0.5, 1.0, paired=True) == 34
    assert seeds_needed(-0.5, 1.0) == 64


@pytest.mark.parametrize(("size", "recorded"), [(1.3, None), (3.0, None), (3.0, 5), (3.2, 3), (4.5, 4), (6.0, 1)])
@pytest.mark.parametrize("level", [0.05, 1e-4])
def test_the_number_of_seeds_is_the_smallest(size: float, recorded: int | None, level: float) -> None:
    def power(n: int) -> float:
        other = n if recorded is None else recorded
        return t_power(size / math.sqrt(1 / other + 1 / n), other + n - 2, level) if other + n > 2 else 0.0

    first = next((n for n in range(1, 60) if power(n) >= 0.8), None)
    assert seeds_needed(size, 1.0, recorded=recorded, level=level) == first


def test_the_number_of_pairs_is_the_smallest() -> None:
    for size in (0.5, 1.3, 4.0):
        first = next(n for n in range(2, 60) if t_power(size * math.sqrt(n), n - 1) >= 0.8)
        assert seeds_needed(size, 1.0, paired=True) == first


def test_when_no_number_of_seeds_is_enough() -> None:
    assert seeds_needed(0.5, 1.0, recorded=5) is None, "the recorded mean itself is known too badly"
    assert seeds_needed(2.0, 1.0, recorded=5) == 6
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(math.nan, 1.0) is None
    assert seeds_needed(1e-3, 1.0) is None, f"more than {MOST_SEEDS}"
    assert seeds_needed(1.0, 0.0) == 2


def test_what_a_change_says_of_its_power() -> None:
    small = change(OLD, [0.42, 0.41])
    assert not small.shown
    assert small.needed is not None
    assert small.needed == seeds_needed(small.difference, small.deviation)
    unit = small.deviation * math.sqrt(1 / 5 + 1 / 2)
    assert t_power(small.detectable / unit, 5) == pytest.approx(0.8, abs=1e-7)
    assert isinstance(small, Change)
