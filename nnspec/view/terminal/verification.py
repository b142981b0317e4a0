"""Whether two runs are identical, bit for bit: as text and as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nnspec.analysis.verify import Match, Verification
from nnspec.environment import in_words
from nnspec.text import printable
from nnspec.view.terminal.screen import Column, say, table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_verification", "verification_record"]


_TRIAL = re.compile(r"(?:,?study=\d+)?,?trial=\d+$")
"""The end of the name of a trial."""


def _rows(matches: Sequence[Match]) -> list[list[Match]]:
    """Return the trainings of each row: the identical trials of a lane share one."""
    rows: dict[object, list[Match]] = {}
    for number, match in enumerate(matches):
        trial = _TRIAL.search(match.lane)
        key = match.lane[: trial.start()] if trial is not None and match.same else number
        rows.setdefault(key, []).append(match)
    return [*rows.values()]


def _lane(row: Sequence[Match]) -> str:
    return row[0].lane if len(row) == 1 else _TRIAL.sub("", row[0].lane) or "trials"


def _range(values: Iterable[int]) -> str:
    low, *others = sorted(set(values))
    return f"{low} to {others[-1]}" if others else str(low)


def print_verification(found: Verification, console: Console) -> None:
    """Print a line per training, or per lane for identical trials, and other differences between the two runs."""
    say(console, printable(f"{found.one} and {found.other}"), style="bold")
    console.print()
    rows = _rows(found.matches)
    styles = ["green" if row[0].same else "bold red" for row in rows]
    columns = [
        Column("lane", [printable(_lane(row)) for row in rows]),
        Column("seed", [_range(match.seed for match in row) for row in rows], right=True),
        Column("epochs", [_range(match.epochs for match in row) for row in rows], 2, right=True),
        Column("tensors", [_range(match.tensors for match in row) for row in rows], 4, right=True),
    ]
    texts = [f"{len(row)} trials {row[0].text}" if len(row) > 1 else row[0].text for row in rows]
    columns.append(Column("", [printable(text) for text in texts], styles=styles, prose=True))
    console.print(table(columns, console.width))
    console.print()
    if not found.data:
        say(console, "✗ they used different data", style="bold red")
    if found.left:
        several = (
            f"{len(found.left)} trainings are in only one run"
            if len(found.left) > 1
            else f"{found.left[0]} is in only one run"
        )
        say(console, f"! only what both runs have was compared: {several}", style="yellow")
    for text in found.spoilt:
        say(console, f"✗ {printable(text)}", style="bold red")
    for name, (then, now) in found.environment.items():
        say(console, printable(f"! {name}: {in_words(then)}, and {in_words(now)}"), style="yellow")
    if found.same:
        say(console, "✓ identical, bit for bit", style="green")
    elif not found.environment and found.data and any(not match.same for match in found.matches):
        say(console, "– versions, machine and BLAS are the same", style="dim")


def verification_record(found: Verification) -> dict[str, Any]:
    """Return it as plain data for JSON."""
    return {
        "same": found.same,
        "one": found.one,
        "other": found.other,
        "data": found.data,
        "environment": {name: {"then": then, "now": now} for name, (then, now) in found.environment.items()},
        "spoilt": list(found.spoilt),
        "left": list(found.left),
        "trainings": [{**asdict(match), "same": match.same, "text": match.text} for match in found.matches],
    }
