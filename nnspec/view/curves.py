"""Pictures of training: the only place that imports matplotlib."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nnspec.files import atomic, output, utf8
from nnspec.runner.history import DataUse, RunResult
from nnspec.view.lanes import NAMED, slots
from nnspec.view.panels import BANDS, FAINT, LONGEST_NAME, Curve, draw, drawable, ends, even, name_lines, panels
from nnspec.view.words import data_in_words, metrics, seeds, seeds_in_words, stand_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnspec.compiler.proofs import Compiled
    from nnspec.runner.saved import SavedRun

__all__ = [
    "Picture",
    "draw_run",
    "house_style",
    "matplotlib_module",
    "picture_of",
    "picture_of_saved",
    "plot_training_curves",
    "save_picture",
]

_INK = "#222222"
_IN_A_ROW, _HEIGHT, _BETWEEN = 4, 5.4, 1.1
"""Panels side by side before there is another row of them; inches of a picture with one row; inches between rows."""
_SHORT_NAME = 7
"""Letters that there is room for beside each panel; longer names make the picture wider."""
_LEADER = 0.2  # inches that a line from a curve to its name takes
_INCHES_A_LETTER = 0.115
_TICKS = 10  # of an axis, as a rule
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
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


def plot_training_curves(
    history: Mapping[str, Sequence[float] | Mapping[str, Any]],
    title: str = "Training",
    *,
    subtitle: str = "",
    path: str | os.PathLike[str] | IO[bytes] | None = None,
) -> Figure:
    """Draw training curves, and return the figure; with `path` it is saved there too, as PNG in an open file.

    `history` maps a name to its losses, a number an epoch: `{"SGD": [2.1, 1.8], "Adam": [1.5, 0.9]}`, or to figures
    by name: `{"Adam": {"loss": […], "test_loss": […], "test_accuracy": […]}}`, as in `history.json`. A figure called
    `repeats` lists such figures for single trainings: the 95 % interval of their mean is drawn behind the curve. Of
    more than 12 lanes the 12 with the lowest last loss are told apart. `path` ends in `.png`, `.svg` or `.pdf`. Raises
    ValueError where there is nothing to draw.
    """
    return _plot(history, title, subtitle, path, None)


def _plot(
    history: Mapping[str, Sequence[float] | Mapping[str, Any]],
    title: str,
    subtitle: str,
    path: str | os.PathLike[str] | IO[bytes] | None,
    blank: Blank | None,
) -> Figure:
    style = house_style()
    curves = _curves(history)
    if not any(ends(curve("loss")) for curve in curves):
        raise ValueError("plot_training_curves: there is no curve to draw")
    shown = [panel for panel in panels() if drawable(panel, curves)]
    columns = len(shown) if len(shown) <= _IN_A_ROW else -(-len(shown) // -(-len(shown) // _IN_A_ROW))
    rows = -(-len(shown) // columns)
    width, margins = _measures(columns, max(len(curve.name) for curve in curves if curve.slot is not None))
    head, foot = (0.24 if subtitle else 0.2) * _HEIGHT, 0.13 * _HEIGHT
    height = _HEIGHT + (rows - 1) * (_HEIGHT - head - foot + _BETWEEN)
    with style:
        if blank is None or (blank.rows, blank.columns) != (rows, columns):
            blank = Blank(rows, columns)
        figure, every = blank.figure, blank.axes
        figure.set_size_inches(width, height)
        # parse_math=False here and below: a `$` in a name is a dollar sign.
        figure.text(
            0.012,
            1 - 0.035 * _HEIGHT / height,
            _drawable(title),
            fontsize=17,
            fontweight="bold",
            color=_INK,
            va="top",
            parse_math=False,
        )
        figure.text(
            0.012,
            1 - 0.11 * _HEIGHT / height,
            _drawable(subtitle),
            fontsize=11.5,
            color="#555555",
            va="top",
            parse_math=False,
        )
        for axis in every[len(shown) :]:
            axis.remove()
        axes = every[: len(shown)]
        for axis, panel in zip(axes, shown, strict=True):
            draw(axis, panel, curves)
        gap = _BETWEEN / (_HEIGHT - head - foot)
        figure.subplots_adjust(top=1 - head / height, bottom=foot / height, hspace=gap, **margins)
        for axis, panel in zip(axes, shown, strict=True):
            name_lines(axis, panel, curves)
        _for_notebooks(figure)
        if isinstance(path, (str, os.PathLike)):
            with output(Path(path)) as file:
                _save(figure, file, Path(path).suffix.removeprefix(".") or "png")
        elif path is not None:
            _save(figure, path, "png")
    return figure


class Blank:
    """A figure with nothing in it yet but so many rows and columns of axes. To be made within `house_style`."""

    def __init__(self, rows: int, columns: int) -> None:
        from matplotlib.figure import Figure

        self.rows, self.columns = rows, columns
        self.figure = Figure(dpi=130, facecolor="white")
        self.axes = self.figure.subplots(rows, columns, squeeze=False).reshape(-1)

    @classmethod
    def warm(cls) -> Blank:
        """Return one for the usual three panels, with what takes long done already: fonts are loaded, ticks exist."""
        with house_style():
            blank = cls(1, 3)
            for axis in blank.axes:
                axis.xaxis.get_major_ticks(_TICKS)
                axis.yaxis.get_major_ticks(_TICKS)
            blank.axes[1].yaxis.get_minor_ticks(2 * _TICKS)
            words = [blank.figure.text(0, 0, "09aA", fontweight=weight) for weight in ("normal", "bold")]
            _save(blank.figure, io.BytesIO(), "png")
            for word in words:
                word.remove()
        return blank


def _measures(panels: int, longest: int) -> tuple[float, dict[str, float]]:
    """Return the width of a picture in inches, and its margins as shares; long names get room beside each panel."""
    room = max(min(longest, LONGEST_NAME) - _SHORT_NAME, 0) * _INCHES_A_LETTER + _LEADER
    usual = 1.2 + 4.9 * panels
    axis = 0.875 * usual / (panels + 0.52 * (panels - 1))
    width = usual + room * panels
    left, right = 0.05 * usual / width, 1 - (0.075 * usual + room) / width
    return width, {"left": left, "right": right, "wspace": 0.52 + room / axis}


def _curves(history: Mapping[str, Sequence[float] | Mapping[str, Any]]) -> list[Curve]:
    """Read a history; the best lanes are told apart where there are too many for that."""
    curves = []
    for name, values in history.items():
        figures: Mapping[str, Any] = values if isinstance(values, Mapping) else {"loss": values}
        curves.append(
            Curve(_drawable(name), None, _floats(figures), [_floats(one) for one in figures.get("repeats", ())])
        )
    found = slots({curve.name: curve.final("loss") for curve in curves})
    return [replace(curve, slot=found.get(curve.name)) for curve in curves]


def _drawable(text: str) -> str:
    """Return a text without lone surrogates, which no font draws: they come from names that are not UTF-8."""
    return utf8(text).decode()


def _floats(figures: Mapping[str, Any]) -> dict[str, list[float]]:
    others = ("repeats", "seed", "gradient_norms")
    return {name: [float(x) for x in values] for name, values in figures.items() if name not in others}


def matplotlib_module() -> Any:
    """Import matplotlib without the backend that the environment names: a figure that is saved needs none of them."""
    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    return matplotlib


def house_style() -> AbstractContextManager[None]:
    """Within, figures look the same whatever settings the user has for others."""
    matplotlib = matplotlib_module()
    # Without the backend: asking which one it is imports pyplot and tries window systems.
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    return matplotlib.rc_context({**defaults, **_STYLE})


def _save(figure: Figure, file: Any, format: str) -> None:
    with warnings.catch_warnings():
        # A title in a script that the font lacks is drawn with boxes; nobody needs a warning for each of them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format=format)


@dataclass(frozen=True)
class Picture:
    """What the picture of a run shows, as plain data."""

    history: Mapping[str, Mapping[str, Any]]
    title: str
    subtitle: str

    @property
    def curves(self) -> bool:
        """Whether there is any: a lane that has finished an epoch."""
        return any(lane["loss"] for lane in self.history.values())

    def draw(self, path: str | os.PathLike[str] | IO[bytes] | None = None, blank: Blank | None = None) -> Figure:
        """Draw it, into a file with `path`; into a blank figure where there is one that fits."""
        if blank is None:
            return plot_training_curves(self.history, self.title, subtitle=self.subtitle, path=path)
        return _plot(self.history, self.title, self.subtitle, path, blank)


def picture_of(result: RunResult) -> Picture:
    """Return the picture of a run. Lanes without a finished epoch have no curve, and keep their colour."""
    lanes = result.lanes.values()
    history = {lane.name: {**lane.history, "repeats": [one.history for one in lane.repeats]} for lane in lanes}
    status = {lane.name: lane.status for lane in lanes}
    return _picture(result.title, result.data, history, status, result.shapes, seeds(result))


def picture_of_saved(saved: SavedRun, compiled: Compiled) -> Picture:
    """Return the picture of a run on disk, from its records and its program. Raises RunError."""
    from nnspec.runner.saved import data_use, usable

    history, summary = saved.history, saved.summary
    with usable(saved.path / "summary.json"):
        lanes = {name: saved.lane(name) for name in saved.lanes}
        data = [data_use(record) for record in summary["data"]]
        first = {int(lane["seed"]) for lane in lanes.values()}
        last = {int(lane.get("repeats", [lane])[-1]["seed"]) for lane in lanes.values()}
        status = {name: str(lane["status"]) for name, lane in lanes.items()}
        title = str(summary["title"])
    shapes = {lane.shapes for lane in compiled.program.lanes if lane.name in lanes}
    with usable(saved.path / "history.json"):
        curves = {name: _figures(history[name]) for name in lanes}
    return _picture(title, data, curves, status, shapes.pop() if len(shapes) == 1 else "", seeds_in_words(first, last))


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of a lane as a record holds them: what was no number is null there. Raises ValueError."""
    known = {f"{prefix}{name}" for prefix in ("", "val_", "test_") for name in ("loss", *metrics())}
    figures: dict[str, Any] = {
        name: [math.nan if value is None else float(value) for value in values]
        for name, values in record.items()
        if name in known
    }
    return {**figures, "repeats": [_figures(one) for one in record.get("repeats", ())]}


def _picture(
    title: str,
    data: Sequence[DataUse],
    history: Mapping[str, Mapping[str, Any]],
    status: Mapping[str, str],
    shapes: str,
    seeds: str,
) -> Picture:
    full_title = title + "".join(f" – {stand_in(use)}" for use in data if use.stands_in)
    uses = " · ".join(data_in_words(use) for use in data)
    lanes = len(history)  # all of them, for the sake of the colours
    named = f"the best {NAMED} of {lanes} are named" if lanes > NAMED else ""
    facts = [uses, shapes, seeds, _spread([lane["repeats"] for lane in history.values()]), named]
    unfinished = "".join(f" · {name} {how}" for name, how in status.items() if how != "done")
    return Picture(history, full_title, " · ".join(fact for fact in facts if fact) + unfinished)


def draw_run(result: RunResult, path: str | os.PathLike[str] | IO[bytes] | None = None) -> Figure:
    """Draw a run, into a file with `path`."""
    return picture_of(result).draw(path)


def save_picture(picture: Picture, path: Path) -> None:
    """Draw into a file of a run's folder: a link there is replaced, not followed. Raises OSError."""
    with atomic(path) as file:
        picture.draw(file)


def _spread(lanes: Sequence[Sequence[Mapping[str, Sequence[float]]]]) -> str:
    """Say what is drawn of the repeats of each lane: lines are means, bands their intervals."""
    repeated = [repeats for repeats in lanes if repeats]
    counts = sorted({len(repeats) for repeats in repeated})
    if not counts:
        return ""
    apart = any(not even([one["loss"] for one in repeats]) for repeats in repeated)
    how_many = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    if len(repeated) > BANDS:
        return f"means of {how_many} seeds"
    return f"mean and 95 % interval of {how_many} seeds" + (", each thin where they end apart" if apart else "")


def _for_notebooks(figure: Figure) -> None:
    """Let a notebook show the figure although no window system is involved."""

    def png() -> bytes:
        buffer = io.BytesIO()
        _save(figure, buffer, "png")
        return buffer.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
