"""Line charts as SVG: sharp at every size, in the colours of the page, with a name beside the end of each line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from nnspec.view.palette import is_dashed, spread_out
from nnspec.view.report.html import element, escape
from nnspec.view.terminal.screen import wrapped

__all__ = ["Series", "chart", "color", "legend"]

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 150, 16, 40
_MOST = 400
"""Points of a line; longer ones are thinned out, their last point kept."""
_LABEL = 15.0
_NAME = 17
"""Letters of a line of a name; longer names are wrapped."""
_KINDS = {
    "": ('stroke-width="2.2"', '<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="fill:{color}"/>'),
    "val": (
        'stroke-dasharray="1.5 3" stroke-width="1.5"',
        '<path d="M{x:.1f} {y:.1f}m0 -5l5 5l-5 5l-5 -5z" fill="none" stroke-width="1.5" style="stroke:{color}"/>',
    ),
    "test": (
        'stroke-dasharray="6 4" stroke-width="1.5"',
        '<path d="M{x:.1f} {y:.1f}m-4 -4h8v8h-8z" fill="none" stroke-width="1.5" style="stroke:{color}"/>',
    ),
}
"""How a line is drawn, and a single point, by the samples that it shows."""
_numbers = count()


@dataclass(frozen=True)
class Series:
    """A line: a value an epoch, with the band around it where there is one."""

    name: str
    values: Sequence[float]
    slot: int | None
    """Its place in the palette."""
    kind: str = ""
    """Empty for training samples, or `val` or `test`."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    @property
    def color(self) -> str:
        """Its colour, which the page defines for light and dark."""
        return color(self.slot)


def color(slot: int | None) -> str:
    """Return the colour of a place in the palette, as CSS."""
    return "var(--soft)" if slot is None else f"var(--lane{slot})"


def legend(lanes: Sequence[tuple[str, int | None]]) -> str:
    """Return the lanes with their colours and dashes, for readers whose screen has no room for names in charts."""
    found = ""
    for name, slot in lanes:
        dash = ' stroke-dasharray="7 3"' if is_dashed(slot) else ""
        line = f'<path d="M0 6h28" fill="none" stroke-width="3"{dash} style="stroke:{color(slot)}"/>'
        found += element("li", f'<svg viewBox="0 0 28 12" aria-hidden="true">{line}</svg>{escape(name)}')
    return element("ul", found, class_="legend")


def chart(title: str, series: Sequence[Series], *, log: bool = False, percent: bool = False) -> str:
    """Return a chart of lines over epochs; empty where there is nothing that could be drawn.

    With `log` values that are not above 0 are left out.
    """
    drawn = [one for one in series if any(_good(value, log) for value in one.values)]
    if not drawn:
        return ""
    finite = [value for one in drawn for value in one.values if _good(value, log)]
    low, high = min(finite), max(finite)
    if log:
        low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high) + 1e-12)
        high = high if high > low else low * 10
    else:
        low = min(low, 0.0) if not percent else max(low - 0.05 * (high - low), 0.0)
        high = min(high, 1.0) if percent else high + 0.04 * (high - low)
        high = high if high > low else low + 1
    longest = max(len(one.values) for one in drawn)

    def x(epoch: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((epoch - 1) / (longest - 1) if longest > 1 else 0.5)

    def y(value: float) -> float:
        share = (
            (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
            if log
            else (value - low) / (high - low)
        )
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0)

    number = next(_numbers)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="chart{number}">',
        f'<title id="chart{number}">{escape(title)}</title>',
        *_axes(low, high, longest, x, y, log, percent),
    ]
    for one in drawn:
        parts += _band(one, x, y, log)
    for one in drawn:
        parts += _line(one, x, y, log)
    parts += _names(drawn, x, y, log)
    return "\n".join([*parts, "</svg>"])


def _good(value: float, log: bool) -> bool:
    return math.isfinite(value) and (not log or value > 0)


def _axes(
    low: float,
    high: float,
    longest: int,
    x: Callable[[int], float],
    y: Callable[[float], float],
    log: bool,
    percent: bool,
) -> list[str]:
    parts = []
    for value in _log_ticks(low, high) if log else _ticks(low, high):
        text = f"{100 * value:g} %" if percent else f"{value:g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>')
    for epoch in sorted({1, longest, *(round(v) for v in _ticks(1, longest) if 1 <= round(v) <= longest)}):
        if epoch in (1, longest) or min(epoch - 1, longest - epoch) > longest / 12:
            place = f'x="{x(epoch):.1f}" y="{_HEIGHT - _BOTTOM + 18}"'
            parts.append(f'<text class="tick" {place} text-anchor="middle">{epoch}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">epoch</text>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Return some five round numbers between two."""
    if high <= low:
        return [low]
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = round(math.log10(high) - math.log10(low))
    every = max(1, -(-decades // 6))
    start = round(math.log10(low))
    powers = [10.0**i for i in range(start, start + decades + 1, every)]
    if decades > 2:
        return powers
    return sorted(value for power in powers for value in (power, 2 * power, 5 * power) if value <= high * 1.0001)


def _points(
    values: Sequence[float], x: Callable[[int], float], y: Callable[[float], float], log: bool
) -> list[tuple[float, float]]:
    every = max(1, -(-len(values) // _MOST))
    chosen = [i for i in range(len(values)) if i % every == 0 or i == len(values) - 1]
    return [(x(i + 1), y(values[i])) for i in chosen if _good(values[i], log)]


def _line(one: Series, x: Callable[[int], float], y: Callable[[float], float], log: bool) -> list[str]:
    points = _points(one.values, x, y, log)
    line, marker = _KINDS[one.kind]
    if not one.kind and is_dashed(one.slot):
        line += ' stroke-dasharray="10 3"'
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    found = [f'<polyline fill="none" style="stroke:{one.color}" {line} points="{path}"/>']
    if len(points) == 1:
        found.append(marker.format(x=points[0][0], y=points[0][1], color=one.color))
    return found


def _band(one: Series, x: Callable[[int], float], y: Callable[[float], float], log: bool) -> list[str]:
    """Draw the interval; where its lower end cannot be drawn it goes down to the axis."""
    if not one.low or not all(map(math.isfinite, (*one.low, *one.high))):
        return []
    floor = min((value for value in one.values if _good(value, log)), default=1.0) / 1000
    lows = [max(value, floor) if log else value for value in one.low]
    there, back = _points(one.high, x, y, log), _points(lows, x, y, log)
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in [*there, *reversed(back)])
    return [f'<polygon style="fill:{one.color}" fill-opacity="0.16" points="{path}"/>']


def _names(drawn: Sequence[Series], x: Callable[[int], float], y: Callable[[float], float], log: bool) -> list[str]:
    """Write the names of the lines of training samples beside their ends, each with a line to it where it is moved."""
    ends = [(points[-1], one) for one in drawn if not one.kind and (points := _points(one.values, x, y, log))]
    ends.sort(key=lambda end: end[0][1])
    names = [wrapped(one.name, _NAME) for _, one in ends]
    lowest = _HEIGHT - _BOTTOM + 8  # above the numbers of the axis
    if _LABEL * sum(map(len, names)) > lowest:  # they would overlap; the legend has them
        return []
    heights = spread_out([end[1] for end, _ in ends], [_LABEL * len(name) for name in names], 0, lowest)
    edge = max((end[0] for end, _ in ends), default=0.0)
    found = []
    for ((right, end), one), name, middle in zip(ends, names, heights, strict=True):
        if abs(middle - end) > _LABEL / 3 or edge - right > _LABEL:
            line = f'x1="{right + 3:.1f}" y1="{end:.1f}" x2="{edge + 16:.1f}" y2="{middle:.1f}"'
            found.append(f'<line class="leader" style="stroke:{one.color}" {line}/>')
        first = middle - _LABEL * (len(name) - 1) / 2 + 4
        lines = "".join(
            f'<tspan x="{edge + 19:.1f}" y="{first + _LABEL * i:.1f}">{escape(part)}</tspan>'
            for i, part in enumerate(name)
        )
        found.append(f'<text class="name" style="fill:{one.color}">{lines}<title>{escape(one.name)}</title></text>')
    return found
