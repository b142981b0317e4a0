"""The rungs of a search of which only the best trials are trained to the end: where its trials pause, and which of them
continue. It depends only on their curves, so that a resumed or repeated run decides alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from nnspec.checker.program import Experiment, Program, Tuning
from nnspec.engine.metrics.contract import figure_and_target, higher_is_better
from nnspec.results.lane import LaneResult

__all__ = ["DROPPED", "Rungs"]

DROPPED = "others were better"
"""Why a trial was not trained to the end."""


class Rungs:
    """The rungs of the trials of a program. The trials of one lane and study compete."""

    def __init__(self, tuning: Tuning, program: Program) -> None:
        studies: dict[tuple[str, int], list[Experiment]] = {}
        for each in program.lanes:
            if each.trial is not None:
                studies.setdefault((each.lane, each.trial.study), []).append(each)
        search, budget = tuning.settings.search, tuning.settings.budget
        self._by, _ = figure_and_target(str(tuning.settings.by))
        self._studies = [(own, search.kept(len(own), budget)) for own in studies.values()]

    @cached_property
    def drop(self) -> bool:
        """Whether some trials are not trained to the end."""
        return any(kept for _, kept in self._studies)

    @cached_property
    def _kept(self) -> Mapping[str, Sequence[tuple[int, int]]]:
        return {each.name: kept for own, kept in self._studies for each in own}

    def pause(self, trial: Experiment, rung: int) -> int:
        """Return the number of records after which a trial pauses at a rung, from 0; 0 if it is trained to the end."""
        kept = self._kept[trial.name]
        return _pause(trial, kept[rung][0]) if rung < len(kept) else 0

    def ahead(self, found: Mapping[str, Sequence[LaneResult]], rungs: int | None = None) -> set[str]:
        """Return the names of the trials that continue after this many rungs, or after all of them. `found` has the
        trainings of each trial so far; what they did beyond a rung does not count there.
        """
        names: set[str] = set()
        for trials, kept in self._studies:
            left: Iterable[Experiment] = trials
            for d, count in kept[:rungs]:
                figures = {each.name: self._figure(found.get(each.name, ()), _pause(each, d)) for each in left}
                best = sorted(figures, key=lambda name: figures[name])[:count]
                left = [each for each in left if each.name in best and figures[each.name] < math.inf]
            names |= {each.name for each in left}
        return names

    def _figure(self, trainings: Sequence[LaneResult], records: int) -> float:
        """Return the mean of the deciding figure after this many records, with its sign changed if higher is better; of
        a training that stopped early, at its end. Infinite if a training did not get there.
        """
        figures = [_at(one, self._by, records) for one in trainings] or [math.nan]
        mean = math.fsum(figures) / len(figures)
        return (-mean if higher_is_better(self._by) else mean) if math.isfinite(mean) else math.inf


def _pause(trial: Experiment, d: int) -> int:
    return max(1, trial.length.records // d)


def _at(lane: LaneResult, figure: str, records: int) -> float:
    if figure not in lane.figures:
        return math.nan
    if len(lane.records) >= records:
        return lane.curve(figure)[records - 1]
    return lane.final(figure) if lane.status == "done" else math.nan
