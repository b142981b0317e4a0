"""The findings of a search: the best figure of fewer trials, the sensitivity to each hyperparameter, the stability of
the ranking, the time to the target, and the weaknesses of the comparison."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnspec.checker.program import Experiment, Program
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.engine.schedules import ConstantSchedule, Schedule
from nnspec.results.comparisons import compared_figure
from nnspec.results.costs import costs_of
from nnspec.results.lane import LaneResult
from nnspec.results.tuning import Study, Tuned
from nnspec.statistics.budgets import Best, expected_best
from nnspec.statistics.sensitivity import Sensitivity, sensitivity
from nnspec.statistics.significance import LEVEL, between_studies, holm
from nnspec.statistics.stability import over_seeds, over_trials
from nnspec.statistics.targets import time_to_target, times_to_target
from nnspec.text import finite

__all__ = ["edges", "ranges", "search_record", "tuned_record"]

_INCLUDED = {
    ("Momentum", "SGD"): "momentum = 0",
    ("Nesterov", "SGD"): "momentum = 0",
    ("Adam", "RMSProp"): "beta1 = 0",
    ("Adam", "Momentum"): "large eps",
    ("Adam", "SGD"): "beta1 = 0, large eps",
    ("AdamW", "Adam"): "weight_decay = 0",
    ("AdamW", "Momentum"): "large eps",
    ("AdamW", "SGD"): "beta1 = 0, large eps",
    ("NAdam", "Nesterov"): "large eps",
    ("NAdam", "SGD"): "beta1 = 0, large eps",
}
"""Optimizers that include another one as a special case, with these settings, exactly or in the limit: Choi et al.
2019, On Empirical Comparisons of Optimizers for Deep Learning, arXiv 1910.05446."""
_MANY = 0.5
"""The fraction of diverged trials above which a search space is called too wide."""


def tuned_record(tuned: Tuned, program: Program, lanes: Mapping[str, LaneResult]) -> dict[str, Any]:
    """Return the record of a search in the summary of a run: of the run of its trials, or of the race."""
    if program.tuning is not None:
        return tuned.record() | {"summary": search_record(tuned, (), {})}
    return tuned.record() | {"summary": search_record(tuned, program.lanes, lanes)}


def search_record(tuned: Tuned, race: Sequence[Experiment], lanes: Mapping[str, LaneResult]) -> dict[str, Any]:
    """Return the findings of a search as JSON values, with those of the race that follows it, if any."""
    figure, target = tuned.goal
    return {
        "lanes": [_lane(lane, tuned) for lane in tuned.lanes],
        "stability": _stability(tuned, lanes),
        "between_studies": _between(race, lanes),
        **({"times": _times(figure, target, race, lanes)} if target is not None and lanes else {}),
        "remarks": [*_remarks(tuned, race)],
    }


def ranges(study: Study, tuned: Tuned) -> dict[str, Sensitivity]:
    """Return the range of each number of a lane in which its figure is good enough; see `sensitivity`."""
    figures = [trial.figure if trial.counts else math.nan for trial in study.undropped]
    found = {}
    for setting, space in tuned.spaces[study.lane].items():
        values = [trial.settings[setting] for trial in study.undropped]
        if space.scale != "values" and all(isinstance(value, (int, float)) for value in values):
            found[setting] = sensitivity(values, figures, tuned.lower_is_better, log=space.scale == "log")
    return found


def _lane(lane: str, tuned: Tuned) -> dict[str, Any]:
    studies = tuned.of(lane)
    trials = [trial for study in studies for trial in study.trials]
    figures = studies[0].figures
    return {
        "lane": lane,
        "trials": len(trials),
        "diverged": sum(trial.diverged for trial in trials),
        "chosen": [None if study.chosen is None else dict(study.chosen.settings) for study in studies],
        "figures": [None if study.chosen is None else finite(study.chosen.figure) for study in studies],
        "best_after": [_fields(best, *vars(best)) for best in _best_after(figures, tuned.lower_is_better)],
        "ranges": {setting: _fields(found, *_RANGE) for setting, found in ranges(studies[0], tuned).items()},
    }


_RANGE = ("low", "high", "open_low", "open_high", "factor", "margin", "reason")


def _best_after(figures: Sequence[float], lower_is_better: bool) -> tuple[Best, ...]:
    return expected_best(figures, lower_is_better) if figures else ()


def _fields(values: object, *names: str) -> dict[str, Any]:
    """Return some fields of a result as JSON values; infinities and NaN are None."""
    found = {name: getattr(values, name) for name in names}
    return {name: finite(value) if isinstance(value, float) else value for name, value in found.items()}


def _stability(tuned: Tuned, lanes: Mapping[str, LaneResult]) -> dict[str, Any]:
    """How often the best lane remains the best when trials, or the seeds of the race, are resampled."""
    figures = {lane: tuned.of(lane)[0].figures for lane in tuned.lanes}
    finals = {
        lane: {one.seed: _final(one, tuned.by) for one in result.repeats}
        for lane, result in lanes.items()
        if tuned.by in result.figures
    }
    found = {
        "trials": over_trials(figures, tuned.lower_is_better),
        "seeds": over_seeds(finals, tuned.lower_is_better) if finals else None,
    }
    return {name: _fields(each, "winner", "share", "first", "over") for name, each in found.items() if each is not None}


def _final(training: LaneResult, figure: str) -> float:
    return training.final(figure) if training.status == "done" else math.nan


def _between(race: Sequence[Experiment], lanes: Mapping[str, LaneResult]) -> list[dict[str, Any]]:
    """Whether tuned lanes differ by more than one search differs from the next; [] without several studies."""
    figure = compared_figure(lanes.values())
    means: dict[str, list[list[float]]] = {}
    for experiment in race:
        lane = lanes.get(experiment.name)
        if lane is not None and figure in lane.figures:
            means.setdefault(experiment.lane, []).append([_final(one, figure) for one in lane.trainings])
    pairs = [pair for pair in itertools.combinations(means, 2) if all(len(means[lane]) > 1 for lane in pair)]
    tests = [between_studies(means[one], means[other]) for one, other in pairs]
    return [
        {
            "lanes": [*pair],
            "figure": figure,
            **_fields(test, "difference", "low", "high", "p"),
            "p_adjusted": finite(adjusted),
            "n": test.n,
            "shown": adjusted < LEVEL,
        }
        for pair, test, adjusted in zip(pairs, tests, holm([test.p for test in tests]), strict=True)
    ]


def _times(figure: str, target: float, race: Sequence[Experiment], lanes: Mapping[str, LaneResult]) -> dict[str, Any]:
    """How long each training of the race takes to the target: in steps, gradient evaluations and seconds."""
    found: dict[str, Any] = {}
    lower = not higher_is_better(figure)
    for experiment in race:
        lane = lanes.get(experiment.name)
        ones = [one for one in lane.trainings if one.records] if lane is not None else []
        if not ones or figure not in ones[0].figures:
            continue
        found[experiment.name] = {}
        spent = zip(*(costs_of(one, experiment) for one in ones), strict=True)
        for unit, at in zip(("steps", "gradient_evaluations", "seconds"), spent, strict=True):
            times = [time_to_target(x, one.curve(figure), target, lower) for x, one in zip(at, ones, strict=True)]
            summary = times_to_target(times, [x[-1] for x in at])
            found[experiment.name][unit] = {
                "seeds": {str(one.seed): finite(time) for one, time in zip(ones, times, strict=True)},
                "median": finite(summary.median),
                "expected": finite(summary.expected),
                "reached": summary.reached,
                "of": summary.n,
            }
    return found


# Remarks


def _remarks(tuned: Tuned, race: Sequence[Experiment]) -> Iterator[str]:
    """Yield the weaknesses of a search, in words."""
    yield from _untuned(tuned, race)
    yield from edges(tuned)
    yield from _special_cases(tuned, race)
    yield from _sizes(tuned)
    yield from _diverged(tuned)


def _untuned(tuned: Tuned, race: Sequence[Experiment]) -> Iterator[str]:
    """Lanes without a search space, an eps that was not tuned, and times to the target that a schedule determines."""
    lanes = {each.lane: each for each in race}
    for experiment in lanes.values():
        lane, optimizer = experiment.lane, experiment.optimizer
        spaces = tuned.spaces.get(lane, {})
        if not spaces:
            yield f"{lane} was not tuned; it races with the settings in the spec"
        elif len(lanes) > 1 and _ends_as_momentum(optimizer.name) and not {"optimizer", "optimizer.eps"} & {*spaces}:
            near = f"with a large eps, {optimizer.name} approaches Momentum"
            yield f"{lane}: `eps` was not tuned, although it can decide a comparison: {near}"
        schedule = optimizer.values().get("lr")
        constant = not isinstance(schedule, Schedule) or isinstance(schedule, ConstantSchedule)
        if tuned.goal[1] is not None and not constant:
            yield (
                f"{lane}: the time to the target depends on the length of the schedule, `{schedule}`; a shorter one "
                "may reach it earlier"
            )


def _ends_as_momentum(optimizer: str) -> bool:
    return (optimizer, "Momentum") in _INCLUDED


def edges(tuned: Tuned) -> Iterator[str]:
    """Yield the settings chosen at an end of their search space, in words: a wider space may contain a better one."""
    for lane in tuned.lanes:
        for setting, space in tuned.spaces[lane].items():
            ends = [space.edge(s.chosen.settings[setting]) for s in tuned.of(lane) if s.chosen is not None]
            at = next(iter(filter(None, ends)), "")
            if at:
                where = "lower" if at == "low" else "upper"
                yield (
                    f"{lane}: the best `{setting}` is at the {where} end of its search space, {space}; a wider space "
                    "may contain a better value"
                )


def _special_cases(tuned: Tuned, race: Sequence[Experiment]) -> Iterator[str]:
    """A lane whose optimizer includes that of another lane, and whose best trial is worse nevertheless."""
    best = {
        lane: next((study.chosen.figure for study in tuned.of(lane) if study.chosen is not None), math.nan)
        for lane in tuned.lanes
    }
    sign = 1 if tuned.lower_is_better else -1
    kinds = {experiment.lane: experiment.optimizer.name for experiment in race}
    for general, special in itertools.permutations([lane for lane in tuned.lanes if lane in kinds], 2):
        how = _INCLUDED.get((kinds[general], kinds[special]))
        if how is not None and sign * best[general] > sign * best[special]:
            yield (
                f"{kinds[general]} includes {kinds[special]} ({how}), yet the best trial of {general} is worse: "
                f"{tuned.by} {best[general]:.4g}, against {best[special]:.4g} for {special}. {general} needs more "
                "trials, or a search space that covers this case"
            )


def _sizes(tuned: Tuned) -> Iterator[str]:
    """Search spaces of different dimension: the same number of trials covers the larger ones more sparsely."""
    counts = {lane: len(own) for lane, own in tuned.spaces.items()}
    if len({*counts.values()}) > 1:
        words = ", ".join(f"{lane} {count}" for lane, count in counts.items())
        yield (
            f"lanes tune different numbers of hyperparameters ({words}), so the same budget covers the larger search "
            "spaces more sparsely"
        )
    trials = {lane: len(tuned.of(lane)[0].trials) for lane in tuned.lanes}
    if len({*trials.values()}) > 1:
        words = ", ".join(f"{lane} {count}" for lane, count in trials.items())
        yield f"lanes have different numbers of trials, because some search spaces are smaller than the budget: {words}"


def _diverged(tuned: Tuned) -> Iterator[str]:
    for lane in tuned.lanes:
        trials = [trial for study in tuned.of(lane) for trial in study.trials]
        lost = sum(trial.diverged for trial in trials)
        if lost == len(trials):
            yield f"{lane}: all {lost} trials diverged; it needs a different search space"
        elif lost > _MANY * len(trials):
            yield f"{lane}: {lost} of {len(trials)} trials diverged; a narrower search space would waste fewer trials"
