"""A search on the terminal: the tuned hyperparameters, and how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.results.tuning import Tuned
from nnspec.view.terminal.screen import Column, say, table
from nnspec.view.wording import numbers, tuning

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_search"]


def print_search(tuned: Tuned, summary: Mapping[str, Any], console: Console) -> None:
    """Print the tuned hyperparameters, the findings of the search, and its weaknesses."""
    rows = tuning.rows(tuned, summary)
    say(console, tuning.title(tuned), style="dim")
    columns = [
        Column("lane", [row.lane for row in rows], 0),
        Column("hyperparameter", [row.setting for row in rows], 0),
        Column("chosen", [row.chosen for row in rows], 0, right=True),
        Column(f"best {numbers.named(tuned.by)}", [row.figure for row in rows], 1, right=True),
        Column("tolerance", [row.tolerance for row in rows], 2, right=True),
        Column("diverged", [row.diverged for row in rows], 3, right=True),
        Column("search space", [row.space for row in rows], 4),
    ]
    console.print(table(columns, console.width))
    console.print()
    for line, kind in tuning.sentences(tuned, summary):
        say(console, f"{'!' if kind == 'doubt' else '–'} {line}", style="yellow" if kind == "doubt" else "")
