"""Pictures of training: the only place that imports matplotlib."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.files import atomic
from nnspec.runner.history import LaneResult, RunResult
from nnspec.view.words import color_of, data_in_words, is_percent, metrics, stand_in

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_training_curves", "save_curves"]

_INK, _FAINT = "#222222", "#8a8a8a"
_DASHES = ("-", "--", "-.", ":")
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
}


@dataclass(frozen=True)
class _Panel:
    title: str
    figure: str
    faint: str = ""
    """A second figure, drawn thinner: the test beside the training."""
    log: bool = False
    percent: bool = False


_LOSS = _Panel("Loss", "loss", faint="test_loss")
_LOG_LOSS = _Panel("Training loss, logarithmic", "loss", log=True)


def plot_training_curves(
    history: Mapping[str, Sequence[float] | Mapping[str, Sequence[float]]],
    title: str = "Training",
    *,
    subtitle: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw training curves, and return the figure; with `path` it is saved there too.

    `history` maps a name to its losses, a number an epoch: `{"SGD": [2.1, 1.8], "Adam": [1.5, 0.9]}`, or to figures
    by name: `{"Adam": {"loss": […], "test_loss": […], "test_accuracy": […]}}`. `path` ends in `.png`, `.svg` or
    `.pdf`. Raises ValueError where there is nothing to draw.
    """
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure

    curves = {
        name: {figure: [float(x) for x in values] for figure, values in figures.items()}
        for name, figures in ((name, v if isinstance(v, Mapping) else {"loss": v}) for name, v in history.items())
    }
    if not any(_ends(figures.get("loss", ())) for figures in curves.values()):
        raise ValueError("plot_training_curves: there is no curve to draw")
    panels = [panel for panel in (_LOSS, _LOG_LOSS, *_metric_panels()) if _drawable(panel, curves)]
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE, "backend": matplotlib.rcParams["backend"]}):
        figure = Figure(figsize=(1.2 + 4.9 * len(panels), 5.4), dpi=130, facecolor="white")
        # parse_math=False here and below: a `$` in a name is a dollar sign.
        figure.text(0.012, 0.965, title, fontsize=17, fontweight="bold", color=_INK, va="top", parse_math=False)
        figure.text(0.012, 0.89, subtitle, fontsize=11.5, color="#555555", va="top", parse_math=False)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            _draw(axis, panel, curves)
        figure.subplots_adjust(left=0.05, right=0.925, top=0.76 if subtitle else 0.8, bottom=0.13, wspace=0.52)
        for axis, panel in zip(axes, panels, strict=True):
            _name_lines(axis, panel, curves)
        _for_notebooks(figure)
        if path is not None:
            with atomic(Path(path)) as file:
                _save(figure, file, Path(path).suffix.removeprefix(".") or "png")
    return figure


def _matplotlib() -> Any:
    """Import matplotlib without the backend that the environment names: a figure that is saved needs none of them."""
    import os

    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    return matplotlib


def _metric_panels() -> list[_Panel]:
    return [_Panel(f"Test {name}", f"test_{name}", percent=is_percent(name)) for name in metrics()]


def _save(figure: Figure, file: Any, format: str) -> None:
    with warnings.catch_warnings():
        # A title in a script that the font lacks is drawn with boxes; nobody needs a warning for each of them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format=format)


def save_curves(result: RunResult, path: Path) -> None:
    """Draw a run into a PNG file. Lanes without a finished epoch have no curve, and keep their colour."""
    standing = [use for use in result.data if use.stands_in]
    title = result.title + "".join(f" – {stand_in(use)}" for use in standing)
    uses = " · ".join(data_in_words(use) for use in result.data)
    lanes = {lane.name: lane.history for lane in result.lanes.values()}  # all of them, for the sake of the colours
    facts = [uses, result.shapes, f"seed {result.seed}" if result.seed is not None else ""]
    subtitle = " · ".join(fact for fact in facts if fact) + _unfinished(list(result.lanes.values()))
    plot_training_curves(lanes, title, subtitle=subtitle, path=path)


def _unfinished(lanes: Sequence[LaneResult]) -> str:
    return "".join(f" · {lane.name} {lane.status}" for lane in lanes if lane.status != "done")


def _drawable(panel: _Panel, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> bool:
    values = [v for figures in curves.values() for v in figures.get(panel.figure, ()) if math.isfinite(v)]
    return bool(values) and not (panel.log and min(values) <= 0)


def _draw(axis: Axes, panel: _Panel, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    longest, top = 0, None if panel.log or panel.percent else _top(panel, curves)
    cut = top is not None
    for index, figures in enumerate(curves.values()):
        color, dash = color_of(index), _DASHES[index // 7 % len(_DASHES)]
        faint = figures.get(panel.faint, ())
        values = figures.get(panel.figure, ())
        longest = max(longest, len(values))
        marker: Any = "o" if len(values) <= 25 else None
        axis.plot(range(1, len(faint) + 1), faint, color=color, linewidth=1.1, alpha=0.65, linestyle=(0, (4, 2)))
        axis.plot(
            range(1, len(values) + 1),
            values,
            color=color,
            linewidth=2.3,
            linestyle=dash,
            marker=marker,
            markersize=4,
            clip_on=cut,  # where nothing is cut off, the last marker is drawn whole
        )
    axis.set_title(panel.title, pad=10)
    axis.set_xlabel("epoch")
    axis.set_xlim(1, longest) if longest > 1 else axis.set_xlim(0.5, 1.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8) if longest > 1 else FixedLocator([1]))
    axis.grid(True, axis="y", which="both" if panel.log else "major")
    axis.set_axisbelow(True)
    if panel.log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if _leads(value, (2, 5)) else ""))
        axis.tick_params(axis="y", which="minor", labelsize=10)
    elif panel.percent:
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylim(bottom=max(axis.get_ylim()[0], 0), top=min(max(axis.get_ylim()[1], 0.05), 1.02))
    else:
        axis.set_ylim(bottom=0, top=top)
    if panel.faint and any(figures.get(panel.faint) for figures in curves.values()):
        axis.set_title("training solid, test dashed", loc="right", fontsize=10, color="#555555", fontweight="normal")


def _top(panel: _Panel, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> float | None:
    """Cut a linear panel where one lane exploded and would press all others flat; the logarithmic one shows it."""
    lanes = [[v for v in figures.get(panel.figure, ()) if math.isfinite(v)] for figures in curves.values()]
    highest = sorted(max(values) for values in lanes if values)
    usual = highest[(len(highest) - 1) // 2]
    return 1.5 * usual if highest[-1] > 20 * usual > 0 else None


def _leads(value: float, digits: tuple[int, ...]) -> bool:
    return value > 0 and round(value / 10 ** math.floor(math.log10(value) + 1e-9)) in digits


def _ends(values: Sequence[float]) -> tuple[int, float] | None:
    """Where a curve ends, as (epoch, value): at its last finite value. None where it has none."""
    finite = [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
    return finite[-1] if finite else None


def _name_lines(axis: Axes, panel: _Panel, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Write each lane's name at the end of its line, moved apart where lines end close together."""
    ends = [
        (_inside(axis, axis.transData.transform(end)), index, name)
        for index, (name, figures) in enumerate(curves.items())
        if (end := _ends(figures.get(panel.figure, ()))) is not None
    ]
    ends.sort(key=lambda end: end[0][1])
    gap = min(15 * axis.figure.dpi / 72, axis.bbox.height / len(ends))
    heights = [point[1] for point, _, _ in ends]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    over = heights[-1] - max(point[1] for point, _, _ in ends)
    down = min(over / 2, heights[0] - axis.bbox.y0)  # half of what they were moved up, but not below the axis
    heights = [height - max(down, heights[-1] - axis.bbox.y1) for height in heights]
    for (point, index, name), height in zip(ends, heights, strict=True):
        shown = name if len(name) <= 14 else name[:13] + "…"
        axis.annotate(
            shown,
            xy=(point[0], point[1]),
            xycoords="figure pixels",
            xytext=(point[0] + 9, height),
            textcoords="figure pixels",
            va="center",
            color=color_of(index),
            fontweight="bold",
            fontsize=11.5,
            annotation_clip=False,
            parse_math=False,
        )


def _inside(axis: Axes, point: Any) -> tuple[float, float]:
    """A point in pixels, moved to the edge of the axis where its line ends outside."""
    return float(point[0]), min(max(float(point[1]), axis.bbox.y0), axis.bbox.y1)


def _for_notebooks(figure: Figure) -> None:
    """Let a notebook show the figure although no window system is involved."""
    import io

    def png() -> bytes:
        buffer = io.BytesIO()
        _save(figure, buffer, "png")
        return buffer.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
