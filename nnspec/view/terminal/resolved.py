"""`show --resolved`: the program of a spec, with the origin of every value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, Origin, Program
from nnspec.errors import NnspecError, some_of
from nnspec.semantics.resolved import Row, rows
from nnspec.semantics.values import as_json, in_text, is_file, place, short_names, where, written
from nnspec.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["LaneError", "pick", "print_resolved", "resolved_record"]

_NAMES = 40  # the widest that the column of names becomes
_VALUES = 22  # a longer value moves its origin to the right, and no other
_VALUE = 200  # characters of a value; `--json` has all of it


class LaneError(NnspecError):
    """No lane has that name."""


def pick(program: Program, name: str | None) -> tuple[Experiment, ...]:
    """Return the runs with a name: one run, or all sweep points of a lane. Without a name, return all runs.

    Raises LaneError if there is none.
    """
    if name is None:
        return program.lanes
    found = [lane for lane in program.lanes if lane.name == name] or [e for e in program.lanes if e.lane == name]
    if not found:
        lanes = list(dict.fromkeys(word for lane in program.lanes for word in (lane.lane, lane.name)))
        raise LaneError(f"{program.path} has no lane {printable(name)}; there are {some_of(lanes)}")
    return tuple(found)


# As plain data


def resolved_record(program: Program, lanes: Sequence[Experiment]) -> dict[str, Any]:
    """Return lanes of a program as plain data: a list of values for each, and the expectations."""
    return {
        "title": program.title,
        "spec": program.path,
        "lanes": [
            {
                "name": lane.name,
                "lane": lane.lane,
                "point": dict(lane.point),
                "values": [_row_record(row) for row in rows(lane)],
            }
            for lane in lanes
        ],
        "expect": [{"text": e.text, "origin": _origin_record(Origin(e.span))} for e in program.expectations],
    }


def _row_record(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "depth": row.depth,
        "value": as_json(row.value),
        "origin": None if row.origin is None else _origin_record(row.origin),
    }


def _origin_record(origin: Origin) -> dict[str, Any]:
    """Return file, line, column, source and expression; a flag has no file."""
    if not in_text(origin):
        return {"file": None, "line": None, "column": None, "via": origin.via, "text": None}
    span = origin.span
    line, column = span.source.position(span.start)
    file = span.source.name if is_file(origin) else None
    return {"file": file, "line": line, "column": column, "via": origin.via, "text": span.text}


# As text


def print_resolved(program: Program, lanes: Sequence[Experiment], console: Console) -> None:
    """Print the first lane in full, and the differences of each other lane from it."""
    first = list(rows(lanes[0]))
    names = short_names(_origins(program, lanes))
    console.print(printable(program.title), style="bold", soft_wrap=True)
    console.print(f"{printable(program.path)} · {_count(program, lanes)}", style="dim", soft_wrap=True)
    for lane in lanes:
        head, shown = f"lane {lane.name}", first
        if lane is not lanes[0]:
            shown = list(_differing(first, list(rows(lane)), names))
            head += f": same as {lanes[0].name}{', except for' if shown else ''}"
        console.print()
        console.print(head, style="bold", soft_wrap=True)
        if shown:
            console.print(_text(shown, names), soft_wrap=True)
    if program.expectations:
        console.print()
        console.print("expect", style="bold")
        found = [
            Row("statement", "expect", "", printable(e.text), 1, None, Origin(e.span)) for e in program.expectations
        ]
        console.print(_text(found, names), soft_wrap=True)


def _origins(program: Program, lanes: Iterable[Experiment]) -> Iterator[Origin]:
    yield from (Origin(e.span) for e in program.expectations)
    yield from (row.origin for lane in lanes for row in rows(lane) if row.origin is not None)


def _count(program: Program, lanes: Sequence[Experiment]) -> str:
    of = f"{len(lanes)} of " if len(lanes) < len(program.lanes) else ""
    return f"{of}{len(program.lanes)} lane{'s' if len(program.lanes) > 1 else ''}"


def _differing(first: Sequence[Row], own: Sequence[Row], names: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a lane that differ from the first lane's, each below its headings.

    A section with other rows than the first lane's is shown in full; otherwise a missing row would go unnoticed.
    What is inferred follows from the rest.
    """
    theirs = {section: list(found) for section, found in groupby(first, key=lambda row: row.section)}
    for section, group in groupby(own, key=lambda row: row.section):
        ours, other = list(group), theirs.get(section, [])
        if [row.name for row in ours] != [row.name for row in other]:
            yield from ours
            continue
        changed = [
            i
            for i, (row, twin) in enumerate(zip(ours, other, strict=True))
            if not _inferred(row) and _cells(row, names) != _cells(twin, names)
        ]
        if section == "data" and changed:
            yield from ours  # a single one of several alternatives would be misleading
        else:
            yield from (ours[i] for i in _with_heads(ours, changed))


def _inferred(row: Row) -> bool:
    return row.origin is not None and row.origin.via == "inferred"


def _with_heads(found: Sequence[Row], chosen: Iterable[int]) -> Iterator[int]:
    """Yield the indices of rows, each after the indices of its headings, none twice."""
    wanted = set(chosen)
    heads: list[int] = []
    for i, row in enumerate(found):
        while heads and found[heads[-1]].depth >= row.depth:
            heads.pop()
        heads.append(i)
        if i in wanted:
            yield from heads
            heads = []


def _cells(row: Row, names: Mapping[str, str]) -> tuple[str, str, str]:
    head = "  " * row.depth + row.shown
    if row.origin is None:
        return head, "" if row.value is None else written(row.value), ""
    if row.kind == "statement":
        return head, "", place(row.origin, names)
    value = written(row.value)
    return head, value if len(value) <= _VALUE else f"{value[: _VALUE - 1]}…", where(row.origin, row.value, names)


def _text(shown: Iterable[Row], names: Mapping[str, str]) -> Text:
    """Lay rows out in columns of name, value and origin; defaults and inferred values are dim."""
    from rich.text import Text

    told = list(shown)
    cells = [_cells(row, names) for row in told]
    left = min(max(len(name) for name, _, _ in cells), _NAMES)
    middle = max((len(value) for _, value, _ in cells if len(value) <= _VALUES), default=0)
    result = Text()
    for i, (row, (name, value, origin)) in enumerate(zip(told, cells, strict=True)):
        quiet = row.origin is not None and not in_text(row.origin)
        line = f"{name:<{left}}  {value:<{middle}}" if value or middle == 0 else f"{name:<{left + middle + 2}}"
        result.append("\n" if i else "")
        result.append(line if origin else line.rstrip(), style="dim" if quiet else "")
        result.append(f"  {origin}" if origin else "", style="dim")
    return result
