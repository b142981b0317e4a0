"""Numbers in words: the same figure looks the same in every table, line and picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnspec.engine.metrics import metric_of
from nnspec.engine.part import PARTS, Part
from nnspec.runner.history import DataUse, RunResult

__all__ = [
    "PALETTE",
    "bytes_in_words",
    "color_of",
    "data_in_words",
    "figure",
    "is_percent",
    "loss",
    "metrics",
    "percent",
    "seconds",
    "seeds",
    "spark",
    "stand_in",
    "two_digits",
]

# Okabe and Ito's colours, which people with any colour vision can tell apart; a lane has the same one everywhere.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_BARS = "▁▂▃▄▅▆▇█"


def color_of(index: int) -> str:
    """Return the colour of a lane by its place in the spec."""
    return PALETTE[index % len(PALETTE)]


def metrics() -> dict[str, type[Part]]:
    """Return the metrics by name."""
    return PARTS["metric"]


def is_percent(figure: str) -> bool:
    """Whether people read a figure, of whichever samples, in percent."""
    metric = metric_of(figure)
    return metric is not None and metric.percent


def loss(value: float) -> str:
    """Three digits that matter: `0.0654`, `2.31`, `1.2e-05`."""
    if not math.isfinite(value):
        return "–"
    if value >= 10_000:
        return f"{value:.1e}"
    size = abs(value)  # r2 may be negative
    return f"{value:.3f}" if size >= 0.1 else f"{value:.4f}" if size >= 0.001 else f"{value:.1e}"


def percent(value: float) -> str:
    """`90.8 %`."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def two_digits(value: float) -> str:
    """Two digits, a zero at the end among them: `0.030`."""
    return f"{value:#.2g}".removesuffix(".")


def figure(name: str, value: float, half: float = math.nan) -> str:
    """`0.334 ± 0.019`, `90.2 % ± 0.8`: a figure, and half the width of its interval where there is one."""
    if is_percent(name):
        return percent(value) + (f" ± {100 * half:.1f}" if math.isfinite(half) else "")
    return loss(value) + (f" ± {two_digits(half)}" if math.isfinite(half) else "")


def seconds(value: float) -> str:
    """`0.21 s`, `1 min 04 s`."""
    if value < 60:
        return f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def bytes_in_words(count: float) -> str:
    """`1,401,992 bytes`, exactly, with the round figure beside it."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= size:
            return f"{count:,.0f} bytes ({count / size:.1f} {unit})"
    return f"{count:,.0f} bytes"


def spark(values: Sequence[float], highest: float, width: int = 15) -> str:
    """A curve in one line of text, from zero to `highest`; long ones are thinned out."""
    if not values or highest <= 0:
        return ""
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    return "".join(_BARS[min(int(value / highest * len(_BARS)), len(_BARS) - 1)] for value in values)


def seeds(result: RunResult) -> str:
    """`seed 42`, or over repeats `seeds 42 to 46`; nothing where lanes have different ones."""
    if result.seed is None:
        return ""
    last = {lane.repeats[-1].seed if lane.repeats else lane.seed for lane in result.lanes.values()}
    if len(last) > 1:
        return ""
    return f"seeds {result.seed} to {max(last)}" if max(last) > result.seed else f"seed {result.seed}"


def data_in_words(use: DataUse) -> str:
    """`MNIST 2,000 train / 500 test`."""
    return f"{use.source} {use.train:,} train / {use.test:,} test"


def stand_in(use: DataUse) -> str:
    """Say that data stands in for other data."""
    return f"{use.source} stands in for {use.asked_for}"
