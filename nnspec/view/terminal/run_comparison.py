"""`compare`: runs side by side, for a reader and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnspec.analysis.contest import Contest, Entry
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.records.saved import SavedRun, usable
from nnspec.reprs import TableRepr
from nnspec.results.tuning import Tuned
from nnspec.semantics.comparison import Difference
from nnspec.statistics.comparison import Comparison, Contender
from nnspec.text import finite, printable
from nnspec.view.terminal.screen import Column, say, table
from nnspec.view.terminal.spec_diff import difference_record, print_difference
from nnspec.view.wording import numbers, tuning

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "ComparedRuns",
    "compared_record",
    "figure_in_words",
    "head",
    "print_compared",
    "print_unlike",
    "shown_figures",
]


@dataclass(frozen=True, repr=False)
class ComparedRuns(TableRepr):
    """A comparison of runs on disk."""

    contest: Contest
    specs: tuple[Difference | str, ...] = ()
    """How the spec of each further run differs from the first run's, or why that is unknown."""


def print_compared(found: ComparedRuns, console: Console) -> None:
    """Print a table of all lanes, the differences between the runs, and significance tests."""
    contest = found.contest
    for name, saved in zip(contest.runs, contest.saved, strict=True):
        console.print(f"{printable(name)}  ", style="bold", end="", soft_wrap=True)
        console.print(head(saved), style="dim", soft_wrap=True)
    console.print()
    console.print(table(list(_columns(contest)), console.width))
    console.print()
    searches = [_search(saved) for saved in contest.saved]
    if any(searches):
        for name, tuned in zip(contest.runs, searches, strict=True):
            if tuned is None:
                say(console, printable(f"! {name}: not tuned; its settings are those of the spec"), style="yellow")
            else:
                say(console, printable(f"– {name}: {tuning.title(tuned)}"))
                for choice in tuning.choices(tuned):
                    say(console, printable(f"  {choice}"), style="dim")
        console.print()
    for index in range(1, len(contest.runs)):
        print_unlike(found, index, console)
        console.print()
    for note in contest.notes:
        say(console, printable(f"! {note}"), style="yellow")
    for each in contest.comparisons:
        say(console, printable(f"– {contest.text(each)}"), style="" if each.shown else "dim")


def print_unlike(found: ComparedRuns, index: int, console: Console) -> None:
    """Print how a further run differs from the first one: spec, data and environment."""
    contest, spec = found.contest, found.specs[index - 1]
    first, other = contest.runs[0], contest.runs[index]
    if isinstance(spec, str):
        console.print(printable(f"! the specs of {first} and {other} cannot be compared: {spec}"), style="yellow")
    elif spec.same:
        console.print(f"the specs of {first} and {other} mean the same", soft_wrap=True)
    else:
        print_difference(replace(spec, a=first, b=other), console)
    for each in contest.unlike:
        if each.run == other:
            say(console, printable(f"~ {each.what}: {each.first} → {each.here}"), style="yellow")


def head(saved: SavedRun) -> str:
    """Summarise a run in a line: title, data, date. Raises RunError for a damaged record."""
    summary = saved.summary
    with usable(saved.path / "summary.json"):
        uses = [f"{use['source']} {use['train']:,} train / {use['test']:,} test" for use in summary["data"]]
        when = str(summary["started"])[:16].replace("T", " ")
        return printable(" · ".join(word for word in (str(summary["title"]), *uses, when) if word))


def _search(saved: SavedRun) -> Tuned | None:
    """Return the search of a run; None if it was not tuned. Raises RunError for a damaged record."""
    with usable(saved.path / "summary.json"):
        record = saved.summary.get("tuned")
        return None if record is None else Tuned.of_record(record)


def _columns(contest: Contest) -> Iterator[Column]:
    entries = contest.entries
    if len(contest.runs) > 1:
        yield Column("run", [printable(entry.run) for entry in entries], 0)
    yield Column("lane", [printable(entry.lane) for entry in entries], 0, styles=["bold"] * len(entries))
    yield Column("seeds", [str(len(entry.seeds)) for entry in entries], 6, right=True)
    yield Column("epoch", [f"{entry.epochs:.6g}/{entry.epochs_asked_for:.6g}" for entry in entries], 5, right=True)
    for rank, figure in enumerate(shown_figures(entries)):
        best = _best(entries, figure)
        styles = ["bold green" if entry.final.get(figure) == best else "" for entry in entries]
        cells = [figure_in_words(entry, figure) for entry in entries]
        yield Column(figure.replace("_", " "), cells, 1 + rank, right=True, styles=styles)
    yield Column("parameters", [f"{entry.params:,}" for entry in entries], 7, right=True)
    yield Column("time", [numbers.seconds(entry.seconds) for entry in entries], 4, right=True)


def shown_figures(entries: Sequence[Entry]) -> list[str]:
    """Return the figures to show: those of test data, and the training loss."""
    known = dict.fromkeys(figure for entry in entries for figure in entry.final)
    tested = [figure for figure in known if figure.startswith("test_")]
    return [*(figure for figure in known if figure == "loss"), *tested]


def _best(entries: Sequence[Entry], figure: str) -> float | None:
    """Return the best value of a figure; None for losses of different kinds, which cannot be compared."""
    values = [entry.final[figure] for entry in entries if figure in entry.final]
    if len(values) < 2 or (figure.endswith("loss") and len({entry.loss for entry in entries}) > 1):
        return None
    return max(values) if higher_is_better(figure) else min(values)


def figure_in_words(entry: Entry, figure: str) -> str:
    """`0.334 ± 0.019`, `90.2 % ± 0.8`: the mean, and half the width of its 95 % interval if there are several seeds."""
    if figure not in entry.final:
        return "–"
    found = entry.interval(figure)
    return numbers.figure(figure, entry.final[figure], (found.high - found.low) / 2)


def compared_record(found: ComparedRuns) -> dict[str, Any]:
    """Return the same as plain data."""
    contest = found.contest
    return {
        "runs": [
            {
                "name": name,
                "path": saved.path.as_posix(),
                "title": saved.summary["title"],
                "tuned": None if (tuned := _search(saved)) is None else _search_record(tuned),
            }
            for name, saved in zip(contest.runs, contest.saved, strict=True)
        ],
        "lanes": [_entry_record(entry) for entry in contest.entries],
        "specs": [
            {"run": name, "why_unknown": spec} if isinstance(spec, str) else {"run": name, **difference_record(spec)}
            for name, spec in zip(contest.runs[1:], found.specs, strict=True)
        ],
        "unlike": [{"run": e.run, "what": e.what, "first": e.first, "here": e.here} for e in contest.unlike],
        "figure": contest.figure,
        "comparisons": [_comparison_record(contest, each) for each in contest.comparisons],
        "notes": list(contest.notes),
    }


def _search_record(tuned: Tuned) -> dict[str, Any]:
    return {"by": tuned.by, "budget": tuned.budget, "search": tuned.search, "chosen": tuned.flags()}


def _entry_record(entry: Entry) -> dict[str, Any]:
    intervals = {figure: entry.interval(figure) for figure in entry.final}
    return {
        "run": entry.run,
        "lane": entry.lane,
        "loss": entry.loss,
        "status": entry.status,
        "epochs": entry.epochs,
        "epochs_asked_for": entry.epochs_asked_for,
        "params": entry.params,
        "seconds": entry.seconds,
        "seeds": list(entry.seeds),
        "final": dict(entry.final),
        "intervals": {
            f: {"low": finite(i.low), "high": finite(i.high), "n": i.n} for f, i in intervals.items() if i.n >= 2
        },
    }


def _comparison_record(contest: Contest, found: Comparison) -> dict[str, Any]:
    test = found.test
    tested = {"difference": test.difference, "low": test.low, "high": test.high, "p": test.p}
    return {
        "one": _named(found.one),
        "other": _named(found.other),
        "figure": found.figure,
        "test": "paired" if test.paired else "welch",
        **{name: finite(value) for name, value in tested.items()},
        "p_adjusted": finite(found.adjusted),
        "n": [test.n, test.n] if test.paired else list(found.sizes),
        "shown": found.shown,
        "text": contest.text(found),
    }


def _named(lane: Contender) -> dict[str, str]:
    return {"run": lane.run, "lane": lane.lane}
