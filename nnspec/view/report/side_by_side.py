"""Several runs on one page: a table of all lanes, the differences between the runs, and significance tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from nnspec.analysis.contest import Contest
from nnspec.view.report.blocks import Block, Heading, Listing, Table, Text
from nnspec.view.terminal.run_comparison import ComparedRuns, figure_in_words, head, print_unlike, shown_figures
from nnspec.view.terminal.screen import plain_text
from nnspec.view.wording import numbers

__all__ = ["side_by_side"]


def side_by_side(compared: ComparedRuns) -> Iterator[Block]:
    """Yield the first blocks of a page about several runs."""
    contest = compared.contest
    for name, saved in zip(contest.runs, contest.saved, strict=True):
        yield Text(f" {head(saved)}", "soft", bold=name)
    yield _lanes(contest)
    yield Heading("What the runs differ in")
    for i in range(1, len(contest.runs)):
        yield Listing(plain_text(partial(print_unlike, compared, i)).splitlines())
    for note in contest.notes:
        yield Text(note, "no")
    if contest.comparisons:
        yield Heading("Pairwise comparisons")
        for each in contest.comparisons:
            yield Text(each.text(lambda lane: f"{lane.lane} of {lane.run}"), "" if each.shown else "soft")


def _lanes(contest: Contest) -> Table:
    figures = shown_figures(contest.entries)
    columns = ["run", "lane", "seeds", "epochs", *(name.replace("_", " ") for name in figures), "weights", "time"]
    rows = [
        [
            entry.run,
            entry.lane,
            str(len(entry.seeds)),
            f"{entry.epochs:.6g}/{entry.epochs_asked_for:.6g}",
            *(figure_in_words(entry, figure) for figure in figures),
            f"{entry.params:,}",
            numbers.seconds(entry.seconds),
        ]
        for entry in contest.entries
    ]
    return Table(columns, rows, numbers=2)
