"""The picture of a loss landscape, with the path of every lane."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.analysis.landscape import Landscape, LanePath
from nnspec.view.axes import Scale, epoch_ticks, round_numbers, tick_text
from nnspec.view.palette import (
    GREY,
    INK,
    NAMED,
    PALETTE,
    SOFT,
    dash_of,
    ink_of,
    marker_of,
    slots,
)
from nnspec.view.pictures.figure import house_style
from nnspec.view.pictures.files import write_picture
from nnspec.view.pictures.labels import Label, Lines, number_lines, obstacles, place_labels
from nnspec.view.pictures.panels import LONGEST_NAME, set_scale, stroke
from nnspec.view.wording import numbers
from nnspec.view.wording.landscape import axis_name, caption, notes, what_is_shown
from nnspec.view.wrapping import wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["landscape_slots", "plot_landscape"]

_WIDTH, _HEIGHT = 15.0, 8.6
_LOW, _HIGH = "#fdfcf8", "#8b95a6"
"""Colours of the lowest and the highest loss: pale enough for every lane to be seen."""
_SHADES, _LEVELS = 48, 14
_MOST = 4.0
"""The colours end at this multiple of the highest loss of a path; everything above has the last one."""
_SMALLER, _LETTERS, _LINES = 170, 150, 4
"""Letters in a line of the facts above and of the sentences below, and how many lines these may take."""


def plot_landscape(found: Landscape, path: Path | None = None) -> Figure:
    """Draw the loss over the plane with the path of each lane; next to it, the loss over the distance travelled and the
    step of each epoch.

    With `path`, the figure is written there atomically; raises OutputError if that fails.
    """
    style = house_style()
    from matplotlib.figure import Figure

    lanes = _lanes(found)
    with style:
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=130, facecolor="white")
        top = _texts(figure, found)
        grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1), left=0.066, right=0.925, top=top, bottom=0.195)
        grid.update(hspace=0.5, wspace=0.24)
        surface, loss, steps = (figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1]))
        contours = _contours(surface, found, lanes)
        labels = _surface(surface, found, lanes)
        beside = [_loss_over_way(loss, found, lanes), _steps(steps, lanes)]
        figure.draw_without_rendering()
        ways = obstacles(surface, [(one.points[:, 0], one.points[:, 1]) for one, _ in lanes])
        boxes = place_labels(surface, labels, ways)
        if contours is not None:
            number_lines(surface, *contours, boxes, ways)
        for axis, (more, lines) in zip((loss, steps), beside, strict=True):
            place_labels(axis, more, obstacles(axis, lines), anywhere=True)
        if path is not None:
            write_picture(figure, path)
    return figure


def landscape_slots(found: Landscape) -> dict[str, int]:
    """Return the place in the palette of each lane that has one: of many, those that ended lowest."""
    return slots({lane.name: float(lane.losses[-1]) for lane in found.lanes.values()})


def _lanes(found: Landscape) -> list[tuple[LanePath, int | None]]:
    """Return the lanes in the order in which they are drawn, each with its place in the palette: the best have one."""
    best = sorted(found.lanes.values(), key=lambda lane: float(lane.losses[-1]))
    chosen = landscape_slots(found)
    return [(lane, chosen.get(lane.name)) for lane in reversed(best)]


def _texts(figure: Figure, found: Landscape) -> float:
    """Write title and facts at the top and the caption at the bottom. Returns the lower end of the space for axes."""
    title = textwrap.shorten(f"{found.title}: loss landscape", 100, placeholder=" …")
    figure.text(0.012, 0.978, title, fontsize=17, fontweight="bold", color=INK, va="top", parse_math=False)
    measured, plane = what_is_shown(found)
    if len(found.lanes) > NAMED:
        measured += f" · the best {NAMED} of {len(found.lanes)} lanes are named"
    facts = [line for fact in (measured, plane) for line in textwrap.wrap(fact, _SMALLER)][:4]
    figure.text(0.012, 0.93, "\n".join(facts), fontsize=11.5, color=SOFT, va="top", parse_math=False)
    said = textwrap.wrap(" ".join([*caption(found), *(f"{note}." for note in notes(found))]), _LETTERS)
    if len(said) > _LINES:
        said = [*said[: _LINES - 1], f"{said[_LINES - 1]} …"]
    figure.text(0.012, 0.118, "\n".join(said), fontsize=12, color=INK, va="top", linespacing=1.3, parse_math=False)
    return 0.875 - 0.024 * len(facts)


def _surface(axis: Axes, found: Landscape, lanes: Sequence[tuple[LanePath, int | None]]) -> list[Label]:
    """Draw the paths over the contours; return the names yet to be placed."""
    axis.set_xlabel(axis_name(found, 0), labelpad=6)
    axis.set_ylabel(axis_name(found, 1), labelpad=4)
    axis.set_xlim(float(found.alpha[0]), float(found.alpha[-1]))
    axis.set_ylim(float(found.beta[0]), float(found.beta[-1]))
    axis.set_aspect("equal", adjustable="box")
    axis.set_title("Loss over the plane, and the paths", pad=10)
    told = "one dot per epoch; at the ends, the lanes' own losses"
    axis.set_title(told, loc="right", fontsize=10, color=SOFT, fontweight="normal")
    for side in ("top", "right"):
        axis.spines[side].set_visible(True)
    if _in_one_dot(found):
        axis.plot(0, 0, marker="o", markersize=9, color=INK, markeredgecolor="white", zorder=6)
        return [Label("all paths lie within this dot", (0.0, 0.0), INK, "normal", 11.5)]
    for lane, slot in lanes:
        _path(axis, lane, slot)
    starts: dict[tuple[int, int], list[int]] = {}
    scale = float(found.alpha[-1] - found.alpha[0]) / 500
    places: dict[tuple[int, int], tuple[float, float]] = {}
    for lane, slot in lanes:
        if slot is not None:
            a, b = (float(value) for value in lane.points[0])
            starts.setdefault((round(a / scale), round(b / scale)), []).append(slot)
            places.setdefault((round(a / scale), round(b / scale)), (a, b))
    labels = []
    for key, together in starts.items():
        at = places[key]
        color = INK if len(together) > 1 or len(starts) == 1 else PALETTE[together[0]]
        axis.plot(
            *at,
            marker="o",
            markersize=11,
            markerfacecolor="white",
            markeredgecolor=color,
            markeredgewidth=2.2,
            zorder=6,
        )
        labels.append(Label("start", at, color, "normal", 11.5))
    for lane, slot in reversed(lanes):
        if slot is not None:
            at = (float(lane.points[-1, 0]), float(lane.points[-1, 1]))
            color = PALETTE[slot]
            axis.plot(
                *at, marker="*", markersize=19, color=color, markeredgecolor="white", markeredgewidth=1.2, zorder=7
            )
            labels.append(
                Label(f"{_in_lines(lane.name)} {numbers.loss(float(lane.losses[-1]))}", at, ink_of(color), size=13)
            )
    return labels


def _in_one_dot(found: Landscape) -> bool:
    """Whether the paths are too small to be visible in the plane, as they are along random directions."""
    width = float(found.alpha[-1] - found.alpha[0])
    return all(float(abs(lane.points).max()) < width / 200 for lane in found.lanes.values())


def _in_lines(name: str) -> str:
    return "\n".join(wrapped(name, LONGEST_NAME))


def _path(axis: Axes, lane: LanePath, slot: int | None) -> None:
    from matplotlib.patheffects import Normal, Stroke

    a, b = lane.points[:, 0], lane.points[:, 1]
    if slot is None:
        axis.plot(a, b, color=GREY, linewidth=1.0, zorder=3)
        return
    halo = [Stroke(linewidth=4.6, foreground="white", alpha=0.9), Normal()]
    axis.plot(a, b, color=PALETTE[slot], linewidth=2.3, linestyle=stroke(dash_of(slot)), path_effects=halo, zorder=4)
    if len(a) <= 100:
        dots: dict[str, Any] = {"marker": marker_of(slot), "markersize": 5.5, "markeredgecolor": "white"}
        axis.plot(a[1:-1], b[1:-1], linestyle="", color=PALETTE[slot], zorder=5, **dots)


def _contours(
    axis: Axes, found: Landscape, lanes: Sequence[tuple[LanePath, int | None]]
) -> tuple[Any, Callable[[float], Any]] | None:
    """Draw filled contours, on a logarithmic scale if all losses are positive, with lines at round numbers.

    Returns the lines and the colour of a loss, or None if there is nothing to draw.
    """
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

    values = [value for row in found.losses.tolist() for value in row if math.isfinite(value)]
    if not values:
        return None
    low, high = min(values), max(values)
    highest = max(float(lane.losses.max()) for lane, _ in lanes)
    if highest > 0:
        high = min(high, max(_MOST * highest, low * 1.01))
    if not high > low:
        return None
    log = low > 0
    norm = LogNorm(low, high) if log else Normalize(low, high)
    colors = LinearSegmentedColormap.from_list("loss", [_LOW, _HIGH])
    where = (found.alpha, found.beta, found.losses)
    shades, levels = _between(low, high, _SHADES, log=log), round_numbers(low, high, _LEVELS, log=log)
    axis.contourf(*where, levels=shades, norm=norm, cmap=colors, extend="max", zorder=1)
    lines = axis.contour(*where, levels=levels, colors="#5d6675", linewidths=0.8, zorder=2)
    _scale(axis, norm, colors, levels)
    return lines, lambda value: colors(norm(value))


def _scale(axis: Axes, norm: Any, colors: Any, levels: Sequence[float]) -> None:
    """Draw the colour bar next to the axes, with the losses of the contour lines; its top also covers higher losses."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    place = axis.inset_axes((1.025, 0.0, 0.022, 1.0))
    bar = axis.figure.colorbar(ScalarMappable(norm, colors), cax=place, extend="max", extendfrac=0.03)
    bar.ax.yaxis.set_major_locator(FixedLocator(list(levels)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    bar.ax.tick_params(labelsize=10, length=2)
    bar.ax.set_title("loss", fontsize=10, color=SOFT, fontweight="normal", loc="left", pad=10)
    bar.outline.set_visible(False)


def _between(low: float, high: float, count: int, *, log: bool) -> list[float]:
    shares = [i / count for i in range(count + 1)]
    if log:
        return [low * (high / low) ** part for part in shares]
    return [low + (high - low) * part for part in shares]


def _loss_over_way(
    axis: Axes, found: Landscape, lanes: Sequence[tuple[LanePath, int | None]]
) -> tuple[list[Label], Lines]:
    """Draw each lane's loss over the distance that it has travelled."""
    lines = [(lane.travelled, lane.losses) for lane, _ in lanes]
    axis.set_title("Loss over the distance travelled", pad=10)
    axis.set_xlabel("length of the path so far")
    labels = _curves(axis, lanes, lines)
    axis.set_xlim(left=0)
    return labels, lines


def _steps(axis: Axes, lanes: Sequence[tuple[LanePath, int | None]]) -> tuple[list[Label], Lines]:
    """Draw the distance that the weights moved in each epoch."""
    lines = [(list(range(1, len(lane.steps) + 1)), lane.steps) for lane, _ in lanes]
    axis.set_title("Step length: how far an epoch moves the weights", pad=10)
    axis.set_xlabel("epoch")
    labels = _curves(axis, lanes, lines)
    from matplotlib.ticker import FixedLocator

    axis.xaxis.set_major_locator(FixedLocator(epoch_ticks(max(len(lane.steps) for lane, _ in lanes))))
    return labels, lines


def _curves(axis: Axes, lanes: Sequence[tuple[LanePath, int | None]], lines: Lines) -> list[Label]:
    labels = []
    for (lane, slot), (x, y) in zip(lanes, lines, strict=True):
        if slot is None:
            axis.plot(x, y, color=GREY, linewidth=0.9, zorder=3)
            continue
        marker: Any = marker_of(slot) if len(x) <= 40 else None
        axis.plot(
            x,
            y,
            color=PALETTE[slot],
            linewidth=2.1,
            linestyle=stroke(dash_of(slot)),
            marker=marker,
            markersize=4,
            zorder=4,
        )
        if len(x):
            labels.append(Label(_in_lines(lane.name), (float(x[-1]), float(y[-1])), ink_of(PALETTE[slot]), size=11.5))
    values = [float(value) for _, y in lines for value in y]
    axis.grid(True, axis="y")
    axis.set_axisbelow(True)
    if values and min(values) > 0 and max(values) > 8 * min(values):
        set_scale(axis, Scale.around(values, log=True), log=True)
    return labels
