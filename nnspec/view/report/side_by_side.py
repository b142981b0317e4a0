"""Several runs on one page: all their lanes in a table, what the runs differ in, and what the seeds tell."""

from __future__ import annotations

from nnspec.analysis.contest import Contest
from nnspec.view.report.html import element, escape, table
from nnspec.view.terminal.run_comparison import ComparedRuns, figure_in_words, head, print_unlike, shown_figures
from nnspec.view.wording import numbers

__all__ = ["side_by_side"]


def side_by_side(found: ComparedRuns) -> str:
    """Return what a page about several runs begins with."""
    contest = found.contest
    text = ""
    for name, saved in zip(contest.runs, contest.saved, strict=True):
        text += element("p", f"<b>{escape(name)}</b> {escape(head(saved))}", class_="soft")
    text += _lanes(contest)
    text += "<h3>What the runs differ in</h3>"
    text += "".join(f"<pre>{escape(_unlike(found, index))}</pre>" for index in range(1, len(contest.runs)))
    text += "".join(element("p", escape(note), class_="no") for note in contest.notes)
    if contest.comparisons:
        text += "<h3>Lane against lane</h3>"
        for each in contest.comparisons:
            told = each.text(lambda lane: f"{lane.lane} of {lane.run}")
            text += element("p", escape(told), class_="told" if each.shown else "soft")
    return text


def _lanes(contest: Contest) -> str:
    figures = shown_figures(contest.entries)
    columns = ["run", "lane", "seeds", "epochs", *(name.replace("_", " ") for name in figures), "weights", "time"]
    rows = [
        [
            escape(entry.run),
            escape(entry.lane),
            str(len(entry.seeds)),
            f"{entry.epochs}/{entry.epochs_asked_for}",
            *(escape(figure_in_words(entry, figure)) for figure in figures),
            f"{entry.params:,}",
            numbers.seconds(entry.seconds),
        ]
        for entry in contest.entries
    ]
    return table(columns, rows, numbers=2)


def _unlike(found: ComparedRuns, index: int) -> str:
    from rich.console import Console

    console = Console(width=100, force_jupyter=False, color_system=None, markup=False, highlight=False)
    with console.capture() as caught:
        print_unlike(found, index, console)
    return caught.get()
