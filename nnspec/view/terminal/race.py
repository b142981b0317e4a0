"""The results of a race."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnspec.compiler.proofs import Compiled
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult, Verdict, common_loss
from nnspec.view.palette import slots, terminal_style
from nnspec.view.terminal.confusion import counts
from nnspec.view.terminal.profile import profiles
from nnspec.view.terminal.quiet import QuietProgress
from nnspec.view.terminal.samples import written
from nnspec.view.terminal.screen import Column, print_line, say, table, wraps
from nnspec.view.terminal.trials import Trials
from nnspec.view.wording import numbers, phrases
from nnspec.view.wording.fairness import shared_in_words
from nnspec.view.wording.folds import fold_tables
from nnspec.view.wording.health import health
from nnspec.view.wording.repeats import spread
from nnspec.view.wording.sweep import best_lines, grid_table, grid_title, grids_of
from nnspec.view.wording.updates import averages_in_words, evaluations_in_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "lanes_table",
    "print_files",
    "print_result",
    "show_result",
]

_SHORT = {"accuracy": "acc"}
_IN_FULL = 6  # lanes, the best ones, whose tables and texts are printed; summary.json has those of all
_MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "yellow")}


def show_result(result: RunResult, progress: QuietProgress) -> None:
    """Replace the progress of a run by its results."""
    progress.close()
    print_result(result, progress.compiled, progress.console)


def print_result(result: RunResult, compiled: Compiled, console: Console) -> None:
    """Print the results of a run: data and model, lanes, verdicts."""
    from rich.text import Text

    order = [lane.name for lane in compiled.program.lanes]
    lanes = result.ranked
    where = " · ".join(word for word in (result.spec, phrases.seeds(result)) if word)
    room = console.width - len(result.title) - len(where)
    side_by_side = room >= 2 and len(result.title) + len(where) < 100
    head = Text(result.title, style="bold").append(
        " " * (min(room, 24) if side_by_side else 1) + where if side_by_side else f"\n{where}", style="not bold dim"
    )
    console.print()
    console.print(head, soft_wrap=True)
    say(console, _facts(result), style="dim")
    console.print()
    if (result.interrupted or result.halted) and Trials.of(compiled.program) is not None:
        _unfinished(result, len(order), console)
        return
    if lanes:
        target = common_loss(lanes) if len(lanes) > 1 else None
        console.print(lanes_table(lanes, order, console, target, result.figure))
        console.print()
    _folds(result, console)
    if result.tuned is not None:
        from nnspec.view.terminal.search import print_search

        print_search(result.tuned, result.summary["tuned"]["summary"], console)
    else:
        _best(result, console)
    for lane in lanes[:_IN_FULL]:
        for line in (*counts(lane, _classes(result, lane), console.width), *written(lane)):
            print_line(console, line)
    for lane in lanes:
        if lane.stopped:
            say(console, f"– {lane.name} stopped {lane.stopped}", style="dim")
        for line in _restored(lane):
            say(console, line, style="dim")
        if lane.status != "done":
            say(console, f"✗ {lane.name} {lane.status}: {lane.message}", style="bold red")
    missing = [name for name in order if name not in result.lanes]
    if missing:
        say(console, f"– not trained: {', '.join(missing)}", style="yellow")
    if result.halted:
        say(console, f"– the run ended with {result.halted}", style="yellow")
    for note in result.notes:
        say(console, f"! {note}", style="bold yellow")
    for note in dict.fromkeys(note for use in result.data for note in use.notes):
        say(console, f"– {note}", style="yellow")
    for line in averages_in_words(lanes, {lane.name: lane for lane in compiled.program.lanes}):
        say(console, f"– {line}", style="dim")
    if evaluations := evaluations_in_words(lanes, {lane.name: lane for lane in compiled.program.lanes}):
        say(console, f"– {evaluations}", style="dim")
    shared = shared_in_words(result.summary.get("fairness"))
    if shared:
        say(console, f"– {shared}", style="dim")
    _verdicts(result.verdicts, console)
    for line, style in spread(lanes, result.summary):
        say(console, line, style=style)
    for line in health(lanes, {lane.name: lane for lane in compiled.program.lanes}):
        say(console, line, style="yellow")
    if any(lane.profile for lane in lanes):
        profiles(lanes, console)


def _unfinished(result: RunResult, count: int, console: Console) -> None:
    """Say how far a search came that did not end: what its trials show so far is no result."""
    ended = [lane for lane in result.lanes.values() if lane.status != "interrupted"]
    begun = f"; {len(result.lanes) - len(ended)} more had begun" if len(result.lanes) > len(ended) else ""
    for lane in ended:
        if lane.status == "failed":
            say(console, f"✗ {lane.name} {lane.status}: {lane.message}", style="bold red")
    if result.halted:
        say(console, f"– the search ended with {result.halted}", style="yellow")
    say(console, f"– the search did not end: {len(ended)} of {count} trials are done{begun}", style="yellow")


def print_files(result: RunResult, console: Console) -> None:
    """Print the folder of a run and the files in it, if it was written."""
    if result.place is not None and result.place.files:
        files = [name for name in result.place.files if not name.endswith(".npz")]
        weights = ["weights"] if len(files) < len(result.place.files) else []
        say(console, f"{result.place.folder}: {', '.join([*files, *weights])}", style="dim")


def _folds(result: RunResult, console: Console) -> None:
    """Print the figures of each fold of the best lanes that are cross-validated."""
    best = [lane.name for lane in result.ranked[:_IN_FULL]]
    for folds in fold_tables(result.summary, best):
        columns = [
            Column(head, [row[i] for row in folds.rows], 99 if head == "seed" else i, right=i > 0)
            for i, head in enumerate(folds.head)
        ]
        say(console, folds.title, style="bold")
        console.print(table(columns, console.width))
        console.print()


def _best(result: RunResult, console: Console) -> None:
    """Print the best point of a sweep: in the grid of two settings, by name, and as the command that runs it again."""
    for grid in grids_of(result.summary):
        drawn = grid_table(grid, result.summary, console.width)
        if drawn is None:
            say(console, f"– the grid of {grid.lane} does not fit in this terminal", style="dim")
        else:
            say(console, grid_title(grid, result.summary), style="dim")
            console.print(drawn)
            console.print()
    for line, kind in best_lines(result.summary):
        if kind == "command":
            print_line(console, f"– to run it again: {line}")
        else:
            say(console, f"– {line}" if kind == "best" else f"! {line}", style="bold" if kind == "best" else "yellow")


def _classes(result: RunResult, lane: LaneResult) -> Sequence[str]:
    """Return the class names of a lane's data; empty if it has none."""
    index = result.data_of.get(lane.name)
    return () if index is None else result.data[index].class_names


def _restored(lane: LaneResult) -> Iterator[str]:
    """Name the epoch of the weights and figures, if it is not the last."""
    ends = {one.seed: one.at(one.restored_epoch) for one in lane.trainings if one.restored_epoch}
    if ends:
        which = phrases.restored(ends, lane.unit, several=bool(lane.repeats))
        yield f"– {lane.name} has the weights and figures of {which}, the best"


def _facts(result: RunResult) -> str:
    parts = [phrases.data_in_words(use) + (f" (for {use.asked_for})" if use.stands_in else "") for use in result.data]
    parts += [result.shapes] if result.shapes else []
    params = {lane.params for lane in result.lanes.values()}
    if len(params) == 1:
        parts.append(f"{params.pop():,} parameters")
    held_out = {lane.held_out for lane in result.lanes.values()} - {0}
    if len(held_out) == 1:
        parts.append(f"{held_out.pop():,} held out")
    error = result.gradient_error
    if error is not None and error < 1e-7:
        parts.append(f"gradients proved to {error:.0e}")
    return " · ".join(parts)


def lanes_table(
    lanes: Sequence[LaneResult],
    order: Sequence[str],
    console: Console,
    target: float | None = None,
    deciding: str = "",
) -> Table:
    """The table of lanes; with `target`, a column for when each of them got there. `deciding` is the figure that they
    are ordered by, whose column stays longer than those of other measured ones."""
    losses = [loss for lane in lanes for loss in lane.curve("loss") if math.isfinite(loss)]
    lowest, highest = (min(losses), max(losses)) if losses else (math.nan, math.nan)
    metrics = numbers.measures(name for lane in lanes for name in lane.figures)
    styles = _styles(lanes, order, console)
    columns = [
        Column("lane", [lane.label for lane in lanes], 0, styles=styles),
        Column("runs", [str(len(lane.repeats) or "") for lane in lanes], 7, right=True),
        Column(
            phrases.unit(lanes), [phrases.in_unit(lane, phrases.progress(lane), lanes) for lane in lanes], 4, right=True
        ),
        Column("loss", [numbers.loss(lane.final("loss")) for lane in lanes], 1, right=True),
        Column(
            "curve", [numbers.spark(lane.curve("loss"), lowest, highest) for lane in lanes], 6, styles=_plain(styles)
        ),
        *_measured("val", 9, lanes, metrics, deciding),
        *_measured("test", 5, lanes, metrics, deciding),
    ]
    if target is not None:
        columns.append(Column(f"to loss {target:g}", [_to(lane, target) for lane in lanes], 3, right=True))
    columns.append(Column("time", [numbers.seconds(lane.seconds) for lane in lanes], 4, right=True))
    return table(columns, console.width)


def _styles(lanes: Sequence[LaneResult], order: Sequence[str], console: Console) -> list[str]:
    """Return the style of each lane's name, in its colour from the pictures."""
    losses = {lane.name: lane.final("loss") for lane in lanes}
    found = slots({name: losses.get(name, math.inf) for name in order})
    return [f"bold {terminal_style(found.get(lane.name), console)}".strip() for lane in lanes]


def _measured(
    samples: str, rank: int, lanes: Sequence[LaneResult], metrics: Sequence[str], deciding: str
) -> Iterator[Column]:
    """Yield the columns of figures measured on the given samples, if any lane has them."""
    if any(f"{samples}_loss" in lane.figures for lane in lanes):
        for name in ("loss", *metrics):
            figure = f"{samples}_{name}"
            at = 1 if figure == deciding else rank if name == "loss" else rank - 3
            cells = [_last(lane, figure) for lane in lanes]
            yield Column(f"{samples} {_SHORT.get(name, name.replace('_loss', ' loss'))}", cells, at, right=True)


def _progress(lane: LaneResult, lanes: Sequence[LaneResult]) -> str:
    return phrases.in_unit(lane, phrases.progress(lane), lanes)


def _plain(styles: Sequence[str]) -> list[str]:
    return [style.removeprefix("bold").strip() for style in styles]


def _to(lane: LaneResult, target: float) -> str:
    epochs = lane.epochs_to(target)
    if math.isinf(epochs):
        return "–"
    count = f"{epochs:.0f}" if epochs.is_integer() else f"{epochs:.1f}"
    return f"{count} epoch{'s' if epochs > 1 else ''}, {numbers.seconds(lane.seconds_to(target))}"


def _verdicts(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print expected values next to measured ones, or above them if a line is too short for both."""
    widest = max((len(verdict.text) for verdict in verdicts), default=0)
    longest = max((len(verdict.detail) for verdict in verdicts), default=0)
    beside = not wraps(console) or 2 + widest + 3 + longest <= console.width
    for verdict in verdicts:
        mark, style = _MARKS[verdict.held]
        text = f"{verdict.text:<{widest}}   {verdict.detail}" if beside else verdict.text
        say(console, f"{mark} {text}", mark=style)
        if not beside and verdict.detail:
            say(console, f"  {verdict.detail}", style="dim")


def _last(lane: LaneResult, figure: str) -> str:
    return numbers.figure(figure, lane.final(figure)) if figure in lane.figures else "–"
