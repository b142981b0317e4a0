"""Run a bench: each problem as a tuned run in a folder of its own, and its results into the record."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnspec._version import __version__
from nnspec.api import identity_of, run_into
from nnspec.benchmark.plan import BenchError, Fit, Plan, Planned, fit, plan_bench
from nnspec.benchmark.reading import digests_of, entries_of, test_figure, weaknesses_of
from nnspec.benchmark.record import RECORD, is_bench, open_bench, write_bench, write_views
from nnspec.checking import PathLike, flags_of
from nnspec.data.source import Access, DataError
from nnspec.environment import environment, in_words
from nnspec.project.inputs import InputError, find_specs
from nnspec.records.folder import OutputError, RunFolder
from nnspec.records.saved import RunError, open_run
from nnspec.results.bench import BenchResult, Problem, Setting
from nnspec.results.tuning import TuningError
from nnspec.runner.drawing import NoDrawing
from nnspec.runner.options import RunOptions
from nnspec.training.observer import Observer
from nnspec.view.terminal.quiet import Warns
from nnspec.view.wording.phrases import stand_in

__all__ = ["Begins", "Ends", "bench", "bench_into", "run_bench"]

Begins = Callable[[int, int, Planned], None]
"""Called with the number of a problem, the number of problems, and the problem, before it is trained."""
Ends = Callable[[Problem, bool], None]
"""Called with the results of a problem, and whether it was done before."""


def bench(
    problems: PathLike | Sequence[PathLike],
    contestants: PathLike,
    out: PathLike,
    set: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    resume: bool = False,
    budget: float | None = None,
    data_dir: PathLike | None = None,
    offline: bool = False,
    jobs: int | None = None,
    cluster: str | None = None,
) -> BenchResult:
    """Tune and race contestants on several problems, and compare them by performance profiles.

        result = nnspec.bench("specs/problems", "specs/contestants.nn", out="bench")
        result.profiles("steps")[0].score()
        result["quadratic"]["Adam"].times("steps").text      # 4 of 5 reached it

    Args:
        problems: specs without an optimizer: files, folders (all *.nn below) or globs, or one of these.
        contestants: the path of a spec with a `race` and the spaces of its lanes.
        out: folder for the run of each problem, the record and the files for publication.
        set: settings that override those of the specs, as in `run`.
        resume: resume the interrupted bench in `out`, or start it.
        budget: seconds: train what is estimated to fit, with fewer trials or fewer problems.
        data_dir: folder with the files of a data source.
        offline: do not download anything.
        jobs: number of parallel processes; None for as many as pay off.
        cluster: the scheduler of a Dask cluster to train on.

    Raises BenchError if a file is not found, or if problems and contestants do not fit together, OutputError if `out`
    cannot be written to or is not empty, and what `run` raises. A problem that fails is recorded as such.
    """
    several = [problems] if isinstance(problems, (str, os.PathLike)) else problems
    try:
        paths = find_specs([os.fspath(each) for each in several])
    except InputError as error:
        raise BenchError(str(error)) from None
    return bench_into(
        plan_bench(paths, os.fspath(contestants), [flag.text for flag in flags_of(set)]),
        Path(out),
        Access(Path(data_dir) if data_dir is not None else None, offline),
        Warns(),
        RunOptions(jobs, cluster=cluster, resume=resume),
        budget=budget,
    )


def bench_into(
    plan: Plan,
    out: Path,
    access: Access,
    observer: Observer,
    options: RunOptions,
    *,
    budget: float | None = None,
    planned: Callable[[Fit], None] = lambda fitted: None,
    begins: Begins = lambda number, total, planned: None,
    ends: Ends = lambda problem, before: None,
) -> BenchResult:
    """Run a plan, as much of it as is estimated to fit in `budget` seconds, and write the results in all forms.

    `planned` is called before the first problem. Raises what `run_bench` does, and BenchError if the bench to resume is
    another one.
    """
    before = _earlier(out, plan) if options.resume else None
    fitted = fit(plan, math.inf if budget is None else budget, before)
    if before is not None:
        fitted = _with_others(fitted, before, out)
    _prepare_folder(out, resume=options.resume)
    planned(fitted)
    result = run_bench(fitted, out, access, observer, options, begins=begins, ends=ends)
    write_views(result, out)
    return result


def _prepare_folder(out: Path, *, resume: bool) -> None:
    """Create the folder of a bench. Raises OutputError if it is not empty; with `resume`, it may hold a bench."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (resume and is_bench(out)):
            if resume:
                raise OutputError(f"{out} is not empty, but has no bench to resume ({RECORD} is missing)")
            hint = "continue its bench with --resume, or " if is_bench(out) else ""
            raise OutputError(f"{out} is not empty; {hint}choose another folder")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}; choose another folder") from None


def _earlier(out: Path, plan: Plan) -> BenchResult | None:
    """Return the bench in a folder that is to be resumed; None if there is none. Raises BenchError if it is another."""
    if not is_bench(out):
        return None
    before = open_bench(out)
    if before.names != plan.names:
        raise BenchError(
            f"the bench in {out} has different contestants: {', '.join(before.names)}, not {', '.join(plan.names)}; "
            "choose another folder with --out"
        )
    return before


def _with_others(fitted: Fit, before: BenchResult, out: Path) -> Fit:
    """Return a plan with the problems of the bench to resume that are not given again. Raises BenchError if their
    results cannot be compared with those of the given ones."""
    plan = fitted.plan
    given = {each.name for each in (*plan.problems, *plan.omitted)}
    others = [each for each in before.problems if each.name not in given]
    kept = tuple(each for each in others if _is_done(each, out / each.name))
    if kept and (before.sha256, before.set, before.trials) != (plan.sha256, plan.set, plan.trials):
        names = ", ".join(each.name for each in kept)
        raise BenchError(
            f"the bench in {out} has results of {names} with other contestants or settings than those given now; "
            f"choose another folder with --out, or delete {out / kept[0].name}{' and so on' if len(kept) > 1 else ''}"
        )
    dropped = tuple(each.name for each in others if each not in kept)
    return replace(fitted, kept=kept, dropped=dropped)


def run_bench(
    fitted: Fit,
    out: Path,
    access: Access,
    observer: Observer,
    options: RunOptions,
    *,
    begins: Begins = lambda number, total, planned: None,
    ends: Ends = lambda problem, before: None,
) -> BenchResult:
    """Run what is planned, and return the results. The record is written after each problem, so that a bench that ends
    early has all results until then; with `options.resume`, what it has done is not done again.

    A problem that fails, because its data is missing or because no trial of a contestant ends with a figure, is
    recorded as such. Raises OutputError, RunError, ClusterError, and WorkerError.
    """
    plan = fitted.plan
    before = {each.name: each for each in open_bench(out).problems} if options.resume and is_bench(out) else {}
    for each in plan.problems:
        known = before.get(each.name)
        if known is not None and known.status == "done" and known.identity != identity_of(each.compiled):
            raise BenchError(
                f"{out / each.name} was run with a different spec or different settings, so the bench in {out} cannot "
                "be resumed; choose another folder with --out"
            )
    found = {
        each.name: before[each.name]
        for each in plan.problems
        if each.name in before and _is_done(before[each.name], out / each.name)
    }
    waiting = [_not_run(each, "it had not started when the bench ended") for each in plan.problems]
    omitted = [_not_run(each, "it did not fit into the time budget") for each in plan.omitted]

    def result() -> BenchResult:
        order = [found.get(each.name, each) for each in waiting]
        return BenchResult(
            version=__version__,
            contestants=plan.contestants,
            sha256=plan.sha256,
            names=plan.names,
            set=plan.set,
            trials=plan.trials,
            asked=plan.asked,
            problems=(*fitted.kept, *order, *omitted),
            environment=tuple(Setting(name, in_words(value)) for name, value in environment().items()),
            folder=str(out),
        )

    write_bench(result(), out)
    for number, planned in enumerate(plan.problems, 1):
        begins(number, len(plan.problems), planned)
        done = planned.name in found
        if not done:
            found[planned.name] = _run(planned, out / planned.name, access, observer, options)
            write_bench(result(), out)
        ends(found[planned.name], done)
        if found[planned.name].status == "interrupted":
            break
    return result()


def _not_run(planned: Planned, message: str) -> Problem:
    return replace(_blank(planned), status="omitted", message=message)


def _blank(planned: Planned) -> Problem:
    return Problem(
        name=planned.name,
        path=planned.path,
        sha256=planned.sha256,
        by=str(planned.tuning.settings.by),
        target=float(planned.target),
        status="done",
        identity=identity_of(planned.compiled),
    )


def _is_done(known: Problem, folder: Path) -> bool:
    """Whether a problem was trained to the end, and its records are there as they were written."""
    if known.status != "done":
        return False
    try:
        return digests_of(folder) == known.digests
    except RunError:
        return False


def _run(planned: Planned, folder: Path, access: Access, observer: Observer, options: RunOptions) -> Problem:
    """Train a problem and return its results."""
    problem, started = _blank(planned), time.perf_counter()
    choices = [choice for lane in planned.compiled.program.lanes for choice in lane.data]
    if not any(choice.source.reads_files for choice in choices):
        access = replace(access, data_dir=None)  # a run would refuse it, but other problems may need it
    compiled = planned.compiled
    try:
        result = run_into(
            compiled,
            access,
            observer,
            lambda: RunFolder.make(compiled.program.path, folder, resume=options.resume),
            options,
            drawing=NoDrawing(),
        )
    except KeyboardInterrupt:
        return replace(problem, status="interrupted", message="it was interrupted")
    except (DataError, TuningError) as error:
        return replace(problem, status="failed", message=str(error), took=time.perf_counter() - started)
    except MemoryError:
        return replace(problem, status="failed", message="there was not enough memory")
    if result.place is not None and result.place.unwritten:
        raise OutputError(result.place.unwritten)
    if result.interrupted:
        return replace(problem, status="interrupted", message="it was interrupted")
    saved = open_run(folder)
    entries = tuple(entries_of(saved, problem.by, problem.target, problem.lower_is_better))
    measured = any(run.test is not None for entry in entries for run in entry.runs)
    return replace(
        problem,
        test=test_figure(problem.by) if measured else "",
        digests=digests_of(folder),
        notes=(*(stand_in(use) for use in result.data if use.stands_in), *weaknesses_of(saved)),
        took=time.perf_counter() - started,
        entries=entries,
    )
