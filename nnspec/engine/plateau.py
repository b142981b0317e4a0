"""A rate that is reduced when a figure of the run stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Annotated

from nnspec.engine.metrics.contract import higher_is_better
from nnspec.engine.part import Also, Count, FigureName, Range
from nnspec.engine.schedules import End, Factor, Follower, Schedule, Start

__all__ = ["PlateauSchedule"]

_VAL_LOSS = FigureName("val_loss")


class PlateauSchedule(Schedule):
    """rate = max(start · γ^k, to), where k counts how often `of` did not improve for `patience` epochs in a row.

    An epoch improves if its figure is better than the best so far by more than `min_delta`; lower is better, except for
    metrics that say otherwise. `cooldown` epochs after each reduction are not counted, nor are those of the warm-up.
    The new rate begins with the next epoch, and is never less than `to`. With `per=step`, `patience` and `cooldown` are
    numbers of steps between the epochs after which figures are measured.

    PyTorch's `ReduceLROnPlateau` with `threshold_mode="abs"` and `threshold=min_delta`, and a `patience` that is
    smaller by one: it counts the epochs that are tolerated. Keras's `ReduceLROnPlateau` counts as here.
    """

    spec_name = "plateau"
    also = ("ReduceLROnPlateau", "reduce_on_plateau")
    start: Start
    _: KW_ONLY
    patience: Annotated[Count, Also("epochs")] = 5
    gamma: Factor = 0.1
    of: Annotated[FigureName, Also("monitor", "figure")] = _VAL_LOSS
    min_delta: Annotated[float, Range(low=0), Also("threshold", "delta", "tol")] = 0.0
    cooldown: Annotated[int, Range(low=0)] = 0
    to: End = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._convert(of=FigureName(self.of))

    def after(self, epoch: float, epochs: float) -> float:
        """Start, before any figures are reported."""
        return self.start

    def reduced(self, rate: float, times: int) -> float:
        """Return a rate after a number of reductions."""
        return max(rate * self.gamma**times, min(rate, self.to)) if times else rate

    def milestone(self) -> tuple[str, float]:
        """The earliest reduction: the first epoch always improves."""
        return "the earliest reduction", 1 + self.patience

    def follow(self) -> Follower:
        """Return a new follower."""
        return _PlateauFollower(self)


class _PlateauFollower(Follower):
    schedule: PlateauSchedule

    def __init__(self, schedule: PlateauSchedule) -> None:
        super().__init__(schedule)
        self._best, self._waited, self._resting, self._reductions, self._steps = math.inf, 0, 0, 0, 0

    def rate(self, epoch: float, epochs: float, steps: int = 1) -> float:
        """The rate after the reductions so far."""
        return self.schedule.reduced(self.schedule.rate_at(epoch, epochs, steps), self._reductions)

    def tell(self, epochs: float, figures: Mapping[str, float], steps: int = 1) -> None:
        """Count the epochs, or steps, that did not improve on the best."""
        rule = self.schedule
        value = figures[rule.of] * (-1.0 if higher_is_better(rule.of) else 1.0)
        at = round(epochs * steps)
        passed, self._steps = 1 if rule.per == "epoch" else at - self._steps, at
        if rule.counted(epochs, steps) <= rule.warmup:
            return
        if self._best - value > rule.min_delta:
            self._best, self._waited = value, 0
        else:
            self._waited += passed
        if self._resting:
            self._resting, self._waited = max(self._resting - passed, 0), 0
        if self._waited >= rule.patience:
            self._reductions, self._waited, self._resting = self._reductions + 1, 0, rule.cooldown

    def state(self) -> dict[str, float]:
        """The best so far, the counts towards the next reduction, and the number of reductions."""
        counts = {"waited": self._waited, "resting": self._resting, "reductions": self._reductions}
        return {"best": self._best, "steps": self._steps, **counts}

    def keep_state(self, state: Mapping[str, float]) -> None:
        """Restore a saved state."""
        self._best, self._steps = float(state["best"]), int(state.get("steps", 0))  # older checkpoints count epochs
        self._waited, self._resting, self._reductions = (int(state[k]) for k in ("waited", "resting", "reductions"))
