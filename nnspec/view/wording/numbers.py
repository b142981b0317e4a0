"""Format numbers in the same way in every table, line and picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nnspec.engine.metrics.contract import figure_and_target, metric_of
from nnspec.engine.part import PARTS

__all__ = [
    "bytes_in_words",
    "figure",
    "is_percent",
    "loss",
    "measures",
    "percent",
    "seconds",
    "spark",
    "two_digits",
]

_BARS = "▁▂▃▄▅▆▇█"


def measures(figures: Iterable[str]) -> list[str]:
    """Return what is measured besides the loss, for the figures of some lanes: `kl_loss`, `accuracy`. Metrics are last,
    in the order in which they are declared.
    """
    names = {name.removeprefix("val_").removeprefix("test_") for name in figures} - {"loss"}
    declared = [*PARTS["metric"]]
    return sorted(names, key=lambda name: (declared.index(name) if name in declared else -1, name))


def is_percent(figure: str) -> bool:
    """Whether a figure, of any samples, is shown in percent."""
    metric = metric_of(figure)
    return metric is not None and metric.percent


def loss(value: float) -> str:
    """Format to three significant digits, or all before the point: `0.0654`, `2.31`, `1.2e-05`, `15,822`."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)  # r2 may be negative
    if size >= 10_000_000:
        return f"{value:.2e}"
    if size >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if size >= 0.1 else f"{value:.4f}" if size >= 0.001 else f"{value:.1e}"


def percent(value: float) -> str:
    """`90.8 %`."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def two_digits(value: float) -> str:
    """Format to two significant digits, trailing zeros included, or all before the point: `0.030`, `1,320`."""
    if 100 <= abs(value) < 10_000_000:
        return f"{value:,.0f}"
    return f"{value:#.2g}".removesuffix(".")


def named(figure: str) -> str:
    """`val loss`, `epochs to val loss 0.3`: the name of a figure as shown."""
    figure, target = figure_and_target(figure)
    name = figure.replace("_", " ")
    return name if target is None else f"epochs to {name} {target:g}"


def figure(name: str, value: float, half: float = math.nan) -> str:
    """`0.334 ± 0.019`, `90.2 % ± 0.8`: a figure, and half the width of its interval, if any."""
    if name.startswith("epochs_to("):
        return f"{value:g}"
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
    """Format an exact size with its rounded size, `1,401,992 bytes (1.3 MiB)`."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= size:
            return f"{count:,.0f} bytes ({count / size:.1f} {unit})"
    return f"{count:,.0f} bytes"


def spark(values: Sequence[float], lowest: float, highest: float, width: int = 15) -> str:
    """Return a curve in one line of text, on a logarithmic scale that spans at least a decade below `highest`.

    If `lowest` is not positive, the scale is linear. Long curves are thinned out; values that are not finite are blank.
    """
    if not values or not math.isfinite(lowest) or not math.isfinite(highest):
        return ""
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    log = lowest > 0
    scaled = [math.log10(v) if log and v > 0 else v for v in values]
    top = math.log10(highest) if log else highest
    bottom = min(math.log10(lowest), top - 1) if log else lowest
    span = top - bottom or 1.0
    return "".join(
        _BARS[min(max(int((value - bottom) / span * len(_BARS)), 0), len(_BARS) - 1)] if math.isfinite(value) else " "
        for value in scaled
    )
