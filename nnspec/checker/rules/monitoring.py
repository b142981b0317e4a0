"""Rules for the figures and epochs of schedules and stopping rules."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nnspec.checker.draft import Draft
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.program import Choice, Experiment, PartValue, TrainSettings, added_by
from nnspec.checker.recovery import Recovery
from nnspec.checker.rules.common import number_in_words
from nnspec.checker.rules.registry import advice, rule
from nnspec.checker.vocabulary import added_figures, lacking, metric_figures
from nnspec.diagnostics import Diagnostic, Note, Span
from nnspec.engine.metrics.contract import Metric, plain_figure
from nnspec.engine.schedules import ConstantSchedule, Schedule
from nnspec.engine.stopping import Patience
from nnspec.syntax import tree


@rule("NN602")
def followed_figures(
    draft: Draft,
    train: TrainSettings,
    metrics: tuple[PartValue[Metric], ...],
    data: tuple[Choice, ...],
    evaluator: Evaluator,
    recovery: Recovery,
) -> Iterator[Diagnostic]:
    """A stopping rule or schedule on a figure that is not measured after each epoch."""
    stopping = draft.settings.values.get("train.early_stop")
    rate = draft.optimizer.arguments.get("lr") if draft.optimizer is not None else None
    followed = []
    if train.early_stop is not None and stopping is not None:
        followed.append((train.early_stop.of, _span_of_figure(stopping.value, evaluator)))
    if rate is not None and isinstance(rate.value, Schedule) and rate.value.of is not None:
        followed.append((rate.value.of, rate.origin.span))
    measured = {metric.name for metric in metrics}
    losses = ("loss", "val_loss", "test_loss", *_added_figures(draft))
    of_outputs = {*measured, *(draft.loss.part.part_names() if draft.loss is not None else ())}
    for figure, span in followed:
        metric = metric_figures().get(figure)
        tested = draft.data is None or draft.data[0].facts.test > 0
        if lack := lacking(figure, validated=bool(train.validation), tested=tested):
            if not recovery.doubts("train", "validation"):
                what, help = lack
                yield Diagnostic("NN602", f"`{figure}` is not measured: {what}", span, help=help)
        elif metric and metric not in measured:
            yield Diagnostic("NN602", f"`{figure}` is not measured", span, help=f"add `{metric}` to `metrics`")
        elif not metric and figure not in losses and plain_figure(figure) not in of_outputs:
            message = f"`{figure}` is not measured after each epoch"
            yield Diagnostic("NN602", message, span, help="for example, `val_loss`")


def _added_figures(draft: Draft) -> list[str]:
    """Return the figures of the terms that the layers of a lane add to the loss."""
    there = added_by(draft.layers or ())
    return [figure for figure, name in added_figures().items() if name in there]


def _span_of_figure(stopping: tree.Expression, evaluator: Evaluator) -> Span:
    """Return the span of a stopping rule's figure, or of the whole rule if it has none."""
    value = evaluator.value(stopping)
    bound = value.arguments.get("of") if isinstance(value, PartValue) else None
    return bound.origin.span if bound else evaluator.source(stopping).span


@rule("NN709")
def goes_by_test(experiment: Experiment) -> Iterator[Diagnostic]:
    """A stopping rule or schedule on a figure of the test data."""
    stop, origin = experiment.train.early_stop, experiment.origins.get("train.early_stop")
    rate = experiment.optimizer.arguments.get("lr")
    followed = []
    if stop is not None and origin is not None:
        followed.append((stop.of, origin, "stopping"))
    if rate is not None and isinstance(rate.value, Schedule) and rate.value.of is not None:
        followed.append((rate.value.of, rate.origin, "lowering the rate"))
    for figure, where, what in followed:
        if figure.startswith("test_"):
            instead = f"val_{figure.removeprefix('test_')}"
            message = f"{what} on `{figure}` tunes the run to the test data, so its test results are too optimistic"
            help = f"hold out samples and use `{instead}`"
            yield advice("NN709", message, where.span, help)


@rule("NN716", "NN717")
def never_acts(experiment: Experiment) -> Iterator[Diagnostic]:
    """A schedule or a stopping rule that waits longer than training takes."""
    training, rate = experiment.length, experiment.optimizer.arguments.get("lr")
    if rate is not None and isinstance(rate.value, Schedule):
        length = rate.value.counted(training.epochs, training.per_epoch)
        if waits := _beyond(rate.value, length):
            what, needed = waits
            message = f"{what}, but training ends after {_count(length, rate.value.per)}"
            help = _longer(needed, rate.value.per)
            if training.by_step and rate.value.per == "epoch" and needed <= training.steps:
                help = "lengths of a schedule are in epochs: add `per=step` if they are meant in steps"
            yield advice("NN716", message, rate.origin.span, help, _length(experiment))
    stop, origin = experiment.train.early_stop, experiment.origins.get("train.early_stop")
    if (
        isinstance(stop, Patience)
        and origin is not None
        and not stop.restore_best
        and 1 + stop.epochs >= training.records
    ):
        unit = "record" if training.by_step else "epoch"
        earliest, trained = _count(1 + stop.epochs, unit), _count(training.records, unit)
        message = f"`{stop.spec_name}` stops after {earliest} at the earliest, but training ends after {trained}"
        yield advice("NN717", message, origin.span, _longer(1 + stop.epochs, unit), _length(experiment))


def _beyond(schedule: Schedule, length: float) -> tuple[str, float] | None:
    """Return what a schedule never reaches, and the number of epochs, or steps, that training must exceed."""
    if schedule.warmup > length or (schedule.warmup == length and not isinstance(schedule, ConstantSchedule)):
        return f"the warm-up of `{schedule.spec_name}` takes {_count(schedule.warmup, schedule.per)}", schedule.warmup
    milestone = schedule.milestone()
    if milestone is not None and schedule.warmup + milestone[1] >= length:
        after = schedule.warmup + milestone[1]
        return f"{milestone[0]} of `{schedule.spec_name}` comes after {_count(after, schedule.per)}", after
    return None


def _longer(needed: float, unit: str = "epoch") -> str:
    more = math.floor(needed) + 1
    return f"train for at least {_count(more, unit)}, or shorten it"


def _count(count: float, unit: str = "epoch") -> str:
    return f"{number_in_words(count)} {unit}{'' if count == 1 else 's'}"


def _length(experiment: Experiment) -> tuple[Note, ...]:
    origin = experiment.origins.get("train.epochs") or experiment.origins.get("train.steps")
    return (Note(origin.span, "the length of training"),) if origin is not None else ()
