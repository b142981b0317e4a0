"""The axes of samples: their names, and the order that networks expect.

Files may have another order, such as channels last. The argument `axes` of a source specifies it, and samples are
transposed as they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from nnspec.engine.layers.contract import ShapeError, shape_in_words
from nnspec.engine.part import Also

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AXES", "Arrangement", "Axes", "arranged", "colours_last", "usual_axes"]

Axis = Literal["features", "places", "channels", "rows", "columns"]
Axes = Annotated[tuple[Axis, ...] | None, Also("layout", "dims", "order", "data_format", "channels_last")]
"""The axes of a sample in the order of the file, as given in a spec."""

AXES: tuple[tuple[str, ...], ...] = (
    ("features",),
    ("places",),
    ("places", "features"),
    ("rows", "columns"),
    ("channels", "rows", "columns"),
)
"""The possible axes of a sample, in the order that networks expect."""
_EXAMPLES = {1: "[features]", 2: "[rows, columns]", 3: "[rows, columns, channels]"}
_COLOURS = (1, 3, 4)


class Arrangement(NamedTuple):
    """The layout of samples in a file, and the layout that networks expect."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    """The shape in the order that networks expect."""
    stored: tuple[str, ...] = ()
    """The axes in the order of the file, if that differs; `places` alone have one feature each."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of a sample in the file."""
        return tuple(self.shape[self.axes.index(name)] for name in self.stored) or self.shape

    def as_stored(self, samples: NDArray[Any]) -> NDArray[Any]:
        """View samples `(n, *shape)` in the order of the file, `(n, *stored_shape)`."""
        if not self.stored:
            return samples
        turned = samples.transpose(0, *(1 + self.axes.index(name) for name in self._all_stored))
        return turned.reshape(len(samples), *self.stored_shape)

    def of(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples `(n, *stored_shape)` as networks expect them, `(n, *shape)`; if possible, as a view."""
        if not self.stored:
            return samples
        whole = samples.reshape(len(samples), *(self.shape[self.axes.index(name)] for name in self._all_stored))
        return whole.transpose(0, *(1 + self._all_stored.index(name) for name in self.axes))

    @property
    def _all_stored(self) -> tuple[str, ...]:
        return (*self.stored, *(name for name in self.axes if name not in self.stored))


def usual_axes(shape: Sequence[int], *, bytes_: bool, tokens: int = 0) -> tuple[str, ...]:
    """Return the default axes: two axes are those of an image for bytes, and of a sequence for other numbers; more than
    three have no names."""
    if len(shape) == 1:
        return ("places",) if tokens else ("features",)
    if len(shape) == 2:
        return ("rows", "columns") if bytes_ else ("places", "features")
    return ("channels", "rows", "columns") if len(shape) == 3 else ()


def arranged(shape: tuple[int, ...], axes: Sequence[str] | None, *, bytes_: bool) -> Arrangement:
    """Return the layout of samples of `shape` in a file, with the `axes` given in a spec; `bytes_` if they are bytes.

    Raises ShapeError for axes that do not fit.
    """
    if axes is None:
        return Arrangement(usual_axes(shape, bytes_=bytes_), shape)
    known = next((names for names in AXES if sorted(names) == sorted(axes)), None)
    if known is None:
        allowed = ", ".join(f"[{', '.join(names)}]" for names in AXES)
        such = f"`axes={_EXAMPLES[min(len(shape), 3)]}`"
        raise ShapeError(f"`axes` names the axes of one sample, in any order: {allowed}", help=f"such as {such}")
    if len(axes) != len(shape):
        raise ShapeError(
            f"`axes` names {len(axes)}, but a sample has {len(shape)}: {shape_in_words(shape)}",
            help=f"for example, `axes={_EXAMPLES[len(shape)]}`" if len(shape) in _EXAMPLES else "remove `axes`",
        )
    stored = () if tuple(axes) == known else tuple(axes)
    if known == ("places",):  # one number per position: one feature
        return Arrangement(("places", "features"), (*shape, 1), known)
    return Arrangement(known, tuple(shape[axes.index(name)] for name in known), stored)


def colours_last(shape: Sequence[int]) -> bool:
    """Return whether samples with three axes look like images with channels last."""
    return len(shape) == 3 and shape[2] in _COLOURS and shape[0] not in _COLOURS
