"""Training one lane."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import Layout
from nnspec.compiler.plan import Plan
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.runner.history import LaneResult
from nnspec.runner.observer import Observer

__all__ = ["train_lane"]


class _Diverged(Exception):
    """The loss is no number any more. The message says where."""


def train_lane(experiment: Experiment, layout: Layout, dataset: Dataset, observer: Observer) -> LaneResult:
    """Train a lane to its end, or to where its loss stops being a number, or until Ctrl-C. Never raises for these."""
    plan = Plan(experiment, layout, dataset)
    lane = LaneResult(
        name=experiment.name,
        optimizer=str(experiment.optimizer),
        loss=str(experiment.loss),
        seed=experiment.seed,
        shapes=experiment.shapes,
        epochs=experiment.train.epochs,
        params=layout.params,
        history={name: [] for name in _figures(plan)},
        epoch_seconds=[],
        network=plan.network,
    )
    try:
        observer.lane_begins(lane)
        # Overflow on the way to divergence is reported once, below, and not by NumPy line by line.
        with np.errstate(all="ignore"):
            for seconds, figures in _epochs(plan):
                for name, value in figures.items():
                    lane.history[name].append(value)
                lane.epoch_seconds.append(seconds)
                observer.epoch_done(lane)
    except _Diverged as error:
        lane.status, lane.message = "diverged", _advice(experiment, str(error))
    except KeyboardInterrupt:
        # The time of an epoch is added last: an epoch without one was interrupted while its figures were added.
        done = len(lane.epoch_seconds)
        lane.history = {name: values[:done] for name, values in lane.history.items()}
        lane.status, lane.message = "interrupted", f"after {done} of {lane.epochs} epochs"
    plan.release()
    return lane


def _figures(plan: Plan) -> list[str]:
    names = ["loss", *(metric.spec_name for metric in plan.metrics)]
    return [*names, *(f"test_{name}" for name in names)]


def _epochs(plan: Plan) -> Iterator[tuple[float, dict[str, float]]]:
    """Train epoch by epoch, and yield the training time and the figures of each."""
    for epoch in range(plan.experiment.train.epochs):
        started = time.perf_counter()
        means = _epoch(plan, epoch)
        seconds = time.perf_counter() - started
        test_loss, test_metrics = plan.test()
        if not math.isfinite(test_loss):
            raise _Diverged(f"the test loss became {test_loss} after epoch {epoch + 1}")
        yield seconds, dict(zip(_figures(plan), (*means, test_loss, *test_metrics), strict=True))


def _epoch(plan: Plan, epoch: int) -> tuple[float, ...]:
    """Train one epoch; return the means of loss and metrics over its batches, weighted by their size."""
    plan.shuffle(epoch)
    seen, loss_sum, sums = 0, 0.0, [0.0] * len(plan.metrics)
    for number in range(plan.batches):
        loss, size, figures = plan.train_batch(number)
        if not math.isfinite(loss):
            raise _Diverged(f"the loss became {loss} in epoch {epoch + 1}, batch {number + 1} of {plan.batches}")
        seen += size
        loss_sum += loss * size
        sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
    if not math.isfinite(loss_sum):
        raise _Diverged(f"the sum of the losses became {loss_sum} in epoch {epoch + 1}")
    return loss_sum / seen, *(total / seen for total in sums)


def _advice(experiment: Experiment, what: str) -> str:
    """Say where the rate comes from, and a smaller one: the optimizer's default, or a tenth where that is smaller."""
    optimizer = experiment.optimizer
    rate, bound = optimizer.values().get("lr"), optimizer.arguments.get("lr")
    text = f"{what} ({optimizer}, {(bound or optimizer).origin.span})"
    usual = optimizer.part.signature().get("lr")
    if not isinstance(rate, (int, float)) or usual is None:
        return text
    return f"{text}: try a smaller rate, such as lr={usual.default if rate > usual.default else rate / 10:g}"
