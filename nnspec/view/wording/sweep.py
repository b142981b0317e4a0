"""The best point of a sweep, and the deciding figure as a grid over two settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nnspec.results.sweeps import Grid, choice_of, grids
from nnspec.statistics.ranking import Candidate, ranked
from nnspec.view.terminal.screen import Column, table
from nnspec.view.wording import numbers

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["best_lines", "grid_columns", "grid_table", "grid_title", "grids_of", "ranked_records"]

_GRIDS = 6  # that are shown; summary.json has every figure


def best_lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield lines about the best point of a sweep, each with its kind: `best`, `remark` or `command`."""
    record = summary.get("best")
    if not any("point" in lane for lane in summary["lanes"]):
        return
    if record is None:
        if len(summary["lanes"]) > 1:
            yield "no best point: the lanes have no figure in common", "remark"
        return
    choice = choice_of(record)
    yield f"best: {choice.name}, with {choice.text}: {numbers.figure(choice.figure, choice.value)}", "best"
    if choice.remark:
        yield choice.remark, "remark"
    if "command" in record:
        yield str(record["command"]), "command"
    else:
        yield (
            "its values name files in the folder of the spec, so `--set` cannot repeat them from another folder",
            "remark",
        )


def grids_of(summary: Mapping[str, Any]) -> list[Grid]:
    """Return the grids of a run to show; none if lanes cannot be compared."""
    return grids(summary["lanes"])[:_GRIDS] if "best" in summary else []


def grid_columns(grid: Grid, summary: Mapping[str, Any]) -> list[Column]:
    """Return the columns of a grid: the figure that decides, a `*` at the best of all lanes."""
    best, figure = str(summary["best"]["lane"]), str(summary["best"]["figure"])
    lanes = {str(lane["name"]): lane for lane in summary["lanes"]}

    def cell(name: str | None) -> str:
        lane = lanes.get(name or "")
        if lane is None:
            return "–  "
        value = lane["final"].get(figure)
        text = numbers.figure(figure, float(value)) if value is not None else "–"
        text = text if lane["status"] == "done" else f"{lane['status']}"
        return f"{text} {'*' if name == best else ' '}"

    (down, rows), (across, values) = grid.rows, grid.columns
    columns = [Column(_short(down, across), list(rows))]
    for value in values:
        cells = [cell(grid.runs.get((row, value))) for row in rows]
        columns.append(Column(f"{_short(across, down)}={value}  ", cells, right=True))
    return columns


def grid_table(grid: Grid, summary: Mapping[str, Any], width: int) -> Table | None:
    """Lay out a grid; None if it is too wide."""
    columns = grid_columns(grid, summary)
    if sum(column.width for column in columns) + 3 * len(columns) > width:
        return None
    return table(columns, width)


def grid_title(grid: Grid, summary: Mapping[str, Any]) -> str:
    """Return the title of a grid."""
    of = "" if grid.lane == "run" else f" of {grid.lane}"
    return f"{summary['best']['figure']}{of} by {grid.rows[0]} and {grid.columns[0]} (*: the best)"


def ranked_records(summary: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str]:
    """Return the records of the lanes, the best first, and the figure that they are ordered by."""
    order, figure = ranked([Candidate.of_record(lane) for lane in summary["lanes"]])
    place = {name: i for i, name in enumerate(order)}
    return sorted(summary["lanes"], key=lambda lane: place[str(lane["name"])]), figure


def _short(setting: str, other: str) -> str:
    word = setting.rpartition(".")[2]
    return setting if word == other.rpartition(".")[2] else word
