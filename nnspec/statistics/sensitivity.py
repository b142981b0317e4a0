"""The tolerance of one hyperparameter, from trials in which all of them vary together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnspec.statistics.budgets import worst_if_not_finite

__all__ = ["FEWEST", "Sensitivity", "sensitivity"]

FEWEST = 8
"""With fewer trials, no range is given."""


Trial = tuple[float, float]
"""The value of the hyperparameter, and the gap of the figure to the ideal one."""


@dataclass(frozen=True)
class Sensitivity:
    """The range of a hyperparameter in which the figure is still good enough, if the others are tuned.

    If the range is unknown, `low` and `high` are NaN, and `reason` says why.
    """

    curve: tuple[tuple[float, float], ...]
    """(value, figure) of the trials on the envelope, by value: no trial further from the best one is as good."""
    best: float
    """The value of the best trial."""
    threshold: float
    """The figure that is just good enough."""
    low: float
    high: float
    open_low: bool
    """Whether the range may be wider below `low`: all trials there are good enough, or there are none."""
    open_high: bool
    log: bool
    reason: str

    @property
    def factor(self) -> float | None:
        """√(high / low): from the middle of the range, the value may be off by this factor to either side.

        At least this factor if the range is open. None if it is unknown, or if the values are not on a log scale.
        """
        return None if self.reason or not self.log else math.sqrt(self.high / self.low)

    @property
    def margin(self) -> float | None:
        """(high − low) / 2: the same for values that are not on a log scale."""
        return None if self.reason or self.log else (self.high - self.low) / 2


def sensitivity(
    values: Sequence[float],
    figures: Sequence[float],
    lower_is_better: bool,
    *,
    log: bool = True,
    ideal: float | None = None,
    untrained: float | None = None,
) -> Sensitivity:
    """Return the range of a hyperparameter in which the loss is at most twice that of the best trial.

    `values` and `figures` are those of all trials of a lane, whatever else varies. The gap of a figure is its distance
    to the `ideal` figure: by default 0 if lower is better, and 1 otherwise. A figure is good enough if its gap is at
    most twice that of the best trial. Given the figure of the `untrained` network, it also has to keep at least half of
    what the best trial gained on that, since a loss that starts at 2.3 and ends at 1.5 never doubles.

    The figure that is possible with a value x, if all else is tuned, is assumed to get worse with the distance from the
    best value, on either side. Each trial then bounds it from above for all values between its own and the best one,
    and the lowest such bound is the envelope: from the outermost values inwards, the trials that are better than all
    before them. The ends of the range lie where the envelope crosses the threshold, interpolated on the scale of the
    values (logarithms if `log`) between the outermost trial that is good enough and the best of those further out. If
    all of these diverged, the range ends at the former.

    A range is only given for at least 8 trials, if at least two different values are good enough. On simulated curves,
    the logarithm of the factor of 20 trials is too small by a few percent, and lies between 0.6 and 1.4
    times the true one in four cases of five (docs/statistics.md). Raises ValueError if there are no trials, not as many
    values as figures, or values ≤ 0 on a log scale.
    """
    if not values or len(values) != len(figures):
        raise ValueError(f"as many values as figures are needed, and at least one: {len(values)} and {len(figures)}")
    if log and min(values) <= 0:
        raise ValueError(f"{min(values):g} has no place on a log scale")
    ideal = ideal if ideal is not None else 0.0 if lower_is_better else 1.0
    sign = 1.0 if lower_is_better else -1.0
    gaps = [sign * (figure - ideal) for figure in worst_if_not_finite(figures, lower_is_better)]
    trials = sorted(zip(map(float, values), gaps, strict=True))
    best, least = min(trials, key=lambda trial: trial[1])
    most = _most(least, math.inf if untrained is None else sign * (untrained - ideal))
    enough = [trial for trial in trials if trial[1] <= most]
    reason = _reason(trials, enough, least, most)
    ends = [(math.nan, False)] * 2
    if not reason:
        below = [trial for trial in trials if trial[0] < enough[0][0]]
        above = [trial for trial in trials if trial[0] > enough[-1][0]]
        ends = [_end(enough, enough[0][0], below, most, log), _end(enough, enough[-1][0], above, most, log)]
    (low, open_low), (high, open_high) = ends
    curve = tuple((value, ideal + sign * gap) for value, gap in _envelope(trials, best))
    return Sensitivity(curve, best, ideal + sign * most, low, high, open_low, open_high, log, reason)


def _most(least: float, untrained: float) -> float:
    """The largest gap that is good enough."""
    halfway = (least + untrained) / 2
    return min(2 * least, halfway) if least > 0 else halfway


def _reason(trials: Sequence[Trial], enough: Sequence[Trial], least: float, most: float) -> str:
    """Why the range is unknown; empty if it is known."""
    n, values = len(trials), {value for value, _ in enough}
    reasons = (
        (n < FEWEST, f"{n} trials are too few, {FEWEST} are needed"),
        (math.isinf(least), "all trials diverged"),
        (least < 0, "the best trial is better than the ideal figure"),
        (math.isinf(most), "the best trial has the ideal figure, so the gap cannot double"),
        (most < least, "no trial is better than the untrained network"),
        (
            len(values) < 2,
            f"of {n} trials, only those at one value are good enough; more are needed near it",
        ),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _end(enough: Sequence[Trial], edge: float, beyond: Sequence[Trial], most: float, log: bool) -> tuple[float, bool]:
    """One end of the range, and whether it is open because there are no trials beyond it."""
    if not beyond:
        return edge, True
    outer, worse = min(beyond, key=lambda trial: (trial[1], abs(trial[0] - edge)))
    gap = min(gap for value, gap in enough if value == edge)
    share = (most - gap) / (worse - gap)  # 0 if it diverged
    return (edge * (outer / edge) ** share if log else edge + (outer - edge) * share), False


def _envelope(trials: Sequence[Trial], best: float) -> list[Trial]:
    """The trials that are better than all that are further from the best value on their side, by value."""
    left = _records([trial for trial in trials if trial[0] <= best])
    right = _records([trial for trial in reversed(trials) if trial[0] > best])
    return [*left, *reversed(right)]


def _records(inwards: Sequence[Trial]) -> list[Trial]:
    """The trials that are better than all before them; of equal values, the best."""
    records: list[Trial] = []
    for trial in inwards:
        if not records or trial[1] < records[-1][1]:
            if records and records[-1][0] == trial[0]:
                records.pop()
            records.append(trial)
    return [trial for trial in records if math.isfinite(trial[1])]
