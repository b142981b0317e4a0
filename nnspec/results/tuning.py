"""The result of a search: every trial, and the settings that each study chose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nnspec.checker.program import Experiment, Program, Trial, Tuning
from nnspec.engine.metrics.contract import figure_and_target, higher_is_better
from nnspec.engine.part import PARTS
from nnspec.engine.spaces import Space
from nnspec.errors import NnspecError
from nnspec.reprs import TableRepr
from nnspec.results.costs import costs_of
from nnspec.results.lane import LaneResult
from nnspec.results.rungs import Rungs
from nnspec.statistics.targets import time_to_target
from nnspec.text import finite

__all__ = ["Study", "TrialResult", "Tuned", "TuningError", "in_spec_syntax", "tuned_by"]


class TuningError(NnspecError):
    """A search without a usable trial. The message says why and what to do."""


@dataclass(frozen=True)
class TrialResult:
    """A trial: one training with settings from the spaces of its lane."""

    name: str
    """The name of the lane that it is in the run of the trials: `SGD,trial=7`."""
    lane: str
    study: int
    number: int
    """Its number in its study, from 1."""
    settings: Mapping[str, Any]
    """Setting -> value."""
    places: Mapping[str, float]
    """Setting -> where its value lies in its space, in [0, 1)."""
    figure: float
    """The deciding figure at the end; NaN if it has none."""
    status: str
    """`done`, `diverged`, `failed` or `interrupted`; `dropped` if it was not trained to the end because others were
    better."""
    epochs: float
    steps: int
    """Steps of the optimizer that were taken."""
    gradient_evaluations: float
    """Evaluations of the gradient, each on one batch."""
    seconds: float
    to_target: int | None = None
    """Steps until the deciding figure first reached the target; None if it never did, or if there is no target."""
    closest: float | None = None
    """If the time to a target decides, the best value of its figure in any epoch."""

    @property
    def counts(self) -> bool:
        """Whether it can win: it neither diverged nor failed, and its figure is a number."""
        return self.status == "done" and math.isfinite(self.figure)

    @property
    def dropped(self) -> bool:
        """Whether it was not trained to the end because others were better."""
        return self.status == "dropped"

    @property
    def diverged(self) -> bool:
        """Whether it came to an end without a figure."""
        return not (self.counts or self.dropped or self.missed or self.status == "interrupted")

    @property
    def missed(self) -> bool:
        """Whether it was trained to the end without reaching the target of `epochs_to`."""
        return self.status == "done" and self.figure == math.inf


@dataclass(frozen=True)
class Study:
    """The trials of one lane in one study, in the order of their numbers."""

    lane: str
    number: int
    trials: tuple[TrialResult, ...]
    chosen: TrialResult | None
    """The trial whose settings race: the best one, and of equal ones the first. None if none of them counts."""

    @property
    def why_unsettled(self) -> str:
        """Why it chose no settings; "" if it did."""
        if self.chosen is not None:
            return ""
        several = len(self.trials) > 1
        if any(trial.missed for trial in self.trials):
            return (
                f"none of its {len(self.trials)} trials reached the target"
                if several
                else "its trial missed the target"
            )
        if all(trial.diverged for trial in self.trials):
            return f"all {len(self.trials)} trials diverged" if several else "its only trial diverged"
        return f"none of its {len(self.trials)} trials ended"

    @property
    def undropped(self) -> tuple[TrialResult, ...]:
        """The trials that were not dropped, whose figures can be compared: those at the end of their trainings."""
        return tuple(trial for trial in self.trials if not trial.dropped)

    @property
    def figures(self) -> list[float]:
        """The figure of each trial; NaN for those that diverged. Empty if some were dropped: what they would have
        reached is not known."""
        if len(self.undropped) < len(self.trials):
            return []
        return [trial.figure if trial.counts else math.nan for trial in self.trials]


@dataclass(frozen=True, repr=False)
class Tuned(TableRepr):
    """The result of a search. Every lane has had the same number of trials, unless its spaces have fewer settings."""

    by: str
    """The figure that decided."""
    target: float | None
    budget: int
    search: str
    """The search, in spec syntax."""
    spaces: Mapping[str, Mapping[str, Space]]
    """Lane -> setting -> space."""
    studies: tuple[Study, ...]

    @property
    def lower_is_better(self) -> bool:
        """Whether the trial with the lowest figure is the best."""
        return not higher_is_better(self.by)

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that were tuned."""
        return tuple(dict.fromkeys(study.lane for study in self.studies))

    @property
    def goal(self) -> tuple[str, float | None]:
        """The figure and the target to which times are measured: those of `epochs_to(…)`, or `by` and `target`."""
        figure, soonest = figure_and_target(self.by)
        return figure, self.target if soonest is None else soonest

    def of(self, lane: str) -> tuple[Study, ...]:
        """Return the studies of a lane."""
        return tuple(study for study in self.studies if study.lane == lane)

    @property
    def trials(self) -> tuple[TrialResult, ...]:
        """All trials."""
        return tuple(trial for study in self.studies for trial in study.trials)

    def closest(self, trials: Sequence[TrialResult]) -> str:
        """Say how close the trials came to the target of `epochs_to`; "" without one."""
        figure, target = figure_and_target(self.by)
        values = [trial.closest for trial in trials if trial.closest is not None and math.isfinite(trial.closest)]
        if target is None or not values:
            return ""
        best = max(values) if higher_is_better(figure) else min(values)
        return f" (best {figure}: {best:.4g})"

    def unsettled(self, race: Program) -> dict[str, str]:
        """Return the lanes of a race without settings, because no trial of their study counts, and why: they are not
        trained."""
        return {
            experiment.name: f"{study.why_unsettled}{self.closest(study.trials)}, so it has no settings to race with"
            for lane in self.lanes
            for study, experiment in zip(self.of(lane), (each for each in race.lanes if each.lane == lane), strict=True)
            if study.chosen is None
        }

    def flags(self) -> list[str]:
        """Return the chosen settings as arguments of `--set`, with which the lanes race.

        A study that chose none has those of its first trial: the program of the race then has a value for each setting,
        but this lane is not trained.
        """
        several = len({study.number for study in self.studies}) > 1
        alone = not any(trial.name.startswith(f"{trial.lane},") for trial in self.trials)  # a spec without a race
        found = ["tune.chosen=true"] if several else []
        for lane in self.lanes:
            chosen = [study.chosen or study.trials[0] for study in self.of(lane)]
            for setting in self.spaces[lane]:
                name = setting if alone else f"{lane}.{setting}"
                values = [in_spec_syntax(trial.settings[setting]) for trial in chosen]
                found.append(f"tune.{name}=[{', '.join(values)}]" if several else f"{name}={values[0]}")
        return found

    def record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "by": self.by,
            "target": self.target,
            "budget": self.budget,
            "search": self.search,
            "spaces": {
                lane: {setting: {"part": space.spec_name, **space.arguments()} for setting, space in own.items()}
                for lane, own in self.spaces.items()
            },
            "studies": [
                {
                    "lane": study.lane,
                    "study": study.number,
                    "chosen": study.chosen.number if study.chosen is not None else None,
                    "trials": [_trial_record(trial) for trial in study.trials],
                }
                for study in self.studies
            ],
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Tuned:
        """Read what `record` returns. Raises TypeError, ValueError or LookupError for anything else."""
        studies = []
        for study in record["studies"]:
            trials = tuple(_trial(each, str(record["by"])) for each in study["trials"])
            if not trials:
                raise ValueError("a study has no trials")
            chosen = study["chosen"]
            winner = None if chosen is None else {trial.number: trial for trial in trials}[chosen]
            studies.append(Study(str(study["lane"]), int(study["study"]), trials, winner))
        target = record["target"]
        found = cls(
            by=str(record["by"]),
            target=None if target is None else float(target),
            budget=int(record["budget"]),
            search=str(record["search"]),
            spaces={
                str(lane): {str(setting): _space(each) for setting, each in own.items()}
                for lane, own in record["spaces"].items()
            },
            studies=tuple(studies),
        )
        if any(
            {*each.settings} != {*found.spaces[each.lane]} or {*each.places} != {*each.settings}
            for each in found.trials
        ):
            raise ValueError("the settings of a trial do not match the search spaces of its lane")
        if any((each.lane, each.study) != (study.lane, study.number) for study in studies for each in study.trials):
            raise ValueError("a trial is of another lane or study")
        return found


def _space(record: Mapping[str, Any]) -> Space:
    part = PARTS["space"][record["part"]]
    return part(**{name: tuple(v) if isinstance(v, list) else v for name, v in record.items() if name != "part"})  # type: ignore[return-value]


def _trial_record(trial: TrialResult) -> dict[str, Any]:
    values = {**asdict(trial), "figure": finite(trial.figure)}
    return {name: value for name, value in values.items() if name != "closest" or value is not None}


def _trial(record: Mapping[str, Any], by: str) -> TrialResult:
    figure, reached = record["figure"], record["to_target"]
    none = math.inf if record["status"] == "done" and figure_and_target(by)[1] is not None else math.nan
    return TrialResult(
        name=str(record["name"]),
        lane=str(record["lane"]),
        study=int(record["study"]),
        number=int(record["number"]),
        settings={str(setting): _plain(value) for setting, value in record["settings"].items()},
        places={str(setting): float(place) for setting, place in record["places"].items()},
        figure=none if figure is None else float(figure),
        status=str(record["status"]),
        epochs=float(record["epochs"]),
        steps=int(record["steps"]),
        gradient_evaluations=float(record["gradient_evaluations"]),
        seconds=float(record["seconds"]),
        to_target=None if reached is None else int(reached),
        closest=None if record.get("closest") is None else float(record["closest"]),
    )


def in_spec_syntax(value: Any) -> str:
    """Return a value as an expression that reproduces it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{value!r} is not a value of a setting")


def tuned_by(tuning: Tuning, program: Program, lanes: Mapping[str, LaneResult]) -> Tuned:
    """Return the result of a search from its trials, which are the lanes of `program`."""
    settings = tuning.settings
    by, lower = str(settings.by), not higher_is_better(settings.by)
    found: dict[tuple[str, int], list[TrialResult]] = {}
    complete = Rungs(tuning, program).ahead({name: lane.trainings for name, lane in lanes.items()})
    for experiment in program.lanes:
        trial, lane = experiment.trial, lanes.get(experiment.name)
        if trial is not None and lane is not None:
            result = _result(experiment, trial, lane, by, settings.target, lower)
            if result.status == "done" and result.name not in complete:
                result = replace(result, status="dropped")
            found.setdefault((experiment.lane, trial.study), []).append(result)
    studies = tuple(Study(lane, study, tuple(trials), _best(trials, lower)) for (lane, study), trials in found.items())
    return Tuned(by, settings.target, settings.budget, str(settings.search), tuning.spaces, studies)


def _closest(lane: LaneResult, by: str) -> float | None:
    figure, target = figure_and_target(by)
    values = [value for value in lane.curve(figure) if math.isfinite(value)] if figure in lane.figures else []
    if target is None or not values:
        return None
    return max(values) if higher_is_better(figure) else min(values)


def deciding_figure(lane: LaneResult, by: str) -> float:
    """Return the figure by which a training is chosen: at its end, or the epochs until it reached a target, a mean over
    repeats; inf if it did not, NaN if it was not measured."""
    figure, target = figure_and_target(by)
    if figure not in lane.figures:
        return math.nan
    return lane.final(figure) if target is None else lane.epochs_to(target, figure)


def _best(trials: Sequence[TrialResult], lower: bool) -> TrialResult | None:
    good = [trial for trial in trials if trial.counts]
    return min(good, key=lambda trial: trial.figure if lower else -trial.figure, default=None)


def _result(
    experiment: Experiment, trial: Trial, lane: LaneResult, by: str, target: float | None, lower: bool
) -> TrialResult:
    steps, evaluations, _ = costs_of(lane, experiment)
    reached = math.inf
    if target is not None and by in lane.figures:
        reached = time_to_target(steps, lane.curve(by), target, lower)
    return TrialResult(
        name=experiment.name,
        lane=experiment.lane,
        study=trial.study,
        number=trial.number,
        settings=trial.settings,
        places=trial.places,
        figure=deciding_figure(lane, by),
        status=lane.status,
        epochs=float(experiment.length.epochs_at(len(steps))),
        steps=int(steps[-1]) if steps else 0,
        gradient_evaluations=float(evaluations[-1]) if evaluations else 0.0,
        seconds=lane.seconds,
        to_target=int(reached) if math.isfinite(reached) else None,
        closest=_closest(lane, by),
    )
