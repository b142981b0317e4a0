"""Whether a finished run can be extended by more epochs with the same results as a run of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnspec.checker.program import Experiment, TrainSettings
from nnspec.engine.schedules import Schedule

__all__ = ["epochs_of", "obstacles"]

_STEPS = 10_000
"""Maximum number of steps at which learning rates are compared, evenly spaced."""


def epochs_of(values: Mapping[str, Any]) -> int:
    """Return the number of epochs of a lane, from its meaning."""
    return int(values.get("train.epochs", TrainSettings.epochs))


def obstacles(lanes: Mapping[str, Experiment], before: Mapping[str, int]) -> Iterator[str]:
    """Yield reasons why lanes cannot be extended beyond the epochs in `before`: the spec sets fewer, or a learning rate
    of the completed epochs would have been different."""
    for name, experiment in lanes.items():
        then, now = before[name], experiment.train.epochs
        if now < then:
            yield f"`train.epochs` of {name} was {then} and is now {now}, but a run can only be extended"
            continue
        average = experiment.train.average
        if (
            average is not None
            and now > then
            and any(average.includes(epoch, then) != average.includes(epoch, now) for epoch in range(then))
        ):
            yield (
                f"`train.average = {average!r}` of {name} depends on the number of epochs, so {now} epochs are not the "
                f"same as {then} epochs and {now - then} more"
            )
        for argument, value in experiment.optimizer.values().items():
            if isinstance(value, Schedule) and now > then and _differ(value, experiment, then, now):
                yield (
                    f"`{argument} = {value!r}` of {name} depends on the number "
                    f"of epochs, so {now} epochs are not the same "
                    f"as {then} epochs and {now - then} more"
                )


def _differ(schedule: Schedule, experiment: Experiment, then: int, now: int) -> bool:
    """Return whether the learning rates of the first `then` epochs differ in a run of `now` epochs."""
    steps = experiment.steps_per_epoch
    stride = max(then * steps // _STEPS, 1)
    places = [divmod(step, steps) for step in range(0, then * steps, stride)]
    progress = [epoch + number / steps for epoch, number in places]
    return any(schedule.rate_at(at, then, steps) != schedule.rate_at(at, now, steps) for at in progress)
