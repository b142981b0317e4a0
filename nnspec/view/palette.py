"""Colours, dashes and markers. A lane looks the same in tables, pictures and reports, and so do training, validation
and test samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "DARK",
    "FAINT",
    "GREY",
    "INK",
    "MEASURED_ON",
    "NAMED",
    "PALETTE",
    "SOFT",
    "Dash",
    "Samples",
    "dash_of",
    "ink_of",
    "marker_of",
    "samples_of",
    "slots",
    "terminal_style",
]

Dash = tuple[float, float]
"""The length of a dash and of the gap after it, in widths of the line."""

# Okabe and Ito's colours, which are distinguishable with any colour vision, and five more. Lanes in one of the
# five are dashed, with square markers.
_SAFE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_MORE = ("#6A3D9A", "#8C510A", "#00A6A6", "#B2182B", "#8A8A00")
PALETTE = (*_SAFE, *_MORE)
DARK = (
    *("#3e9be0", "#ff8a3d", "#2fd3a0", "#eba3cb", "#ffc24a", "#a8defc", "#c4c9d2"),
    *("#b794f0", "#d29a5b", "#4fe0e0", "#ff6b7c", "#d2d24a"),
)
"""The same colours on a dark background."""
NAMED = len(PALETTE)
"""Maximum number of lanes with a colour; if there are more, the best have one and the others are grey."""
INK, SOFT, FAINT, GREY = "#222222", "#555555", "#8a8a8a", "#a9a9a9"
"""Colours of text, remarks, axes, and lines without their own colour, in pictures on white."""
_SIXTEEN = ("blue", "red", "green", "magenta", "yellow", "cyan")
"""Colours for terminals with 8 or 16 colours. Further lanes have no colour there, only their names."""


@dataclass(frozen=True)
class Samples:
    """Which samples a thin line shows, and how it is drawn."""

    prefix: str
    """What the names of their figures begin with."""
    name: str
    line: str
    """Its dash in words."""
    dash: Dash
    marker: str
    """The marker of a single epoch, as matplotlib names it."""
    sign: str
    """The same marker as a character."""


MEASURED_ON = (
    Samples("val_", "validation", "dotted", (1, 1.6), "D", "◇"),
    Samples("test_", "test", "dashed", (4, 2), "s", "□"),
)


def samples_of(figure: str) -> Samples | None:
    """Return the samples that a figure was measured on; None for training samples."""
    return next((samples for samples in MEASURED_ON if figure.startswith(samples.prefix)), None)


def slots(losses: Mapping[str, float]) -> dict[str, int]:
    """Map lanes to places in the palette, given all lanes in order with their final losses.

    If there are more lanes than colours, those with the lowest losses get one. No two lanes share a colour.
    """
    best = sorted(losses, key=lambda name: losses[name] if math.isfinite(losses[name]) else math.inf)[:NAMED]
    return {name: slot for slot, name in enumerate(name for name in losses if name in set(best))}


def dash_of(slot: int | None) -> Dash | None:
    """Return the dash of a lane's line: None for a solid one, as those of the usual colours are."""
    return (5, 1.6) if slot is not None and slot >= len(_SAFE) else None


def marker_of(slot: int) -> str:
    """Return the marker of a lane's epochs: `s` or `o`, as matplotlib names them."""
    return "o" if dash_of(slot) is None else "s"


def ink_of(color: str) -> str:
    """Return a darker shade of a colour, in which text can be read on white."""
    return "#" + "".join(f"{round(int(color[i : i + 2], 16) * 0.75):02x}" for i in (1, 3, 5))


def terminal_style(slot: int | None, console: Console) -> str:
    """Return the colour of a lane in a terminal; none for a lane without one, or if the colours run out."""
    if slot is None:
        return ""
    if console.color_system in ("256", "truecolor"):
        return PALETTE[slot]
    return _SIXTEEN[slot] if slot < len(_SIXTEEN) else ""
