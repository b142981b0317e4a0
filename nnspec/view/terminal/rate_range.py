"""`lr-range`: a table of the rates found in a range test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nnspec.analysis.rate_range import LaneRates, RateRange
from nnspec.view.palette import terminal_style
from nnspec.view.pictures.rate_range import rate_slots, what_is_shown
from nnspec.view.terminal.screen import Column, say, table
from nnspec.view.wording import numbers

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["notes", "print_rates", "rates_record"]


def print_rates(found: RateRange, console: Console) -> None:
    """Print the suggested rate of each lane, and what it follows from."""
    lanes, chosen = list(found.lanes.values()), rate_slots(found)
    styles = [f"bold {terminal_style(chosen.get(lane.name), console)}".strip() for lane in lanes]
    columns = [
        Column("lane", [lane.name for lane in lanes], 0, styles=styles),
        Column("optimizer", [lane.optimizer for lane in lanes], 4),
        Column("suggested lr", [_rate(lane.suggestion) for lane in lanes], 0, right=True),
        Column("steepest at", [_rate(lane.steepest) for lane in lanes], 1, right=True),
        Column("lowest at", [_rate(lane.lowest) for lane in lanes], 1, right=True),
        Column("first loss", [_loss(lane, 0) for lane in lanes], 3, right=True),
        Column("lowest loss", [_loss(lane, None) for lane in lanes], 2, right=True),
        Column(
            "ended at",
            [_rate(lane.rates[-1] if lane.diverged and lane.rates else None) for lane in lanes],
            5,
            right=True,
        ),
    ]
    console.print()
    say(console, found.title, style="bold")
    say(console, what_is_shown(found), style="dim")
    console.print()
    console.print(table(columns, console.width))
    console.print()
    say(console, _LEGEND, style="dim")
    for line in notes(found):
        say(console, f"! {line}", style="bold yellow")


_LEGEND = (
    "suggested lr: a tenth of the rate with the lowest smoothed loss; steepest at: where the smoothed loss fell most "
    "steeply before that; ended at: the rate at which the loss had risen far above its lowest"
)


def notes(found: RateRange) -> Iterator[str]:
    """Yield what to try where a lane has no suggestion, or one that larger rates might change."""
    for lane in found.lanes.values():
        if lane.suggestion is None:
            yield f"{lane.name}: the loss never fell; begin with smaller rates, such as --from {found.low / 100:g}"
        elif lane.still_falls:
            larger = f"--to {10 * found.high:g}"
            yield f"{lane.name}: the loss was still falling at {found.high:g}; try larger rates: {larger}"


def rates_record(found: RateRange) -> dict[str, Any]:
    """Return a range test as JSON values."""
    return {
        "title": found.title,
        "spec": found.spec,
        "from": found.low,
        "to": found.high,
        "steps": found.steps,
        "lanes": [
            {
                "name": lane.name,
                "optimizer": lane.optimizer,
                "suggestion": lane.suggestion,
                "steepest": lane.steepest,
                "lowest": lane.lowest,
                "diverged": lane.diverged,
                "rates": list(lane.rates),
                "losses": list(lane.losses),
                "smoothed": lane.smoothed,
            }
            for lane in found.lanes.values()
        ],
        "notes": list(notes(found)),
    }


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.2g}"


def _loss(lane: LaneRates, index: int | None) -> str:
    values = lane.smoothed
    return "–" if not values else numbers.loss(min(values) if index is None else values[index])
