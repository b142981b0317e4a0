"""The limits and ticks of every axis, the same for matplotlib pictures and SVG charts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Scale", "epoch_ticks", "is_drawable", "place_ticks", "round_numbers", "tick_text"]

_DIGITS = ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,))
"""Leading digits of the round numbers on a logarithmic axis, from fine to coarse."""


def round_numbers(low: float, high: float, most: int, *, log: bool = False) -> list[float]:
    """Return round numbers from `low` to `high`, as many as possible up to `most`.

    On a linear axis they are multiples of 1, 2 or 5 times a power of ten; on a logarithmic one, powers of ten and some
    of their multiples. A very short interval may hold none.
    """
    if log and high > low:
        return _logarithmic(low, high, most)
    if not 1e-300 < (high - low) / most < math.inf:
        return [low]
    unit = 10.0 ** (math.floor(math.log10((high - low) / most)))
    step = next(unit * factor for factor in (1, 2, 5, 10, 20) if _count(low, high, unit * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{(first + i) * step:.12g}") for i in range(_count(low, high, step))]


def _count(low: float, high: float, step: float) -> int:
    return math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1


def _logarithmic(low: float, high: float, most: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in _DIGITS:
        found = [float(f"{digit}e{power}") for power in powers for digit in digits]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


def epoch_ticks(epochs: int, most: int = 8) -> list[int]:
    """Return the first epoch, the last one, and round numbers between them that are not too near to either."""
    between = [round(value) for value in round_numbers(1, epochs, most) if value == round(value)]
    inner = [epoch for epoch in between if min(epoch - 1, epochs - epoch) > epochs / (1.5 * most)]
    return sorted({1, *inner, epochs})


def place_ticks(low: float, high: float) -> list[float]:
    """Return the ticks of an axis of epochs or steps: for whole epochs from 1 on as `epoch_ticks`."""
    if low == 1 and high == round(high):
        return [*epoch_ticks(round(high))]
    return [value for value in round_numbers(low, high, 6) if low <= value <= high]


def tick_text(value: float, *, percent: bool = False) -> str:
    """Return the number of a tick: `0.5`, `−2`, `1e−5`, or in percent `80 %`."""
    if percent:
        return f"{100 * value:g} %"
    return f"{value:g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e").replace("-", "−")


@dataclass(frozen=True)
class Scale:
    """A vertical axis of losses or shares, which is linear or logarithmic."""

    low: float
    high: float
    log: bool = False
    percent: bool = False

    @classmethod
    def around(cls, values: Iterable[float], *, log: bool = False, percent: bool = False) -> Scale:
        """Return the scale of a figure's values, at least one of which can be drawn.

        A linear one starts at 0 unless values are negative; one in percent spans the values, within 0 and 100 %.
        """
        drawable = [value for value in values if is_drawable(value, log)]
        low, high = min(drawable), max(drawable)
        if log:
            margin = (high / low) ** 0.04 if high / low < math.inf else 1.0
            low, high = (low / margin, high * margin) if high > low else (low / 2, high * 2)
            return cls(low or 5e-324, min(high, 1.79e308), log=True)
        if percent:
            margin = 0.05 * (high - low) or 0.05
            return cls(max(low - margin, 0.0), min(high + margin, 1.0), percent=True)
        low = min(low, 0.0)
        margin = 0.04 * (high - low) or 1.0
        return cls(low - margin if low < 0 else 0.0, high + margin)

    def share(self, value: float) -> float:
        """Return the height of a value on the axis, from 0 to 1; values outside are clipped."""
        if self.log:
            bottom = math.log10(self.low)
            share = (math.log10(value) - bottom) / (math.log10(self.high) - bottom)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, most: int = 8) -> list[float]:
        """Return the round numbers of its ticks."""
        return round_numbers(self.low, self.high, most, log=self.log)


def is_drawable(value: float, log: bool) -> bool:
    """Whether a value can be drawn on an axis: it is finite and, on a logarithmic axis, positive."""
    return math.isfinite(value) and (not log or value > 0)
