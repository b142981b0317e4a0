"""Line charts as SVG: scalable, in the colours of the page, with a name at the end of each line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nnspec.view.axes import Scale, is_drawable, place_ticks, round_numbers, tick_text
from nnspec.view.palette import Samples, dash_of
from nnspec.view.pictures.labels import spread_out
from nnspec.view.report.blocks import svg_color, svg_dash
from nnspec.view.wrapping import wrapped

__all__ = ["Chart", "Series", "chart"]

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 410, 16, 280
"""The ends of the axes, in units of the drawing. There is room for names to the right of them."""
_MOST_POINTS = 400
"""Maximum number of points of a line; longer ones are thinned out and keep their last point."""
_LINE_HEIGHT = 15.0
_NAME_WIDTH = 17
"""Maximum characters in a line of a name; longer names are wrapped."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A value per epoch or record, with the band around it if there is one."""

    name: str
    values: Sequence[float]
    slot: int | None
    """Its index in the palette."""
    samples: Samples | None = None
    """Validation or test samples; None for training samples."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    places: Sequence[float] = ()
    """The epoch, or step, of each value; empty if there is one after every epoch."""
    unit: str = "epoch"
    """What `places` are: the same for all lines of a chart."""


@dataclass(frozen=True)
class Tick:
    """A tick with its number."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A line, and the marker that replaces a line of a single point."""

    color: str
    points: Sequence[Point]
    width: float
    dash: str
    marker: str


@dataclass(frozen=True)
class Name:
    """The name of a line, in lines of text with their baselines."""

    name: str
    color: str
    x: float
    lines: Sequence[tuple[float, str]]
    leader: tuple[float, float, float, float] | None
    """A thin line from the end of the curve to its name if that was moved: x and y of both ends."""


@dataclass(frozen=True)
class Chart:
    """A drawing of lines over epochs or steps, in the coordinates of SVG."""

    title: str
    across: str
    """What the axis to the right counts."""
    rows: Sequence[Tick]
    columns: Sequence[Tick]
    bands: Sequence[tuple[str, Sequence[Point]]]
    """The colour and the outline of each band."""
    lines: Sequence[Line]
    names: Sequence[Name]
    width: ClassVar[int] = _WIDTH
    height: ClassVar[int] = _HEIGHT
    left: ClassVar[int] = _LEFT
    right: ClassVar[int] = _RIGHT
    bottom: ClassVar[int] = _BOTTOM
    kind: ClassVar[str] = "chart"


def chart(
    title: str,
    series: Sequence[Series],
    *,
    log: bool = False,
    percent: bool = False,
    scale: Scale | None = None,
    log_across: bool = False,
) -> Chart | None:
    """Return a chart of lines over epochs; None if there is nothing to draw.

    On a logarithmic scale, values that are not positive are not drawn. A `scale` is used instead of one that spans the
    values. With `log_across`, the axis to the right is logarithmic too, and its places are positive.
    """
    drawn = [one for one in series if any(is_drawable(value, log) for value in one.values)]
    if not drawn:
        return None
    place = _Placing(
        scale or Scale.around((value for one in drawn for value in one.values), log=log, percent=percent),
        min(at for one in drawn for at in _places(one)),
        max(at for one in drawn for at in _places(one)),
        log_across,
    )
    ends = (place.first, place.last)
    percent = place.scale.percent
    return Chart(
        title,
        drawn[0].unit,
        [Tick(place.y(value), tick_text(value, percent=percent)) for value in place.scale.ticks(6)],
        [
            Tick(place.x(at), f"{at:,.6g}")
            for at in (round_numbers(*ends, 8, log=True) if log_across else place_ticks(*ends))
        ],
        [(svg_color(one.slot), place.band(one)) for one in drawn if place.has_band(one)],
        [_line(one, place.points(one, one.values)) for one in drawn],
        _names([(one, place.points(one, one.values)[-1]) for one in drawn if one.samples is None]),
    )


def _places(one: Series) -> Sequence[float]:
    return one.places or range(1, len(one.values) + 1)


@dataclass(frozen=True)
class _Placing:
    """The mapping from epochs, or steps, and values to the drawing."""

    scale: Scale
    first: float
    last: float
    log_across: bool = False

    def x(self, at: float) -> float:
        if self.log_across:
            return round(_LEFT + (_RIGHT - _LEFT) * Scale(self.first, self.last, log=True).share(at), 1)
        share = (at - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return round(_LEFT + (_RIGHT - _LEFT) * share, 1)

    def y(self, value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * self.scale.share(value), 1)

    def points(self, one: Series, values: Sequence[float]) -> list[Point]:
        at = _places(one)
        every = max(1, -(-len(values) // _MOST_POINTS))
        chosen = [i for i in range(len(values)) if i % every == 0 or i == len(values) - 1]
        drawable = [(self.x(at[i]), self.y(values[i])) for i in chosen if is_drawable(values[i], self.scale.log)]
        return drawable or [
            (self.x(at[i]), self.y(value)) for i, value in enumerate(values) if is_drawable(value, self.scale.log)
        ]

    @staticmethod
    def has_band(one: Series) -> bool:
        return bool(one.low) and all(map(math.isfinite, (*one.low, *one.high)))

    def band(self, one: Series) -> list[Point]:
        """Return the outline of a band. If its lower end is not on the scale, it extends to the axis."""
        low = [max(value, self.scale.low) for value in one.low]
        return [*self.points(one, one.high), *reversed(self.points(one, low))]


def _line(one: Series, points: Sequence[Point]) -> Line:
    if one.samples is None:
        return Line(svg_color(one.slot), points, 2.2, svg_dash(dash_of(one.slot), 2.2), "o")
    return Line(svg_color(one.slot), points, 1.5, svg_dash(one.samples.dash, 1.5), one.samples.marker)


def _names(ends: Sequence[tuple[Series, Point]]) -> list[Name]:
    """Place names next to the ends of their lines, above the numbers of the axis and without overlap.

    If they would still overlap, there are none, and only the legend shows them.
    """
    ends = sorted(ends, key=lambda end: end[1][1])
    texts = [wrapped(one.name, _NAME_WIDTH) for one, _ in ends]
    lowest = _BOTTOM + 8
    if _LINE_HEIGHT * sum(map(len, texts)) > lowest:
        return []
    heights = spread_out([y for _, (_, y) in ends], [_LINE_HEIGHT * len(text) for text in texts], 0, lowest)
    edge = max((x for _, (x, _) in ends), default=0.0)
    names = []
    for (one, (x, y)), text, middle in zip(ends, texts, heights, strict=True):
        moved = abs(middle - y) > _LINE_HEIGHT / 3 or edge - x > _LINE_HEIGHT
        first = middle - _LINE_HEIGHT * (len(text) - 1) / 2 + 4
        lines = [(round(first + _LINE_HEIGHT * i, 1), part) for i, part in enumerate(text)]
        leader = (round(x + 3, 1), y, round(edge + 16, 1), round(middle, 1)) if moved else None
        names.append(Name(one.name, svg_color(one.slot), round(edge + 19, 1), lines, leader))
    return names
