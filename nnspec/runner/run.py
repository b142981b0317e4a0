"""Running a program: data, proofs, lanes, verdicts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Program
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access, Dataset
from nnspec.engine.gradcheck import GradientCheck, GradientReport
from nnspec.environment import check_compiler, one_blas_thread
from nnspec.executors.processes import NO_MEMORY, Workers, usual_jobs
from nnspec.interrupts import CtrlC
from nnspec.native import How
from nnspec.records.write import summary_record
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.runner.data_notes import remarks
from nnspec.runner.finishing import with_predictor, write_samples
from nnspec.runner.gradients import alike_lanes, gradient_bound, lanes_to_prove, prove_gradients
from nnspec.runner.load_data import gather
from nnspec.runner.repeats import lane_of
from nnspec.runner.resuming import Checkpoints
from nnspec.runner.verdicts import judge
from nnspec.training.groups import Training, failed, group, side_by_side, train_together, trainings
from nnspec.training.observer import Observer

if TYPE_CHECKING:
    from nnspec.executors.dask_cluster import Cluster

__all__ = ["PROOF_SAMPLES", "Ways", "run_program"]

PROOF_SAMPLES = 8
"""Samples of the gradient check that an expectation asks for; `nnspec gradcheck` takes twice as many."""


@dataclass(frozen=True)
class Ways:
    """How lanes are trained. Their numbers are the same to the last bit, whichever way it is."""

    jobs: int | None = 1
    """How many processes train, side by side; None for as many as are worth their while on this machine."""
    stacked: bool = True
    """Whether lanes that compute alike train as one stack; else each is trained by itself, and timed by itself."""
    fail_fast: bool = False
    """Whether the run ends with the first lane that diverges or fails; else the others go on."""
    profile: bool = False
    """Whether every lane's steps are timed part by part; lanes are then trained in one process, each by itself."""

    compiled: How = "auto"
    """Whether lanes are trained by compiled steps: where they can be had without waiting, always, or never."""

    on: str = ""
    """A cluster that trains them, `dask://HOST:PORT`, instead of this machine."""

    def __post_init__(self) -> None:
        """Raise ValueError for fewer than one job, and for a profile of what is trained elsewhere."""
        if self.on and self.profile:
            raise ValueError("a profile times the steps of this machine: remove `on`")
        if self.profile and self.compiled == "always":
            raise ValueError("a profile times NumPy calls one by one: it cannot go with compiled steps")
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"lanes are trained in at least one process, not {self.jobs}")
        if self.profile:
            object.__setattr__(self, "jobs", 1)
            object.__setattr__(self, "stacked", False)


def run_program(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    before_training: Callable[[], Checkpoints | None] = lambda: None,
    ways: Ways = Ways(),
    trained: Callable[[RunResult], None] | None = None,
) -> RunResult:
    """Run every lane. Ctrl-C ends the lanes that train and leaves out those that have not begun.

    Gradients are proved before lanes train, while the processes start that train them. With `trained`, and without such
    processes, they are proved afterwards: it is given the curves when all lanes are done, and may have them drawn
    meanwhile. A run that is interrupted before has no gradients.

    `before_training` is called when the data is there and nothing has been trained yet, and may say where checkpoints
    are kept: trainings go on from those that are there. Raises DataError, CheckpointError, NnspecError
    where compiled kernels are asked for and cannot be had, and WorkerError where a process that trained was ended from
    outside.
    """
    if ways.compiled == "always":
        check_compiler()
    program = compiled.program
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    everything = trainings(compiled)
    usual = 1 if ways.compiled == "always" else usual_jobs(everything)  # compiled steps train in threads
    jobs = usual if ways.jobs is None else min(ways.jobs, len(everything))
    everything = [
        replace(each, halts=ways.fail_fast, profile=ways.profile, compiled=ways.compiled) for each in everything
    ]
    lanes = _Lanes(program, observer, ways.fail_fast)
    gradients: dict[str, GradientReport] = {}
    with ExitStack() as hired:
        # The workers start while the data is loaded and gradients are proved.
        cluster = hired.enter_context(_cluster(ways.on)) if ways.on else None
        workers = cluster or (hired.enter_context(Workers(jobs)) if jobs > 1 else None)
        jobs = cluster.count if cluster is not None else jobs
        data = gather(program, access)
        datasets = {name: dataset for name, (dataset, _) in data.items()}
        uses = tuple(dict.fromkeys(use for _, use in data.values()))
        observer.data_ready(uses)
        checkpoints = before_training()
        ended: list[LaneResult] = []
        if checkpoints is not None:
            everything, ended = checkpoints.enter(everything, {name: use.sha256 for name, (_, use) in data.items()})
        groups = group(everything, jobs, ways.stacked)
        with one_blas_thread():
            try:
                lanes.add_ended(ended)
                if trained is None or workers is not None:
                    trained = None
                    gradients = _proofs(program, datasets, observer)
                threads = workers is None and ways.stacked and ways.compiled != "never"
                turns = side_by_side(groups, lambda one: datasets[one.experiment.name]) if threads else groups
                work = [(members, datasets[members[0].experiment.name]) for members in turns]
                if workers is not None and work:
                    workers.train(work, observer, lanes.add)
                else:
                    _train(work, observer, lanes)
                    if trained is not None and not lanes.interrupted:
                        with CtrlC() as pressed:
                            trained(RunResult(program.title, program.path, lanes.in_order(), uses))
                        pressed.check()
                        gradients = _proofs(program, datasets, observer)
            except KeyboardInterrupt:
                lanes.interrupted = True
            lanes.close()
            trained_lanes = lanes.in_order()
            lanes.interrupted |= not write_samples(program, trained_lanes, datasets)
            trained_lanes = {
                lane.name: with_predictor(trained_lanes[lane.name], lane, data[lane.name][1])
                for lane in program.lanes
                if lane.name in trained_lanes
            }
            with CtrlC() as pressed:  # what was trained becomes a result, whatever comes in between
                result = _result(compiled, trained_lanes, uses, gradients, lanes.interrupted)
                result.halted = lanes.halted
                result.notes = (*remarks(program, datasets), *_refusals(result))
                result.data_of = {name: uses.index(use) for name, (_, use) in data.items()}
                result.summary = summary_record(result, program, started, access.data_dir) | {
                    "ways": _ways(groups, jobs)
                    | _compiled(ways.compiled, result)
                    | (cluster.record() if cluster is not None else {})
                }
            result.interrupted |= pressed.pressed
    return result


def _cluster(address: str) -> Cluster:
    from nnspec.executors.dask_cluster import (
        Cluster,
    )  # and asyncio with it, which takes as long to import as a lane to train

    return Cluster(address)


def _train(work: Sequence[tuple[tuple[Training, ...], Dataset]], observer: Observer, lanes: _Lanes) -> None:
    """Train group after group, until one is interrupted."""
    for members, dataset in work:
        try:
            results = train_together(members, dataset, observer)
        except MemoryError:
            results = [failed(each, NO_MEMORY) for each in members]
        lanes.add(results)
        if lanes.interrupted:
            return


class _Lanes:
    """The lanes of a run, as their trainings come in."""

    def __init__(self, program: Program, observer: Observer, fail_fast: bool = False) -> None:
        self._fail_fast = fail_fast
        self.halted = ""
        self._asked = {lane.name: lane.train.trainings for lane in program.lanes}
        self._observer = observer
        self._found: dict[str, list[LaneResult]] = {}
        self._lanes: dict[str, LaneResult] = {}
        self.interrupted = False

    def add(self, results: Sequence[LaneResult]) -> None:
        """Take in trainings that ended together. Raises KeyboardInterrupt where the run is to end with one of them."""
        for one in results:
            self._found.setdefault(one.name, []).append(one)
        self.interrupted |= any(one.status == "interrupted" for one in results)
        for name in dict.fromkeys(one.name for one in results):
            if len(self._found[name]) == self._asked[name]:
                self._end(name)
        bad = [one for one in results if one.status in ("diverged", "failed")]
        if self._fail_fast and bad and not self.halted:
            self.halted = f"{bad[0].label}, which {bad[0].status}"
            raise KeyboardInterrupt

    def close(self) -> None:
        """End lanes of which only some repeats were trained."""
        for name in [name for name in self._found if name not in self._lanes]:
            self._end(name)

    def _end(self, name: str) -> None:
        repeats = sorted(self._found[name], key=lambda one: one.repeat)
        lane = self._lanes[name] = lane_of(repeats, self._asked[name])
        self._observer.lane_ends(lane)

    def add_ended(self, results: Sequence[LaneResult]) -> None:
        """Take in trainings that had ended before this run went on."""
        for one in results:
            self._observer.lane_begins(one)
        self.add(results)

    def in_order(self) -> dict[str, LaneResult]:
        """Return the lanes in the program's order."""
        return {name: self._lanes[name] for name in self._asked if name in self._lanes}


def _ways(groups: Sequence[tuple[Training, ...]], jobs: int) -> dict[str, Any]:
    """How it ran: in how many processes, and which trainings were one stack."""
    return {"jobs": jobs, "stacks": [[each.label for each in members] for members in groups if len(members) > 1]}


def _refusals(result: RunResult) -> Iterator[str]:
    """Say where compiled steps were given up."""
    every = [one for lane in result.lanes.values() for one in lane.repeats or (lane,)]
    refused = {one.label: one.compiled["refused"] for one in every if one.compiled and "refused" in one.compiled}
    for why in dict.fromkeys(refused.values()):
        labels = ", ".join(label for label, each in refused.items() if each == why)
        yield f"{labels}: trained by NumPy calls, not by compiled steps: {why}"


def _compiled(how: How, result: RunResult) -> dict[str, Any]:
    """Say since which epoch trainings ran as compiled steps, and what stayed Python calls; nothing where none did."""
    every = [one for lane in result.lanes.values() for one in lane.repeats or (lane,)]
    trainings = {one.label: one.compiled for one in every if one.compiled is not None}
    return {"compiled": {"asked": how, "trainings": trainings}} if trainings else {}


def _result(
    compiled: Compiled,
    lanes: dict[str, LaneResult],
    uses: tuple[DataUse, ...],
    gradients: dict[str, GradientReport],
    interrupted: bool,
) -> RunResult:
    program = compiled.program
    return RunResult(
        title=program.title,
        spec=program.path,
        lanes=lanes,
        data=uses,
        verdicts=judge(compiled, lanes, gradients),
        gradients=gradients,
        interrupted=interrupted,
    )


def _proofs(program: Program, data: dict[str, Dataset], observer: Observer) -> dict[str, GradientReport]:
    """Check the gradients that expectations speak of; lanes with the same network share one check."""
    wanted = lanes_to_prove(program)
    reports: dict[str, GradientReport] = {}
    for alike in alike_lanes(lane for lane in program.lanes if lane.name in wanted):
        first = alike[0]
        observer.proving(first.name)
        bound = gradient_bound(program, tuple(lane.name for lane in alike))
        report = prove_gradients(first, data[first.name], GradientCheck(bound=bound), samples=PROOF_SAMPLES)
        reports |= {lane.name: report for lane in alike}
    return reports
