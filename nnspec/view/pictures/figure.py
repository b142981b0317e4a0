"""A figure of training curves, drawn from plain data: panels, axes, names, and the style of all pictures.

The process that draws while another one trains imports this module, which therefore needs neither engine nor runs.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nnspec.files import output, utf8
from nnspec.view.palette import FAINT, INK, SOFT, slots
from nnspec.view.pictures.panels import LONGEST_NAME, Curve, Panel, draw, drawable, ends, name_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Blank", "draw_figure", "house_style", "matplotlib_module", "save"]

_IN_A_ROW, _HEIGHT, _BETWEEN = 4, 5.4, 1.1
"""Maximum panels in a row; height of a picture with one row and distance between rows, in inches."""
_SHORT_NAME = 7
"""Length of names that fit next to each panel, in characters; longer ones make the picture wider."""
_LEADER = 0.2  # length of the line from a curve to its name, in inches
_INCHES_A_LETTER = 0.115
_TICKS = 10  # usual number per axis
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
}


def draw_figure(
    history: Mapping[str, Sequence[float] | Mapping[str, Any]],
    panels: Sequence[Panel],
    title: str,
    subtitle: str,
    path: str | os.PathLike[str] | IO[bytes] | None = None,
    blank: Blank | None = None,
) -> Figure:
    """Draw curves as described in `plot_training_curves`, in the panels that have data, and into `blank` if it fits."""
    style = house_style()
    curves = _curves(history)
    if not any(ends(curve, curve("loss")) for curve in curves):
        raise ValueError("plot_training_curves: no curve to draw")
    shown = [panel for panel in panels if drawable(panel, curves)]
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
            color=INK,
            va="top",
            parse_math=False,
        )
        figure.text(
            0.012,
            1 - 0.11 * _HEIGHT / height,
            _drawable(subtitle),
            fontsize=11.5,
            color=SOFT,
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
                save(figure, file, Path(path).suffix.removeprefix(".") or "png")
        elif path is not None:
            save(figure, path, "png")
    return figure


class Blank:
    """An empty figure with rows and columns of axes. Create it inside `house_style`."""

    def __init__(self, rows: int, columns: int) -> None:
        from matplotlib.figure import Figure

        self.rows, self.columns = rows, columns
        self.figure = Figure(dpi=130, facecolor="white")
        self.axes = self.figure.subplots(rows, columns, squeeze=False).reshape(-1)

    @classmethod
    def warm(cls) -> Blank:
        """Return one for the usual three panels, with the slow parts already done: fonts loaded, ticks created."""
        with house_style():
            blank = cls(1, 3)
            for axis in blank.axes:
                axis.xaxis.get_major_ticks(_TICKS)
                axis.yaxis.get_major_ticks(_TICKS)
            words = [blank.figure.text(0, 0, "09aA", fontweight=weight) for weight in ("normal", "bold")]
            save(blank.figure, io.BytesIO(), "png")
            for word in words:
                word.remove()
        return blank


def _measures(panels: int, longest: int) -> tuple[float, dict[str, float]]:
    """Return the width of a picture in inches and its relative margins, with room for long names next to each panel."""
    room = max(min(longest, LONGEST_NAME) - _SHORT_NAME, 0) * _INCHES_A_LETTER + _LEADER
    usual = 1.2 + 4.9 * panels
    axis = 0.875 * usual / (panels + 0.52 * (panels - 1))
    width = usual + room * panels
    left, right = 0.05 * usual / width, 1 - (0.075 * usual + room) / width
    return width, {"left": left, "right": right, "wspace": 0.52 + room / axis}


def _curves(history: Mapping[str, Sequence[float] | Mapping[str, Any]]) -> list[Curve]:
    """Convert a history to curves. If there are more lanes than colours, the best ones get a colour."""
    curves = []
    for name, values in history.items():
        figures: Mapping[str, Any] = values if isinstance(values, Mapping) else {"loss": values}
        curves.append(
            Curve(_drawable(name), None, _floats(figures), [_floats(one) for one in figures.get("repeats", ())])
        )
    unit = "step" if curves and all(curve("steps") for curve in curves) else "epoch"
    found = slots({curve.name: curve.final("loss") for curve in curves})
    return [replace(curve, slot=found.get(curve.name), unit=unit) for curve in curves]


def _drawable(text: str) -> str:
    """Return a text without lone surrogates, which no font can draw; they come from names that are not UTF-8."""
    return utf8(text).decode()


def _floats(figures: Mapping[str, Any]) -> dict[str, list[float]]:
    others = ("repeats", "seed", "gradient_norms")
    return {name: [float(x) for x in values] for name, values in figures.items() if name not in others}


def matplotlib_module() -> Any:
    """Import matplotlib without the backend set in the environment, which is not needed to save figures."""
    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    return matplotlib


def house_style() -> AbstractContextManager[None]:
    """Draw figures in the same style, regardless of the user's matplotlib settings."""
    matplotlib = matplotlib_module()
    # Without the backend: reading it would import pyplot and try window systems.
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    return matplotlib.rc_context({**defaults, **_STYLE})


def save(figure: Figure, file: Any, format: str) -> None:
    """Save a figure to an open file."""
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes; a warning for each of them would be noise.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if format == "png" and (content := _png(figure)):
            file.write(content)
        else:
            figure.savefig(file, format=format)


def _png(figure: Figure) -> bytes:
    """Return a figure as PNG; empty if matplotlib renders it at another size.

    Lines are compressed without filters. Pillow tries five filters for each line, which takes five times as long and
    makes pictures with large uniform areas larger.
    """
    pixels = io.BytesIO()
    figure.savefig(pixels, format="rgba", dpi="figure")
    width, height = (int(size) for size in figure.bbox.size)
    content, line = pixels.getvalue(), 4 * width
    if len(content) != line * height:
        return b""
    deflate = zlib.compressobj(3, memLevel=9)
    lines = b"".join(b"\0" + content[at : at + line] for at in range(0, len(content), line))
    resolution = round(figure.dpi / 0.0254)  # dots per metre
    software = f"Matplotlib version{matplotlib_module().__version__}, https://matplotlib.org/"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),  # 8 bits, RGBA, no interlace
            (b"tEXt", b"Software\0" + software.encode("latin-1")),
            (b"pHYs", struct.pack(">IIB", resolution, resolution, 1)),
            (b"IDAT", deflate.compress(lines) + deflate.flush()),
            (b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _for_notebooks(figure: Figure) -> None:
    """Let notebooks show the figure without a window system."""

    def png() -> bytes:
        buffer = io.BytesIO()
        with house_style():
            save(figure, buffer, "png")
        return buffer.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
