"""The learning-rate range test: the loss while the rate grows from very small to very large.

Every lane trains for a few hundred steps, and the rate of each step is a constant multiple of the one before: Smith
2017. The loss of a step is that of its batch before the update; it is smoothed by a moving average, as in fastai.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnspec.checker.program import Bound, Experiment
from nnspec.compiler.layout import Layout
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.proofs import Compiled, prove
from nnspec.data.source import Access, Dataset
from nnspec.engine._numpy import np
from nnspec.engine.losses.contract import Mean
from nnspec.environment import one_blas_thread
from nnspec.reprs import TableRepr, view_function
from nnspec.runner.load_data import load_data
from nnspec.runner.load_weights import with_all_weights
from nnspec.training.observer import Observer

__all__ = ["LaneRates", "RateRange", "find_rates"]

SMOOTHED = 20
"""The loss is averaged over about this fraction of the steps: one in 20."""
RISEN = 4.0
"""The test ends when the smoothed loss is this many times the lowest one; fastai's bound."""
BELOW = 10.0
"""The suggested rate is this many times smaller than that of the lowest loss."""

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class LaneRates:
    """The losses of one lane. They end where the loss rose far above its lowest, or was no longer finite."""

    name: str
    index: int
    """Its index among all lanes of the spec, which determines its colour."""
    optimizer: str
    rates: Sequence[float] = field(repr=False)
    """The rate of each step."""
    losses: Sequence[float] = field(repr=False)
    """The loss of each step's batch, before its update."""
    diverged: bool
    """Whether the loss rose far above its lowest or was no longer finite, before the largest rate."""

    @property
    def smoothed(self) -> list[float]:
        """The losses as a moving average, sₜ = (1 − β) Σ βⁱ lₜ₋ᵢ / (1 − βᵗ), as in fastai."""
        return _smoothed(self.losses, self.share)

    share: float = 0.1
    """1 − β."""

    @property
    def lowest(self) -> float | None:
        """The rate at which the smoothed loss was lowest; None if that is the first, so that it never fell."""
        return self._lowest and self.rates[self._lowest]

    @property
    def _lowest(self) -> int | None:
        return (min(range(len(self.losses)), key=self.smoothed.__getitem__) if self.losses else 0) or None

    @property
    def steepest(self) -> float | None:
        """The rate before the lowest at which the smoothed loss fell most steeply over the logarithm of the rate."""
        end, smoothed = self._lowest, self.smoothed
        if end is None:
            return None
        first = min(end - 1, round(1 / self.share))  # the mean is that of a few batches before
        slopes = [smoothed[i + 1] - smoothed[i - 1] if i else 2 * (smoothed[1] - smoothed[0]) for i in range(end)]
        return self.rates[min(range(first, end), key=slopes.__getitem__)]

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate of the lowest loss, to two significant digits; None if the loss never fell."""
        return None if self.lowest is None else float(f"{self.lowest / BELOW:.1e}")

    @property
    def still_falls(self) -> bool:
        """Whether the loss was lowest near the largest rate, so that larger ones should be tried."""
        count, lowest = len(self.losses), self._lowest
        return not self.diverged and lowest is not None and lowest >= count - max(1, count // 10)


@dataclass(frozen=True, repr=False)
class RateRange(TableRepr):
    """The range tests of the lanes of a spec."""

    title: str
    spec: str
    low: float
    high: float
    steps: int
    lanes: Mapping[str, LaneRates]
    loss: str
    batch: str
    """The samples per step, of lanes that differ `32 or 64`."""

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Return a matplotlib figure of the loss over the rate; with `path`, also save it there."""
        return view_function("pictures.rate_range.plot_rates")(self, None if path is None else Path(path))


def find_rates(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    *,
    lanes: Sequence[str] | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    tick: Tick = lambda done, total: None,
) -> RateRange:
    """Train each lane of a program, by default all, for `steps` steps with rates from `low` to `high`.

    Only the first repeat is trained, without schedule, averaging and early stopping; everything else is as the spec
    says. `tick` is called with the number of steps done. Raises ValueError for rates that do not ascend from above 0
    and for less than 10 steps, and the errors of `run_program`.
    """
    if not 0 < low < high < math.inf or steps < 10:
        raise ValueError(
            f"a range test needs rates 0 < from < to and at least 10 steps, not {low:g}, {high:g}, {steps}"
        )
    order = [lane.name for lane in compiled.program.lanes]
    chosen = [_tested(lane, low, steps) for lane in compiled.program.lanes if lanes is None or lane.name in lanes]
    program = with_all_weights(replace(compiled.program, lanes=tuple(chosen), expectations=()))
    proved = prove(program)[0]
    data = load_data(program, access)
    observer.data_ready(tuple(dict.fromkeys(use for _, use in data.values())))
    rates = [low * (high / low) ** (i / (steps - 1)) for i in range(steps)]
    found = {}
    with one_blas_thread(), np.errstate(all="ignore"):
        for number, lane in enumerate(program.lanes):
            losses, diverged = _losses(
                lane,
                proved.layouts[lane.name],
                data[lane.name][0],
                rates,
                lambda done, number=number: tick(number * steps + done, len(program.lanes) * steps),  # type: ignore[misc]
            )
            found[lane.name] = LaneRates(
                lane.name,
                order.index(lane.name),
                lane.optimizer.name,
                rates[: len(losses)],
                losses,
                diverged,
                _share(steps),
            )
    return RateRange(
        title=program.title,
        spec=program.path,
        low=low,
        high=high,
        steps=steps,
        lanes=found,
        loss=" or ".join(dict.fromkeys(str(lane.loss) for lane in program.lanes)),
        batch=" or ".join(dict.fromkeys(str(lane.train.batch * lane.train.accumulate) for lane in program.lanes)),
    )


def _tested(lane: Experiment, low: float, steps: int) -> Experiment:
    """Return a lane as it is trained in the test: once, for some steps, with a rate that is a number."""
    first = lane.training(0)
    train = replace(first.train, steps=steps, record=None, repeats=1, early_stop=None, average=None, sample=0)
    arguments = {**first.optimizer.arguments, "lr": Bound(low, first.optimizer.origin)}
    return replace(first, train=train, optimizer=replace(first.optimizer, arguments=arguments))


def _losses(
    lane: Experiment, layout: Layout, dataset: Dataset, rates: Sequence[float], tick: Callable[[int], None]
) -> tuple[list[float], bool]:
    """Return the loss of each step, up to one that is not finite or far above the lowest, and whether there was one."""
    plan, share = plan_alone(lane, layout, dataset), _share(len(rates))
    losses: list[float] = []
    step, mean = 0, Mean()
    for record in range(plan.length.records):
        for number, _ in enumerate(plan.begin(record)):
            plan.optimizer.lr = rates[step]
            loss, weight = plan.train_batch(number)
            mean.add(loss, weight)
            if not math.isfinite(loss):
                return losses, True
            if plan.optimizer.steps == step:
                continue  # gradients are accumulated over several batches
            step, value, mean = step + 1, mean.value, Mean()
            losses.append(value)
            tick(step)
            smoothed = _smoothed(losses, share)
            if smoothed[-1] > RISEN * min(smoothed) > 0:
                return losses, True
    return losses, False


def _share(steps: int) -> float:
    return min(1.0, SMOOTHED / steps)


def _smoothed(losses: Sequence[float], share: float) -> list[float]:
    total, found = 0.0, []
    for number, loss in enumerate(losses, 1):
        total += share * (loss - total)
        found.append(total / (1 - (1 - share) ** number))
    return found
