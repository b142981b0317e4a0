"""Statistics over repeats: Student's t to its digits, paired tests, Holm, and what a run says of its lanes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from rich.console import Console
from tiny_lanes import epochs, lane
from tiny_spec import compiled, run, spec

from nnspec.engine.network import Sequential
from nnspec.records.write import write_record
from nnspec.results.comparisons import compared_figure, comparison_records, contender_of, interval_records
from nnspec.results.lane import LaneResult
from nnspec.statistics.comparison import Comparison, among, compare
from nnspec.statistics.significance import between_studies, holm, interval, mean, paired, t_cdf, t_quantile, welch
from nnspec.view.terminal.race import print_result
from nnspec.view.wording.repeats import spread


def exact_cdf(t: float, freedom: float) -> Any:
    """P(T ≤ t) to 40 digits; of the hypergeometric form, not the one that is tested."""
    with mpmath.workdps(40):
        t, v = mpmath.mpf(t), mpmath.mpf(freedom)
        scale = mpmath.gamma((v + 1) / 2) / (mpmath.sqrt(mpmath.pi * v) * mpmath.gamma(v / 2))
        return mpmath.mpf(1) / 2 + t * scale * mpmath.hyp2f1(0.5, (v + 1) / 2, 1.5, -t * t / v)


# Student's t


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 9, 30, 2.5, 100, 1000])
def test_cdf_is_right_to_ten_digits(freedom: float) -> None:
    for t in (0.0, 1e-9, 0.01, 0.3, 0.999, 1.0, 1.7, 2.776, 5.0, 12.706, 60.0):
        for signed in (t, -t):
            exact = exact_cdf(signed, freedom)
            assert abs(t_cdf(signed, freedom) - exact) < 1e-10
            if freedom <= 100 and exact > 1e-25:
                assert t_cdf(signed, freedom) == pytest.approx(float(exact), rel=1e-10), "tails have their digits too"


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 2.5, 100])
@pytest.mark.parametrize("p", [1e-6, 0.025, 0.3, 0.5, 0.6, 0.975, 0.9999])
def test_quantile_is_right_to_ten_digits(freedom: float, p: float) -> None:
    found = t_quantile(p, freedom)
    with mpmath.workdps(40):
        exact = mpmath.findroot(lambda t: exact_cdf(t, freedom) - mpmath.mpf(p), found)
    assert found == pytest.approx(float(exact), rel=1e-10, abs=1e-15)


def test_quantiles_are_those_of_the_printed_tables() -> None:
    for freedom, printed in ((1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (29, 2.045)):
        assert round(t_quantile(0.975, freedom), 3) == printed
    for p in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            t_quantile(p, 3)
    with pytest.raises(ValueError, match="positive"):
        t_cdf(1.0, 0)


# Intervals and tests

SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
"""Extra hours of sleep with two drugs, of "Student" (1908); R's help of t.test has t = −4.0621, 9 degrees of freedom,
p = 0.002833, and the interval −2.4598858 to −0.7001142."""


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_the_published_example_of_student() -> None:
    found = paired(by_seed(*SLEEP[0]), by_seed(*SLEEP[1]))
    assert found.n == 10
    assert found.difference == pytest.approx(-1.58)
    assert round(found.p, 6) == 0.002833
    assert (round(found.low, 7), round(found.high, 7)) == (-2.4598858, -0.7001142)


def test_an_interval_by_hand() -> None:
    found = interval([1.0, 2.0, 3.0])  # s = 1, t₀.₉₇₅(2) = 4.302653, half 4.302653 / √3
    assert (found.mean, found.n) == (2.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)


def test_too_few_values_have_no_interval() -> None:
    none, one = interval([math.nan]), interval([0.5, math.inf])
    assert (none.n, one.n, one.mean) == (0, 1, 0.5)
    assert all(map(math.isnan, (none.mean, none.low, none.high, one.low, one.high)))
    found = paired({1: 1.0, 2: 2.0}, {2: 1.0, 3: 5.0, 1: math.nan})
    assert (found.n, found.difference, math.isnan(found.p)) == (1, 1.0, True)


def test_only_shared_seeds_are_paired() -> None:
    assert paired({1: 3.0, 2: 5.0, 9: 70.0}, {2: 4.0, 1: 1.0, 8: 0.0}) == paired({1: 3.0, 2: 5.0}, {1: 1.0, 2: 4.0})


def test_differences_without_any_spread() -> None:
    a = by_seed(1.0, 2.0, 3.0)
    apart, same = paired(a, by_seed(0.5, 1.5, 2.5)), paired(a, a)
    assert (apart.difference, apart.low, apart.high, math.isnan(apart.p)) == (0.5, 0.5, 0.5, True)
    assert (same.difference, same.low, same.high, math.isnan(same.p)) == (0.0, 0.0, 0.0, True)
    by_rounding = paired(by_seed(0.91, 0.92, 0.93), by_seed(0.81, 0.82, 0.83))
    assert math.isnan(by_rounding.p), "0.91 - 0.81 and 0.92 - 0.82 are no other numbers but for rounding"
    assert math.isnan(welch([2.0, 2.0], [2.0, 2.0]).p)
    assert math.isnan(welch([2.0, 2.0], [1.0, 1.0, 1.0]).p)
    assert welch([2.0, 2.0], [1.0, 1.1]).p < 0.1


def test_differences_without_variation_are_reported_and_not_counted() -> None:
    """Two seeds whose accuracies differ by the same amount prove nothing."""
    a, b = repeated("a", test_accuracy=[0.90, 0.91]), repeated("b", test_accuracy=[0.89, 0.90])
    c = repeated("c", test_accuracy=[0.5, 0.52])
    found = compare_lanes([a, b, c], "test_accuracy")
    assert [one.pairs for one in found] == [2, 2, 2]
    last = found[-1]
    assert (names_of(last), last.shown, math.isnan(last.adjusted)) == (("a", "b"), False, True)
    assert last.text() == (
        "`a` and `b` differ in test_accuracy by 0.01 with every seed: there is no variation to test this against "
        "(paired t-test over 2 seeds)"
    )
    lanes = [repeated("a", test_loss=[0.90, 0.91]), repeated("b", test_loss=[0.89, 0.90])]
    (record,) = comparison_records(lanes)["comparisons"]
    json.dumps(record, allow_nan=False)
    assert (record["p"], record["p_adjusted"], record["shown"]) == (None, None, False)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
    one, none, other = holm([0.01, math.nan, 0.04])
    assert (one, other, math.isnan(none)) == (0.02, 0.04, True)


# Lanes


def repeated(name: str, *, loss: str = "CrossEntropy", broken: tuple[int, ...] = (), **figures: Any) -> LaneResult:
    """A lane with a repeat for each value of its figures."""

    def made(history: dict[str, list[float]], seed: int, repeats: tuple[LaneResult, ...]) -> LaneResult:
        status: Any = "diverged" if seed in broken else "done"
        records = epochs(history)
        return LaneResult(
            name, "SGD", loss, seed, "", 1, 1, tuple(history), records, Sequential(), status, repeats=repeats
        )

    count = len(next(iter(figures.values())))
    ones = [made({key: [float(values[n])] for key, values in figures.items()}, n, ()) for n in range(count)]
    return made({key: [float(np.mean(values))] for key, values in figures.items()}, -1, tuple(ones))


def compare_lanes(lanes: Iterable[LaneResult], figure: str) -> list[Comparison]:
    return compare(among(map(contender_of, lanes), figure), figure)


def names_of(found: Comparison) -> tuple[str, str]:
    return found.one.lane, found.other.lane


def test_a_difference_names_the_better_lane_first() -> None:
    sgd = repeated("SGD", test_loss=[0.70, 0.72, 0.68, 0.71, 0.69])
    adam = repeated("Adam", test_loss=[0.33, 0.34, 0.31, 0.35, 0.32])
    (found,) = compare_lanes([sgd, adam], "test_loss")
    assert (names_of(found), found.shown, found.test.n) == (("Adam", "SGD"), True, 5)
    assert found.test.difference == pytest.approx(-0.37)
    # differences 0.37, 0.38, 0.37, 0.36, 0.37: s = 0.0070711, half 2.776445 · s / √5 = 0.0087799
    assert found.text() == (
        "`Adam` is lower than `SGD` in test_loss by 0.37 [0.361, 0.379], p < 0.0001 (paired t-test over 5 seeds)"
    )


def test_differences_by_noise_alone_are_not_significant() -> None:
    rng = np.random.default_rng(0)
    lanes = [repeated(name, test_loss=0.5 + 0.05 * rng.standard_normal(5)) for name in "abcd"]
    found = compare_lanes(lanes, "test_loss")
    assert len(found) == 6
    assert not any(one.shown for one in found)
    assert all(one.text().startswith("no difference shown between `") for one in found)
    assert found[0].text().endswith("(paired t-test over 5 seeds, Holm over 6 pairs)")


def test_noise_is_taken_for_a_difference_in_five_of_a_hundred_runs_at_most() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(1000):
        lanes = [repeated(name, test_loss=rng.standard_normal(5)) for name in "abc"]
        wrong += any(one.shown for one in compare_lanes(lanes, "test_loss"))
    assert 15 <= wrong <= 70


def test_a_common_swing_of_seeds_does_not_hide_a_difference() -> None:
    swing = np.array([0.0, 3.0, -2.0, 5.0, 1.0])
    noise = np.array([0.01, -0.01, 0.02, 0.0, -0.02])
    (found,) = compare_lanes([repeated("a", test_loss=swing), repeated("b", test_loss=swing + 1 + noise)], "test_loss")
    assert found.shown


def test_repeats_that_did_not_finish_are_ignored() -> None:
    a = repeated("a", test_loss=[1, 2, 3.5, 99], broken=(3,))
    b = repeated("b", test_loss=[2, 3, 4, 5])
    (found,) = compare_lanes([a, b], "test_loss")
    assert found.test.n == 3
    assert interval_records(a)["intervals"]["test_loss"]["n"] == 3
    assert compare_lanes([repeated("c", test_loss=[1, 2, 3], broken=(0, 1)), b], "test_loss") == []


def test_different_losses_are_compared_by_test_accuracy_or_not_at_all() -> None:
    a = repeated("a", test_loss=[1, 1.1, 1.2], test_accuracy=[0.90, 0.91, 0.93])
    b = repeated("b", loss="MSE", test_loss=[0.01, 0.02, 0.03], test_accuracy=[0.80, 0.82, 0.83])
    c = repeated("c", loss="MSE", test_loss=[0.01, 0.03, 0.02])
    found: dict[frozenset[str], Comparison] = {
        frozenset(names_of(one)): one for one in compare_lanes([a, b, c], "test_loss")
    }
    assert set(found) == {frozenset("ab"), frozenset("bc")}
    by_accuracy = found[frozenset("ab")]
    assert (by_accuracy.figure, names_of(by_accuracy)) == ("test_accuracy", ("a", "b"))
    assert by_accuracy.text().startswith("`a` is higher than `b` in test_accuracy by 0.0967 [")


def test_the_figure_and_the_ten_best() -> None:
    lanes = [repeated(str(n), test_loss=[n, n + 1.5]) for n in range(12)]
    assert compared_figure(lanes) == "test_loss"
    assert compared_figure([*lanes, lane()]) == "loss"
    found = compare_lanes(reversed(lanes), "test_loss")
    assert len(found) == 45
    assert {name for one in found for name in names_of(one)} == set(map(str, range(10)))


def test_records_contain_null_for_nan() -> None:
    lane = repeated("a", test_loss=[math.nan, 1.0], test_accuracy=[1e308, -1e308])
    record = interval_records(lane) | comparison_records([lane])
    json.dumps(record, allow_nan=False)
    assert record["intervals"]["test_loss"] == {"mean": 1.0, "low": None, "high": None, "n": 1}
    assert record["comparisons"] == []


# A run

RACE = spec(
    race="SGD(lr=0.001); Adam(lr=0.01)",
    train="epochs = 8; batch = 16; repeats = 3",
    data="Digits(train=300, test=100)",
    more="seed = 42",
)


def printed(text: str) -> tuple[Any, str]:
    program = compiled(text)
    result = run(text)
    console = Console(width=200, color_system=None, markup=False, highlight=False)
    with console.capture() as caught:
        print_result(result, program, console)
    return result, caught.get()


def test_a_run_with_repeats_says_and_records_it(tmp_path: Path) -> None:
    result, out = printed(RACE)
    write_record(result, tmp_path)
    record = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    for summary, whole in zip(record["lanes"], result.values(), strict=True):
        assert list(summary["intervals"]) == list(whole.history)
        for figure, kept in summary["intervals"].items():
            values = [one.final(figure) for one in whole.repeats]
            half = 4.302652729911275 * np.std(values, ddof=1) / math.sqrt(3)
            assert kept["mean"] == pytest.approx(whole.final(figure))
            assert (kept["low"], kept["high"]) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    (found,) = record["comparisons"]
    assert (found["lanes"], found["figure"], found["n"], found["shown"]) == (["Adam", "SGD"], "test_loss", 3, True)
    assert found["low"] < found["difference"] < found["high"] < 0
    assert f"– {found['text']}\n" in out
    assert "(paired t-test over 3 seeds)" in out
    assert "(95 %, 3 seeds)\n" in out


def test_a_run_without_repeats_says_nothing_of_it() -> None:
    result, out = printed(spec(race="SGD(lr=0.1); Adam(lr=0.01)"))
    assert "comparisons" not in result.summary
    assert not any("intervals" in lane for lane in result.summary["lanes"])
    assert "95 %" not in out


def test_six_comparisons_are_printed_and_dim_ones_are_those_without_a_difference() -> None:
    lanes = [repeated(name, test_loss=[1.0 + n * 0.1, 1.3 - n * 0.1]) for n, name in enumerate("abcde")]
    lines = list(spread(lanes, comparison_records(lanes)))
    told = [(line, style) for line, style in lines if "difference" in line or "than" in line]
    assert len(told) == 6
    assert {style for _, style in told} == {"dim"}
    assert lines[-1] == ("– and 4 more comparisons, in summary.json", "dim")


def test_studies_are_compared_by_their_means() -> None:
    a, b = (
        [[0.3, 0.5], [0.2, 0.4], [0.35, 0.35]],
        [[0.6, 0.4], [0.7, 0.5], [0.9, 0.7], [math.inf, 0.1], [0.3, math.nan]],
    )
    assert between_studies(a, b) == welch([0.4, mean([0.2, 0.4]), 0.35], [0.5, mean([0.7, 0.5]), mean([0.9, 0.7])])
    assert between_studies(a, b).n == 3
    assert math.isnan(between_studies(a[:1], b).p), "one study says nothing of others"
