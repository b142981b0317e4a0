"""What is shown even with `--quiet`: data that replaces other data. Importing this is cheap."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnspec.compiler.proofs import Compiled
from nnspec.errors import DataWarning
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.training.observer import Silent
from nnspec.view.terminal.screen import say
from nnspec.view.terminal.trials import Trials
from nnspec.view.wording import phrases

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["QuietProgress", "Warns"]


class Warns(Silent):
    """Shows no progress, but issues a Python warning for data that replaces other data."""

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """Issue a warning for each; Python's warning filters can silence it or turn it into an error."""
        for use in data:
            if use.stands_in:
                warnings.warn(f"{phrases.stand_in(use)}: {_reason(use)}", DataWarning, stacklevel=_callers())


def _callers() -> int:
    """Return the `stacklevel` of the first caller outside nnspec."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] == "nnspec":
        frame, level = frame.f_back, level + 1
    return level


class QuietProgress(Silent):
    """Shows no progress, only data that replaces other data."""

    def __init__(self, console: Console, compiled: Compiled) -> None:
        self.console = console
        self.run_begins(compiled)

    def run_begins(self, compiled: Compiled) -> None:
        """Follow the lanes of another run."""
        self.close()
        self.compiled = compiled
        self.order = [lane.name for lane in compiled.program.lanes]
        self.lanes: list[LaneResult] = []
        self.trials = Trials.of(compiled.program)

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """Say which data replaces which."""
        for use in data:
            if use.stands_in:
                say(self.console, f"! {phrases.stand_in(use)}: {_reason(use)}", style="bold yellow")

    def lane_begins(self, lane: LaneResult) -> None:
        """Keep the lane, or its repeat."""
        if self.trials is not None:
            self.trials.begins(lane)
            return
        self.lanes.append(lane)

    def lane_ends(self, lane: LaneResult) -> None:
        """Replace the repeats of the lane by the lane."""
        if self.trials is not None:
            self.trials.ends(lane)
            return
        self.lanes = [*(other for other in self.lanes if other.name != lane.name), lane]

    def close(self) -> None:
        """Nothing to clean up."""


def _reason(use: DataUse) -> str:
    """Return why data replaces other data, with the problem of each mirror, but without what to do about it."""
    first, *others = use.reason.splitlines() or [""]
    return "\n".join([first, *(line for line in others if line.startswith("  "))])
