"""Whether a finished run can be extended by more epochs, steps or trials with the same results as a run of all of
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nnspec.checker.program import Experiment, TrainSettings, TuneSettings
from nnspec.engine.length import Length
from nnspec.engine.schedules import Schedule

__all__ = ["BUDGET", "EXTENT", "LENGTHS", "obstacles"]

LENGTHS = ("train.epochs", "train.steps")
"""The settings in which a training and its extension may differ."""
BUDGET = "tune.budget"
EXTENT = (*LENGTHS, BUDGET)
"""The settings in which a run and its extension may differ."""
_STEPS = 10_000
"""Maximum number of steps at which learning rates are compared, evenly spaced."""


def obstacles(lanes: Mapping[str, Experiment], before: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield reasons why lanes cannot be extended beyond what they had in `before`, their meanings: the spec sets fewer
    epochs, steps or trials, the search is not one that can be continued, training ended between two records, or a
    learning rate of the completed epochs would have been different.
    """
    yield from _of_search(lanes, before)
    for name, experiment in lanes.items():
        if name not in before:
            continue
        values, train, now = before[name], experiment.train, experiment.length
        epochs, steps = values.get("train.epochs", TrainSettings.epochs), values.get("train.steps")
        was = replace(train, epochs=int(epochs), steps=None if steps is None else int(steps))
        then = was.length(now.per_epoch)
        if now.steps < then.steps:
            setting, first, second = _setting(was), _number(was), _number(train)
            if setting != _setting(train):
                setting, first, second = "the number of steps", then.steps, now.steps
            yield f"{setting} of {name} was {first} and is now {second}, but a run can only be extended"
        elif now.steps > then.steps and then.steps % then.record:
            unit = "an epoch" if then.record == then.per_epoch else "the steps between two records"
            yield (
                f"{name} ended after {then.steps:,} steps, within {unit} of {then.record:,}, so its last record "
                "would not be one of a longer run; train it again from the start"
            )
        elif now.steps > then.steps:
            counts = [length.steps if now.by_step else math.ceil(length.epochs) for length in (then, now)]
            unit = f"{now.unit}s"
            for setting in _dependent(experiment, then, now):
                yield (
                    f"`{setting}` of {name} depends on the number of {unit}, so {counts[1]} {unit} are not the same "
                    f"as {counts[0]} {unit} and {counts[1] - counts[0]} more"
                )


def _of_search(lanes: Mapping[str, Experiment], before: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield reasons why a search cannot be continued."""
    tune = next(iter(lanes.values())).tune
    if BUDGET not in tune:  # these are no trials
        return
    now, search = tune[BUDGET].value, tune["tune.search"].value
    then = next(iter(before.values())).get(BUDGET, TuneSettings.budget)
    if now < then:
        yield (
            f"`{BUDGET}` was {then} and is now {now}, but a search can only be continued with a larger budget; "
            f"`--set {BUDGET}={then}` resumes it as it is"
        )
    elif now > then and search.not_extended:
        yield (
            f"`tune.search = {search}` cannot be continued from {then} to {now} trials, because {search.not_extended}; "
            "search anew with --force instead of --resume"
        )
    for name, experiment in lanes.items():
        if name not in before and experiment.trial is not None and experiment.trial.number <= then:
            yield f"lane {experiment.name} was added"


def _dependent(experiment: Experiment, then: Length, now: Length) -> Iterator[str]:
    """Yield the settings that would have had another effect in the first epochs of a longer training."""
    average, epochs = experiment.train.average, [math.ceil(length.epochs) for length in (then, now)]
    if average is not None and any(
        average.includes(epoch, epochs[0]) != average.includes(epoch, epochs[1]) for epoch in range(epochs[0])
    ):
        yield f"train.average = {average!r}"
    for argument, value in experiment.optimizer.values().items():
        if isinstance(value, Schedule) and _differ(value, then, now):
            yield f"{argument} = {value!r}"


def _setting(train: TrainSettings) -> str:
    return "`train.epochs`" if train.steps is None else "`train.steps`"


def _number(train: TrainSettings) -> int:
    return train.epochs if train.steps is None else train.steps


def _differ(schedule: Schedule, then: Length, now: Length) -> bool:
    """Return whether the learning rates of the first epochs differ in a longer run."""
    steps = then.per_epoch
    stride = max(then.steps // _STEPS, 1)
    places = [divmod(step, steps) for step in range(0, then.steps, stride)]
    progress = [epoch + number / steps for epoch, number in places]
    rates = [[schedule.rate_at(at, length.epochs, steps) for at in progress] for length in (then, now)]
    return rates[0] != rates[1]
