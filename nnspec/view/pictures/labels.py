"""Placing names in a picture close to the things that they name, with as little overlap as possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nnspec.view.axes import tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Box", "Label", "Lines", "Point", "number_lines", "obstacles", "place_labels", "spread_out"]

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in pixels."""
Lines = list[tuple[Any, Any]]
"""The x and y coordinates of each line, in data coordinates."""

_LEAST, _ENOUGH = 18.0, 60.0
"""Minimum distance of a contour label from everything else, and the distance beyond which more has no benefit, in
pixels."""
_APART = 26.0
"""Distance of a name from its point, in pixels, from which a line connects them."""


@dataclass(frozen=True)
class Label:
    """A name and the point that it labels, in data coordinates."""

    text: str
    at: Point
    color: str
    weight: str = "bold"
    size: float = 12.0


def obstacles(axis: Axes, lines: Lines) -> list[Point]:
    """Return points along lines, a few pixels apart, in pixels."""
    found: list[Point] = []
    for x, y in lines:
        pixels = [
            (float(px), float(py))
            for px, py in axis.transData.transform(
                [*zip(map(float, x), map(float, y), strict=True)] or [(math.nan,) * 2]
            )
            if math.isfinite(px) and math.isfinite(py)
        ]
        found += pixels[:1]
        for (ax, ay), (bx, by) in pairwise(pixels):
            count = max(1, int(math.hypot(bx - ax, by - ay) / 6))
            found += [(ax + (bx - ax) * i / count, ay + (by - ay) * i / count) for i in range(1, count + 1)]
    return found


def place_labels(axis: Axes, labels: Sequence[Label], lines: Sequence[Point], *, anywhere: bool = False) -> list[Box]:
    """Write every name near its point, where it covers as little of lines, points and other names as possible.

    With `anywhere`, a name may be to the right of the axes. A name that is not next to its point is connected to it.
    Returns the bounding boxes of the names, in pixels.
    """
    renderer = axis.figure._get_renderer()  # type: ignore[union-attr]
    bounds = axis.bbox
    right = axis.figure.bbox.x1 if anywhere else bounds.x1
    room = (bounds.x0, bounds.y0, right, bounds.y1)
    taken: list[Box] = []
    points = [tuple(map(float, axis.transData.transform(label.at))) for label in labels]
    for label, (x, y) in zip(labels, points, strict=True):
        text = axis.text(
            0,
            0,
            label.text,
            color=label.color,
            fontsize=label.size,
            fontweight=label.weight,
            va="bottom",
            ha="left",
            zorder=9,
            transform=axis.transAxes,
            parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.0 if anywhere else 0.78, "pad": 1.5},
        )
        extent = text.get_window_extent(renderer)
        width, height = extent.width, extent.height
        boxes = list(_around(x, y, width, height))
        best = min(boxes, key=lambda box: (_cost(box, room, taken, lines, points), boxes.index(box)))
        text.set_position(_share(axis, (best[0], best[1])))
        taken.append(best)
        near = (min(max(x, best[0]), best[2]), min(max(y, best[1]), best[3]))
        if math.dist(near, (x, y)) > _APART:
            _connect(axis, near, (x, y), label.color)
    return taken


def _connect(axis: Axes, start: Point, end: Point, color: str) -> None:
    """Draw a thin line between two points, in pixels."""
    from matplotlib.lines import Line2D

    xs, ys = zip(_share(axis, start), _share(axis, end), strict=True)
    axis.add_line(Line2D(xs, ys, color=color, linewidth=0.8, transform=axis.transAxes, clip_on=False, zorder=8))


def _share(axis: Axes, point: Point) -> Point:
    """Convert a point from pixels to axes coordinates, which do not depend on the resolution of the file."""
    x, y = axis.transAxes.inverted().transform(point)
    return float(x), float(y)


def number_lines(
    axis: Axes, contours: Any, shade: Callable[[float], Any], taken: Sequence[Box], lines: Sequence[Point]
) -> None:
    """Label each contour line with its loss, as far as possible from names, lines and other labels.

    The background of a label has the colour of its loss, so that it interrupts the line. A line without enough space
    has no label.
    """
    around = [corner for box in taken for corner in _outline(box)] + list(lines)
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        best: tuple[float, Point, float] | None = None
        for part in path.to_polygons(closed_only=False):
            pixels = [(float(x), float(y)) for x, y in axis.transData.transform(part)]
            for i in range(1, len(pixels) - 1, max(1, len(pixels) // 60)):
                room = _room(axis, pixels[i], around)
                if best is None or room > best[0]:
                    (ax, ay), (bx, by) = pixels[i - 1], pixels[i + 1]
                    best = room, pixels[i], math.degrees(math.atan2(by - ay, bx - ax))
        if best is None or best[0] < _LEAST:
            continue
        _, (x, y), angle = best
        axis.text(
            *_share(axis, (x, y)),
            tick_text(level),
            rotation=(angle + 90) % 180 - 90,  # never upside down
            ha="center",
            va="center",
            fontsize=9.5,
            color="#4a5261",
            transform=axis.transAxes,
            zorder=2.5,
            bbox={"facecolor": shade(float(level)), "edgecolor": "none", "pad": 0.8},
        )
        around.append((x, y))


def _room(axis: Axes, point: Point, around: Sequence[Point]) -> float:
    """Return the distance from a point to the nearest object in pixels, capped, with a slight bias to the centre."""
    x, y = point
    bounds = axis.bbox
    edge = min(x - bounds.x0, bounds.x1 - x, y - bounds.y0, bounds.y1 - y)
    nearest = min((math.hypot(x - px, y - py) for px, py in around), default=math.inf)
    middle = math.hypot(x - (bounds.x0 + bounds.x1) / 2, y - (bounds.y0 + bounds.y1) / 2)
    return min(edge, nearest, _ENOUGH) - 0.01 * middle


def _outline(box: Box) -> Iterator[Point]:
    """Yield points along the edges of a box."""
    left, low, right, high = box
    for i in range(13):
        x, y = left + (right - left) * i / 12, low + (high - low) * i / 12
        yield from ((x, low), (x, high), (left, y), (right, y))


def _around(x: float, y: float, width: float, height: float) -> Iterator[Box]:
    """Yield boxes of a size around a point, nearest and most common positions first."""
    for gap in (14.0, 24.0, 38.0, 56.0, 80.0):
        for dx, dy in ((1, 0), (0.7, 0.7), (0.7, -0.7), (0, 1), (0, -1), (-0.7, 0.7), (-0.7, -0.7), (-1, 0)):
            left = x + gap * dx - width * (0.5 - 0.5 * _sign(dx))
            low = y + gap * dy - height * (0.5 - 0.5 * _sign(dy))
            yield left, low, left + width, low + height


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _cost(
    box: Box, room: Box, taken: Sequence[Box], lines: Sequence[Point], points: Sequence[tuple[float, ...]]
) -> float:
    """Return a penalty for placing a name in a box."""
    beyond = max(0.0, room[0] - box[0]) + max(0.0, box[2] - room[2])
    beyond += max(0.0, room[1] - box[1]) + max(0.0, box[3] - room[3])
    over = sum(_overlap(box, other) for other in taken)
    covered = sum(_holds(box, point, 3) for point in lines) + 20 * sum(_holds(box, (p[0], p[1]), 9) for p in points)
    return 1000 * (beyond > 0) + beyond + 200 * over + covered


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _holds(box: Box, point: Point, margin: float) -> bool:
    return box[0] - margin < point[0] < box[2] + margin and box[1] - margin < point[1] < box[3] + margin


def spread_out(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Return positions close to the sorted `wanted` ones at which items of these sizes do not overlap.

    They stay between `low` and `high` if there is room, and move as little as possible: items that would touch form a
    group, which is centred on the mean of its wanted positions.
    """
    if not wanted:
        return []
    offsets = [0.0]
    for before, after in pairwise(sizes):
        offsets.append(offsets[-1] + (before + after) / 2)
    squeeze = min(1.0, (high - low) / (offsets[-1] + (sizes[0] + sizes[-1]) / 2)) if high > low else 0.0
    offsets = [offset * squeeze for offset in offsets]
    groups: list[list[float]] = []  # sum of wanted positions minus offsets; number of members
    for want, offset in zip(wanted, offsets, strict=True):
        groups.append([want - offset, 1.0])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    starts = [total / count for total, count in groups for _ in range(int(count))]
    least = low + sizes[0] / 2 * squeeze
    most = high - sizes[-1] / 2 * squeeze - offsets[-1]
    return [min(max(start, least), most) + offset for start, offset in zip(starts, offsets, strict=True)]
