"""The terminal: its width, its colours, and tables that lose columns rather than break."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Column", "console", "table"]

_GAP = 3
_PIPE_WIDTH = 160
_NARROWEST = 20  # less is no terminal but a slip, such as COLUMNS=0


def console(stderr: bool = False) -> Console:
    """Return a console for stdout or stderr. In a pipe: no colours, and lines as wide as they need to be."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """Fall silent: whoever read our output has gone, and a run goes on to its record and its exit code."""
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    found = Screen(stderr=stderr, highlight=False, soft_wrap=False, emoji=False, markup=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found = Screen(stderr=stderr, highlight=False, soft_wrap=False, emoji=False, markup=False, width=_PIPE_WIDTH)
    if found.width < _NARROWEST:
        found.width = _NARROWEST
    return found


@dataclass(frozen=True)
class Column:
    """A column of a table: the lower its `rank`, the longer it stays when the terminal is narrow."""

    head: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False
    styles: Sequence[str] = ()

    @property
    def width(self) -> int:
        """Of its widest cell."""
        from rich.cells import cell_len

        return max(cell_len(text) for text in (self.head, *self.cells))


def table(columns: Sequence[Column], width: int) -> Table:
    """Lay columns out side by side; where there is no room for all, those of the highest rank are left out."""
    from rich.table import Table
    from rich.text import Text

    kept = [column for column in columns if any(column.cells)]
    while len(kept) > 1 and sum(c.width for c in kept) + _GAP * (len(kept) - 1) > width:
        kept.remove(max(kept, key=lambda c: c.rank))
    result = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column in kept:
        result.add_column(column.head, justify="right" if column.right else "left", no_wrap=True)
    for row in range(max((len(c.cells) for c in kept), default=0)):
        result.add_row(*(Text(c.cells[row], style=c.styles[row] if c.styles else "") for c in kept))
    return result
