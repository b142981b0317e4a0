"""The plan of a bench: each problem joined with the contestants, and how much of it fits in a budget of time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnspec.api import check
from nnspec.checker.program import Tuning
from nnspec.checking import SpecError, check_text
from nnspec.compiler.proofs import Compiled
from nnspec.diagnostics import Diagnostic, Source, render_all
from nnspec.errors import NnspecError
from nnspec.records.lane_folders import folder_names
from nnspec.results.bench import BenchResult, Problem

__all__ = ["BenchError", "Fit", "Plan", "Planned", "fit", "plan_bench"]

_FEWEST_TRIALS = 5
"""Problems are omitted before a budget of time makes the trials of each contestant fewer than these."""

_EACH = 1.0
"""Seconds for a problem besides training: to read its data, to prove its gradients, and to write two records."""

Warn = Callable[[Sequence[Diagnostic]], None]


class BenchError(NnspecError):
    """Problems and contestants that do not fit together, or a bench that cannot be read. The message says why."""


@dataclass(frozen=True)
class Planned:
    """A problem joined with the contestants."""

    name: str
    """The name of its folder."""
    path: str
    sha256: str
    compiled: Compiled
    tuning: Tuning
    """The search of its program."""
    target: float

    @property
    def budget(self) -> int:
        """The number of trials of each contestant and study."""
        return self.tuning.settings.budget

    @property
    def trainings(self) -> int:
        """The number of trainings, of trials and of the race."""
        races = sum(lane.train.trainings for lane in self.compiled.program.lanes)
        return self.tuning.count + races * self.tuning.settings.studies

    def seconds(self, trials: int) -> float:
        """Return the estimated time of all trainings, one after another, with so many trials of each contestant."""
        studies = self.tuning.settings.studies
        layouts = self.compiled.layouts
        return _EACH + sum(
            layouts[lane.name].seconds
            * (min(trials * studies, len(self.tuning.trials.get(lane.name, ()))) + studies * lane.train.trainings)
            for lane in self.compiled.program.lanes
        )


@dataclass(frozen=True)
class Plan:
    """What a bench trains."""

    contestants: str
    """The path of the file of contestants."""
    sha256: str
    names: tuple[str, ...]
    """The contestants."""
    set: tuple[str, ...]
    problems: tuple[Planned, ...]
    asked: int
    """The number of trials that the file of contestants asks for."""
    omitted: tuple[Planned, ...] = ()
    """The problems that a budget of time leaves no room for."""

    @property
    def trials(self) -> int:
        """The number of trials of each contestant, problem and study."""
        return self.problems[0].budget

    @property
    def trainings(self) -> int:
        """The number of trainings of all problems."""
        return sum(each.trainings for each in self.problems)


def plan_bench(
    problems: Sequence[str], contestants: str, overrides: Sequence[str] = (), warn: Warn = lambda found: None
) -> Plan:
    """Join each problem with the contestants, and check the result. `warn` is given the warnings.

    Raises SpecError for a file with errors, BenchError for files that do not fit together, and SourceError.
    """
    paths = [path for path in problems if not _same_file(path, contestants)]
    if not paths:
        raise BenchError("a bench needs at least one problem besides the contestants")
    texts = {path: _half(path) for path in (*paths, contestants)}
    planned: list[Planned] = []
    unfit: list[str] = []
    warned: set[str] = set()
    for name, path in zip(folder_names(_stems(paths)), paths, strict=True):
        try:
            joined, found = _joined(name, path, texts[path], contestants, overrides)
        except BenchError as error:
            unfit.append(str(error))
            continue
        planned.append(joined)
        fresh = [each for each in found if render_all([each]) not in warned]
        warned |= {render_all([each]) for each in fresh}
        if fresh:
            warn(fresh)
    if unfit:
        raise BenchError("\n\n".join(unfit))
    lanes = _names(planned[0])
    for each in planned:
        if _names(each) != lanes or len(set(lanes)) < len(lanes):
            raise BenchError(
                f"{each.path} and {contestants} do not fit together: a bench compares each contestant once, so a "
                "problem cannot have a `race` or a `sweep`"
            )
        if each.budget != planned[0].budget:
            raise BenchError(
                f"{each.path} and {planned[0].path} have different budgets ({each.budget} and {planned[0].budget} "
                f"trials); write `budget` in {contestants} only"
            )
    return Plan(contestants, texts[contestants], lanes, tuple(overrides), tuple(planned), planned[0].budget)


def _names(planned: Planned) -> tuple[str, ...]:
    return tuple(lane.lane or lane.name for lane in planned.compiled.program.lanes)


def _same_file(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _stems(paths: Sequence[str]) -> list[str]:
    """Return the names of files without suffix; those of equal name with the name of their folder before it."""
    stems = [Path(path).stem for path in paths]
    return [
        f"{Path(path).resolve().parent.name}-{stem}" if stems.count(stem) > 1 else stem
        for path, stem in zip(paths, stems, strict=True)
    ]


def _half(path: str) -> str:
    """Check one half of a bench by itself, and return the digest of its text."""
    result = check(path)
    if not result.ok:
        raise SpecError(result.diagnostics)
    if result.compiled is not None:
        raise BenchError(
            f"{path} is a complete experiment; train it with `nnspec run`. In a bench, problems have no optimizer, and "
            "contestants have no data"
        )
    return hashlib.sha256(result.files[-1].text.encode()).hexdigest()


def _joined(
    name: str, path: str, sha256: str, contestants: str, overrides: Sequence[str]
) -> tuple[Planned, tuple[Diagnostic, ...]]:
    """Check a problem together with the contestants. Raises BenchError."""
    ends = [os.path.abspath(os.path.dirname(each) or os.curdir) for each in (path, contestants)]
    folder = os.path.commonpath(ends)
    here = os.path.relpath(folder).replace(os.sep, "/")
    imports = [os.path.relpath(os.path.abspath(each), folder).replace(os.sep, "/") for each in (path, contestants)]
    text = "".join(f'import "{each}"\n' for each in imports)
    source = Source(f"{'' if here == '.' else here + '/'}{name}-bench.nn", text, Path(here))
    result = check_text(source, list(overrides))
    unfit = f"{path} and {contestants} do not fit together"
    if not result.ok:
        raise BenchError(f"{unfit}:\n\n{render_all(result.diagnostics)}")
    tuning = result.compiled.program.tuning if result.compiled is not None else None
    if result.compiled is None or tuning is None:
        raise BenchError(f"{unfit}: a problem has data, a model and a loss, and contestants have a `race` and a `tune`")
    if tuning.settings.target is None:
        raise BenchError(
            f"{unfit}: {path} has no target; write `tune {{ target = … }}`, the value of "
            f"`{tuning.settings.by}` that counts as solved"
        )
    planned = Planned(name, path, sha256, result.compiled, tuning, tuning.settings.target)
    return planned, result.diagnostics


@dataclass(frozen=True)
class Fit:
    """How a plan was made to fit in a budget of time."""

    plan: Plan
    seconds: float
    """The estimated time of all of it."""
    expected: Mapping[str, float]
    """Problem -> the estimated time."""
    kept: tuple[Problem, ...] = ()
    """The problems of the bench to resume that are not given again, with their results: these stay in it."""
    dropped: tuple[str, ...] = ()
    """Those that are not given again and were not finished: these are no longer part of it."""

    @property
    def lines(self) -> list[str]:
        """The plan in words, with what it omits."""
        plan = self.plan
        several = f"{len(plan.problems)} problems" if len(plan.problems) > 1 else "1 problem"
        lines = [
            f"{several}, {len(plan.names)} contestants, {plan.trials} trials each: {plan.trainings:,} trainings, "
            f"estimated at {_duration(self.seconds)}"
        ]
        if plan.trials < plan.asked:
            lines.append(f"! {plan.trials} trials instead of {plan.asked}, to fit into the time budget")
        lines += [f"! {each.name} is omitted: it does not fit into the time budget" for each in plan.omitted]
        lines += [f"{each.name} is not given again; its results stay in the bench" for each in self.kept]
        lines += [
            f"! {name} is not given again and has no results; it is no longer in the bench" for name in self.dropped
        ]
        return lines


def fit(plan: Plan, seconds: float, before: BenchResult | None = None) -> Fit:
    """Return the part of a plan that is estimated to fit in `seconds`: as many problems as possible with at least five
    trials of each contestant, and then as many trials as fit. The slowest problems are omitted first.

    A bench that is resumed, `before`, keeps the number of trials that it was reduced to; what it has done takes no
    time, and the estimates for the rest are corrected by the times that this took. Raises BenchError if not even one
    problem fits.
    """
    if before is not None and (before.asked, before.set[: len(plan.set)]) != (plan.asked, plan.set):
        before = None  # other settings: nothing of it is reused as it is
    done = {each.name: each.took for each in before.done} if before is not None else {}
    known = [(each.seconds(before.trials), done[each.name]) for each in plan.problems if before and each.name in done]
    factor = sum(took for _, took in known) / sum(estimate for estimate, _ in known) if known else 1.0

    def expected(each: Planned, trials: int) -> float:
        return 0.0 if each.name in done else factor * each.seconds(trials)

    def total(problems: Sequence[Planned], trials: int) -> float:
        return sum(expected(each, trials) for each in problems)

    most = before.trials if before is not None else plan.asked
    fewest = most if before is not None else min(most, _FEWEST_TRIALS)
    chosen = sorted(plan.problems, key=lambda each: expected(each, fewest))
    while chosen and total(chosen, fewest) > seconds:
        chosen.pop()
    if not chosen:
        fastest = min(plan.problems, key=lambda each: expected(each, fewest))
        raise BenchError(
            f"no problem fits in {seconds:g} s: {fastest.name}, the fastest, is estimated to take "
            f"{expected(fastest, fewest):.2g} s with {fewest} trials of each contestant"
        )
    trials = max(number for number in range(fewest, most + 1) if total(chosen, number) <= seconds)
    kept = [each for each in plan.problems if each in chosen]
    omitted = tuple(each for each in plan.problems if each not in chosen)
    if trials < plan.asked:
        flags = (*plan.set, f"tune.budget={trials}")
        kept = [_joined(each.name, each.path, each.sha256, plan.contestants, flags)[0] for each in kept]
        plan = replace(plan, set=flags)
    plan = replace(plan, problems=tuple(kept), omitted=omitted)
    return Fit(plan, total(kept, trials), {each.name: expected(each, trials) for each in kept})


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
