"""Progress of tests and downloads on a terminal: one short line that is overwritten, and removed at the end."""

from __future__ import annotations

import time
from typing import TextIO

from nnspec.results.lane import LaneResult
from nnspec.training.observer import Silent

__all__ = ["Ticker"]

_SECONDS = 0.1


class Ticker(Silent):
    """Follows runs on a terminal; silent on any other stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._on = stream, stream.isatty()
        self._last, self._width = 0.0, 0

    def proving(self, lane: str) -> None:
        """Say that the gradients are being checked."""
        self._show(f"{lane}: proving the gradients")

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Say how much of a file has arrived."""
        self._show(f"fetching {name}: {done / 1e6:.1f}{f' of {total / 1e6:.1f}' if total else ''} MB")

    def epoch_done(self, lane: LaneResult) -> None:
        """Say which epoch is done."""
        self._show(f"{lane.label}: {lane.unit} {lane.at(len(lane.records))}/{lane.at(lane.epochs)}")

    def _show(self, text: str) -> None:
        if self._on and time.monotonic() - self._last >= _SECONDS:
            self._last = time.monotonic()
            text = text[:72] if text.isprintable() else ""
            self.clear()
            self._stream.write(text)
            self._stream.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._width:
            self._stream.write("\b" * self._width + " " * self._width + "\b" * self._width)
            self._stream.flush()
            self._width = 0
