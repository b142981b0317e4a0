"""The terminal: its width, and tables and sentences that fit it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.view.notebook.progress import in_kernel
from nnspec.view.wrapping import cells, wrapped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Column", "ProgressBar", "console", "plain_text", "print_line", "say", "table", "wraps"]

_GAP = 3
_PIPE_WIDTH, _NOTEBOOK_WIDTH = 160, 100
_NARROW = 12  # minimum width of a name or sentence, as long as there are columns to drop
_NARROWEST = 20  # narrower is a mistake, such as COLUMNS=0


def console(stderr: bool = False) -> Console:
    """Return a console for stdout or stderr. In a pipe: no colours, and lines as wide as they need to be."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """Stop printing: the reader of the output has gone, but the run still writes its record."""
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    # In a notebook, rich would show every line as a separate output.
    plain: dict[str, Any] = {"highlight": False, "emoji": False, "markup": False, "force_jupyter": False}
    found = Screen(stderr=stderr, soft_wrap=False, **plain)
    width = _NOTEBOOK_WIDTH if in_kernel() else None if found.is_terminal else _PIPE_WIDTH
    if width is not None and "COLUMNS" not in os.environ:
        found = Screen(stderr=stderr, soft_wrap=False, width=width, **plain)
    if found.width < _NARROWEST:
        found.width = _NARROWEST
    return found


def plain_text(show: Callable[[Console], None], width: int = 100) -> str:
    """Return what `show` prints to a console, as text without colours."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(), force_jupyter=False, width=width, color_system=None, markup=False, highlight=False
    )
    with console.capture() as printed:
        show(console)
    return printed.get()


def say(console: Console, text: str, style: str = "", *, mark: str = "") -> None:
    """Print a sentence; on a terminal, wrap it at words and indent it if it begins with a mark such as `✗`.

    In a pipe it stays one line, however long, so that it can be searched for. `mark` is a style for the mark alone.
    """
    from rich.text import Text

    lines = text.split("\n")
    if wraps(console):
        lines = [piece for line in lines for piece in _hanging(line, console.width)]
    shown = Text("\n".join(lines), style=style)
    if mark:
        shown.stylize(mark, 0, 1)
    console.print(shown, soft_wrap=True)


def print_line(console: Console, text: str, style: str = "") -> None:
    """Print one line of any length; a narrower terminal wraps it by itself."""
    console.print(text, style=style, soft_wrap=True)


def wraps(console: Console) -> bool:
    """Whether lines are wrapped at the width of a console: those of a terminal are, those of a pipe are not."""
    return console.is_terminal or "COLUMNS" in os.environ


def _hanging(line: str, width: int) -> list[str]:
    marked = line[1:2] == " " and not line[:1].isalnum()
    margin = "  " if marked or line.startswith("  ") else ""
    first, *rest = _sentence(line, width) if not margin else _sentence(line[2:], width - 2)
    return [line[:2] * bool(margin) + first, *(margin + each for each in rest)]


def _sentence(text: str, width: int) -> list[str]:
    return wrapped(text, width, names=False, whole=True)


class ProgressBar:
    """A progress bar on a terminal; nothing in a pipe."""

    def __init__(self, console: Console, text: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn(text),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (console.is_terminal and console.file.isatty()),
        )
        self._task: Any = None

    def tick(self, done: int, total: int) -> None:
        """Move the bar; the first time, show it."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("", total=total)
        self._progress.update(self._task, completed=done)

    def close(self) -> None:
        """Remove it from the screen."""
        self._progress.stop()


@dataclass(frozen=True)
class Column:
    """A column of a table. The lower its `rank`, the longer it stays in a narrow terminal.

    Columns of rank 0 identify the row: they always stay, and their cells are wrapped rather than cut.
    """

    head: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False
    styles: Sequence[str] = ()
    prose: bool = False
    """Its cells are sentences: it always stays, and is wrapped at words."""

    @property
    def stays(self) -> bool:
        """Whether it is never dropped."""
        return self.rank == 0 or self.prose

    @property
    def width(self) -> int:
        """Width of its widest cell or its header."""
        return max(map(cells, (self.head, *self.cells)))

    def least(self, width: int) -> int:
        """Return its minimum width before columns are dropped from a table of the given width."""
        head = max(map(cells, wrapped(self.head, 1, names=False, whole=True)))
        if not self.stays or (self.right and not self.prose):
            return max(head, *map(cells, self.cells))
        return min(self.width, max(head, width // 3 if self.prose else width // 4, _NARROW))


def table(columns: Sequence[Column], width: int) -> Table:
    """Lay columns out side by side within a width.

    If they do not fit, headers, names and sentences are wrapped; then the columns of the highest rank are dropped.
    What identifies a row is never cut.
    """
    from rich.table import Table
    from rich.text import Text

    shown = [column for column in columns if any(column.cells)]
    widths = {id(column): column.least(width) for column in shown}
    while sum(widths[id(c)] for c in shown) + _GAP * (len(shown) - 1) > width:
        spare = [column for column in reversed(shown) if not column.stays]
        if not spare:
            break
        shown.remove(max(spare, key=lambda c: c.rank))  # of one rank, the last
    room = width - sum(widths[id(c)] for c in shown) - _GAP * (len(shown) - 1)
    if room < 0:  # even what always stays is too wide: the widest columns give way
        for _ in range(-room):
            widest = max(shown, key=lambda c: widths[id(c)])
            widths[id(widest)] = max(widths[id(widest)] - 1, 1)
    for column in sorted(shown, key=lambda c: (not c.stays, c.prose)):
        more = max(min(column.width - widths[id(column)], room), 0)
        widths[id(column)] += more
        room -= more
    result = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column in shown:
        head = "\n".join(wrapped(column.head, widths[id(column)], names=False))
        result.add_column(head, justify="right" if column.right else "left", no_wrap=True, vertical="top")
        result.columns[-1].header = Text(head)
    for row in range(max((len(c.cells) for c in shown), default=0)):
        result.add_row(
            *(
                Text("\n".join(_cell(c, c.cells[row], widths[id(c)])), style=c.styles[row] if c.styles else "")
                for c in shown
            )
        )
    return result


def _cell(column: Column, text: str, width: int) -> list[str]:
    """Wrap a cell; further lines of a name are indented, so that they do not look like another row."""
    if cells(text) <= width:
        return [text]
    indent = "  " if not column.prose and not column.right and width > _NARROW // 2 else ""
    first = wrapped(text, width, names=not column.prose)[0]
    rest = wrapped(text[len(first) :].lstrip(" "), width - len(indent), names=not column.prose)
    return [first, *(indent + line for line in rest if line)]
