"""`landscape`: a table of measurements of the paths."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nnspec.analysis.landscape import Landscape
from nnspec.view.palette import terminal_style
from nnspec.view.pictures.landscape import landscape_slots
from nnspec.view.terminal.screen import Column, say, table
from nnspec.view.wording import numbers
from nnspec.view.wording.landscape import caption, notes, number, share, what_is_shown

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_landscape"]


def print_landscape(found: Landscape, console: Console) -> None:
    """Print the measurements of each lane's path, the conclusions from them, and a description of the picture."""
    lanes = sorted(found.lanes.values(), key=lambda lane: float(lane.losses[-1]))
    chosen = landscape_slots(found)
    styles = [f"bold {terminal_style(chosen.get(lane.name), console)}".strip() for lane in lanes]
    columns = [
        Column("lane", [lane.name for lane in lanes], 0, styles=styles),
        Column("epochs", [str(len(lane.steps)) for lane in lanes], 8, right=True),
        Column("start loss", [numbers.loss(float(lane.losses[0])) for lane in lanes], 6, right=True),
        Column("end loss", [numbers.loss(float(lane.losses[-1])) for lane in lanes], 1, right=True),
        Column("path length", [number(lane.length) for lane in lanes], 1, right=True),
        Column("from start", [number(lane.distance) for lane in lanes], 2, right=True),
        Column("cos next step", [_cosine(lane.cosine) for lane in lanes], 3, right=True),
        Column("cos descent", [_cosine(lane.descent) for lane in lanes], 4, right=True),
        Column("evenness", [_cosine(lane.evenness) for lane in lanes], 5, right=True),
        Column("outside", [share(_mean(lane.outside)) for lane in lanes], 7, right=True),
    ]
    console.print()
    say(console, found.title, style="bold")
    for line in what_is_shown(found):
        say(console, line, style="dim")
    console.print()
    console.print(table(columns, console.width))
    console.print()
    say(console, _LEGEND, style="dim")
    console.print()
    for line in caption(found):
        say(console, line)
    for line in notes(found):
        say(console, f"! {line}", style="bold yellow")


_LEGEND = (
    "cos next step: 1 if each step continues straight on; cos descent: 1 if steps follow steepest descent; "
    "evenness: 1 if all weights moved equally far, near 0 if only a few moved; "
    "outside: share of a step's length outside the plane"
)


def _cosine(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _mean(values: Any) -> float:
    finite = [float(value) for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan
