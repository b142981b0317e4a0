"""The training curve below a notebook cell: points are appended while lanes train, and a picture replaces it at the
end.

A message to the notebook is as small after a thousand epochs as after ten: a lane's curve has at most `MOST_POINTS`
points, and every other one is dropped when there are more.
"""

from __future__ import annotations

import math
import time
from importlib import import_module
from typing import Any

from nnspec.engine.length import Length
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.view.html import render
from nnspec.view.palette import PALETTE
from nnspec.view.terminal.quiet import Warns
from nnspec.view.wording import numbers

__all__ = ["MOST_LANES", "MOST_POINTS", "NotebookCurve", "Series"]

MOST_POINTS, MOST_LANES = 128, 8
_SECONDS = 0.1
_WIDTH, _HEIGHT = 560, 160


class Series:
    """The losses of a lane, at most `MOST_POINTS` of them, evenly spaced, and the last one."""

    def __init__(self, name: str, epochs: int, length: Length | None = None) -> None:
        self.name, self.epochs, self.length = name, epochs, length or Length(epochs, 1, 1)
        self.points: list[tuple[int, float]] = []
        self.done, self.last = 0, math.nan
        self._step = 1

    def append(self, loss: float) -> None:
        """Append the loss of the next epoch."""
        self.done, self.last = self.done + 1, loss
        if self.done % self._step:
            return
        self.points.append((self.done, loss))
        if len(self.points) > MOST_POINTS:
            self.points = self.points[1::2]
            self._step *= 2

    @property
    def text(self) -> str:
        """The epoch, or step, and its loss in words."""
        place = f"{self.length.unit} {self.length.at(self.done)}/{self.length.at(self.epochs)}"
        return f"{self.name}: {place}, loss {numbers.loss(self.last)}"


class NotebookCurve(Warns):
    """Shows the losses of the first lanes that train, updated at most ten times a second."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._others = 0
        self._handle: Any = None
        self._shown = -1.0

    def lane_begins(self, lane: LaneResult) -> None:
        """Begin a curve."""
        if len(self._series) == MOST_LANES:
            self._others += 1
            return
        series = self._series[lane.label] = Series(lane.label, lane.epochs, lane.length)
        for record in lane.records:  # of a resumed run
            series.append(record.figures["loss"])

    def epoch_done(self, lane: LaneResult) -> None:
        """Append a point, and show it unless the last one was shown just before."""
        series = self._series.get(lane.label)
        if series is None:
            return
        series.append(lane.records[-1].figures["loss"])
        if time.monotonic() - self._shown >= _SECONDS:
            self._put(self.bundle())
            self._shown = time.monotonic()

    def bundle(self) -> dict[str, Any]:
        """Return the curves as HTML and as text."""
        series = [each for each in self._series.values() if each.done]
        lines = [each.text for each in series]
        if self._others:
            lines.append(f"and {self._others:,} more")
        html = render("notebook/curve.html.j2", curves=self._curves(series), lines=lines, width=_WIDTH, height=_HEIGHT)
        return {"text/plain": "\n".join(lines), "text/html": html}

    def _curves(self, series: list[Series]) -> list[tuple[str, list[tuple[float, float]]]]:
        """Return the colour and the points of each curve: epochs to the right, the logarithm of losses upwards."""
        finite = [loss for each in series for _, loss in each.points if math.isfinite(loss)]
        scale = math.log if finite and min(finite) > 0 else float
        low, high = (scale(f(finite)) for f in (min, max)) if finite else (0.0, 1.0)
        epochs = max((each.epochs for each in series), default=1)

        def place(epoch: int, loss: float) -> tuple[float, float]:
            share = (scale(loss) - low) / (high - low) if high > low else 0.5
            return round(epoch / epochs * _WIDTH, 1), round((1 - share) * (_HEIGHT - 8) + 4, 1)

        return [
            (PALETTE[i % len(PALETTE)], [place(*point) for point in each.points if math.isfinite(point[1])])
            for i, each in enumerate(series)
        ]

    def finish(self, result: RunResult) -> None:
        """Replace the curves by a picture, which is saved with the notebook; by nothing if no epoch was trained."""
        if not any(lane.curve("loss") for lane in result.lanes.values()):
            self.clear()
            return
        figure = result.plot()
        lines = "\n".join(each.text for each in self._series.values() if each.done)
        self._put({"text/plain": lines or result.title, "image/png": figure._repr_png_()})
        self._handle = None

    def clear(self) -> None:
        """Remove the curves."""
        if self._handle is not None:
            self._put({"text/plain": ""})
            self._handle = None

    def _put(self, data: dict[str, Any]) -> None:
        if self._handle is None:
            self._handle = import_module("IPython.display").display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
