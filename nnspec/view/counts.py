"""Tables of counts, such as which class is taken for which, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nnspec.runner.history import LaneResult

__all__ = ["counts"]


def counts(lane: LaneResult, width: int) -> Iterator[str]:
    """Write the tables of a lane; of one that is wider than `width`, where it stands instead."""
    for name, rows in lane.tables.items():
        cell = max(len(f"{count:,}") for row in rows for count in row) + 2
        edge = len(str(len(rows) - 1)) + 2
        if edge + cell * len(rows) > width:
            yield f"{name} of {lane.label}: {len(rows)} × {len(rows)} counts, in summary.json"
            continue
        yield f"{name} of {lane.label} on test data: a row for each label, a column for each prediction"
        yield " " * edge + "".join(f"{label:>{cell}}" for label in range(len(rows)))
        for label, row in enumerate(rows):
            yield f"{label:>{edge}}" + _line(row, cell)
        yield ""


def _line(numbers: Sequence[int], cell: int) -> str:
    """A point stands for no sample at all, so that the others are seen."""
    return "".join(f"{number:>{cell},}" if number else f"{'·':>{cell}}" for number in numbers)
