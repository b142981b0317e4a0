"""Schedules: learning rates that change during training. Ordered by how hard they are to understand.

A schedule can be used in place of a rate: `Adam(lr=cosine(1e-3, to=1e-5, warmup=2))`. It does not depend on an
optimizer and has no state; it is a function of progress, e of E epochs, where e is a real number: batch b of B in
epoch n is e = n + b/B, both counted from 0. With `per=step`, e and E count steps instead. PyTorch's schedulers are
usually stepped once per epoch, so their rate is constant within an epoch; that is `staircase=true`.

A schedule that depends on a figure of the run (`plateau.py`) is a value like the others. Its state in one training is
held by a follower, as a few numbers that can be saved and restored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from nnspec.engine.part import Also, BareWord, Count, FigureName, PlainPart, Positive, Probability, Range

__all__ = [
    "ChainSchedule",
    "ConstantSchedule",
    "CosineRestartsSchedule",
    "CosineSchedule",
    "ExponentialSchedule",
    "Follower",
    "InverseSchedule",
    "InverseSquareRootSchedule",
    "LinearSchedule",
    "OneCycleSchedule",
    "PiecewiseSchedule",
    "PolynomialSchedule",
    "Schedule",
    "StepSchedule",
]

Start = Annotated[Positive, Also("lr", "learning_rate", "initial", "base_lr", "initial_learning_rate", "eta_max")]
End = Annotated[float, Range(low=0), Also("end", "final", "eta_min", "min_lr", "end_learning_rate")]
Factor = Annotated[float, Range(low=0, high=1, open_low=True), Also("decay", "factor", "decay_rate", "drop")]
Period = Annotated[Count, Also("step_size", "period", "decay_steps", "epochs")]
Warmup = Annotated[float, Range(low=0), Also("warmup_epochs", "warm_up")]
Divisor = Annotated[float, Range(low=1)]
Per = Annotated[Literal["epoch", "step"], Also("interval", "unit", "by")]


class Follower:
    """Computes the rates of one training by a schedule. The training loop reports the figures of every epoch to it."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def rate(self, epoch: float, epochs: float, steps: int = 1) -> float:
        """Return the rate at `epoch` of `epochs`, of `steps` steps each, given the figures reported so far."""
        return self.schedule.rate_at(epoch, epochs, steps)

    def tell(self, epochs: float, figures: Mapping[str, float], steps: int = 1) -> None:
        """Report the figures after `epochs` epochs of `steps` steps each. Raises KeyError if the schedule's figure is
        missing.
        """

    def state(self) -> dict[str, float]:
        """Return its state, for `keep_state` of a new follower."""
        return {}

    def keep_state(self, state: Mapping[str, float]) -> None:
        """Restore a saved state."""


class Schedule(PlainPart):
    """Base of the schedules: rate(e, E) = start · e / w while e < w, the warm-up, and then `after`.

    The warm-up of w epochs is linear from 0, so the first step of a run with a warm-up changes nothing. Goyal et al.
    2017 (theirs starts from the rate of one worker; PyTorch's `LinearLR` from a third). The rest counts its epochs from
    the end of the warm-up, as in PyTorch's `SequentialLR`. A warm-up that is longer than training is cut off.

    `start`, `to` and every rate are positive numbers. `warmup`, all lengths, e and E are in epochs; with `per=step`
    they are in steps, the first of which is e = 0. With `staircase`, e is rounded down: the rate changes only at the
    starts of epochs, as when PyTorch's `step()` is called once per epoch (Keras's name for it in `ExponentialDecay`).
    Raises ValueError for arguments out of range, and for a `staircase` per step, which would have no effect.
    """

    kind: ClassVar[str] = "schedule"
    must_define = ("after",)
    _: KW_ONLY
    warmup: Warmup = 0
    per: Per = "epoch"
    staircase: bool = False
    start = 0.0
    """The rate at the end of the warm-up."""

    def __post_init__(self) -> None:
        if self.staircase and self.per == "step":
            raise ValueError(
                f"{self.spec_name}: `staircase` has no effect with `per=step`: the rate changes every step"
            )
        self._convert(per=BareWord(self.per))

    @property
    def of(self) -> FigureName | None:
        """The figure that it depends on, if any."""
        return None

    @property
    def largest(self) -> float:
        """The largest rate of the schedule, if it does not simply fall from `start`."""
        return self.start

    def follow(self) -> Follower:
        """Return a follower for one training."""
        return Follower(self)

    def counted(self, epochs: float, steps: int) -> float:
        """Return a number of epochs, of `steps` steps each, in the unit of this schedule."""
        return epochs if self.per == "epoch" else round(epochs * steps)

    def rate_at(self, epoch: float, epochs: float, steps: int = 1) -> float:
        """Return the rate at `epoch` of a training of `epochs` epochs, of `steps` steps each."""
        return self.rate(self.counted(epoch, steps), self.counted(epochs, steps))

    def rate(self, epoch: float, epochs: float) -> float:
        """Return the rate at `epoch`, a real number from 0 to `epochs`, of a training of `epochs` epochs; with
        `per=step`, both are numbers of steps.
        """
        if self.staircase:
            epoch = math.floor(epoch)
        if epoch < self.warmup:
            return self.start * epoch / self.warmup
        return self.after(epoch - self.warmup, max(epochs - self.warmup, 0.0))

    def after(self, epoch: float, epochs: float) -> float:
        """Return the rate `epoch` epochs after the end of the warm-up, which is followed by `epochs` epochs in
        total.
        """
        raise NotImplementedError

    def milestone(self) -> tuple[str, float] | None:
        """Name the change of the rate that must come before training ends, and its epoch after the warm-up.

        It has an effect only if training continues after that epoch. None if the rate changes continuously.
        """
        return None


class ConstantSchedule(Schedule):
    """rate = start: a plain number with a warm-up."""

    spec_name = "constant"
    start: Start

    def after(self, epoch: float, epochs: float) -> float:
        """Start."""
        return self.start


class LinearSchedule(Schedule):
    """rate = start + (to − start) · e / E. PyTorch's `LinearLR`, which takes factors; Keras's `PolynomialDecay`."""

    spec_name = "linear"
    also = ("LinearLR", "linear_decay")
    start: Start
    _: KW_ONLY
    to: End = 0

    def after(self, epoch: float, epochs: float) -> float:
        """Start + (to − start) · e / E."""
        return self.start + (self.to - self.start) * _share(epoch, epochs)


class StepSchedule(Schedule):
    """rate = start · γ^⌊e / every⌋: multiplied by γ after every `every` epochs. PyTorch's `StepLR`; Caffe's `step`, per
    step.
    """

    spec_name = "step"
    also = ("StepLR", "step_decay")
    start: Start
    _: KW_ONLY
    every: Period
    gamma: Factor = 0.1

    def after(self, epoch: float, epochs: float) -> float:
        """Start · γ^⌊e / every⌋."""
        return self.start * self.gamma ** math.floor(epoch / self.every)

    def milestone(self) -> tuple[str, float]:
        """The first step."""
        return "the first step", self.every


class ExponentialSchedule(Schedule):
    """rate = start · γ^e: multiplied by γ over each epoch, continuously.

    PyTorch's `ExponentialLR` is this with `staircase`, if it is stepped once per epoch; Caffe's `exp` and Keras's
    `ExponentialDecay` are this with `per=step`, with γ = decay_rate^(1 / decay_steps).
    """

    spec_name = "exponential"
    also = ("ExponentialLR", "ExponentialDecay", "exponential_decay")
    start: Start
    _: KW_ONLY
    gamma: Factor

    def after(self, epoch: float, epochs: float) -> float:
        """Start · γ^e."""
        return self.start * self.gamma**epoch


class InverseSchedule(Schedule):
    """rate = start · (1 + γ·e)^−power.

    Caffe's `inv`, with `per=step`. Keras's `InverseTimeDecay` with γ = decay_rate / decay_steps, `per=step` and power
    1. scikit-learn's `invscaling` has power 0.5, and counts samples once per epoch: γ is the number of training
    samples, with `staircase`.
    """

    spec_name = "inverse"
    also = ("InverseTimeDecay", "inv", "invscaling", "inverse_time_decay")
    start: Start
    _: KW_ONLY
    gamma: Annotated[Positive, Also("decay", "decay_rate")]
    power: Annotated[Positive, Also("power_t")] = 1.0

    def after(self, epoch: float, epochs: float) -> float:
        """Start · (1 + γ·e)^−power."""
        return self.start * (1 + self.gamma * epoch) ** -self.power


class InverseSquareRootSchedule(Schedule):
    """rate = start · √(w / (w + e)): up to `start` along the warm-up of w, then with one over the square root.

    Vaswani et al. 2017, section 5.3, with `per=step`: their rate at step s = w + e, counted from 0 here and from 1
    there, is d^−½ · min(s^−½, s · w^−1.5), so that `start` is (d · w)^−½ for a model of width d.
    """

    spec_name = "inverse_sqrt"
    also = ("noam", "Noam", "NoamLR", "inverse_square_root", "rsqrt")
    start: Start
    _: KW_ONLY
    warmup: Annotated[float, Range(low=0, open_low=True), Also("warmup_epochs", "warm_up", "warmup_steps")]

    def after(self, epoch: float, epochs: float) -> float:
        """Start · √(w / (w + e))."""
        return self.start * math.sqrt(self.warmup / (self.warmup + epoch))


class CosineSchedule(Schedule):
    """rate = to + (start − to) · (1 + cos(π · e / E)) / 2: flat at the start and at the end.

    Loshchilov & Hutter 2017, equation 5, without its restarts; PyTorch's `CosineAnnealingLR` with `T_max` = E.
    """

    spec_name = "cosine"
    also = ("CosineAnnealingLR", "CosineDecay", "cosine_annealing", "cosine_decay")
    start: Start
    _: KW_ONLY
    to: End = 0

    def after(self, epoch: float, epochs: float) -> float:
        """To + (start − to) · (1 + cos(π · e / E)) / 2."""
        return self.to + (self.start - self.to) * (1 + math.cos(math.pi * _share(epoch, epochs))) / 2


class PolynomialSchedule(Schedule):
    """rate = to + (start − to) · (1 − e / E)^power: for powers above 1, steep first and flat at the end.

    PyTorch's `PolynomialLR`, which always ends at 0, and Keras's `PolynomialDecay`; both have power = 1 by default,
    which is `linear`.
    """

    spec_name = "polynomial"
    also = ("PolynomialLR", "PolynomialDecay", "poly")
    start: Start
    _: KW_ONLY
    power: Positive = 2.0
    to: End = 0

    def after(self, epoch: float, epochs: float) -> float:
        """To + (start − to) · (1 − e / E)^power."""
        return self.to + (self.start - self.to) * (1 - _share(epoch, epochs)) ** self.power


class PiecewiseSchedule(Schedule):
    """rate = start, then values[i] from boundaries[i] on; boundaries are epochs in ascending order.

    Keras's `PiecewiseConstantDecay`, whose boundaries are steps and whose first value is `start` here; PyTorch's
    `MultiStepLR`, if each value is the same multiple of the previous one. Raises ValueError if boundaries do not ascend
    or if there are not as many values.
    """

    spec_name = "piecewise"
    also = ("MultiStepLR", "PiecewiseConstantDecay", "piecewise_constant", "multistep")
    start: Start
    _: KW_ONLY
    boundaries: Annotated[tuple[float, ...], Range(low=0, open_low=True), Also("milestones", "at")]
    values: Annotated[tuple[float, ...], Range(low=0), Also("rates", "lrs")]

    def __post_init__(self) -> None:
        if len(self.boundaries) != len(self.values):
            counts = f"{len(self.boundaries)} boundaries and {len(self.values)} values"
            raise ValueError(f"piecewise: {counts}: each boundary has the rate that begins there")
        if any(later <= earlier for earlier, later in pairwise(self.boundaries)):
            raise ValueError("piecewise: `boundaries` must ascend")
        super().__post_init__()
        self._convert(boundaries=tuple(self.boundaries), values=tuple(self.values))

    @property
    def largest(self) -> float:
        """The largest of all rates."""
        return max(self.start, *self.values) if self.values else self.start

    def after(self, epoch: float, epochs: float) -> float:
        """The value of the last boundary so far."""
        passed = sum(epoch >= boundary for boundary in self.boundaries)
        return self.values[passed - 1] if passed else self.start

    def milestone(self) -> tuple[str, float] | None:
        """The last boundary: one beyond the end of training is a mistake, even after earlier ones."""
        return ("the last boundary", self.boundaries[-1]) if self.boundaries else None


class CosineRestartsSchedule(Schedule):
    """rate = to + (start − to) · (1 + cos(π · e′ / n)) / 2 with e′ epochs since the last restart, of n until the next.

    n is `every` at first, and `mult` times as long after each restart. Loshchilov & Hutter 2017 (SGDR), equation 5;
    PyTorch's `CosineAnnealingWarmRestarts`; Keras's `CosineDecayRestarts`, which can also lower the start each time.
    """

    spec_name = "cosine_restarts"
    also = ("CosineAnnealingWarmRestarts", "CosineDecayRestarts", "SGDR", "sgdr", "warm_restarts")
    start: Start
    _: KW_ONLY
    every: Annotated[Count, Also("T_0", "period", "cycle", "first_decay_steps")]
    mult: Annotated[Count, Also("T_mult", "t_mul")] = 1
    to: End = 0

    def after(self, epoch: float, epochs: float) -> float:
        """To + (start − to) · (1 + cos(π · e′ / n)) / 2."""
        period = float(self.every)
        if self.mult == 1:
            epoch %= period
        while epoch >= period:
            epoch -= period
            period *= self.mult
        return self.to + (self.start - self.to) * (1 + math.cos(math.pi * epoch / period)) / 2

    def milestone(self) -> tuple[str, float]:
        """The first restart."""
        return "the first restart", self.every


class OneCycleSchedule(Schedule):
    """Up from peak/div to `peak` over the fraction `up` of the epochs, then down to peak/(div·final_div), both along a
    cosine.

    Smith & Topin 2018, in the two phases of PyTorch's `OneCycleLR`, whose names are `max_lr`, `pct_start`, `div_factor`
    and `final_div_factor`. PyTorch's is stepped after every batch, and its phases end one step earlier, at the last
    step of training instead of after it; it also varies the momentum, which is constant here.
    """

    spec_name = "one_cycle"
    also = ("OneCycleLR", "OneCycle", "onecycle")
    peak: Annotated[Positive, Also("start", "lr", "max_lr", "learning_rate")]
    _: KW_ONLY
    up: Annotated[Probability, Also("pct_start")] = 0.3
    div: Annotated[Divisor, Also("div_factor")] = 25.0
    final_div: Annotated[Divisor, Also("final_div_factor")] = 1e4

    @property
    def start(self) -> float:  # type: ignore[override]
        """The initial rate."""
        return self.peak / self.div

    @property
    def largest(self) -> float:
        """The peak."""
        return self.peak

    def after(self, epoch: float, epochs: float) -> float:
        """Along one half of a cosine, then along another."""
        share = _share(epoch, epochs)
        if share < self.up:
            return _along_cosine(self.start, self.peak, share / self.up)
        return _along_cosine(self.peak, self.start / self.final_div, (share - self.up) / (1 - self.up))


class ChainSchedule(Schedule):
    """One schedule after another: the first until at[0], the second from there until at[1], and the last until the end.

    Each part is a training of its own: its e is 0 where it begins, its E is its length, and it may have a warm-up. All
    count epochs, or steps if the chain says `per=step`. PyTorch's `SequentialLR`, whose parts are not given their
    lengths; optax's `join_schedules`. Raises ValueError unless `at` ascends and has a number for each part but the
    first; for a part that follows a figure; and for `per` or `staircase` in a part, which the chain sets.
    """

    spec_name = "chain"
    also = ("SequentialLR", "join_schedules", "sequential")
    schedules: Annotated[tuple[Schedule, ...], Also("schedulers")]
    _: KW_ONLY
    at: Annotated[tuple[float, ...], Range(low=0, open_low=True), Also("milestones", "boundaries")]

    def __post_init__(self) -> None:
        if len(self.schedules) != len(self.at) + 1:
            needed = (
                f"{len(self.schedules) - 1} in `at`, not {len(self.at)}: where each schedule after the first begins"
            )
            raise ValueError(f"chain: a chain of {len(self.schedules)} needs {needed}")
        if any(later <= earlier for earlier, later in pairwise(self.at)):
            raise ValueError("chain: `at` must ascend")
        for schedule in self.schedules:
            if schedule.of:
                raise ValueError(f"chain: `{schedule.spec_name}` follows a figure, and cannot be part of a chain")
            if schedule.per != "epoch" or schedule.staircase:
                name = "staircase" if schedule.staircase else "per"
                raise ValueError(f"chain: `{name}` of `{schedule.spec_name}` has no effect: set it on the chain")
        super().__post_init__()
        self._convert(schedules=tuple(self.schedules), at=tuple(self.at))

    @property
    def start(self) -> float:  # type: ignore[override]
        """That of the first part."""
        return self.schedules[0].start

    @property
    def largest(self) -> float:
        """The largest of all parts."""
        return max(schedule.largest for schedule in self.schedules)

    def after(self, epoch: float, epochs: float) -> float:
        """The rate of the part that has begun last."""
        number = sum(epoch >= begin for begin in self.at)
        begin = self.at[number - 1] if number else 0
        end = self.at[number] if number < len(self.at) else max(epochs, begin)
        return self.schedules[number].rate(epoch - begin, end - begin)

    def milestone(self) -> tuple[str, float] | None:
        """The beginning of the last part."""
        return ("the last part", self.at[-1]) if self.at else None


def _share(epoch: float, epochs: float) -> float:
    """The completed fraction: 0 to 1, and 0 if nothing follows the warm-up."""
    return min(epoch / epochs, 1.0) if epochs > 0 else 0.0


def _along_cosine(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine, of which a fraction is completed."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
