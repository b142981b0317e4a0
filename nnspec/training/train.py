"""Training one lane with one seed, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator

from nnspec.checker.program import Experiment
from nnspec.compiler.plan import Plan
from nnspec.engine.losses.contract import Mean
from nnspec.engine.schedules import Schedule
from nnspec.errors import ensure
from nnspec.results.lane import LaneResult
from nnspec.training.checkpoint import Keeper
from nnspec.training.observer import Observer
from nnspec.training.progress import Progress, figure_names

__all__ = ["train_plan"]

Measure = Callable[[], tuple[float, tuple[float, ...]]]


class _Diverged(Exception):
    """The loss became NaN or infinite. The message says where."""


def train_plan(
    plan: Plan,
    observer: Observer,
    repeat: int = 1,
    of: int = 1,
    keeper: Keeper | None = None,
    until: int = 0,
) -> Generator[None, None, LaneResult]:
    """Train a plan until its last epoch, until it stops early or diverges, or until Ctrl-C; or until it pauses after
    epoch `until`, if that is not 0. None of these raises.

    It yields after the lane has started and after every epoch but the last. With a `keeper`, it resumes from that
    checkpoint, if any, and writes checkpoints.
    """
    initial = plan.experiment.initial
    ensure(initial is None or initial.complete, "initial weights were not read before training")
    progress = Progress(plan, repeat, of, keeper, until)
    try:
        observer.lane_begins(progress.lane)
        plan.next_record = progress.done
        yield
        for seconds, figures in () if progress.stopped else _records(plan, progress.done):
            progress.add(seconds, figures)
            plan.optimizer.tell(plan.length.epochs_at(progress.done), figures, plan.steps)
            with plan.shown():
                asked = bool(observer.epoch_done(progress.lane))
            if progress.stops(on_request=asked):
                break
            progress.save_if_due()
            plan.next_record = progress.done
            yield
    except _Diverged as error:
        progress.status, progress.message = "diverged", _advice(plan.experiment, str(error))
    except KeyboardInterrupt:
        plan.loop.halt()
        progress.rewind()
        progress.status = "interrupted"
        lane = progress.lane
        progress.message = f"after {lane.at(progress.done)} of {lane.at(lane.epochs)} {lane.unit}s"
    return progress.end()


def _measures(plan: Plan) -> dict[str, Measure]:
    """What is measured after every record: kind of samples -> how to evaluate them."""
    measures = {"validation": (plan.validate, plan.held_out), "test": (plan.test, plan.data.tested)}
    return {samples: measure for samples, (measure, count) in measures.items() if count}


def _records(plan: Plan, done: int) -> Iterator[tuple[float, dict[str, float]]]:
    """Train the remaining records, which are epochs by default, and yield the training time and the figures of each."""
    length = plan.length
    for record in range(done, length.records):
        started = plan.clock()
        means = _record(plan, record)
        seconds = plan.clock() - started
        values = [*means]
        for samples, measure in _measures(plan).items():
            loss, metrics = measure()
            if not math.isfinite(loss):
                where = f"{length.unit} {length.at(record + 1)}"
                raise _Diverged(f"the {samples} loss became {loss} after {where}")
            values += [loss, *metrics]
        yield seconds, dict(zip(figure_names(plan.experiment), values, strict=True))


def _record(plan: Plan, record: int) -> tuple[float, ...]:
    """Train one record; return the loss, averaged over batches by their weights, and each metric."""
    span, mean = plan.begin(record), Mean()
    for number, batch in enumerate(span):
        loss, weight = plan.train_batch(number)
        if not math.isfinite(loss):
            epoch, within = divmod(batch, plan.batches)
            raise _Diverged(f"the loss became {loss} in epoch {epoch + 1}, batch {within + 1} of {plan.batches}")
        mean.add(loss, weight)
    if not math.isfinite(mean.value):
        raise _Diverged(f"the sum of the losses became {mean.total} in epoch {(span.stop - 1) // plan.batches + 1}")
    return mean.value, *plan.figures()


def _advice(experiment: Experiment, what: str) -> str:
    """Say where the learning rate was set, and suggest a smaller one: the default, or a tenth if that is smaller."""
    optimizer = experiment.optimizer
    rate, bound = optimizer.values().get("lr"), optimizer.arguments.get("lr")
    text = f"{what} ({optimizer}, {(bound or optimizer).origin.span})"
    usual = optimizer.part.signature().get("lr")
    start = rate.largest if isinstance(rate, Schedule) else rate
    if not isinstance(start, (int, float)) or usual is None:
        return text
    smaller = f"{usual.default if start > usual.default else start / 10:g}"
    instead = f"{rate.spec_name}({smaller}, …)" if isinstance(rate, Schedule) else smaller
    return f"{text}: try a smaller learning rate, such as lr={instead}"
