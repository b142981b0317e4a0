"""A single progress line for notebooks, whose cells cannot redraw a table."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from typing import IO, Any

__all__ = ["NotebookLine", "RewrittenLine", "in_kernel", "in_notebook"]

_SECONDS = 0.1


def in_kernel() -> bool:
    """Return whether this Python code runs in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def in_notebook() -> bool:
    """Return whether output appears below a notebook cell: that of its code, or of a command that it started."""
    return in_kernel() or "JPY_PARENT_PID" in os.environ


class RewrittenLine:
    """A line on a stream that is overwritten in place."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._width, self._last = stream, 0, -1.0

    def show(self, text: str) -> None:
        """Write the text in place of the previous one, at most ten times a second."""
        if time.monotonic() - self._last >= _SECONDS:
            self._last = time.monotonic()
            self._write(text)

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text:<{self._width}}")
        self._stream.flush()
        self._width = len(text)

    def close(self) -> None:
        """Remove the line."""
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
            self._width = 0


class NotebookLine:
    """A line below a cell that is updated in place."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = -1.0

    def show(self, text: str) -> None:
        """Show the text in place of the previous one, at most ten times a second."""
        if time.monotonic() - self._last >= _SECONDS:
            self._last = time.monotonic()
            self._put(text)

    def _put(self, text: str) -> None:
        display = import_module("IPython.display").display
        data = {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def close(self) -> None:
        """Clear the line."""
        if self._handle is not None:
            self._put("")
            self._handle = None
