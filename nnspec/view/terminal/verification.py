"""Whether two runs are identical, bit for bit: as text and as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nnspec.analysis.verify import Verification
from nnspec.environment import in_words
from nnspec.text import printable
from nnspec.view.terminal.screen import Column, say, table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_verification", "verification_record"]


def print_verification(found: Verification, console: Console) -> None:
    """Print a line per training, and other differences between the two runs."""
    say(console, printable(f"{found.one} and {found.other}"), style="bold")
    console.print()
    rows = found.matches
    styles = ["green" if row.same else "bold red" for row in rows]
    columns = [
        Column("lane", [printable(row.lane) for row in rows]),
        Column("seed", [str(row.seed) for row in rows], right=True),
        Column("epochs", [str(row.epochs) for row in rows], 2, right=True),
        Column("tensors", [str(row.tensors) for row in rows], 4, right=True),
    ]
    columns.append(Column("", [printable(row.text) for row in rows], styles=styles, prose=True))
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
    elif not found.environment and found.data and any(not row.same for row in rows):
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
