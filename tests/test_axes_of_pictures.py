"""The numbers beside an axis: round, not too many, and the same in pictures and in charts."""

from __future__ import annotations

import math
import random

import pytest

from nnspec.view.axes import Scale, epoch_ticks, round_numbers, tick_text


@pytest.mark.parametrize(
    ("low", "high", "most", "log", "numbers"),
    [
        (0, 2.35, 8, False, [0, 0.5, 1, 1.5, 2]),
        (0.22, 0.88, 8, False, [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        (-0.55, 0.3, 8, False, [-0.4, -0.2, 0, 0.2]),
        (0, 3.1e7, 8, False, [0, 5e6, 1e7, 1.5e7, 2e7, 2.5e7, 3e7]),
        (0.3, 2.4, 8, True, [0.3, 0.4, 0.5, 0.7, 1, 1.5, 2]),
        (1, 10, 6, True, [1, 2, 5, 10]),
        (1e-9, 1, 4, True, [1e-9, 1e-6, 1e-3, 1]),
        (1.0, 1.0, 8, False, [1.0]),
        (0.0, 5e-324, 8, False, [0.0]),
    ],
)
def test_numbers_are_round(low: float, high: float, most: int, log: bool, numbers: list[float]) -> None:
    assert round_numbers(low, high, most, log=log) == pytest.approx(numbers)


@pytest.mark.parametrize("log", [False, True])
def test_ticks_are_in_order_and_no_more_than_requested(log: bool) -> None:
    draw = random.Random(1)
    for _ in range(2000):
        low = 10 ** draw.uniform(-12, 12) * (1 if log else draw.choice((-1, 1)))
        high = low * 10 ** draw.uniform(0.1, 8) if log else low + 10 ** draw.uniform(-3, 8) * abs(low)
        most = draw.randint(5, 14)
        numbers = round_numbers(low, high, most, log=log)
        slack = 1e-6 * (high - low)
        assert len(numbers) <= most
        assert numbers == sorted(set(numbers))
        assert all(low - slack <= number <= high + slack for number in numbers)
        assert len(numbers) >= 2 or (log and high < 2.5 * low)


@pytest.mark.parametrize(
    ("epochs", "ticks"),
    [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (15, [1, 4, 6, 8, 10, 12, 15]), (30, [1, 5, 10, 15, 20, 25, 30])],
)
def test_the_first_and_the_last_epoch_have_a_tick(epochs: int, ticks: list[int]) -> None:
    assert epoch_ticks(epochs) == ticks


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (-2.0, "−2"), (1e-5, "1e−5"), (2.5e7, "2.5e7"), (1e120, "1e120"), (0, "0")]
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_ticks_in_percent() -> None:
    assert tick_text(0.8, percent=True) == "80 %"
    assert Scale.around([0.2, 0.99], percent=True).high == 1.0
    assert Scale.around([0.5], percent=True).share(0.5) == pytest.approx(0.5)


def test_a_scale_takes_what_can_be_drawn() -> None:
    linear = Scale.around([2.0, math.nan, 1.0, math.inf])
    assert (linear.low, linear.share(2.0)) == (0.0, pytest.approx(1 / 1.04))
    assert Scale.around([-1.0, 1.0]).low < -1.0
    log = Scale.around([0.1, 10.0, 0.0, -5.0], log=True)
    assert log.share(1.0) == pytest.approx(0.5)
    assert (log.share(1e-9), log.share(1e9)) == (0.0, 1.0)
