"""The page of a bench: conclusions, scores, profiles, tables, and each problem."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from urllib.parse import quote

from nnspec.results.bench import MEASURES, BenchResult, Entry, Problem
from nnspec.view.axes import Scale
from nnspec.view.palette import slots
from nnspec.view.publication.latex import last_tau, shares, step_points
from nnspec.view.report.blocks import Block, Details, Legend, Section, SideBySide, Stack, Table, Text
from nnspec.view.report.charts import Series, chart
from nnspec.view.report.page import Article, page
from nnspec.view.wording import bench as words
from nnspec.view.wording import numbers

__all__ = ["bench_page"]

_MANY = 7
"""Contestants that are too many for a title."""


def bench_page(result: BenchResult, reports: Collection[str] = ()) -> str:
    """Return the page of a bench as HTML, which needs no other file. Its links lead to the runs in the same folder;
    `reports` are the problems whose runs have a report."""
    sections = {
        "Conclusions": _conclusions(result),
        "Scores": _scores(result),
        "Profiles": _profiles(result),
        "Final figures": _grid(words.figures(result)),
        "Time to the target": _times(result),
        "Problems": _problems(result, reports),
        "Record": _record(result),
    }
    filled = ((title, list(blocks)) for title, blocks in sections.items())
    facts = [Text(f"{words.head(result)} · nnspec {result.version}", "soft")]
    facts += [Text(remark, "no") for remark in words.remarks(result)]
    few = len(result.names) < _MANY
    title = f"Bench of {', '.join(result.names) if few else f'{len(result.names)} contestants'}"
    return page(title, [Article(title, facts, [Section(name, blocks) for name, blocks in filled if blocks])])


def _conclusions(result: BenchResult) -> Iterator[Block]:
    for text in words.conclusions(result):
        yield Text(text)


def _scores(result: BenchResult) -> Iterator[Block]:
    if not result.done:
        return
    head, rows = words.scores(result)
    yield Table(head, rows, numbers=1)
    yield Text(
        "The score is the mean height of the performance profile from τ = 1 to 4 (Dahl et al. 2023), with its 95 % "
        "confidence interval, for other problems of this kind (Gaffke 2005). “Ranked first” is the share of "
        "resamples of problems and seeds in which the contestant has the highest score; it is not a p-value. A target "
        "counts as reached if more than half of the trainings reach it.",
        "soft",
    )


def _profiles(result: BenchResult) -> Iterator[Block]:
    if not result.done:
        return
    places = slots(dict.fromkeys(result.names, 0.0))
    yield Legend.of([(name, places.get(name)) for name in result.names])
    yield SideBySide([*_charts(result, places)])
    yield Text(
        "Performance profiles: ρ(τ) is the share of problems on which a contestant’s median time to the target is at "
        "most τ times that of the fastest (Dolan & Moré 2002). A contestant that reaches a target in at most half "
        "of its trainings fails the problem. Bands: pointwise 95 % confidence intervals (Clopper & Pearson) over "
        "problems, for the two contestants with the highest scores. Ratios depend on the set of contestants: if one is "
        "removed, the order of the others may change. Steps are the same on every machine; seconds depend on the "
        "machine and its load, and lanes that train as one stack share its time equally.",
        "soft",
    )


def _charts(result: BenchResult, places: dict[str, int]) -> Iterator[Block]:
    shown = words.banded(result)
    for measure in words.SHOWN:
        taus, end = result.taus(measure), last_tau(result, measure)
        series = []
        for profile, band in zip(result.profiles(measure), result.bands(measure), strict=True):
            points = step_points(taus, shares(profile, taus), end)
            low, high = (step_points(taus, values, end) for values in (band.low, band.high))
            has_band = profile.contestant in shown
            series.append(
                Series(
                    profile.contestant,
                    [y for _, y in points],
                    places.get(profile.contestant),
                    low=[y for _, y in low] if has_band else (),
                    high=[y for _, y in high] if has_band else (),
                    places=[x for x, _ in points],
                    unit=f"τ: at most τ times the {measure} of the fastest",
                )
            )
        drawn = chart(f"Profiles over {measure}", series, scale=Scale(0.0, 1.0, percent=True), log_across=True)
        if drawn is not None:
            yield Stack(f"over {measure}", [drawn])


def _times(result: BenchResult) -> Iterator[Block]:
    yield from _grid(words.steps(result))
    if result.done:
        yield Text(
            "In brackets: how many trainings reached the target, if not all did. A target counts as reached at the end "
            "of a record, by default an epoch, so these numbers are too large by up to one record.",
            "soft",
        )


def _grid(grid: words.Grid) -> Iterator[Block]:
    if grid.rows:
        rows = [
            [Text("", bold=cell) if i in best else cell for i, cell in enumerate(row)]
            for row, best in zip(grid.rows, grid.best, strict=True)
        ]
        yield Table(grid.head, rows, caption=f"{grid.title}; the best in bold", numbers=grid.labels)


def _problems(result: BenchResult, reports: Collection[str]) -> Iterator[Block]:
    for problem in result.problems:
        yield Details(
            f"{problem.name}: {_state(problem)}", [*_problem(problem, result.folder, problem.name in reports)]
        )


def _state(problem: Problem) -> str:
    return f"{problem.best} is the best" if problem.status == "done" else problem.status


def _problem(problem: Problem, folder: str, reported: bool) -> Iterator[Block]:
    yield Text("", code=problem.path)
    if problem.status != "done":
        yield Text(problem.message, "no")
        return
    name = quote(problem.name)
    if reported:
        yield Text("Curves and every trial: ", href=f"{name}/report.html", link="the report of its run")
    else:
        yield Text("Its run: ", href=f"{name}/", link=f"{problem.name}/")
        yield Text("For a page with its curves and every trial: ", code=f"nnspec report {folder}/{problem.name}")
    for note in problem.notes:
        yield Text(note, "no")
    columns = ["contestant", "settings chosen", "trials", problem.by.replace("_", " ")]
    columns += [problem.test.replace("_", " ")] if problem.test else []
    columns += [f"{measure.replace('_', ' ')} to the target" for measure in MEASURES]
    yield Table(columns, [[*_cells(problem, entry)] for entry in problem.entries], numbers=2)
    if problem.stability is not None:
        first = problem.stability.first
        order = sorted(first, key=lambda name: -first[name])
        shares = ", ".join(f"{name} {100 * first[name]:.0f} %" for name in order if first[name] >= 0.005)
        yield Text(f"Best in resamples of the {problem.stability.over} seeds: {shares}.")


def _cells(problem: Problem, entry: Entry) -> Iterator[str]:
    yield entry.contestant
    yield words.settings_in_words(entry)
    yield f"{entry.trials}{f' ({entry.diverged} diverged)' if entry.diverged else ''}"
    for name, what in ((problem.by, entry.interval("figure")), (problem.test, entry.interval("test"))):
        if name:
            yield numbers.figure(name, what.mean, (what.high - what.low) / 2)
    for measure in MEASURES:
        yield words.times_in_words(entry, measure)


def _record(result: BenchResult) -> Iterator[Block]:
    rows: list[tuple[str, str | Text]] = [
        ("contestants", Text("", code=result.contestants)),
        ("SHA-256 of the contestants", Text("", code=result.sha256)),
        *(("settings", Text("", code=f"--set {each}")) for each in result.set),
        *((each.name, each.value) for each in result.environment),
    ]
    yield Table(["name", "value"], rows)
    digests = [
        (problem.name, Text("", code=problem.sha256), Text("", code=problem.identity), _seeds(problem))
        for problem in result.problems
    ]
    yield Details(
        "Problems", [Table(["problem", "SHA-256 of its text", "identity with the contestants", "seeds"], digests)]
    )
    yield Text("To train all of it again and compare every bit: ", code=f"nnspec verify {result.folder}")


def _seeds(problem: Problem) -> str:
    seeds = sorted({run.seed for entry in problem.entries for run in entry.runs})
    return ", ".join(map(str, seeds)) if len(seeds) < 8 else f"{seeds[0]} to {seeds[-1]}"
