"""How far a hyperparameter may be off: by hand, and on known curves by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnspec.statistics.sensitivity import FEWEST, sensitivity

RATES = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0]
LOSSES = [2.2, 1.0, 0.5, 0.4, 0.7, 0.9, 1.6, math.nan]


def test_the_range_by_hand() -> None:
    """The best loss is 0.4, so that 0.8 is just good enough: between 1e-3 (1.0) and 3e-3 (0.5), 3e-2 and 1e-1."""
    result = sensitivity(RATES, LOSSES, True)
    assert (result.best, result.threshold, result.reason) == (1e-2, 0.8, "")
    assert result.low == pytest.approx(3e-3 * (1e-3 / 3e-3) ** (0.3 / 0.5), rel=1e-12)
    assert result.high == pytest.approx(3e-2 * (1e-1 / 3e-2) ** (0.1 / 0.2), rel=1e-12)
    assert (result.open_low, result.open_high) == (False, False)
    assert result.factor == pytest.approx(math.sqrt(result.high / result.low))
    assert result.margin is None
    assert result.curve == tuple(zip(RATES[:-1], LOSSES[:-1], strict=True))


def test_other_hyperparameters_hide_behind_the_envelope() -> None:
    """Trials that are bad for another reason change nothing: neither within the range nor further out."""
    spoiled = [
        (5e-3, 3.0),
        (2e-4, 9.0),
        (0.5, math.inf),
        (2e-2, 1.9),
        (1e-2, 2.0),
        (0.2, 5.0),
        (1e-1, 1.2),
        (3e-2, 0.75),
    ]
    clean = sensitivity(RATES, LOSSES, True)
    values, figures = [*RATES, *(x for x, _ in spoiled)], [*LOSSES, *(y for _, y in spoiled)]
    assert sensitivity(values, figures, True) == clean
    assert sensitivity(values[::-1], figures[::-1], True) == clean, "nor does the order of the trials"


def test_accuracies_are_measured_from_one() -> None:
    accuracies = [1 - loss / 4 for loss in LOSSES]
    result, loss = sensitivity(RATES, accuracies, False), sensitivity(RATES, LOSSES, True)
    assert result.threshold == pytest.approx(0.8)
    assert (result.low, result.high) == pytest.approx((loss.low, loss.high))
    assert [y for _, y in result.curve] == pytest.approx(accuracies[:-1])
    percent = sensitivity(RATES, [100 * x for x in accuracies], False, ideal=100)
    assert percent.factor == pytest.approx(loss.factor)


def test_the_untrained_network_bounds_what_is_good_enough() -> None:
    assert sensitivity(RATES, LOSSES, True, untrained=9.0).threshold == 0.8
    assert sensitivity(RATES, LOSSES, True, untrained=1.0).threshold == pytest.approx(0.7)
    assert sensitivity(RATES, [1 - loss / 4 for loss in LOSSES], False, untrained=0.7).threshold == pytest.approx(0.8)
    ideal = sensitivity(RATES, [loss - 0.4 for loss in LOSSES], True, untrained=1.0)
    assert ideal.threshold == pytest.approx(0.5), "nothing can double, but half of the gain can be lost"


def test_an_end_where_all_trials_are_good_enough_is_open() -> None:
    result = sensitivity(RATES, [0.7, 0.6, 0.5, 0.4, 0.5, 0.9, 1.0, 2.0], True)
    assert (result.low, result.open_low, result.open_high) == (1e-4, True, False)
    flat = sensitivity(RATES, [0.5] * 8, True)
    assert flat.factor == pytest.approx(100)
    assert flat.open_low
    assert flat.open_high


def test_an_end_beyond_which_all_diverged_is_the_last_good_value() -> None:
    result = sensitivity(RATES, [1.0, 0.9, 0.5, 0.4, 0.7, math.nan, math.inf, math.nan], True)
    assert (result.high, result.open_high) == (3e-2, False)


def test_values_that_are_not_on_a_log_scale_have_a_margin() -> None:
    result = sensitivity([x / 10 for x in range(9)], [9, 7, 5, 3, 1, 3, 5, 7, 9], True, log=False)
    assert result.factor is None
    assert result.reason == "of 9 trials, only those at one value are good enough; more are needed near it"
    result = sensitivity([x / 10 for x in range(9)], [9, 7, 5, 3, 2, 3, 5, 7, 9], True, log=False)
    assert (result.low, result.high) == pytest.approx((0.25, 0.55))
    assert result.margin == pytest.approx(0.15)
    assert result.factor is None


@pytest.mark.parametrize(
    ("figures", "options", "reason"),
    [
        (LOSSES[:7], {}, f"7 trials are too few, {FEWEST} are needed"),
        ([math.nan] * 8, {}, "all trials diverged"),
        ([loss - 1 for loss in LOSSES], {}, "better than the ideal figure"),
        ([loss - 0.4 for loss in LOSSES], {}, "has the ideal figure"),
        (LOSSES, {"untrained": 0.3}, "no trial is better than the untrained network"),
        ([9, 7, 5, 0.1, 5, 7, 9, 9], {}, "only those at one value"),
    ],
)
def test_what_cannot_be_told(figures: list[float], options: dict[str, float], reason: str) -> None:
    result = sensitivity(RATES[: len(figures)], figures, True, **options)
    assert reason in result.reason
    assert result.factor is None
    assert math.isnan(result.low)


def test_values_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="as many values as figures"):
        sensitivity([1.0], [1.0, 2.0], True)
    with pytest.raises(ValueError, match="as many values as figures"):
        sensitivity([], [], True)
    with pytest.raises(ValueError, match="0 has no place on a log scale"):
        sensitivity([0.0], [1.0], True)


@pytest.mark.parametrize("others", [0, 1, 2])
def test_known_curves_are_found_again(others: int) -> None:
    """20 trials over five decades; the loss 1 + (x/0.7)² in decades x doubles at a factor of 10^0.7 = 5."""
    random = np.random.default_rng(others)
    ratios = []
    for _ in range(300):
        rates = 10 ** random.uniform(-5, 0, 20)
        losses = 1 + ((np.log10(rates) + 2.5) / 0.7) ** 2 + (random.uniform(-1, 1, (others, 20)) ** 2).sum(axis=0)
        result = sensitivity(rates.tolist(), (losses * np.exp(0.05 * random.normal(size=20))).tolist(), True)
        ratios += [math.log10(result.factor) / 0.7] if result.factor else []
    assert len(ratios) > 290
    assert np.median(ratios) == pytest.approx(1, abs=0.08)
    assert np.quantile(ratios, 0.1) > 0.7
    assert np.quantile(ratios, 0.9) < 1.45
