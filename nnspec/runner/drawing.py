"""What draws the picture of a run, as far as a run knows of it; the room `view` draws."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from nnspec.errors import NnspecError
from nnspec.results.run import RunResult

__all__ = ["Drawing", "NoDrawing", "PictureError"]


class PictureError(NnspecError):
    """A picture could not be drawn. The message says why."""


class Drawing(Protocol):
    """Draws the picture of one run."""

    @property
    def waiting(self) -> bool:
        """Whether a process is waiting for the curves and will draw them immediately."""

    def begin(self, result: RunResult) -> None:
        """Start to draw a run whose lanes are done, if it has curves. Called once; raises nothing."""

    def finish(self, result: RunResult, path: Path) -> bool:
        """Write the picture of a run with curves to a file, and return whether there is one. Raises PictureError if it
        cannot be drawn, OSError if it cannot be written."""


class NoDrawing:
    """Draws nothing: for trials, and for one of many runs, since a picture takes longer than many runs. `nnspec plot`
    draws it."""

    waiting = False

    def begin(self, result: RunResult) -> None:
        """Do nothing."""

    def finish(self, result: RunResult, path: Path) -> bool:
        """Do nothing."""
        return False
