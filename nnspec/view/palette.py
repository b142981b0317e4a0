"""How lanes are told apart: the same colour, dash and marker for a lane in tables, pictures and reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["NAMED", "PALETTE", "dash_of", "ink_of", "is_dashed", "marker_of", "slots", "spread_out", "terminal_style"]

# Okabe and Ito's colours, which people with any colour vision can tell apart, and five more. Lanes that have one of the
# five are dashed, and have square markers.
_SAFE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_MORE = ("#6A3D9A", "#8C510A", "#00A6A6", "#B2182B", "#8A8A00")
PALETTE = (*_SAFE, *_MORE)
NAMED = len(PALETTE)
"""How many lanes are told apart: of more, the best ones are, and the others are grey."""
_SIXTEEN = ("blue", "red", "green", "magenta", "yellow", "cyan")
"""What a terminal of 8 or 16 colours shows. More lanes have no colour there: their names tell them apart."""


def slots(losses: Mapping[str, float]) -> dict[str, int]:
    """Return the place in the palette of each lane that has one, from all lanes in order with their final losses.

    Of more lanes than there are colours, those with the lowest losses have one. So no two lanes share a colour.
    """
    best = sorted(losses, key=lambda name: losses[name] if math.isfinite(losses[name]) else math.inf)[:NAMED]
    return {name: slot for slot, name in enumerate(name for name in losses if name in set(best))}


def is_dashed(slot: int | None) -> bool:
    """Whether the line of a lane is dashed: where its colour is one of the less usual ones."""
    return slot is not None and slot >= len(_SAFE)


def dash_of(slot: int) -> Any:
    """Return how matplotlib draws the line of a lane."""
    return (0, (5, 1.6)) if is_dashed(slot) else "-"


def marker_of(slot: int) -> str:
    """Return the marker of a lane's epochs."""
    return "s" if is_dashed(slot) else "o"


def ink_of(color: str) -> str:
    """Return a darker shade of a colour, in which text can be read on white."""
    return "#" + "".join(f"{round(int(color[i : i + 2], 16) * 0.75):02x}" for i in (1, 3, 5))


def terminal_style(slot: int | None, console: Console) -> str:
    """Return the colour of a lane in a terminal; none for a lane without one, or where the colours run out."""
    if slot is None:
        return ""
    if console.color_system in ("256", "truecolor"):
        return PALETTE[slot]
    return _SIXTEEN[slot] if slot < len(_SIXTEEN) else ""


def spread_out(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Return places near those that are wanted, which are in order, so that things of such sizes do not overlap.

    They stay between `low` and `high` as far as there is room, and move as little as possible: things that would touch
    form a group, which lies around the mean of what its members want.
    """
    if not wanted:
        return []
    offsets = [0.0]
    for before, after in pairwise(sizes):
        offsets.append(offsets[-1] + (before + after) / 2)
    squeeze = min(1.0, (high - low) / (offsets[-1] + (sizes[0] + sizes[-1]) / 2)) if high > low else 0.0
    offsets = [offset * squeeze for offset in offsets]
    groups: list[list[float]] = []  # sum of what its members want, less their offsets; how many they are
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
