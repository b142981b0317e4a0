"""A bench on the terminal: plan, progress and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnspec.analysis.verify import BenchVerification, VerifiedProblem
from nnspec.results.bench import BenchResult, Problem
from nnspec.text import printable
from nnspec.view.terminal.screen import Column, say, table
from nnspec.view.terminal.verification import verification_record
from nnspec.view.wording import numbers
from nnspec.view.wording.bench import Grid, conclusions, figures, head, remarks, scores, steps

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["bench_verification_record", "outcome", "print_bench", "print_bench_verification", "verdict"]


def outcome(problem: Problem, before: bool) -> str:
    """Return the end of a problem's line: `Adam is best, val loss 0.012; 2 of 5 reach the target (2.1 s)`."""
    if problem.status != "done":
        return printable(f"{problem.status.upper()}: {problem.message.splitlines()[0]}")
    best = problem[problem.best]
    figure = f"{problem.by.replace('_', ' ')} {numbers.figure(problem.by, best.interval().mean)}"
    reached = sum(entry.times("steps").reached * 2 > len(entry.runs) for entry in problem.entries)
    done = "already done" if before else f"{problem.took:.1f} s"
    text = f"{problem.best} is best, {figure}; {reached} of {len(problem.entries)} reach the target ({done})"
    return printable(text)


def print_bench(result: BenchResult, console: Console) -> None:
    """Print the scores, the tables of figures and of times to the target, and the conclusions."""
    say(console, printable(head(result)), style="bold")
    if result.done:
        columns, rows = scores(result)
        console.print()
        shown = [
            Column(printable(name), [printable(row[i]) for row in rows], (0, 1, 5, 3, 6, 2, 4)[i], right=i > 0)
            for i, name in enumerate(columns)
        ]
        console.print(table(shown, console.width))
        best_first = [row[0] for row in rows]
        for grid in (figures(result), steps(result)):
            _print_grid(grid, best_first, console)
    console.print()
    for text in conclusions(result):
        say(console, f"– {printable(text)}", style="dim")
    for text in remarks(result):
        say(console, f"! {printable(text)}", style="yellow")


def _print_grid(grid: Grid, best_first: Sequence[str], console: Console) -> None:
    """Print a table; where not all contestants fit, those with the highest scores stay."""
    console.print()
    say(console, f"{grid.title} (* best)")
    ranks = {name: 1 + place for place, name in enumerate(best_first)}
    columns = [
        Column(
            printable(name),
            [
                printable(row[i]) + ("*" if i in best else " " * (i >= grid.labels))
                for row, best in zip(grid.rows, grid.best, strict=True)
            ],
            ranks[name] if i >= grid.labels else 99 * i,
            right=i >= grid.labels,
        )
        for i, name in enumerate(grid.head)
    ]
    shown = table(columns, console.width)
    console.print(shown)
    fit = sum(column.justify == "right" for column in shown.columns)
    if fit < len(best_first):
        more = f"{fit} of {len(best_first)} contestants fit in this width; report.html and results.csv have all"
        say(console, f"! {more}", style="yellow")


def verdict(found: VerifiedProblem) -> str:
    """Return whether a problem could be repeated, in words."""
    if found.same:
        return "identical, bit for bit"
    reasons = [*found.faults]
    if found.runs is not None:
        wrong = [f"{each.lane}, seed {each.seed}: {each.text}" for each in found.runs.matches if not each.same]
        reasons += [] if found.runs.data else ["they used different data"]
        reasons += [*found.runs.spoilt, *wrong[:2], *([f"and {len(wrong) - 2} more"] if len(wrong) > 2 else [])]
    return "; ".join(reasons)


def print_bench_verification(found: BenchVerification, console: Console) -> None:
    """Print a line per problem, and how the results differ from those that follow from the runs."""
    rows = found.problems
    columns = [
        Column("problem", [printable(row.name) for row in rows]),
        Column("trainings", [str(len(row.runs.matches)) if row.runs else "–" for row in rows], 2, right=True),
        Column(
            "",
            [printable(verdict(row)) for row in rows],
            styles=["green" if row.same else "bold red" for row in rows],
            prose=True,
        ),
    ]
    console.print(table(columns, console.width))
    console.print()
    for text in found.faults:
        say(console, f"✗ {printable(text)}", style="bold red")
    if found.missing:
        say(
            console,
            f"! not verified, because they have no results: {printable(', '.join(found.missing))}",
            style="yellow",
        )
    if found.same:
        say(console, "✓ all runs are identical, bit for bit, and all results follow from them", style="green")


def bench_verification_record(found: BenchVerification) -> dict[str, Any]:
    """Return it as plain data for JSON."""
    problems = [
        {
            "name": each.name,
            "same": each.same,
            "faults": list(each.faults),
            "runs": verification_record(each.runs) if each.runs is not None else None,
        }
        for each in found.problems
    ]
    return {
        "same": found.same,
        "folder": found.folder,
        "problems": problems,
        "faults": list(found.faults),
        "missing": list(found.missing),
    }
