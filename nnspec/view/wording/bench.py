"""A bench in words and tables, which the terminal, the page and the files for publication share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nnspec.results.bench import BenchResult, Entry, Measure, Problem
from nnspec.view.wording import numbers

__all__ = [
    "SHOWN",
    "Grid",
    "banded",
    "conclusions",
    "figures",
    "head",
    "remarks",
    "scores",
    "settings_in_words",
    "steps",
    "times_in_words",
]

SHOWN: tuple[Measure, ...] = ("steps", "seconds")
"""The measures that profiles are drawn for."""
_BANDED = 2
_FIRM = 0.95
"""The share of resamples from which on a result is called firm."""


@dataclass(frozen=True)
class Grid:
    """A table of problems by contestants."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: Sequence[frozenset[int]]
    """The columns of the best contestants of each row."""
    labels: int
    """The number of columns before those of the contestants."""


def head(result: BenchResult) -> str:
    """Return what was compared: `5 contestants on 10 problems, tuned with 10 trials each and raced with 5 seeds`."""
    runs = {len(entry.runs) for problem in result.done for entry in problem.entries}
    repeats = f" and raced with {next(iter(runs))} seeds" if len(runs) == 1 and runs != {1} else ""
    all_of_them = f"{len(result.done)} of " if result.done != result.problems else ""
    problems = f"{all_of_them}{_several(len(result.problems), 'problem')}"
    contestants = _several(len(result.names), "contestant")
    return f"{contestants} on {problems}, tuned with {_several(result.trials, 'trial')} each{repeats}"


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def remarks(result: BenchResult) -> Iterator[str]:
    """Yield what is missing from the results, and why."""
    if result.trials < result.asked:
        yield f"{result.trials} trials per contestant instead of {result.asked}, to fit into the time budget"
    for problem in result.problems:
        if problem.status != "done":
            yield f"{problem.name} is excluded from the results: {problem.message}"
    for problem in result.done:
        yield from (f"{problem.name}: {note}" for note in problem.notes)
        for entry in problem.entries:
            if entry.untrained:
                yield f"{problem.name}: all {entry.trials} trials of {entry.contestant} diverged, so it did not race"
            elif entry.lost:
                count = f"{entry.lost} of {len(entry.runs)} trainings"
                yield f"{problem.name}: {count} of {entry.contestant} ended without a final figure"


def conclusions(result: BenchResult) -> Iterator[str]:
    """Yield what the results say, in sentences."""
    if not result.done:
        yield "No problem is finished, so there is nothing to compare."
        return
    for measure in SHOWN:
        profiles, bands = result.profiles(measure), result.bands(measure)
        scores = [profile.score() for profile in profiles]
        first = scores.index(max(scores))
        best, band = profiles[first], bands[first]
        if not any(scores):
            yield f"In {measure}, no contestant reaches any target."
            continue
        tied = [each.contestant for each in profiles if each.score() == best.score()]
        if len(tied) > 1:
            yield f"In {measure}, {_listed(tied)} have the same score, {best.score():.2f}."
            continue
        unit = "time" if measure == "seconds" else measure
        unsettled = "" if band.best >= _FIRM else ", which is not enough to name a winner"
        yield (
            f"In {measure}, {best.contestant} has the highest score, {best.score():.2f} "
            f"[{band.score[0]:.2f}, {band.score[1]:.2f}]: it takes at most twice the {unit} of the fastest "
            f"contestant on {_share(best.share(2.0), len(result.done))}. It has the highest score in "
            f"{100 * band.best:.0f} % of resamples of problems and seeds{unsettled}."
        )
    wins = {name: sum(problem.best == name for problem in result.done) for name in result.names}
    leaders = sorted((name for name in wins if wins[name]), key=lambda name: -wins[name])
    counts = ", ".join(f"{name} {wins[name]}" for name in leaders)
    yield f"Best final figures: {counts}, of {_several(len(result.done), 'problem')}."
    if any(len(entry.runs) > 1 for problem in result.done for entry in problem.entries):
        alone = sum(len(problem.leaders) == 1 for problem in result.done)
        yield (
            f"On {alone} of {_several(len(result.done), 'problem')}, the contestant with the best final figure is "
            "shown to be better than every other (t-tests with Holm's correction)."
        )
    if all(len(entry.chosen) < 2 for problem in result.done for entry in problem.entries):
        yield (
            "Each contestant was tuned once on each problem, so differences on a single problem are between the "
            "chosen settings. Only scores and profiles compare the contestants."
        )
    unsolved = [problem.name for problem in result.done if not any(_solves(entry) for entry in problem.entries)]
    if unsolved:
        yield f"No contestant reaches the target of {_listed(unsolved)}, which counts against all of them."


def _solves(entry: Entry) -> bool:
    return math.isfinite(entry.times("steps").median)


def _share(share: float, problems: int) -> str:
    return "all problems" if share == 1 else f"{round(share * problems)} of {problems} problems"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def scores(result: BenchResult) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of scores, the best contestant first."""
    columns: list[str] = ["contestant"]
    found: dict[str, list[str]] = {name: [name] for name in result.names}
    if not result.done:
        return columns, [*found.values()]
    for measure in SHOWN:
        columns += [f"score in {measure}", "ranked first"]
        for profile, band in zip(result.profiles(measure), result.bands(measure), strict=True):
            interval = f"{profile.score():.2f} [{band.score[0]:.2f}, {band.score[1]:.2f}]"
            found[profile.contestant] += [interval, f"{100 * band.best:.0f} %"]
    columns += ["targets reached", "best figure"]
    for name in result.names:
        reached = sum(_solves(problem[name]) for problem in result.done)
        best = sum(problem.best == name for problem in result.done)
        found[name] += [f"{reached} of {len(result.done)}", f"{best} of {len(result.done)}"]
    order = {profile.contestant: -profile.score() for profile in result.profiles("steps")}
    return columns, [found[name] for name in sorted(result.names, key=lambda name: order.get(name, 0.0))]


def figures(result: BenchResult, *, targets: bool = False) -> Grid:
    """Return the mean final figure of each contestant on each problem, with half of its 95 % interval; with `targets`,
    also the column of targets that the table of steps has."""

    def cell(problem: Problem, entry: Entry) -> str:
        if entry.lost == len(entry.runs):
            return "diverged"
        found = entry.interval()
        text = numbers.figure(problem.by, found.mean, (found.high - found.low) / 2)
        text += f" ({len(entry.runs) - entry.lost} of {len(entry.runs)})" if entry.lost else ""
        return f"{text} ≈" if entry.contestant in problem.leaders - {problem.best} else text

    title = "Final figure, mean ± half of its 95 % interval; ≈: not shown to be worse than the best"
    return _grid(result, title, cell, lambda problem, entry: entry.contestant == problem.best, targets=targets)


def steps(result: BenchResult) -> Grid:
    """Return the median steps to the target; how many reached it, if not all did."""

    def cell(problem: Problem, entry: Entry) -> str:
        times = entry.times("steps")
        median = f"{times.median:,.6g}" if math.isfinite(times.median) else "–"
        return median if times.reached == times.n else f"{median} ({times.reached} of {times.n})"

    def best(problem: Problem, entry: Entry) -> bool:
        own = entry.times("steps").median
        return math.isfinite(own) and own == min(each.times("steps").median for each in problem.entries)

    return _grid(result, "Steps to the target, median", cell, best, targets=True)


def _grid(
    result: BenchResult,
    title: str,
    cell: Callable[[Problem, Entry], str],
    best: Callable[[Problem, Entry], bool],
    *,
    targets: bool = False,
) -> Grid:
    labels = ["problem", "target"] if targets else ["problem"]
    rows, found = [], []
    for problem in result.done:
        entries = [problem[name] for name in result.names]
        own = [problem.name, target(problem)][: len(labels)]
        rows.append([*own, *(cell(problem, entry) for entry in entries)])
        found.append(frozenset(len(labels) + i for i, entry in enumerate(entries) if best(problem, entry)))
    return Grid(title, [*labels, *result.names], rows, found, len(labels))


def target(problem: Problem) -> str:
    """Return the target of a problem: `val loss ≤ 0.3`."""
    sign = "≤" if problem.lower_is_better else "≥"
    return f"{problem.by.replace('_', ' ')} {sign} {problem.target:g}"


def times_in_words(entry: Entry, measure: Measure) -> str:
    """Return the median time to the target and how many reached it: `120, 4 of 5 reached it`."""
    times = entry.times(measure)
    if not math.isfinite(times.median):
        return times.text
    value = numbers.seconds(times.median) if measure == "seconds" else f"{times.median:,.6g}"
    return value if times.reached == times.n else f"{value}, {times.text}"


def settings_in_words(entry: Entry) -> str:
    """Return the settings that were chosen, by study."""
    return "; ".join(", ".join(f"{each.name}={each.value}" for each in study) for study in entry.chosen) or "–"


def banded(result: BenchResult) -> frozenset[str]:
    """Return the contestants whose bands are drawn: the two with the highest scores, since more hide the lines."""
    best = sorted(result.profiles("steps"), key=lambda profile: -profile.score())
    return frozenset(profile.contestant for profile in best[:_BANDED])
