"""The runs of a spec: each lane at each point of the sweep."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from nnspec.checker.declare import MAX_NAME
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.program import Experiment
from nnspec.checker.sweep import Point, run_name

__all__ = ["AtPoints", "Lanes", "Run", "named"]


@dataclass(frozen=True, eq=False)
class Run:
    """A lane at a point of the sweep. Figures in expectations belong to runs."""

    name: str
    lane: str
    point: Point
    experiment: Experiment | None
    evaluator: Evaluator


@dataclass
class Lanes:
    """The runs of all lanes at one point of the sweep."""

    by_name: dict[str, Run]

    @cached_property
    def key(self) -> frozenset[str]:
        """The names of the runs."""
        return frozenset(run.name for run in self.by_name.values())

    @cached_property
    def by_model(self) -> dict[str, list[Run]]:
        """The runs that train each model, by its name."""
        found: dict[str, list[Run]] = {}
        for run in self.by_name.values():
            if run.experiment is not None and run.experiment.model:
                found.setdefault(run.experiment.model, []).append(run)
        return found


class AtPoints:
    """Groups runs by lane, and finds those of other lanes at the same point of the sweep."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._by_lane: dict[str, list[Run]] = {}
        self._at: dict[frozenset[tuple[str, int]], Lanes] = {}
        """The runs at each point; empty if lanes have separate points."""
        alike = not any(swept.lane for run in runs for swept in run.point.swept)
        for run in runs:
            self._by_lane.setdefault(run.lane, []).append(run)
            if alike:
                self._at.setdefault(frozenset(run.point.shared.items()), Lanes({})).by_name[run.lane] = run

    @property
    def names(self) -> Collection[str]:
        """The lanes."""
        return self._by_lane.keys()

    @property
    def apart(self) -> bool:
        """Whether lanes have separate points."""
        return not self._at

    def around(self, run: Run, named: Collection[str]) -> Iterator[Lanes]:
        """Yield the runs of all lanes at the point of a run; if named lanes have separate points, yield each
        combination."""
        if self._at:
            yield self._at[frozenset(run.point.shared.items())]
            return
        choices = [list(self._beside(run, lane, whole=lane in named)) for lane in self._by_lane]
        for chosen in product(*choices):
            yield Lanes(dict(zip(self._by_lane, chosen, strict=True)))

    def _beside(self, run: Run, lane: str, whole: bool) -> Iterator[Run]:
        if lane == run.lane:
            yield run
            return
        for each in self._by_lane[lane]:
            if all(run.point.shared.get(s, place) == place for s, place in each.point.shared.items()):
                yield each
                if not whole:
                    return


def named(runs: Sequence[Run], several: bool) -> list[Run]:
    """Give every run a unique name. `several` is whether the spec has several lanes."""
    taken: set[str] = set()
    result = []
    for run in runs:
        name = run_name(run.lane, run.point, several)
        whole, copy = name, 1
        while name in taken:
            copy += 1
            name = f"{whole[: MAX_NAME - 6]}~{copy}"
        taken.add(name)
        experiment = run.experiment and replace(run.experiment, name=name, lane=run.lane, swept=run.point.swept)
        result.append(replace(run, name=name, experiment=experiment))
    return result
