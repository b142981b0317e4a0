"""Running a program: data, gradient checks, lanes, verdicts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from nnspec.checker.program import Program
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access, Dataset
from nnspec.engine.gradcheck import GradientCheck, GradientReport
from nnspec.environment import check_compiler, one_blas_thread
from nnspec.errors import NnspecError
from nnspec.interrupts import CtrlC
from nnspec.native import How
from nnspec.records.write import summary_record
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.results.rungs import Rungs
from nnspec.runner.data_notes import remarks
from nnspec.runner.executor_choice import executor_for
from nnspec.runner.finishing import with_predictor, write_samples
from nnspec.runner.gradients import alike_lanes, gradient_bound, lanes_to_prove, prove_gradients
from nnspec.runner.load_data import load_data
from nnspec.runner.load_weights import weights_notes, with_all_weights
from nnspec.runner.options import IN_PROCESS, RunOptions
from nnspec.runner.repeats import lane_of
from nnspec.runner.resuming import Continuation
from nnspec.runner.rungs import train_in_rungs
from nnspec.runner.verdicts import judge
from nnspec.training.groups import Training, group, not_begun, trainings
from nnspec.training.observer import Observer

__all__ = ["PROOF_SAMPLES", "run_program"]

PROOF_SAMPLES = 8
"""Number of samples for gradient checks of expectations; `nnspec gradcheck` uses twice as many."""


def run_program(
    compiled: Compiled,
    access: Access,
    observer: Observer,
    before_training: Callable[[], Continuation | None] = lambda: None,
    options: RunOptions = IN_PROCESS,
    trained: Callable[[RunResult], None] | None = None,
    unsettled: Mapping[str, str] = MappingProxyType({}),
) -> RunResult:
    """Run every lane, except for those in `unsettled`, for which a search has no settings: these are recorded as
    diverged, with the reason. Ctrl-C ends the lanes in training and skips those that have not begun.

    Gradients are checked before training, while worker processes start. If there are none and `trained` is given, they
    are checked afterwards: `trained` is called with the curves once all lanes are done, and may start to draw them in
    the meantime. A run that is interrupted before that has no gradient checks.

    `before_training` is called after the data is loaded and before anything is trained. It may return where checkpoints
    are kept; trainings then continue from existing ones.

    Raises DataError, CheckpointError, NnspecError if required compiled kernels are not available, and WorkerError if
    processes die before they start to train.
    """
    tuning = compiled.program.tuning
    if tuning is not None and tuning.settings.race:
        raise NnspecError("this spec has `tune`, so its hyperparameters must be tuned before it can be trained")
    if options.compiled == "always":
        check_compiler()
    compiled = replace(compiled, program=with_all_weights(compiled.program))
    program = compiled.program
    observer.run_begins(compiled)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    everything = [
        replace(each, halts=options.fail_fast, profile=options.profile, compiled=options.compiled)
        for each in trainings(compiled)
    ]
    lanes = _Lanes(program, observer, options.fail_fast, unsettled)
    untrained = [each for each in everything if each.experiment.name in unsettled]
    everything = [each for each in everything if each.experiment.name not in unsettled]
    gradients: dict[str, GradientReport] = {}
    # Processes start while the data is loaded and gradients are checked.
    with executor_for(options, everything) as executor:
        data = load_data(program, access)
        datasets = {name: dataset for name, (dataset, _) in data.items()}
        uses = tuple(dict.fromkeys(use for _, use in data.values()))
        observer.data_ready(uses)
        checkpoints = before_training()
        ended: list[LaneResult] = []
        if checkpoints is not None:
            everything, ended = checkpoints.enter(everything, {name: use.sha256 for name, (_, use) in data.items()})
        groups: list[tuple[Training, ...]] = []

        def train(some: Sequence[Training], take: Callable[[Sequence[LaneResult]], None]) -> None:
            formed = group(some, executor.slots, options.stack)
            groups.extend(formed)
            work = [(members, datasets[members[0].experiment.name]) for members in formed]
            executor.train(work, observer, take)

        with one_blas_thread():
            try:
                lanes.add_ended([*ended, *(not_begun(each, unsettled[each.experiment.name]) for each in untrained)])
                if trained is None or executor.remote:
                    trained = None
                    gradients = _proofs(program, datasets, observer)
                rungs = Rungs(tuning, program) if tuning is not None else None
                if rungs is not None and rungs.drop:
                    digests = {name: use.sha256 for name, (_, use) in data.items()}
                    train_in_rungs(rungs, everything, ended, digests, train, lanes.add)
                else:
                    train(everything, lanes.add)
                if trained is not None:
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
            with CtrlC() as pressed:  # trained lanes become a result, even if interrupted here
                result = _result(compiled, trained_lanes, uses, gradients, lanes.interrupted, unsettled)
                result.halted = lanes.halted
                result.notes = (*weights_notes(program), *remarks(program, datasets), *_refusals(result))
                result.data_of = {name: uses.index(use) for name, (_, use) in data.items()}
                result.summary = summary_record(result, compiled, started, access.data_dir) | {
                    "ways": _ways(groups, executor.slots) | _compiled(options.compiled, result) | executor.record()
                }
            result.interrupted |= pressed.pressed
    return result


class _Lanes:
    """Collects the trainings of a run into its lanes."""

    def __init__(self, program: Program, observer: Observer, fail_fast: bool, unsettled: Mapping[str, str]) -> None:
        self._fail_fast, self._unsettled = fail_fast, unsettled
        self.halted = ""
        self._asked = {lane.name: lane.train.trainings for lane in program.lanes}
        self._observer = observer
        self._found: dict[str, list[LaneResult]] = {}
        self._lanes: dict[str, LaneResult] = {}
        self.interrupted = False

    def add(self, results: Sequence[LaneResult]) -> None:
        """Add trainings that ended together. Raises KeyboardInterrupt if one failed and `fail_fast` ends the run."""
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
        """Complete the lanes of which only some repeats were trained."""
        for name in [name for name in self._found if name not in self._lanes]:
            self._end(name)

    def _end(self, name: str) -> None:
        repeats = sorted(self._found[name], key=lambda one: one.repeat)
        lane = lane_of(repeats, self._asked[name])
        if name in self._unsettled:
            lane = replace(lane, message=self._unsettled[name])  # not once for each repeat
        self._lanes[name] = lane
        self._observer.lane_ends(lane)

    def add_ended(self, results: Sequence[LaneResult]) -> None:
        """Add trainings that had ended before this run was resumed."""
        for one in results:
            self._observer.lane_begins(one)
        self.add(results)

    def in_order(self) -> dict[str, LaneResult]:
        """Return the lanes in the program's order."""
        return {name: self._lanes[name] for name in self._asked if name in self._lanes}


def _ways(groups: Sequence[tuple[Training, ...]], jobs: int) -> dict[str, Any]:
    """Return how it ran: the number of processes, and which trainings formed stacks."""
    return {"jobs": jobs, "stacks": [[each.label for each in members] for members in groups if len(members) > 1]}


def _refusals(result: RunResult) -> Iterator[str]:
    """Yield why trainings did not use compiled steps that were available."""
    every = [one for lane in result.lanes.values() for one in lane.trainings]
    refused = {one.label: one.compiled["refused"] for one in every if one.compiled and "refused" in one.compiled}
    for why in dict.fromkeys(refused.values()):
        labels = ", ".join(label for label, each in refused.items() if each == why)
        yield f"{labels}: trained with NumPy calls instead of compiled steps: {why}"


def _compiled(how: How, result: RunResult) -> dict[str, Any]:
    """Return from which epoch trainings used compiled steps, and which parts remained NumPy calls; {} if none did."""
    every = [one for lane in result.lanes.values() for one in lane.trainings]
    trainings = {one.label: one.compiled for one in every if one.compiled is not None}
    return {"compiled": {"asked": how, "trainings": trainings}} if trainings else {}


def _result(
    compiled: Compiled,
    lanes: dict[str, LaneResult],
    uses: tuple[DataUse, ...],
    gradients: dict[str, GradientReport],
    interrupted: bool,
    unsettled: Mapping[str, str],
) -> RunResult:
    program = compiled.program
    return RunResult(
        title=program.title,
        spec=program.path,
        lanes=lanes,
        data=uses,
        verdicts=judge(compiled, lanes, gradients, unsettled),
        gradients=gradients,
        interrupted=interrupted,
    )


def _proofs(program: Program, data: dict[str, Dataset], observer: Observer) -> dict[str, GradientReport]:
    """Check the gradients that expectations mention; lanes with the same network share one check."""
    wanted = lanes_to_prove(program)
    reports: dict[str, GradientReport] = {}
    for alike in alike_lanes(lane for lane in program.lanes if lane.name in wanted):
        first = alike[0]
        observer.proving(first.name)
        bound = gradient_bound(program, tuple(lane.name for lane in alike))
        report = prove_gradients(first, data[first.name], GradientCheck(bound=bound), samples=PROOF_SAMPLES)
        reports |= {lane.name: report for lane in alike}
    return reports
