"""The axes of samples: what they are, and the order in which networks take them.

Files may hold them in another order, such as colours last; `axes` of a source says so, and samples are transposed on
their way in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from nnspec.engine.layers.contract import ShapeError, shape_in_words
from nnspec.engine.part import Also, BareWord

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AXES", "Arrangement", "Axes", "arranged", "usual_axes"]

Axis = Literal["features", "places", "channels", "rows", "columns"]
Axes = Annotated[tuple[Axis, ...] | None, Also("layout", "dims", "order", "data_format", "channels_last")]
"""What a spec may say of the axes of a sample, in the order of the file."""

AXES: tuple[tuple[str, ...], ...] = (
    ("features",),
    ("places",),
    ("places", "features"),
    ("rows", "columns"),
    ("channels", "rows", "columns"),
)
"""What the axes of a sample may be, in the order in which networks take them."""
_EXAMPLES = {1: "[features]", 2: "[rows, columns]", 3: "[rows, columns, channels]"}
_COLOURS = (1, 3, 4)


class Arrangement(NamedTuple):
    """How samples of a file become samples of a network."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    """As networks take them."""
    stored: tuple[str, ...] = ()
    """The axes in the order of the file, where it is another one."""
    order: tuple[int, ...] = ()
    """The axis of the file that each axis of a sample is, where that is another one."""

    def of(self, samples: NDArray[Any]) -> NDArray[Any]:
        """View samples `(n, *stored)` as networks take them, `(n, *shape)`."""
        turned = samples.transpose(0, *(1 + axis for axis in self.order)) if self.order else samples
        return turned.reshape(len(samples), *self.shape)


def usual_axes(shape: Sequence[int], *, bytes_: bool, tokens: int = 0) -> tuple[str, ...]:
    """Return what axes are taken for where nothing is said: two of bytes are an image's, two of other numbers are a
    sequence's, and more than three have no names."""
    if len(shape) == 1:
        return ("places",) if tokens else ("features",)
    if len(shape) == 2:
        return ("rows", "columns") if bytes_ else ("places", "features")
    return ("channels", "rows", "columns") if len(shape) == 3 else ()


def arranged(shape: tuple[int, ...], axes: Sequence[str] | None, *, bytes_: bool) -> Arrangement:
    """Arrange samples of `shape` in a file; `axes` are what a spec says of them, `bytes_` whether they are bytes.

    Raises ShapeError for axes that do not fit.
    """
    if axes is None:
        return Arrangement(usual_axes(shape, bytes_=bytes_), shape)
    known = next((names for names in AXES if sorted(names) == sorted(axes)), None)
    if known is None:
        allowed = ", ".join(f"[{', '.join(names)}]" for names in AXES)
        such = f"`axes={_EXAMPLES[min(len(shape), 3)]}`"
        raise ShapeError(f"`axes` are those of one sample, in any order: {allowed}", help=f"such as {such}")
    if len(axes) != len(shape):
        raise ShapeError(
            f"`axes` names {len(axes)}, and a sample has {len(shape)}: {shape_in_words(shape)}",
            help=f"such as `axes={_EXAMPLES[len(shape)]}`" if len(shape) in _EXAMPLES else "leave `axes` out",
        )
    order = tuple(axes.index(name) for name in known)
    stored = tuple(BareWord(name) for name in axes)
    turned = tuple(shape[axis] for axis in order)
    if known == ("places",):  # numbers at places: one feature each
        return Arrangement(("places", "features"), (*turned, 1), stored)
    if order == tuple(range(len(order))):
        return Arrangement(known, shape)
    return Arrangement(known, turned, stored, order)


def colours_last(shape: Sequence[int]) -> bool:
    """Whether samples of three axes look like images whose colours are the last of them."""
    return len(shape) == 3 and shape[2] in _COLOURS and shape[0] not in _COLOURS
