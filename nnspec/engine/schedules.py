"""Schedules: how a rate changes while training goes on. Ordered by how hard they are to understand.

A schedule stands where a rate may stand: `Adam(lr=cosine(1e-3, to=1e-5, warmup=2))`. It knows no optimizer and keeps no
state; it is a function of where training stands, e of E epochs, where e is a real number: batch b of B in epoch n is
e = n + b/B, both counted from 0. PyTorch's schedulers are stepped once an epoch instead, so there a rate stays what it
is for an epoch; at whole epochs the two agree.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from nnspec.engine.part import Also, Count, PlainPart, Positive, Range

__all__ = [
    "ConstantSchedule",
    "CosineSchedule",
    "ExponentialSchedule",
    "LinearSchedule",
    "Schedule",
    "StepSchedule",
]

Start = Annotated[Positive, Also("lr", "learning_rate", "initial", "base_lr", "initial_learning_rate", "eta_max")]
End = Annotated[float, Range(low=0), Also("end", "final", "eta_min", "min_lr", "end_learning_rate")]
Factor = Annotated[float, Range(low=0, high=1, open_low=True), Also("decay", "factor", "decay_rate", "drop")]
Period = Annotated[Count, Also("step_size", "period", "decay_steps", "epochs")]
Warmup = Annotated[float, Range(low=0), Also("warmup_epochs", "warm_up")]


class Schedule(PlainPart):
    """Base of the schedules: rate(e, E) = start · e / w while e < w, the warm-up, and `after` for what follows.

    The warm-up of w epochs is linear from 0, so the very first step of a run with one moves nothing. Goyal et al. 2017
    (theirs starts from the rate of one worker; PyTorch's `LinearLR` from a third). What follows counts its epochs from
    the end of the warm-up, as with PyTorch's `SequentialLR`. A warm-up that is longer than training is cut off with it.

    `start`, `to` and every rate are positive numbers, `warmup` and all lengths are epochs. Raises ValueError for
    arguments out of range.
    """

    kind: ClassVar[str] = "schedule"
    start: float
    warmup: float

    def rate(self, epoch: float, epochs: int) -> float:
        """Return the rate at `epoch`, a real number from 0 to `epochs`, of a training of `epochs` in all."""
        if epoch < self.warmup:
            return self.start * epoch / self.warmup
        return self.after(epoch - self.warmup, max(epochs - self.warmup, 0.0))

    def after(self, epoch: float, epochs: float) -> float:
        """Return the rate `epoch` epochs after the end of the warm-up, which `epochs` epochs follow in all."""
        raise NotImplementedError


class ConstantSchedule(Schedule):
    """rate = start: a plain number with a warm-up."""

    spec_name = "constant"

    def __init__(self, start: Start, *, warmup: Warmup = 0) -> None:
        super().__init__(start=start, warmup=warmup)

    def after(self, epoch: float, epochs: float) -> float:
        """Start."""
        return self.start


class LinearSchedule(Schedule):
    """rate = start + (to − start) · e / E. PyTorch's `LinearLR`, which takes factors; Keras's `PolynomialDecay`."""

    spec_name = "linear"
    also = ("LinearLR", "PolynomialDecay", "linear_decay")
    to: float

    def __init__(self, start: Start, *, to: End = 0, warmup: Warmup = 0) -> None:
        super().__init__(start=start, to=to, warmup=warmup)

    def after(self, epoch: float, epochs: float) -> float:
        """Start + (to − start) · e / E."""
        return self.start + (self.to - self.start) * _share(epoch, epochs)


class StepSchedule(Schedule):
    """rate = start · γ^⌊e / every⌋: constant for `every` epochs, then a γ of it. PyTorch's `StepLR`."""

    spec_name = "step"
    also = ("StepLR", "step_decay")
    every: int
    gamma: float

    def __init__(self, start: Start, *, every: Period, gamma: Factor = 0.1, warmup: Warmup = 0) -> None:
        super().__init__(start=start, every=every, gamma=gamma, warmup=warmup)

    def after(self, epoch: float, epochs: float) -> float:
        """Start · γ^⌊e / every⌋."""
        return self.start * self.gamma ** math.floor(epoch / self.every)


class ExponentialSchedule(Schedule):
    """rate = start · γ^e, a γ of it after each epoch, and smoothly in between.

    PyTorch's `ExponentialLR`, which jumps at the end of each epoch; Keras's `ExponentialDecay` counts steps.
    """

    spec_name = "exponential"
    also = ("ExponentialLR", "ExponentialDecay", "exponential_decay")
    gamma: float

    def __init__(self, start: Start, *, gamma: Factor, warmup: Warmup = 0) -> None:
        super().__init__(start=start, gamma=gamma, warmup=warmup)

    def after(self, epoch: float, epochs: float) -> float:
        """Start · γ^e."""
        return self.start * self.gamma**epoch


class CosineSchedule(Schedule):
    """rate = to + (start − to) · (1 + cos(π · e / E)) / 2: slowly away from start, and slowly up to the end.

    Loshchilov & Hutter 2017, equation 5, without its restarts; PyTorch's `CosineAnnealingLR` with `T_max` = E.
    """

    spec_name = "cosine"
    also = ("CosineAnnealingLR", "CosineDecay", "cosine_annealing", "cosine_decay")
    to: float

    def __init__(self, start: Start, *, to: End = 0, warmup: Warmup = 0) -> None:
        super().__init__(start=start, to=to, warmup=warmup)

    def after(self, epoch: float, epochs: float) -> float:
        """To + (start − to) · (1 + cos(π · e / E)) / 2."""
        return self.to + (self.start - self.to) * (1 + math.cos(math.pi * _share(epoch, epochs))) / 2


def _share(epoch: float, epochs: float) -> float:
    """How much of the way is behind: 0 to 1, and 0 where nothing follows the warm-up."""
    return min(epoch / epochs, 1.0) if epochs > 0 else 0.0
