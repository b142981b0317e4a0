"""`diff`: how two specs differ, for a reader and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nnspec.semantics.changes import Change
from nnspec.semantics.comparison import Difference, LaneChange
from nnspec.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["difference_record", "print_difference"]

_STYLES = {"+": "green", "-": "red", "~": "yellow"}
_NAMES = 32  # the widest that the column of names becomes
_LANES = 6  # as many are named; `--json` has all
_WIDTH = 76  # old and new values are on two lines if one line would be longer


def difference_record(found: Difference) -> dict[str, Any]:
    """Return a difference as plain data."""
    return {
        "a": found.a,
        "b": found.b,
        "same": found.same,
        "lanes": [
            {"a": each.old, "b": each.new, "like": each.like or None, "changes": _records(each.changes)}
            for each in found.lanes
        ],
        "changes": [{"lanes": list(group.lanes), "changes": _records(group.changes)} for group in found.groups],
        "expect": _records(found.statements),
    }


def _records(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [{"sign": c.sign, "what": c.what, "a": c.old_value, "b": c.new_value} for c in changes]


def print_difference(found: Difference, console: Console) -> None:
    """Print a difference: changes shared by all lanes once, then those of some, then lanes and expectations."""
    a, b = printable(found.a), printable(found.b)
    if found.same:
        console.print(f"{a} and {b} mean the same", soft_wrap=True)
        return
    console.print(f"--- {a}", style="red", soft_wrap=True)
    console.print(f"+++ {b}", style="green", soft_wrap=True)
    for group in found.groups:
        console.print()
        if len(found.shared) > 1:
            console.print(_of(group.lanes, len(found.shared)), style="bold", soft_wrap=True)
        console.print(_lines(group.changes), soft_wrap=True)
    for is_new, lanes in groupby(found.lanes, key=lambda each: each.old is None):
        console.print()
        for lane in lanes:
            _print_lane(lane, "+" if is_new else "-", console)
    if found.statements:
        console.print()
        console.print(_lines(found.statements), soft_wrap=True)


def _of(lanes: Sequence[str], count: int) -> str:
    if len(lanes) == count:
        return "every lane"
    more = f" and {len(lanes) - _LANES:,} more" if len(lanes) > _LANES else ""
    return f"lane{'s' if len(lanes) > 1 else ''} {', '.join(lanes[:_LANES])}{more}"


def _print_lane(lane: LaneChange, sign: str, console: Console) -> None:
    if lane.old is not None and lane.new is not None:
        console.print(f"~ lane {lane.old} → {lane.new}", style=_STYLES["~"], soft_wrap=True)
        return
    name, heads = lane.new or lane.old, f": same as {lane.like}" if lane.like else ""
    heads += ", except for" if lane.like and lane.changes else ""
    console.print(f"{sign} lane {name}{heads}", style=_STYLES[sign], soft_wrap=True)
    if lane.changes:
        console.print(_lines(lane.changes, "    ", signs=bool(lane.like)), soft_wrap=True)


def _lines(changes: Sequence[Change], margin: str = "", signs: bool = True) -> Text:
    """Format changes in columns: sign and name, old and new value, and a note."""
    from rich.text import Text

    left = min(max(len(change.what) for change in changes), _NAMES)
    result = Text()
    for i, change in enumerate(changes):
        sign = f"{change.sign} " if signs else ""
        head = f"{margin}{sign}{change.what:<{left}}  "
        old, *new = [printable(text) for text in (change.old, change.new) if text is not None]
        between = " → " if len(head) + len(old) + sum(map(len, new)) <= _WIDTH else f"\n{' ' * (len(head) - 2)}→ "
        result.append("\n" if i else "")
        result.append(head + between.join([old, *new]), style=_STYLES[change.sign] if signs else "")
        result.append(f"  {change.note}" if change.note else "", style="dim")
    return result
