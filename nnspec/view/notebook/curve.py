"""The training curve below a notebook cell: points are appended while lanes train, and a picture replaces it at the
end.

A message to the notebook is as small after a thousand epochs as after ten: a lane's curve has at most `MOST_POINTS`
points, and every other one is dropped when there are more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from nnspec.compiler.proofs import Compiled
from nnspec.engine.length import Length
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.view.html import render
from nnspec.view.palette import PALETTE
from nnspec.view.terminal.quiet import Warns
from nnspec.view.terminal.trials import Trials
from nnspec.view.wording import numbers, phrases

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
    """Shows the losses of the first lanes that train, updated at most ten times a second; of a search, how far the
    trials of each lane are."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._others = 0
        self._trials: Trials | None = None
        self._handle: Any = None
        self._shown = -1.0

    def run_begins(self, compiled: Compiled) -> None:
        """Follow the lanes of another run."""
        self._series, self._others, self._trials = {}, 0, Trials.of(compiled.program)

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Show how much of a file has arrived."""
        self._show(lambda: {"text/plain": phrases.fetching(name, done, total)})

    def compiling(self, kernels: int) -> None:
        """Show what training waits for."""
        self._put({"text/plain": phrases.compiling(kernels)})

    def lane_begins(self, lane: LaneResult) -> None:
        """Begin a curve."""
        if self._trials is not None:
            self._trials.begins(lane)
            return
        if len(self._series) == MOST_LANES:
            self._others += 1
            return
        series = self._series[lane.label] = Series(lane.label, lane.epochs, lane.length)
        for record in lane.records:  # of a resumed run
            series.append(record.figures["loss"])

    def epoch_done(self, lane: LaneResult) -> None:
        """Append a point, and show it unless the last one was shown just before."""
        series = self._series.get(lane.label)
        if self._trials is not None:
            self._trials.epoch_done(lane)
        elif series is not None:
            series.append(lane.records[-1].figures["loss"])
        else:
            return
        self._show(self.bundle)

    def _show(self, bundle: Callable[[], dict[str, Any]]) -> None:
        if time.monotonic() - self._shown >= _SECONDS:
            self._put(bundle())
            self._shown = time.monotonic()

    def lane_ends(self, lane: LaneResult) -> None:
        """Count a trial."""
        if self._trials is not None:
            self._trials.ends(lane)

    @property
    def _lines(self) -> list[str]:
        lines, others = [each.text for each in self._series.values() if each.done], self._others
        if self._trials is not None:
            lanes = [each.in_words for each in self._trials.lanes.values()]
            lines, others = [self._trials.in_words, *lanes[:MOST_LANES]], max(0, len(lanes) - MOST_LANES)
        return [*lines, *([f"and {others:,} more"] if others else [])]

    def bundle(self) -> dict[str, Any]:
        """Return the curves as HTML and as text."""
        series, lines = [each for each in self._series.values() if each.done], self._lines
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
        self._put({"text/plain": "\n".join(self._lines) or result.title, "image/png": figure._repr_png_()})
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
