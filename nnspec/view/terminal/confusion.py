"""Tables of counts, such as which class is taken for which, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nnspec.results.lane import LaneResult
from nnspec.text import printable
from nnspec.view.wrapping import cells, wrapped

__all__ = ["confusion", "counts"]

_HEAD = 12
"""Characters per line of a class name above its column; longer names are wrapped."""


def counts(lane: LaneResult, names: Sequence[str], width: int) -> Iterator[str]:
    """Yield the tables of a lane as lines; `names` are those of the classes, if the data has any."""
    for name, rows in lane.tables.items():
        lines = confusion(rows, names, width)
        if lines is None:
            yield f"{name} of {lane.label}: {len(rows)} × {len(rows)} counts, in summary.json"
            continue
        yield f"{name} of {lane.label} on test data: one row per label, one column per prediction"
        yield from lines
        yield ""


def confusion(rows: Sequence[Sequence[int]], names: Sequence[str], width: int) -> list[str] | None:
    """Return the lines of a table with a row for each class and a column for each prediction.

    Where the names of the classes are too wide for its columns, these are numbered as the rows are. None where even
    that is wider than `width`.
    """
    numbers = [str(i) for i in range(len(rows))]
    labels = [printable(name) for name in names] if len(names) == len(rows) else numbers
    count = max(len(f"{count:,}") for row in rows for count in row)
    layouts: list[tuple[list[str], list[list[str]]]] = [(labels, [wrapped(label, _HEAD) for label in labels])]
    if labels != numbers:
        layouts.append(([f"{i} {name}" for i, name in enumerate(labels)], [[i] for i in numbers]))
    for sides, tops in layouts:
        edge = max(map(cells, sides)) + 2
        columns = [max(count, *map(cells, top)) + 2 for top in tops]
        if edge + sum(columns) <= width:
            return _lines(rows, sides, tops, edge, columns)
    return None


def _lines(
    rows: Sequence[Sequence[int]],
    sides: Sequence[str],
    tops: Sequence[Sequence[str]],
    edge: int,
    columns: Sequence[int],
) -> list[str]:
    """Lay out a table. Zeros are shown as dots, so that the other counts stand out."""
    height = max(map(len, tops))
    raised = [[""] * (height - len(top)) + list(top) for top in tops]
    lines = [
        " " * edge + "".join(_right(top[i], width) for top, width in zip(raised, columns, strict=True))
        for i in range(height)
    ]
    for side, row in zip(sides, rows, strict=True):
        counted = (_right(f"{count:,}" if count else "·", width) for count, width in zip(row, columns, strict=True))
        lines.append(_right(side, edge) + "".join(counted))
    return lines


def _right(text: str, width: int) -> str:
    return " " * (width - cells(text)) + text
