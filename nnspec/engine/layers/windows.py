"""Windows that slide over a plane: their positions, for convolutions and pools alike.

Along an axis of extent n, windows of k entries with dilation d span e = d (k − 1) + 1 positions, and with stride s

    ⌊(n + before + after − e) / s⌋ + 1

of them fit, `before` and `after` being the padding on either side. Kernels work on two axes; samples with one axis are
planes of one row.

The kernels work on arrays whose samples are the *last* axis in memory, `(C, H, W, B)` for samples `(B, C, H, W)`: the
entries read at one position within a window are then one run of W·B numbers, or of B if the stride is above one,
instead of many short ones. Arrays in another order are first copied into that one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.part import Also, Count, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Dilation",
    "Dilation1D",
    "Extent",
    "Kernel",
    "Kernel1D",
    "Padding",
    "Padding1D",
    "Sizes",
    "Stride",
    "Stride1D",
    "Windows",
    "each",
    "in_one_piece",
    "planes_of",
    "samples_of",
    "sizes",
    "windows_on",
]

Extent = Annotated[int, Range(low=0)]
Kernel = Annotated[Count | tuple[Count, Count], Also("kernel", "filter_size", "pool_size", "size", "k", "window")]
Stride = Annotated[Count | tuple[Count, Count], Also("strides", "step", "s")]
Dilation = Annotated[Count | tuple[Count, Count], Also("dilation_rate", "rate")]
Padding = Annotated[Literal["valid", "same"] | Extent | tuple[Extent, Extent], Also("pad", "pads")]
Kernel1D = Annotated[Count, Also("kernel", "filter_size", "size", "k", "window")]
Stride1D = Annotated[Count, Also("strides", "step", "s")]
Dilation1D = Annotated[Count, Also("dilation_rate", "rate")]
Padding1D = Annotated[Literal["valid", "same", "causal"] | Extent, Also("pad", "pads")]

Pair = tuple[int, int]
Sizes = int | Sequence[int]


@dataclass(frozen=True)
class Windows:
    """The windows on a plane; every field is a pair of rows and columns."""

    size: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair
    padded: Pair
    """Extents of the plane with its padding."""
    out: Pair
    """The number of windows."""

    @property
    def has_padding(self) -> bool:
        """Whether the plane is padded."""
        return any(self.before) or any(self.after)

    @property
    def plane(self) -> Pair:
        """Extents of the plane without its padding."""
        (height, width), (top, left), (bottom, right) = self.padded, self.before, self.after
        return height - top - bottom, width - left - right

    @property
    def beyond(self) -> Pair:
        """How many positions of the padded plane lie after the last windows."""
        ends = zip(self.padded, self.out, self.stride, self.dilation, self.size, strict=True)
        rows, columns = (n - (s * (count - 1) + d * (k - 1) + 1) for n, count, s, d, k in ends)
        return rows, columns

    @property
    def look_ahead(self) -> bool:
        """Whether a window reads a column after its own: if there are as many windows as columns, the one with its
        index.
        """
        reach = self.dilation[1] * (self.size[1] - 1)
        return self.stride[1] > 1 or reach > self.before[1]

    @property
    def disjoint(self) -> bool:
        """Whether windows do not overlap."""
        return self.dilation == (1, 1) and all(s >= k for s, k in zip(self.stride, self.size, strict=True))

    @property
    def tile(self) -> bool:
        """Whether the windows cover every position of the padded plane exactly once."""
        covered = tuple(n * k for n, k in zip(self.out, self.size, strict=True))
        return self.stride == self.size and covered == self.padded and self.disjoint

    def inner(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Return planes `(C, *padded, B)` without their padding."""
        (top, left), (height, width) = self.before, self.padded
        return planes[:, top : height - self.after[0], left : width - self.after[1]]

    def fill_border(self, planes: NDArray[Any], value: float) -> None:
        """Write a value to the padding of planes `(C, *padded, B)`."""
        (top, left), (bottom, right), (height, width) = self.before, self.after, self.padded
        for border in (
            planes[:, :top],
            planes[:, height - bottom :],
            planes[:, top : height - bottom, :left],
            planes[:, top : height - bottom, width - right :],
        ):
            border.fill(value)

    def places(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[Pair, tuple[slice, slice, slice]]]:
        """Yield each position within a window with its slices of planes `(C, *padded, B)`, for these rows of
        windows.
        """
        rows = (self.out[0] if stop is None else stop) - start
        (down, across), (dy, dx) = self.stride, self.dilation
        for i in range(self.size[0]):
            top = i * dy + start * down
            for j in range(self.size[1]):
                left = j * dx
                yield (
                    (i, j),
                    (
                        slice(None),
                        slice(top, top + (rows - 1) * down + 1, down),
                        slice(left, left + (self.out[1] - 1) * across + 1, across),
                    ),
                )

    def view(self, planes: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Return a view of the windows on planes `(C, *padded, B)`: `(C, *size, rows, columns, B)`, for these rows of
        windows.
        """
        channels, _, _, batch = planes.shape
        channel, row, column, sample = planes.strides
        (down, across), (dy, dx) = self.stride, self.dilation
        return np.lib.stride_tricks.as_strided(
            planes[:, start * down :],
            (channels, *self.size, stop - start, self.out[1], batch),
            (channel, dy * row, dx * column, down * row, across * column, sample),
            writeable=False,
        )


@functools.lru_cache(maxsize=512)
def windows_on(
    plane: Shape, size: Sizes, stride: Sizes, padding: str | Sizes, dilation: Sizes, name: str, *, ceil: bool = False
) -> Windows:
    """Return the windows of a layer called `name` on a plane of one axis or two. Raises ShapeError if none fits.

    With `ceil`, as many windows as start on the plane or in the padding before it, so that the last may reach beyond.
    """
    axes = len(plane)
    sizes, strides, dilations = (each(value, axes, name) for value in (size, stride, dilation))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(sizes, dilations, strict=True))
    if padding == "valid":
        paddings = [(0, 0)] * axes
    elif padding == "same":
        paddings = [_same(*of_axis) for of_axis in zip(plane, reach, strides, strict=True)]
    elif padding == "causal":
        paddings = [(e - 1, 0) for e in reach]
    else:
        assert not isinstance(padding, str), padding
        paddings = [(p, p) for p in each(padding, axes, name)]
    padded = tuple(n + before + after for n, (before, after) in zip(plane, paddings, strict=True))
    if any(n < e for n, e in zip(padded, reach, strict=True)):
        around = " with its padding" if padded != plane else ""
        raise ShapeError(
            f"a window of {shape_in_words(reach)} does not fit into {shape_in_words(padded)}{around}",
            argument="kernel_size",
            label=f"reaches over {shape_in_words(reach)}",
            help="use `padding=same` or a smaller window",
        )
    if ceil:
        beyond = [_beyond(*of_axis) for of_axis in zip(plane, paddings, reach, strides, strict=True)]
        paddings = [(before, after + more) for (before, after), more in zip(paddings, beyond, strict=True)]
        padded = tuple(n + more for n, more in zip(padded, beyond, strict=True))
    out = tuple((n - e) // s + 1 for n, e, s in zip(padded, reach, strides, strict=True))
    before, after = ([p[side] for p in paddings] for side in (0, 1))
    return Windows(
        size=_pair(sizes, 1),
        stride=_pair(strides, 1),
        dilation=_pair(dilations, 1),
        before=_pair(before, 0),
        after=_pair(after, 0),
        padded=_pair(padded, 1),
        out=_pair(out, 1),
    )


def each(value: Sizes, axes: int, name: str = "a window") -> tuple[int, ...]:
    """Return a size for each axis."""
    if isinstance(value, int) or hasattr(value, "__index__"):
        return (int(value),) * axes
    if len(value) != axes:
        raise ShapeError(
            f"{name} slides along {axes} {'axis' if axes == 1 else 'axes'} here, but got {len(value)} sizes",
            help="pass one number" if axes == 1 else "pass one for rows and one for columns",
        )
    return tuple(int(v) for v in value)


def _same(extent: int, reach: int, stride: int) -> Pair:
    """Return the padding for which ⌈n / s⌉ windows fit; an odd one has one more at the end, as in Keras and, for a
    stride of 1, PyTorch.
    """
    windows = -(-extent // stride)
    total = max((windows - 1) * stride + reach - extent, 0)
    return total // 2, total - total // 2


def _beyond(extent: int, padding: Pair, reach: int, stride: int) -> int:
    """Return how far a last window that starts before the end reaches beyond the padding after it."""
    before, after = padding
    padded = extent + before + after
    more = -(-(padded - reach) // stride)
    if more * stride >= extent + before:
        more -= 1
    return max(more * stride + reach - padded, 0)


def _pair(values: Sequence[int], row: int) -> Pair:
    """Return values for two axes; if there is one axis, `row` is the value for the single row."""
    first, *rest = values
    return (first, rest[0]) if rest else (row, first)


def sizes(value: Any) -> Any:
    """Return sizes in hashable form: a number, or a tuple."""
    return tuple(value) if isinstance(value, (list, tuple)) else value


def samples_of(planes: NDArray[Any], axes: int) -> NDArray[Any]:
    """Return planes `(C, H, W, B)` as images `(B, C, H, W)`, or planes `(F, 1, T, B)` as sequences `(B, T, F)`,
    without copying them."""
    return planes.transpose(3, 0, 1, 2) if axes == 2 else planes[:, 0].transpose(2, 1, 0)


def planes_of(samples: NDArray[Any], axes: int) -> NDArray[Any]:
    """Return images `(B, C, H, W)` as planes `(C, H, W, B)`, or sequences `(B, T, F)` as planes `(F, 1, T, B)`,
    without copying them. Raises ShapeError for other arrays."""
    if samples.ndim != axes + 2:
        wanted = "images (B, C, H, W)" if axes == 2 else "sequences (B, T, F)"
        raise ShapeError(f"windows slide over {wanted}, not over an array of shape {samples.shape}")
    return samples.transpose(1, 2, 3, 0) if axes == 2 else samples.transpose(2, 1, 0)[:, None]


def in_one_piece(planes: NDArray[Any]) -> bool:
    """Whether planes have the memory order that the kernels need."""
    return bool(planes.flags.c_contiguous)
