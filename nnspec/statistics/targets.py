"""The time to a target: of one curve, and of several, some of which may never reach it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Times", "time_to_target", "times_to_target"]


def time_to_target(at: Sequence[float], figures: Sequence[float], target: float, lower_is_better: bool) -> float:
    """Return where a curve first reaches a target; inf if it never does.

    `at` is where each figure was recorded: steps, evaluations of the gradient, seconds. The result is one of these
    places: between records nothing was measured, so that nothing is interpolated, and the time is late by up to one
    interval of recording. A curve that reaches the target and leaves it again has reached it. NaN never reaches it.
    Raises ValueError if there are not as many places as figures, or if the target is NaN.
    """
    if math.isnan(target):
        raise ValueError("the target is NaN")
    pairs = zip(at, figures, strict=True)
    return next((float(x) for x, y in pairs if (y <= target if lower_is_better else y >= target)), math.inf)


@dataclass(frozen=True)
class Times:
    """The times to a target of several trainings of the same lane."""

    n: int
    reached: int
    """How many of them reached it."""
    median: float
    """The median of all n: inf if half of them or more never reach it. It needs no assumption about those."""
    first: float
    last: float
    """The earliest and the latest; inf if not all (for `first`: if none) reached it."""
    expected: float
    """The expected running time, with a restart with another seed after each failure.

    The time spent in all trainings, divided by how many reached it: the expected running time of Hansen et al. (2021),
    COCO: a platform for comparing continuous optimizers in a black-box setting, Optim. Methods Softw. 36(1). Infinite
    if none reached it; NaN if some did not, and the time that they took is not given.
    """

    @property
    def text(self) -> str:
        """How many reached it: `4 of 5 reached it`."""
        return f"{self.reached} of {self.n} reached it"


def times_to_target(times: Sequence[float], spent: Sequence[float] | None = None) -> Times:
    """Summarise times to a target, of which some may be infinite (NaN counts as infinite).

    `spent` has the time that each training took altogether; it is used for those that did not reach the target. Raises
    ValueError if there are no times.
    """
    from statistics import median  # imports fractions and decimal

    if not times:
        raise ValueError("no times to summarise")
    all_times = [math.inf if math.isnan(time) else float(time) for time in times]
    reached = [time for time in all_times if math.isfinite(time)]
    lost = [cost for time, cost in zip(all_times, spent or times, strict=True) if math.isinf(time)]
    expected = math.inf
    if reached:
        expected = math.fsum([*reached, *lost]) / len(reached) if spent or not lost else math.nan
    return Times(
        len(all_times),
        len(reached),
        float(median(all_times)),
        min(all_times),
        max(all_times),
        expected,
    )
