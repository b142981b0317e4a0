"""The picture of a learning-rate range test."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from nnspec.analysis.rate_range import BELOW, RateRange
from nnspec.view.axes import Scale, round_numbers, tick_text
from nnspec.view.palette import GREY, INK, PALETTE, SOFT, dash_of, slots
from nnspec.view.pictures.figure import house_style
from nnspec.view.pictures.files import write_picture
from nnspec.view.pictures.labels import Label, obstacles, place_labels
from nnspec.view.pictures.panels import set_scale, stroke

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_rates", "rate_slots", "what_is_shown"]

_WIDTH, _HEIGHT = 10.5, 6.2


def rate_slots(found: RateRange) -> dict[str, int]:
    """Return the place of each lane in the palette; of many lanes, those with the lowest losses have one."""
    lowest = {name: min(lane.smoothed, default=math.inf) for name, lane in found.lanes.items()}
    return slots(lowest)


def what_is_shown(found: RateRange) -> str:
    """Describe the test in a line."""
    rates = f"rates from {tick_text(found.low)} to {tick_text(found.high)}"
    return f"{found.loss} of {found.steps} steps, {rates}, batches of {found.batch}; a range test (Smith 2017)"


def plot_rates(found: RateRange, path: Path | None = None) -> Figure:
    """Draw the loss of each lane over the rate: batches thin, smoothed thick, with the suggestion marked.

    With `path`, the figure is written there atomically; raises OutputError if that fails.
    """
    style = house_style()
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    chosen = rate_slots(found)
    with style:
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=130, facecolor="white")
        axis = figure.add_axes((0.085, 0.19, 0.88, 0.62))
        values = [loss for lane in found.lanes.values() for loss in lane.smoothed if math.isfinite(loss)]
        log = bool(values) and min(values) > 0 and max(values) > 5 * min(values)
        labels, lines = [], []
        for name, lane in found.lanes.items():
            slot = chosen.get(name)
            color = GREY if slot is None else PALETTE[slot]
            axis.plot(lane.rates, lane.losses, color=color, linewidth=0.8, alpha=0.3)
            dash = stroke(dash_of(slot or 0))
            axis.plot(lane.rates, lane.smoothed, color=color, linewidth=2.3, linestyle=dash)
            lines.append((lane.rates, lane.smoothed))
            at = dict(zip(lane.rates, lane.smoothed, strict=True))
            if lane.steepest is not None:
                axis.plot([lane.steepest], [at[lane.steepest]], "o", color=color, markersize=6, markerfacecolor="white")
            if lane.suggestion is not None and slot is not None:
                axis.axvline(lane.suggestion, color=color, linewidth=1.2, linestyle=stroke((4, 3)))
                height = next((loss for rate, loss in at.items() if rate >= lane.suggestion), lane.smoothed[-1])
                axis.plot([lane.suggestion], [height], "D", color=color, markersize=7)
                labels.append(Label(f"{name}: {lane.suggestion:g}", (lane.suggestion, height), color))
        axis.set_xscale("log")
        axis.set_xlim(found.low, found.high)
        axis.xaxis.set_major_locator(FixedLocator(round_numbers(found.low, found.high, 9, log=True)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
        if values:
            set_scale(axis, Scale.around(values, log=log), log=log)
        axis.set_xlabel("learning rate")
        axis.set_ylabel("loss of the batch")
        axis.grid(True, axis="y")
        title = textwrap.shorten(f"{found.title}: learning rates", 80, placeholder=" …")
        figure.text(0.012, 0.965, title, fontsize=17, fontweight="bold", color=INK, va="top", parse_math=False)
        figure.text(0.012, 0.895, what_is_shown(found), fontsize=11, color=SOFT, va="top", parse_math=False)
        key = (
            f"Thick lines are moving averages. ◆ one {'tenth' if BELOW == 10 else f'{BELOW:g}th'} of the rate with the "
            "lowest loss, the suggestion; ○ where the loss falls most steeply."
        )
        figure.text(0.012, 0.055, key, fontsize=11, color=INK, va="top", parse_math=False)
        figure.draw_without_rendering()
        place_labels(axis, labels, obstacles(axis, lines))
        if path is not None:
            write_picture(figure, path)
    return figure
