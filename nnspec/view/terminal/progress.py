"""What a terminal, a pipe and a notebook show while lanes train."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnspec.compiler.proofs import Compiled
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.view.notebook.progress import NotebookLine, RewrittenLine, in_kernel, in_notebook
from nnspec.view.terminal.quiet import QuietProgress
from nnspec.view.terminal.race import lanes_table
from nnspec.view.terminal.screen import print_line
from nnspec.view.terminal.trials import Trials, trials_table
from nnspec.view.wording import numbers, phrases

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

__all__ = ["LineProgress", "LiveProgress", "PlainProgress", "progress_for"]

_SECONDS = 0.08  # between two drawings of the live table
_SHARE = 10  # per cent of a search after which a pipe gets another line


class PlainProgress(QuietProgress):
    """A plain line per epoch and lane, for pipes and logs; of a search, one for each tenth of it and each lane."""

    def __init__(self, console: Console, compiled: Compiled) -> None:
        super().__init__(console, compiled)
        self._fetching = ""

    def run_begins(self, compiled: Compiled) -> None:
        """Follow the lanes of another run."""
        super().run_begins(compiled)
        self._percent = 0

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Print a line per file."""
        if name != self._fetching:
            self._fetching = name
            size = f" ({total / 1e6:.1f} MB)" if total else ""
            print_line(self.console, f"fetching {name}{size}")

    def proving(self, lane: str) -> None:
        """A line for the gradient check."""
        print_line(self.console, f"{lane}: proving the gradients")

    def compiling(self, kernels: int) -> None:
        """Print a line for the compilation of kernels."""
        print_line(self.console, phrases.compiling(kernels))

    def epoch_done(self, lane: LaneResult) -> None:
        """A line with the epoch's figures."""
        if self.trials is not None:
            self.trials.epoch_done(lane)
            self._share(self.trials)
            return
        figures = [f"{name.replace('_', ' ')} {numbers.figure(name, lane.final(name))}" for name in lane.figures]
        figures += [f"lr {lane.rates[-1]:.3g}"] if lane.rates else []
        print_line(self.console, f"{lane.label}: {lane.unit} {phrases.progress(lane)}, {', '.join(figures)}")

    def lane_ends(self, lane: LaneResult) -> None:
        """Print a line if a lane stopped early or did not finish."""
        super().lane_ends(lane)
        if self.trials is not None:
            own = self.trials.lanes[self.trials.lane_of(lane)]
            if own.ended == own.count:
                print_line(self.console, own.in_words)
            if lane.status != "failed":
                return
        if lane.stopped:
            print_line(self.console, f"{lane.name}: stopped {lane.stopped}")
        if lane.status != "done":
            print_line(self.console, f"{lane.name}: {lane.status}: {lane.message}")

    def _share(self, trials: Trials) -> None:
        """Print a line for each tenth of a search; the last one is that of its lanes."""
        if self._percent + _SHARE <= trials.percent < 100 - _SHARE // 2:
            self._percent = trials.percent // _SHARE * _SHARE
            best = f"; {trials.best_in_words}" if trials.best_in_words else ""
            print_line(self.console, f"tuning: {trials.percent} %, {trials.ended} of {trials.count} trials done{best}")


class LineProgress(QuietProgress):
    """One line that is rewritten in place, for notebooks, where each redrawn table would be appended."""

    def __init__(self, console: Console, compiled: Compiled) -> None:
        self._line = NotebookLine() if in_kernel() else RewrittenLine(console.file)
        super().__init__(console, compiled)

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Say how much of a file has arrived."""
        self._line.show(phrases.fetching(name, done, total))

    def proving(self, lane: str) -> None:
        """Say that the gradients are being checked."""
        self._line.show(f"{lane}: proving the gradients")

    def compiling(self, kernels: int) -> None:
        """Say what training waits for."""
        self._line.show(phrases.compiling(kernels))

    def epoch_done(self, lane: LaneResult) -> None:
        """Say how far the lane is, or the search."""
        if self.trials is not None:
            self.trials.epoch_done(lane)
            best = f", {self.trials.best_in_words}" if self.trials.best_in_words else ""
            self._line.show(f"tuning: {self.trials.ended} of {self.trials.count} trials done{best}")
            return
        self._line.show(f"{lane.label}: {lane.unit} {phrases.progress(lane)}, loss {numbers.loss(lane.final('loss'))}")

    def close(self) -> None:
        """Remove the line."""
        self._line.close()


class LiveProgress(QuietProgress):
    """A table that is redrawn as lanes train, and replaced by the final one."""

    def __init__(self, console: Console, compiled: Compiled) -> None:
        self._live: Live | None = None
        self._drawn = -1.0
        super().__init__(console, compiled)

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """A bar of what has arrived."""
        share = done / total if total else 0.0
        bar = "█" * round(24 * share) + "░" * (24 - round(24 * share)) if total else ""
        self._show(f"fetching {name}  {bar}  {done / 1e6:.1f}{f' of {total / 1e6:.1f}' if total else ''} MB")

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """Clear the table, and print remarks on the data."""
        self.close()
        super().data_ready(data)

    def proving(self, lane: str) -> None:
        """Say that the gradients are being checked."""
        self._show("proving the gradients …")

    def compiling(self, kernels: int) -> None:
        """Say what training waits for."""
        self._show(f"{phrases.compiling(kernels)} …")

    def lane_begins(self, lane: LaneResult) -> None:
        """Add the lane to the table."""
        super().lane_begins(lane)
        self._redraw()

    def epoch_done(self, lane: LaneResult) -> None:
        """Redraw the table."""
        if self.trials is not None:
            self.trials.epoch_done(lane)
        self._redraw()

    def lane_ends(self, lane: LaneResult) -> None:
        """Replace the repeats of the lane by the lane; count it if it is a trial."""
        super().lane_ends(lane)
        if self.trials is not None:
            self._redraw()

    def close(self) -> None:
        """Remove the table from the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _redraw(self) -> None:
        """Redraw the table, unless that was done a moment ago."""
        if time.monotonic() - self._drawn >= _SECONDS:
            self._show("")

    def _show(self, doing: str) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(console=self.console, transient=True, refresh_per_second=12)
            self._live.start()
        program = self.compiled.program
        body = [Text.assemble((program.title, "bold"), (f"   {program.path}", "dim"), no_wrap=True)]
        body += [Text(doing)] if doing else []
        if self.trials is not None:
            body += [Text(self.trials.in_words), trials_table(self.trials, self.console)]  # type: ignore[list-item]
        elif self.lanes:
            body.append(lanes_table(self.lanes, self.order, self.console))  # type: ignore[arg-type]
        self._live.update(Group(*body))
        self._drawn = time.monotonic()


def progress_for(console: Console, compiled: Compiled, *, quiet: bool = False) -> QuietProgress:
    """Return what follows a run on a console: nothing, a line in a notebook, a live table, or lines in a pipe."""
    if quiet:
        return QuietProgress(console, compiled)
    if in_notebook():
        return LineProgress(console, compiled)
    # With FORCE_COLOR, Rich treats a pipe as a terminal. That is right for colours, but a live table needs a real one.
    live = console.is_terminal and console.file.isatty()
    return LiveProgress(console, compiled) if live else PlainProgress(console, compiled)
