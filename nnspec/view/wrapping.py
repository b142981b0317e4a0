"""Break text into lines: its width, and where sentences and names may be broken."""

from __future__ import annotations

import re

__all__ = ["cells", "joints", "wrapped"]

# Where a name may be broken: after a sign between its words, but not in a number, and before a capital.
_JOINTS = re.compile(r"(?<=[\s_\-,;:=/·])(?<!\de-)(?=\S)|(?<=\.)(?=[^\s\d])|(?<=[a-z0-9])(?=[A-Z])")
_SPACES = re.compile(r"(?<=\s)(?=\S)")


def joints(name: str) -> list[str]:
    """Split a name at the points where it may be wrapped."""
    return _JOINTS.split(name)


def wrapped(text: str, width: int, *, names: bool = True, whole: bool = False) -> list[str]:
    """Break a text into lines of at most `width` cells, at blanks, and in names also at joints such as `_` and `=`.

    With `whole`, a word that is longer than a line stays whole; otherwise it is broken anywhere.
    """
    lines: list[str] = []
    line = ""
    for piece in re.split(_JOINTS if names else _SPACES, text):
        if line and cells(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece
        while not whole and cells(line.rstrip()) > width and len(line) > 1:
            count = next(i for i in range(len(line), 0, -1) if i == 1 or cells(line[:i]) <= width)
            lines.append(line[:count])
            line = line[count:]
    return [*lines, line.rstrip()] if line or not lines else lines


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)
