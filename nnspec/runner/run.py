"""Running a program: data, proofs, lanes, verdicts."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from nnspec.checker.program import Program
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access, Dataset
from nnspec.engine.gradcheck import GradientReport
from nnspec.runner.environment import one_blas_thread
from nnspec.runner.gather import gather
from nnspec.runner.history import DataUse, LaneResult, RunResult
from nnspec.runner.judge import judge
from nnspec.runner.observer import Observer
from nnspec.runner.prove import alike_lanes, prove_gradients
from nnspec.runner.record import summary_record
from nnspec.runner.repeats import train_lane

__all__ = ["PROOF_SAMPLES", "run_program"]

PROOF_SAMPLES = 8
"""Samples of the gradient check that an expectation asks for; `nnspec gradcheck` takes twice as many."""


def run_program(
    compiled: Compiled, access: Access, observer: Observer, before_training: Callable[[], None] = lambda: None
) -> RunResult:
    """Run every lane, one after another. Ctrl-C ends the lane that trains and leaves out those behind it.

    `before_training` is called when the data is there and nothing has been trained yet. Raises DataError.
    """
    program = compiled.program
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    data = gather(program, access)
    uses = tuple(dict.fromkeys(use for _, use in data.values()))
    observer.data_ready(uses)
    before_training()
    lanes: dict[str, LaneResult] = {}
    gradients: dict[str, GradientReport] = {}
    interrupted = False
    with one_blas_thread():
        try:
            gradients = _proofs(program, {name: dataset for name, (dataset, _) in data.items()}, observer)
            for experiment in program.lanes:
                lane = train_lane(experiment, compiled.layouts[experiment.name], data[experiment.name][0], observer)
                lanes[lane.name] = lane  # before anything else, so that an interrupt from here on does not lose it
                interrupted = lane.status == "interrupted"
                observer.lane_ends(lane)
                if interrupted:
                    break
        except KeyboardInterrupt:
            interrupted = True
        result = _result(compiled, lanes, uses, gradients, interrupted)
        result.summary = summary_record(result, program, started)
    return result


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
    wanted = {
        figure.lane
        for expectation in program.expectations
        for case in expectation.cases
        for figure in case.figures()
        if figure.name == "gradient_error"
    }
    reports: dict[str, GradientReport] = {}
    for alike in alike_lanes(lane for lane in program.lanes if lane.name in wanted):
        first = alike[0]
        observer.proving(first.name)
        report = prove_gradients(first, data[first.name], samples=PROOF_SAMPLES)
        reports |= {lane.name: report for lane in alike}
    return reports
