"""The panels of a picture of training: lines, the band of a lane's repeats, and a name at the end of each line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nnspec.statistics.significance import interval
from nnspec.view.axes import Scale, place_ticks, tick_text
from nnspec.view.palette import GREY, MEASURED_ON, NAMED, PALETTE, SOFT, Dash, Samples, dash_of, ink_of, marker_of
from nnspec.view.pictures.labels import spread_out
from nnspec.view.wrapping import wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BANDS",
    "LONGEST_NAME",
    "Curve",
    "Panel",
    "draw",
    "drawable",
    "ends",
    "even",
    "name_lines",
    "set_scale",
    "stroke",
]

LONGEST_NAME = 30
"""Characters per line of a name at the end of a curve; longer names are wrapped."""
BANDS = 5
"""Maximum number of lanes with bands; more would cover each other."""
Values = Sequence[float]


@dataclass(frozen=True)
class Curve:
    """A lane: its figures by name, and those of its repeats, of which they are the means."""

    name: str
    slot: int | None
    """Its place in the palette; None for a grey lane without a name."""
    figures: Mapping[str, Values]
    repeats: Sequence[Mapping[str, Values]] = ()
    unit: str = "epoch"
    """What the axis to the right counts, the same for all curves: `epoch` or `step`."""

    def places(self, values: Values) -> Values:
        """Return where the values of a figure were measured: after each epoch, unless it says otherwise."""
        known = [each.get(f"{self.unit}s", ()) for each in (self.figures, *self.repeats)]
        longest = max(known, key=len)
        return longest[: len(values)] if longest else range(1, len(values) + 1)

    @property
    def color(self) -> str:
        """Its colour, grey without a place in the palette."""
        return GREY if self.slot is None else PALETTE[self.slot]

    def __call__(self, figure: str) -> Values:
        """Return the values of a figure; empty if it was not measured."""
        return self.figures.get(figure, ())

    def each(self, figure: str) -> list[Values]:
        """Return the values of a figure in each repeat."""
        return [repeat.get(figure, ()) for repeat in self.repeats]

    def final(self, figure: str) -> float:
        """Return its last finite value; infinity if there is none."""
        end = ends(self, self(figure))
        return end[1] if end is not None else math.inf


@dataclass(frozen=True)
class Panel:
    """Axes with one figure of every lane, and the same figure on other samples as thinner lines."""

    title: str
    figure: str
    solid: str = ""
    """The samples of the solid lines, if there are also others."""
    thin: tuple[str, ...] = field(default=())
    """Prefixes of the figures that are drawn thin."""
    log: bool = False
    percent: bool = False


def drawable(panel: Panel, curves: Sequence[Curve]) -> bool:
    """Whether there is anything to draw; on a logarithmic axis, a curve of more than a point that is above zero."""
    values = [v for curve in curves for v in curve(panel.figure) if math.isfinite(v)]
    several = any(len(curve(panel.figure)) > 1 for curve in curves)
    return bool(values) and (not panel.log or (several and min(values) > 0))


def stroke(dash: Dash | None) -> Any:
    """Return how matplotlib draws a line with a dash."""
    return "-" if dash is None else (0, dash)


def draw(axis: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    """Draw every lane into a panel; lanes without a name first, so that the others lie over them."""
    top = None if panel.log or panel.percent else _top(panel, curves)
    thin = [samples for samples in MEASURED_ON if samples.prefix in panel.thin and len(curves) <= NAMED]
    for curve in sorted(curves, key=lambda curve: curve.slot is not None):
        if curve.slot is not None:
            _each(axis, panel, curve)
            _line(axis, panel, curve, thin, clip=top is not None)
        else:
            values = curve(panel.figure)
            marker: Any = "." if len(values) == 1 else None
            axis.plot(curve.places(values), values, color=curve.color, linewidth=0.9, marker=marker)
    _scale(axis, panel, curves, thin, top)
    _bands(axis, panel, curves)
    single = all(len(curve(panel.figure)) <= 1 for curve in curves)  # a single epoch is drawn as a marker
    key = [
        f"{samples.prefix.removesuffix('_')} {samples.sign if single else samples.line}"
        for samples in thin
        if any(curve(_other(panel, samples)) for curve in curves)
    ]
    if panel.solid and key:
        words = ", ".join([f"{panel.solid} {'●' if single else 'solid'}", *key])
        axis.set_title(words, loc="right", fontsize=10, color=SOFT, fontweight="normal", pad=10)


def _other(panel: Panel, samples: Samples) -> str:
    """The panel's figure on other samples."""
    return samples.prefix + panel.figure.removeprefix("test_")


def _line(axis: Axes, panel: Panel, curve: Curve, thin: Sequence[Samples], clip: bool) -> None:
    color, values, slot = curve.color, curve(panel.figure), curve.slot or 0
    for samples in thin:
        other = curve(_other(panel, samples))
        style: dict[str, Any] = {"color": color, "linewidth": 1.1, "alpha": 0.65, "linestyle": stroke(samples.dash)}
        if len(other) == 1:
            style |= {"marker": samples.marker, "markersize": 6, "markerfacecolor": "white"}
        axis.plot(curve.places(other), other, clip_on=clip, **style)
    marker: Any = marker_of(slot) if len(values) <= 25 else None
    axis.plot(
        curve.places(values),
        values,
        color=color,
        linewidth=2.3,
        linestyle=stroke(dash_of(slot)),
        marker=marker,
        markersize=4,
        clip_on=clip,  # where nothing is cut off, the last marker is drawn whole
    )


def _each(axis: Axes, panel: Panel, curve: Curve) -> None:
    for values in _apart(panel, curve):
        axis.plot(curve.places(values), values, color=curve.color, linewidth=0.9, alpha=0.45)


def _apart(panel: Panel, curve: Curve) -> list[Values]:
    """Return a lane's repeats if they end at different epochs: they have no common mean to draw a band around."""
    each = curve.each(panel.figure)
    return [] if even(each) else each


def _bands(axis: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    """Show the 95 % interval of the mean over repeats for each epoch. Only the lines set the limits of the axis, since
    the interval of two seeds may be twenty times as wide as their difference."""
    across, up = axis.get_xlim(), axis.get_ylim()
    shown = [
        curve for curve in curves if curve.slot is not None and any(each := curve.each(panel.figure)) and even(each)
    ]
    for curve in shown if sum(bool(curve.repeats) for curve in curves) <= BANDS else ():
        each = curve.each(panel.figure)
        found = [interval(values) for values in zip(*each, strict=True)]
        lowest = up[0] if panel.log else -math.inf  # a logarithm takes no more
        low, high = [max(one.low, lowest) for one in found], [max(one.high, lowest) for one in found]
        axis.fill_between(curve.places(low), low, high, color=curve.color, alpha=0.18, linewidth=0, zorder=1)
    axis.set_xlim(across)
    axis.set_ylim(up)


def even(each: Sequence[Values]) -> bool:
    """Whether all repeats have the same number of epochs."""
    return len({len(values) for values in each}) == 1


def _scale(axis: Axes, panel: Panel, curves: Sequence[Curve], thin: Sequence[Samples], top: float | None) -> None:
    from matplotlib.ticker import FixedLocator

    lines = [(curve, values) for curve in curves for values in (curve(panel.figure), *curve.each(panel.figure))]
    places = [place for curve, values in lines for place in curve.places(values)]
    axis.set_title(panel.title, pad=10, y=1.0)
    axis.set_xlabel(curves[0].unit)
    low, high = min(places), max(places)
    axis.set_xlim(low, high) if high > low else axis.set_xlim(low - 0.5, low + 0.5)
    axis.xaxis.set_major_locator(FixedLocator(place_ticks(low, high)))
    axis.grid(True, axis="y")
    axis.set_axisbelow(True)
    drawn = [values for curve in curves for values in (curve(panel.figure), *_apart(panel, curve))]
    drawn += [curve(_other(panel, samples)) for curve in curves if curve.slot is not None for samples in thin]
    scale = Scale.around((v for values in drawn for v in values), log=panel.log, percent=panel.percent)
    scale = scale if top is None else replace(scale, high=top)
    set_scale(axis, scale, log=panel.log, percent=panel.percent)


def set_scale(axis: Axes, scale: Scale, *, log: bool, percent: bool = False) -> None:
    """Give the vertical axis this scale, with round numbers at its ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if log:
        axis.set_yscale("log")
        axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(scale.low, scale.high)
    axis.yaxis.set_major_locator(FixedLocator(scale.ticks()))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value, percent=percent)))


def _top(panel: Panel, curves: Sequence[Curve]) -> float | None:
    """Limit a linear panel if one lane exploded and would flatten all others; the logarithmic panel shows it in
    full."""
    lanes = [[v for v in curve(panel.figure) if math.isfinite(v)] for curve in curves]
    highest = sorted(max(values) for values in lanes if values)
    usual = highest[(len(highest) - 1) // 2]
    return 1.5 * usual if highest[-1] > 20 * usual > 0 else None


def ends(curve: Curve, values: Values) -> tuple[float, float] | None:
    """Return the end of a curve, as (epoch or step, value): its last finite value. None if it has none."""
    places = curve.places(values)
    finite = [(place, value) for place, value in zip(places, values, strict=True) if math.isfinite(value)]
    return finite[-1] if finite else None


def name_lines(axis: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    """Write each lane's name next to the end of its line.

    If lines end close together, their names are moved apart as little as possible, and a thin line connects each end
    with its name.
    """
    found = [
        (_inside(axis, axis.transData.transform(end)), curve)
        for curve in curves
        if curve.slot is not None and (end := ends(curve, curve(panel.figure))) is not None
    ]
    found.sort(key=lambda end: end[0][1])
    names = [wrapped(curve.name, LONGEST_NAME) for _, curve in found]
    line = 15 * axis.figure.dpi / 72
    beyond = line / 2  # a name may reach above and below the axes by half of a line
    sizes = [line * len(name) for name in names]
    heights = spread_out([y for (_, y), _ in found], sizes, axis.bbox.y0 - beyond, axis.bbox.y1 + beyond)
    edge = max((x for (x, _), _ in found), default=0.0)
    moved = any(
        abs(height - y) > line / 3 or edge - x > line for ((x, y), _), height in zip(found, heights, strict=True)
    )
    gap = line * (1.5 if moved else 0.6)
    for ((x, y), curve), name, height in zip(found, names, heights, strict=True):
        axis.annotate(
            "\n".join(name),
            xy=(x, y),
            xycoords="figure pixels",
            xytext=((edge if moved else x) + gap, height),
            textcoords="figure pixels",
            va="center",
            color=ink_of(curve.color),
            fontweight="bold",
            fontsize=11.5,
            linespacing=1.05,
            annotation_clip=False,
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": curve.color,
                "linewidth": 1.0,
                "alpha": 0.8,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            }
            if moved
            else None,
        )


def _inside(axis: Axes, point: Any) -> tuple[float, float]:
    """A point in pixels, moved to the edge of the axis where its line ends outside."""
    return float(point[0]), min(max(float(point[1]), axis.bbox.y0), axis.bbox.y1)
