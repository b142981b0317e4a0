"""The panels of a picture of training: lines, the band of a lane's repeats, and a name at the end of each line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnspec.statistics.significance import interval
from nnspec.view.palette import NAMED, PALETTE, dash_of, ink_of, marker_of, spread_out
from nnspec.view.terminal.screen import wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BANDS",
    "FAINT",
    "LONGEST_NAME",
    "Curve",
    "Panel",
    "draw",
    "drawable",
    "ends",
    "even",
    "name_lines",
]

LONGEST_NAME = 30
"""Letters of a line of a name at the end of a curve; longer names are wrapped."""
BANDS = 5
"""Lanes whose intervals are drawn as bands: those of more would cover each other."""
FAINT = "#8a8a8a"
_GREY = "#c4c4c4"
# The samples that a thin line shows, by the prefix of their figures: word, dash, and marker of a single epoch.
_THIN: dict[str, tuple[str, Any, str]] = {
    "val_": ("val", (0, (1, 1.6)), "D"),
    "test_": ("test", (0, (4, 2)), "s"),
}
_DRAWN = {"val_": ("dotted", "◇"), "test_": ("dashed", "□")}
Values = Sequence[float]


@dataclass(frozen=True)
class Curve:
    """A lane: its figures by name, and those of its repeats, whose means they are."""

    name: str
    slot: int | None
    """Its place in the palette; None where it is not told apart from others."""
    figures: Mapping[str, Values]
    repeats: Sequence[Mapping[str, Values]] = ()

    @property
    def color(self) -> str:
        """Its colour, grey without a place in the palette."""
        return _GREY if self.slot is None else PALETTE[self.slot]

    def __call__(self, figure: str) -> Values:
        """Return the values of a figure, none where it was not measured."""
        return self.figures.get(figure, ())

    def each(self, figure: str) -> list[Values]:
        """Return the values of a figure in each repeat."""
        return [repeat.get(figure, ()) for repeat in self.repeats]

    def final(self, figure: str) -> float:
        """Return its last finite value; infinity where there is none."""
        end = ends(self(figure))
        return end[1] if end is not None else math.inf


@dataclass(frozen=True)
class Panel:
    """A pair of axes with one figure of every lane, and thinner beside it the same of other samples."""

    title: str
    figure: str
    solid: str = ""
    """The samples of the solid lines, where there are others."""
    thin: tuple[str, ...] = field(default=())
    """Prefixes of the figures that are drawn thin."""
    log: bool = False
    percent: bool = False


def drawable(panel: Panel, curves: Sequence[Curve]) -> bool:
    """Whether there is anything to draw; on a logarithmic axis, a curve of more than a point that is above zero."""
    values = [v for curve in curves for v in curve(panel.figure) if math.isfinite(v)]
    several = any(len(curve(panel.figure)) > 1 for curve in curves)
    return bool(values) and (not panel.log or (several and min(values) > 0))


def draw(axis: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    """Draw every lane into a panel; lanes without a name first, so that the others lie over them."""
    top = None if panel.log or panel.percent else _top(panel, curves)
    thin = {prefix: row for prefix, row in _THIN.items() if prefix in panel.thin and len(curves) <= NAMED}
    for curve in sorted(curves, key=lambda curve: curve.slot is not None):
        if curve.slot is not None:
            _each(axis, panel, curve)
            _line(axis, panel, curve, thin, clip=top is not None)
        else:
            values = curve(panel.figure)
            marker: Any = "." if len(values) == 1 else None
            axis.plot(_epochs(values), values, color=curve.color, linewidth=0.9, marker=marker)
    _scale(axis, panel, curves, top)
    _bands(axis, panel, curves)
    one = all(len(curve(panel.figure)) <= 1 for curve in curves)  # a single epoch is drawn with markers alone
    found = [
        f"{word} {_DRAWN[prefix][one]}"
        for prefix, (word, *_) in thin.items()
        if any(curve(_other(panel, prefix)) for curve in curves)
    ]
    if panel.solid and found:
        words = ", ".join([f"{panel.solid} {'●' if one else 'solid'}", *found])
        axis.set_title(words, loc="right", fontsize=10, color="#555555", fontweight="normal", pad=10)


def _other(panel: Panel, prefix: str) -> str:
    """The panel's figure on other samples."""
    return prefix + panel.figure.removeprefix("test_")


def _epochs(values: Values) -> range:
    return range(1, len(values) + 1)


def _line(axis: Axes, panel: Panel, curve: Curve, thin: Mapping[str, tuple[str, Any, str]], clip: bool) -> None:
    color, values, slot = curve.color, curve(panel.figure), curve.slot or 0
    for prefix, (_, dash, sign) in thin.items():
        other = curve(_other(panel, prefix))
        single: dict[str, Any] = (
            {"marker": sign, "markersize": 6, "markerfacecolor": "white"} if len(other) == 1 else {}
        )
        axis.plot(_epochs(other), other, color=color, linewidth=1.1, alpha=0.65, linestyle=dash, clip_on=clip, **single)
    marker: Any = marker_of(slot) if len(values) <= 25 else None
    axis.plot(
        _epochs(values),
        values,
        color=color,
        linewidth=2.3,
        linestyle=dash_of(slot),
        marker=marker,
        markersize=4,
        clip_on=clip,  # where nothing is cut off, the last marker is drawn whole
    )


def _each(axis: Axes, panel: Panel, curve: Curve) -> None:
    """Draw each of a lane's repeats where they end apart: there is no mean of all of them to draw a band about."""
    each = curve.each(panel.figure)
    if any(each) and not even(each):
        for values in each:
            axis.plot(_epochs(values), values, color=curve.color, linewidth=0.9, alpha=0.45)


def _bands(axis: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    """Show how sure the means over repeats are: the 95 % interval of each epoch. The lines say how high the axis goes,
    since the interval of two seeds may be twenty times as wide as what they differ by."""
    across, up = axis.get_xlim(), axis.get_ylim()
    shown = [
        curve for curve in curves if curve.slot is not None and any(each := curve.each(panel.figure)) and even(each)
    ]
    for curve in shown if sum(bool(curve.repeats) for curve in curves) <= BANDS else ():
        each = curve.each(panel.figure)
        found = [interval(values) for values in zip(*each, strict=True)]
        lowest = up[0] if panel.log else -math.inf  # a logarithm takes no more
        low, high = [max(one.low, lowest) for one in found], [max(one.high, lowest) for one in found]
        axis.fill_between(_epochs(low), low, high, color=curve.color, alpha=0.18, linewidth=0, zorder=1)
    axis.set_xlim(across)
    axis.set_ylim(up)


def even(each: Sequence[Values]) -> bool:
    """Whether repeats have as many epochs each."""
    return len({len(values) for values in each}) == 1


def _scale(axis: Axes, panel: Panel, curves: Sequence[Curve], top: float | None) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    longest = max(len(values) for curve in curves for values in (curve(panel.figure), *curve.each(panel.figure)))
    axis.set_title(panel.title, pad=10, y=1.0 if _no_factor(panel, curves, top) else None)
    axis.set_xlabel("epoch")
    axis.set_xlim(1, longest) if longest > 1 else axis.set_xlim(0.5, 1.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8) if longest > 1 else FixedLocator([1]))
    axis.grid(True, axis="y", which="both" if panel.log else "major")
    axis.set_axisbelow(True)
    if panel.log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bottom, above = axis.get_ylim()
        digits = (2, 5) if above > 10 * bottom else (1.5, 2, 3, 4, 5, 6, 8)
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if _leads(value, digits) else ""))
        axis.tick_params(axis="y", which="minor", labelsize=10)
    elif panel.percent:
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylim(bottom=max(axis.get_ylim()[0], 0), top=min(max(axis.get_ylim()[1], 0.05), 1.02))
    else:
        lowest = min(v for curve in curves for v in curve(panel.figure) if math.isfinite(v))
        axis.set_ylim(bottom=0 if lowest >= 0 else None, top=top)


def _top(panel: Panel, curves: Sequence[Curve]) -> float | None:
    """Cut a linear panel where one lane exploded and would press all others flat; the logarithmic one shows it."""
    lanes = [[v for v in curve(panel.figure) if math.isfinite(v)] for curve in curves]
    highest = sorted(max(values) for values in lanes if values)
    usual = highest[(len(highest) - 1) // 2]
    return 1.5 * usual if highest[-1] > 20 * usual > 0 else None


def _no_factor(panel: Panel, curves: Sequence[Curve], top: float | None) -> bool:
    """Whether matplotlib writes no common factor of all ticks above the axis, such as 1e6, which the title has to make
    room for. Where it looks for itself, it lays out all tick labels twice more."""
    if panel.log or panel.percent:
        return True
    values = [v for curve in curves for v in curve(panel.figure) if math.isfinite(v)]
    return min(values) >= 0 and 1e-3 < (top or max(values)) < 1e4


def _leads(value: float, digits: tuple[float, ...]) -> bool:
    return value > 0 and round(value / 10 ** math.floor(math.log10(value) + 1e-9)) in digits


def ends(values: Values) -> tuple[int, float] | None:
    """Where a curve ends, as (epoch, value): at its last finite value. None where it has none."""
    finite = [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
    return finite[-1] if finite else None


def name_lines(axis: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    """Write each lane's name beside the end of its line.

    Where lines end close together their names are moved apart, as little as possible, and a thin line leads from each
    end to its name.
    """
    found = [
        (_inside(axis, axis.transData.transform(end)), curve)
        for curve in curves
        if curve.slot is not None and (end := ends(curve(panel.figure))) is not None
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
