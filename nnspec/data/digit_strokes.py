"""How the ten digits are written: for each several forms, each a few pen strokes.

A form stands in a box of 20 by 20 pixels, x to the right and y down, both from 0 to 20. A stroke is the points that
the pen passes on its way, joined by a smooth curve; a corner is where one stroke ends and the next begins (`|`). A
stroke that ends on the point where it began is a closed loop, smooth there too. Points of a form with equal
coordinates are one point, so that strokes which touch still touch after the point has been moved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BOX", "FORMS", "SCALE", "Form", "Point"]

Point = tuple[int, int]

BOX = 20  # pixels along one side of the box
STEPS = 64  # parts into which a curve from one point to the next is cut
SCALE = 8 * STEPS**3  # what the weights of a dot add up to


@dataclass(frozen=True)
class Form:
    """One way of writing a digit."""

    digit: int
    share: int
    """How often the digit is written so, in percent."""
    drawing: str
    """The strokes: `x,y x,y | x,y x,y x,y`."""

    @property
    def strokes(self) -> list[list[Point]]:
        """The points of each stroke, in order."""
        return [[_point(word) for word in stroke.split()] for stroke in self.drawing.split("|")]

    @property
    def points(self) -> list[Point]:
        """The points, each once."""
        return sorted({point for stroke in self.strokes for point in stroke})

    def path(self, dots: int) -> list[dict[Point, int]]:
        """Read the pen's path off at `dots` places, about evenly spread over the strokes in turn.

        Each place is a sum of the form's points, given as point -> weight in 1/SCALE: it moves with them.
        """
        pieces = [piece for stroke in self.strokes for piece in _pieces(stroke)]
        lengths = [_length(b, c) for _, b, c, _ in pieces]
        path = []
        for dot in range(dots):
            rest = sum(lengths) * dot // (dots - 1)
            i = 0
            while rest > lengths[i]:
                rest -= lengths[i]
                i += 1
            path.append(_weights(pieces[i], rest * STEPS // lengths[i]))
        return path


def _point(word: str) -> Point:
    x, y = word.split(",")
    return int(x), int(y)


def _length(b: Point, c: Point) -> int:
    """How far the pen may go between two points, in 1/256 pixel: those that lie close may stray apart."""
    return math.isqrt(((c[0] - b[0]) ** 2 + (c[1] - b[1]) ** 2) << 16) + (3 << 8)


def _pieces(stroke: list[Point]) -> Iterator[tuple[Point | None, Point, Point, Point | None]]:
    """Each two points that follow each other, with the one before and the one after where there are any."""
    closed = len(stroke) > 2 and stroke[0] == stroke[-1]
    before, after = (stroke[-2], stroke[1]) if closed else (None, None)
    around = [before, *stroke, after]
    for i in range(len(stroke) - 1):
        yield around[i], stroke[i], stroke[i + 1], around[i + 3]


def _weights(piece: tuple[Point | None, Point, Point, Point | None], t: int) -> dict[Point, int]:
    """A place on the way from b to c, with neighbours a and d, t/STEPS of the way along.

    A cubic Hermite curve, p(t) = b (1 - 3t² + 2t³) + u (t - 2t² + t³) + c (3t² - 2t³) + v (t³ - t²), whose tangents are
    u = 5/8 (c - a) and v = 5/8 (d - b): rounder than Catmull and Rom's 1/2, so that six points make a good circle. A
    neighbour that is missing is the mirror image of the other end, a = 2b - c and d = 2c - b: two points make a line.
    """
    a, b, c, d = piece
    t1, t2, t3 = t * STEPS**2, t**2 * STEPS, t**3
    u, v = 5 * (t1 - 2 * t2 + t3), 5 * (t3 - t2)
    to_c = 8 * (3 * t2 - 2 * t3)
    terms = [(b, SCALE - to_c - v), (c, to_c + u)]
    terms += [(a, -u)] if a is not None else [(b, -2 * u), (c, u)]
    terms += [(d, v)] if d is not None else [(c, 2 * v), (b, -v)]
    weights: dict[Point, int] = {}
    for point, weight in terms:
        weights[point] = weights.get(point, 0) + weight
    return weights


FORMS: tuple[Form, ...] = (
    # 0: an oval, from the top or from the side; a narrow one; a round one; one that crosses its own beginning
    Form(0, 30, "10,0 15,7 13,18 6,18 4,7 10,0"),
    Form(0, 20, "14,2 15,14 10,20 5,14 6,3 14,2"),
    Form(0, 15, "11,0 14,6 12,18 8,19 7,5 11,0"),
    Form(0, 15, "11,1 18,7 14,18 5,18 3,7 11,1"),
    Form(0, 20, "14,4 8,1 4,8 5,16 10,20 15,14 15,5 10,0 7,3"),
    # 1: a stroke; a leaning one; with a serif; with serif and base
    Form(1, 40, "10,0 10,10 10,20"),
    Form(1, 30, "14,0 10,10 6,20"),
    Form(1, 18, "6,5 11,0 | 11,0 10,10 10,20"),
    Form(1, 12, "6,4 10,0 | 10,0 10,10 10,20 | 5,20 10,20 15,20"),
    # 2: a flat base; a loop at the foot; like a Z; a round back with a swung base
    Form(2, 35, "4,4 9,0 15,3 14,9 9,14 4,20 | 4,20 10,20 16,19"),
    Form(2, 35, "4,4 9,0 14,3 12,11 7,18 3,19 4,15 9,16 13,19 18,17"),
    Form(2, 12, "4,2 9,1 15,1 | 15,1 10,10 4,19 | 4,19 10,20 17,19"),
    Form(2, 18, "4,6 6,1 12,0 16,5 12,13 4,19 | 4,19 9,17 13,20 18,17"),
    # 3: two bows that meet in a corner; in one sweep; with a flat top; with a small loop in the middle
    Form(3, 35, "4,2 10,0 15,4 13,8 8,10 | 8,10 14,11 16,15 11,20 4,18"),
    Form(3, 30, "5,2 11,0 15,4 11,8 8,9 11,10 15,14 11,19 4,19"),
    Form(3, 15, "4,1 9,1 15,1 | 15,1 9,8 | 9,8 15,11 15,17 9,20 4,18"),
    Form(3, 20, "5,3 11,0 15,4 11,9 7,10 8,8 12,11 15,15 11,20 3,17"),
    # 4: open with three strokes; closed; open and round; open with a long mast
    Form(4, 42, "5,1 4,6 4,11 | 4,11 10,11 17,10 | 14,1 13,10 12,20"),
    Form(4, 15, "13,0 3,13 | 3,13 17,12 | 13,0 12,10 12,20"),
    Form(4, 25, "4,2 4,8 8,12 15,9 | 16,1 15,9 13,20"),
    Form(4, 18, "7,2 5,7 3,11 | 3,11 9,12 16,11 | 13,5 12,12 10,20"),
    # 5: with corners; in one sweep like an S; with the roof drawn last
    Form(5, 35, "15,1 10,1 5,1 | 5,1 5,5 5,9 | 5,9 11,7 16,12 13,19 4,19"),
    Form(5, 30, "16,1 8,1 5,6 10,9 15,13 12,19 4,19"),
    Form(5, 35, "6,2 6,5 5,9 | 5,9 11,8 15,12 13,18 8,20 3,18 | 6,2 11,2 17,0"),
    # 6: a round back; a straight one; a big belly; one whose loop does not close
    Form(6, 35, "13,0 7,6 4,13 6,19 12,19 15,15 12,11 7,12 4,16"),
    Form(6, 25, "11,0 7,8 5,15 8,20 13,18 13,13 9,12 5,16"),
    Form(6, 20, "9,0 4,6 3,13 7,20 14,19 17,13 12,9 6,11 4,15"),
    Form(6, 20, "15,1 8,4 4,12 7,19 13,19 16,15 12,12 8,15"),
    # 7: plain; with a bar; with a serif; with a wavy roof
    Form(7, 45, "3,2 9,2 16,1 | 16,1 11,10 8,20"),
    Form(7, 20, "3,2 9,2 16,1 | 16,1 11,10 8,20 | 6,11 11,11 15,10"),
    Form(7, 15, "3,6 4,2 | 4,2 10,2 16,1 | 16,1 13,10 11,20"),
    Form(7, 20, "3,4 6,1 11,3 16,1 | 16,1 12,9 11,20"),
    # 8: drawn from the waist; from the top right, closed; the same, left open; two rings
    Form(8, 30, "10,10 5,6 6,1 11,0 15,4 10,10 5,14 5,18 10,20 15,17 14,13 10,10"),
    Form(8, 30, "15,3 10,0 6,4 9,9 13,14 12,19 8,20 5,17 7,13 12,9 15,3"),
    Form(8, 25, "16,2 11,0 6,4 9,9 14,14 12,19 7,20 5,16 8,12 13,8 16,5"),
    Form(8, 15, "10,9 6,5 10,0 14,5 10,9 | 10,9 5,15 10,20 15,15 10,9"),
    # 9: a ring and a straight tail; a ring and a hook; in one sweep; with a ring that does not close
    Form(9, 35, "15,4 10,1 5,4 6,9 11,9 15,4 | 15,4 14,12 12,20"),
    Form(9, 20, "15,5 10,0 5,4 6,9 11,10 15,5 | 15,5 15,13 12,19 5,19"),
    Form(9, 30, "13,2 8,2 5,7 8,10 13,7 14,2 14,10 11,20"),
    Form(9, 15, "13,2 8,1 4,6 8,10 15,6 | 16,1 15,6 13,20"),
)
