"""Groups of trainings that run together: how they are formed, and how they take turns.

A training is one lane with one seed. Trainings with the same computation form a stack (see `compiler/loop.py`). In
everything else they are independent: each stops early, diverges or finishes as it would alone.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from nnspec.checker.program import Experiment
from nnspec.compiler.layout import Layout
from nnspec.compiler.loop import plan_alone, plans_apart, plans_together
from nnspec.compiler.plan import Plan
from nnspec.compiler.proofs import Compiled
from nnspec.compiler.stacking import kin, widest
from nnspec.compiler.switch import Recorded, Switch
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.network import NumpyMLP
from nnspec.native import How
from nnspec.results.lane import LaneResult
from nnspec.results.stored import learned_from, scaling_from
from nnspec.training.checkpoint import CheckpointError, Keeper, best_lane
from nnspec.training.observer import Observer
from nnspec.training.profile import Profiler
from nnspec.training.progress import begun
from nnspec.training.train import train_plan

__all__ = ["Training", "Turns", "failed", "group", "not_begun", "train_together", "trainings"]


@dataclass(frozen=True)
class Training:
    """One training of a lane: its `experiment` has the seed of this repeat."""

    experiment: Experiment
    layout: Layout
    repeat: int
    of: int
    keeper: Keeper | None = None
    """Keeps its checkpoint and holds the one to resume from; None if there are no checkpoints."""
    halts: bool = False
    """Whether all other trainings end if it diverges or fails."""
    profile: bool = False
    """Whether each part of its steps is timed, which requires a group of its own."""

    compiled: How = "auto"
    """Whether it uses compiled steps: if they are available, always, or never."""
    until: int = 0
    """The epoch after which it pauses, with a checkpoint to continue from; 0 for none."""

    @cached_property
    def kin(self) -> Hashable:
        """What lanes of a stack have in common; None if it is trained alone."""
        return kin(self.experiment)

    @property
    def done(self) -> int:
        """Number of epochs already completed."""
        return self.keeper.start.epochs if self.keeper is not None and self.keeper.start is not None else 0

    @property
    def label(self) -> str:
        """The lane's name, with the seed if there are several."""
        return f"{self.experiment.name}, seed {self.experiment.seed}" if self.of > 1 else self.experiment.name


def trainings(compiled: Compiled) -> list[Training]:
    """Return all trainings of a program: for each lane in turn, its repeats and folds, one per seed."""
    found = []
    for lane in compiled.program.lanes:
        of = lane.train.trainings
        for number in range(of):
            found.append(Training(lane.training(number), compiled.layouts[lane.name], number + 1, of))
    return found


def group(all_trainings: Iterable[Training], parts: int = 1, stacked: bool = True) -> list[tuple[Training, ...]]:
    """Divide trainings into groups that run together: at least `parts`, if there are that many trainings.

    Lanes of the same kin with the same number of completed epochs form stacks, one per repeat, since they share their
    batches. The repeats of a lane without kin form a stack.
    """
    alone: list[tuple[Hashable, list[Training]]] = []
    families: dict[Hashable, list[Training]] = {}
    for number, training in enumerate(all_trainings):
        key = training.kin if stacked else None
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
        width = -(-len(members) // count)  # groups of (nearly) equal size
        groups += [tuple(members[start : start + width]) for start in range(0, len(members), width)]
    return groups


def _stackable(group: Sequence[Training]) -> bool:
    """Return whether trainings can form a stack, which trains the same epoch of all of them."""
    alike = {(each.kin, each.done) for each in group}
    return len(alike) == 1 and group[0].kin is not None and widest(group[0].layout) > 1


def failed(training: Training, why: str) -> LaneResult:
    """Return the result of a training that could not be finished.

    It has the network of the best epoch if the spec restores that and a checkpoint has it; otherwise it is empty.
    """
    lane = _empty(training)
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


def not_begun(training: Training, why: str) -> LaneResult:
    """Return the result of a training that is not begun, because all trials of its lane diverged."""
    return replace(_empty(training), status="diverged", message=why)


def _empty(training: Training) -> LaneResult:
    return begun(training.experiment, training.layout, NumpyMLP(), training.repeat, training.of)


def train_together(group: Sequence[Training], dataset: Dataset, observer: Observer) -> list[LaneResult]:
    """Train a group; Ctrl-C ends all of it. The result does not contain trainings that had not begun by then.

    Every lane has the same results as when trained alone, to the last bit.
    """
    turns = Turns(group, dataset, observer)
    while turns.going:
        turns.take()
    return turns.results


def _plans(group: Sequence[Training], dataset: Dataset) -> list[Plan]:
    """Return the plan of each training: in one stack, if they can form one."""
    lanes = [(each.experiment, each.layout) for each in group]
    if len(group) > 1:
        return plans_together(lanes, dataset) if _stackable(group) else plans_apart(lanes, dataset)
    ((training,), keeper) = group, group[0].keeper
    if keeper is None or not keeper.other_data:
        (plan,) = plans_apart(lanes, dataset)
    else:
        before = keeper.start.extra if keeper.start is not None else {}
        scaling, target_scaling = (scaling_from(before, what) for what in ("input", "target"))
        plan = plan_alone(
            training.experiment,
            training.layout,
            dataset,
            scaling=scaling,
            target_scaling=target_scaling,
            learned=learned_from(before) if before else None,
            narrow=False,
        )
    if training.profile:
        plan.loop.observer = Profiler(plan)
    return [plan]


class Turns:
    """A group of trainings that take turns, one record each, from the start of each to its end."""

    def __init__(
        self,
        group: Sequence[Training],
        dataset: Dataset,
        observer: Observer,
        recorded: Recorded | None = None,
        seconds: float | None = None,
    ) -> None:
        """Set up the trainings. `recorded` keeps compiled steps for other groups, and `seconds` is the estimated
        duration of all of these; by default, there are no others.
        """
        plans = _plans(group, dataset)
        self._loop = plans[0].loop
        if seconds is None:
            seconds = sum(each.layout.seconds for each in group)
        how = "never" if group[0].profile else group[0].compiled
        self._switch = Switch(plans, how, seconds, observer.compiling, recorded)
        self._halts = any(each.halts for each in group)
        self._going: dict[Plan, Generator[None, None, LaneResult]] = {
            plan: train_plan(plan, observer, each.repeat, each.of, each.keeper, each.until)
            for plan, each in zip(plans, group, strict=True)
        }
        self._ended: dict[int, LaneResult] = {}

    @property
    def going(self) -> int:
        """The number of trainings that have not ended."""
        return len(self._going)

    @property
    def replayed(self) -> bool:
        """Whether all of its trainings replay compiled steps from now on."""
        return all(plan.loop.compiled is not None for plan in self._going)

    @property
    def compiles(self) -> bool:
        """Whether its trainings are likely to replay compiled steps from the start."""
        return self._switch.ready

    @property
    def results(self) -> list[LaneResult]:
        """The trainings that have ended, in the order of the group."""
        return [self._ended[place] for place in sorted(self._ended)]

    def take(self) -> None:
        """Train a record of each. Ctrl-C interrupts all of them."""
        # A lane that diverges reports overflow once; NumPy would warn about every operation.
        with np.errstate(all="ignore"):
            try:
                self._loop.settle([plan for plan in [*self._going] if not self._turn(plan)])
                self._switch([*self._going])
            except KeyboardInterrupt:
                self.interrupt()
            except BaseException:
                self.halt()
                raise

    def halt(self) -> None:
        """Stop all threads, of which none may continue if another training has raised an error."""
        for plan in self._going:
            plan.loop.halt()

    def interrupt(self) -> None:
        """Interrupt all trainings that have not ended; those that have not begun have no result."""
        for plan, training in self._going.items():
            try:
                training.throw(KeyboardInterrupt())
            except StopIteration as end:
                self._ended[plan.lane] = end.value
            except KeyboardInterrupt:  # it had not begun
                continue
        self._going.clear()

    def _turn(self, plan: Plan) -> bool:
        """Train a plan for one record; return whether more are to come. Raises KeyboardInterrupt."""
        try:
            next(self._going[plan])
        except StopIteration as end:
            self._end(plan, end.value)
            return False
        plan.loop.ahead(plan.next_record)  # a thread of its own need not wait for the other plans
        return True

    def _end(self, plan: Plan, lane: LaneResult) -> None:
        del self._going[plan]
        self._ended[plan.lane] = lane
        if lane.status == "interrupted" or (lane.status == "diverged" and self._halts):
            raise KeyboardInterrupt
