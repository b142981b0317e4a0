"""Trainings that go on together: which ones do, and how they take turns.

A training is a lane once, with one seed. Those that compute alike make a stack (see `compiler/loop.py`); every one of
them goes its own way in everything else, epoch by epoch: it stops early, diverges, or is done, as it would alone.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import Layout
from nnspec.compiler.loop import plans_apart, plans_together
from nnspec.compiler.plan import Plan
from nnspec.compiler.proofs import Compiled
from nnspec.compiler.stacking import kin, widest
from nnspec.compiler.switch import Switch
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.network import NumpyMLP
from nnspec.native import How
from nnspec.results.lane import LaneResult
from nnspec.training.checkpoint import CheckpointError, Keeper, best_lane
from nnspec.training.observer import Observer
from nnspec.training.progress import begun
from nnspec.training.train import train_once, train_plan

__all__ = ["Training", "failed", "group", "train_together", "trainings"]


@dataclass(frozen=True)
class Training:
    """A lane that is trained once: its `experiment` has the seed of this repeat."""

    experiment: Experiment
    layout: Layout
    repeat: int
    of: int
    keeper: Keeper | None = None
    """Keeps its checkpoint, where one is kept, and says where it goes on."""
    halts: bool = False
    """Whether the others end with it where it does not end well."""
    profile: bool = False
    """Whether its steps are timed part by part, where it is trained by itself."""

    compiled: How = "auto"
    """Whether it is trained by compiled steps: where they can be had, always, or never."""

    @property
    def done(self) -> int:
        """How many epochs are done already."""
        return self.keeper.start.epochs if self.keeper is not None and self.keeper.start is not None else 0

    @property
    def label(self) -> str:
        """The lane's name, and the seed where there are several."""
        return f"{self.experiment.name}, seed {self.experiment.seed}" if self.of > 1 else self.experiment.name


def trainings(compiled: Compiled) -> list[Training]:
    """Return all trainings of a program: of each lane in turn, its repeats and folds with one seed after another."""
    found = []
    for lane in compiled.program.lanes:
        of = lane.train.trainings
        for number in range(of):
            found.append(Training(lane.training(number), compiled.layouts[lane.name], number + 1, of))
    return found


def group(all_trainings: Iterable[Training], parts: int = 1, stacked: bool = True) -> list[tuple[Training, ...]]:
    """Divide trainings into groups that go on together, at least `parts` where there are as many.

    Lanes of one kin that have as many epochs behind them make a stack, each repeat its own, since they share their
    batches; of a lane that has no kin, the repeats do.
    """
    alone: list[tuple[Hashable, list[Training]]] = []
    families: dict[Hashable, list[Training]] = {}
    for number, training in enumerate(all_trainings):
        key = kin(training.experiment) if stacked else None
        families.setdefault((training.done, key if key is not None else number), []).append(training)
    for family in families.values():
        several = len({training.experiment.name for training in family}) > 1
        for repeat in sorted({training.repeat for training in family}) if several else [0]:
            alone.append((repeat, [training for training in family if repeat in (0, training.repeat)]))
    total = sum(len(members) for _, members in alone)
    groups: list[tuple[Training, ...]] = []
    for _, members in alone:
        width = min(widest(members[0].layout), max(1, -(-total // parts)))
        count = -(-len(members) // width)
        width = -(-len(members) // count)  # groups of one size, or nearly
        groups += [tuple(members[start : start + width]) for start in range(0, len(members), width)]
    return groups


def _stackable(group: Sequence[Training]) -> bool:
    """Whether trainings make a stack, which trains the same epoch of all of them."""
    alike = {(kin(each.experiment), each.done) for each in group}
    return len(alike) == 1 and kin(group[0].experiment) is not None and widest(group[0].layout) > 1


def failed(training: Training, why: str) -> LaneResult:
    """Return what is left of a training that could not be brought to an end: its best epoch, where it was to end with
    that one and a checkpoint has it; else nothing."""
    lane = begun(training.experiment, training.layout, NumpyMLP(), training.repeat, training.of)
    rule = training.experiment.train.early_stop
    if training.keeper is not None and rule is not None and rule.restore_best:
        try:
            checkpoint = training.keeper.read()
        except CheckpointError as error:
            why = f"{why}; {error}"
        else:
            if checkpoint is not None and checkpoint.best["epoch"]:
                lane = best_lane(training.experiment, checkpoint)
    return replace(lane, status="failed", message=why)


def train_together(group: Sequence[Training], dataset: Dataset, observer: Observer) -> list[LaneResult]:
    """Train a group to its end; Ctrl-C ends all of it. A training that had not begun then is left out.

    Every lane has the numbers that it has alone, to the last bit.
    """
    if len(group) == 1:
        (one,) = group
        return [
            train_once(
                one.experiment,
                one.layout,
                dataset,
                observer,
                one.repeat,
                one.of,
                one.keeper,
                one.profile,
                one.compiled,
            )
        ]
    lanes = [(each.experiment, each.layout) for each in group]
    plans = plans_together(lanes, dataset) if _stackable(group) else plans_apart(lanes, dataset)
    return _Turns(group, plans, observer).take()


class _Turns:
    """Trainings that take turns, an epoch each."""

    def __init__(self, group: Sequence[Training], plans: Sequence[Plan], observer: Observer) -> None:
        self._loop = plans[0].loop
        self._switch = Switch(plans, group[0].compiled, sum(each.layout.seconds for each in group), observer.compiling)
        self._halts = any(each.halts for each in group)
        self._going: dict[Plan, Generator[None, None, LaneResult]] = {
            plan: train_plan(plan, observer, each.repeat, each.of, each.keeper)
            for plan, each in zip(plans, group, strict=True)
        }
        self._ended: dict[int, LaneResult] = {}

    def take(self) -> list[LaneResult]:
        with np.errstate(all="ignore"):
            try:
                while self._going:
                    self._loop.settle([plan for plan in [*self._going] if not self._turn(plan)])
                    self._switch([*self._going])
            except KeyboardInterrupt:
                self._interrupt()
            finally:  # whatever went wrong in one of them, no thread goes on with another
                for plan in self._going:
                    plan.loop.halt()
        return [self._ended[place] for place in sorted(self._ended)]

    def _turn(self, plan: Plan) -> bool:
        """Let a training go on for an epoch, and say whether it goes on behind that. Raises KeyboardInterrupt."""
        try:
            next(self._going[plan])
        except StopIteration as end:
            self._end(plan, end.value)
            return False
        return True

    def _end(self, plan: Plan, lane: LaneResult) -> None:
        del self._going[plan]
        self._ended[plan.lane] = lane
        if lane.status == "interrupted" or (lane.status == "diverged" and self._halts):
            raise KeyboardInterrupt

    def _interrupt(self) -> None:
        """End all that still go on."""
        for plan, training in self._going.items():
            try:
                training.throw(KeyboardInterrupt())
            except StopIteration as end:
                self._ended[plan.lane] = end.value
            except KeyboardInterrupt:  # it had not begun
                continue
