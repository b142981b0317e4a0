"""Other resolutions: each number of y is a weighted mean of numbers of x nearby, along rows and columns separately.

Along an axis of extent n that becomes m, position i of y lies at u = (i + ½)·n/m − ½ of x, and

    nearest     y[i] = x[⌊i·n/m⌋]
    bilinear    y[i] = Σⱼ max(1 − |u − j|, 0) · x[j]            (linear, along a sequence)
    bicubic     y[i] = Σⱼ w(u − j) · x[j]                       w: Keys 1981 with a = −¾;
                                                            −½ with antialias, as in Pillow

where positions beyond the ends repeat those at the ends. With `antialias`, the kernel is stretched by n/m if that is
above one, and its weights within x are divided by their sum: each y is then a mean of all of x that it replaces.

So a mode is a matrix for each axis, and forward and backward are two products each. Repeating every number a whole
number of times needs none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, image, saved, sequence
from nnspec.engine.layers.windows import each, in_one_piece, planes_of, samples_of, sizes
from nnspec.engine.part import Also, Count, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Resize", "Upsample"]

Mode = Annotated[Literal["nearest", "bilinear", "bicubic"], Also("interpolation", "method")]


class Resampling(Layer):
    """Base of the layers that change the resolution: `(B, T, F) -> (B, T', F)`, `(B, C, H, W) -> (B, C, H', W')`."""

    batch_last = "prefers"
    samples_independent = True
    image_as = "image"

    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Two FLOPs per term of each sum; repetitions are free."""
        if len(incoming) == 2:
            places, channels = sequence(cls, incoming)
            plane: Shape = (places,)
        else:
            channels, *extents = image(cls, incoming)
            plane = tuple(extents)
        wanted = cls._extents(plane, arguments)
        out = (channels, *wanted) if len(plane) == 2 else (*wanted, channels)
        if cls.repetitions(plane, arguments):
            return Geometry(out=out, flops=0)
        (height, width), (rows, columns) = (1, *plane)[-2:], (1, *wanted)[-2:]
        flops = 2 * channels * height * columns * width
        work = {"planes": Work((channels, height, width)), "resized": Work((channels, rows, columns))}
        if len(plane) == 2:
            flops += 2 * prod(out) * height
            work["rows"] = Work((channels, height, columns))
        return Geometry(out=out, flops=flops, work=work)

    @classmethod
    def _extents(cls, plane: Shape, arguments: Mapping[str, Any]) -> Shape:
        """Return the extents of y. Raises ShapeError."""
        raise NotImplementedError

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """Positions of y are not those of x, unless nothing changes."""
        return cls._extents(incoming[:1], arguments) != incoming[:1]

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Compute the weighted means along the columns, then along the rows."""
        self._shape = x.shape
        axes, planes = x.ndim - 2, planes_of(x, x.ndim - 2)
        extents, repetitions, (rows, columns) = self._sides(planes, axes)
        shape = (len(planes), *extents, len(x))
        y = np.empty(shape, x.dtype) if out is None else planes_of(out, axes)
        if repetitions:
            for where in _each_copy(repetitions):
                np.copyto(y[where], planes)
        else:
            source, target = self._copied(planes, "planes"), self._room(y, "resized")
            between = target
            if rows is not None:
                between = self._work_planes("rows", (len(planes), planes.shape[1], *shape[2:]), x.dtype)
            np.matmul(columns.astype(x.dtype), source, out=between)
            if rows is not None:
                np.matmul(rows.astype(x.dtype), _by_rows(between), out=_by_rows(target))
            if target is not y:
                np.copyto(y, target)
        return samples_of(y, axes) if out is None else out

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Give each number of x its share of the gradients of all means that it is part of."""
        shape = saved(self._shape, self)
        if not input_grad:
            return None
        dx_of_samples = np.empty(shape, grad.dtype) if out is None else out
        axes = len(shape) - 2
        dx, g = planes_of(dx_of_samples, axes), planes_of(grad, axes)
        _, repetitions, (rows, columns) = self._sides(dx, axes)
        if repetitions:
            first, *others = _each_copy(repetitions)
            np.copyto(dx, g[first])
            for where in others:
                np.add(dx, g[where], out=dx)
            return dx_of_samples
        between, target = self._copied(g, "resized"), self._room(dx, "planes")
        if rows is not None:
            source, between = between, self._work_planes("rows", (*dx.shape[:2], *g.shape[2:]), g.dtype)
            np.matmul(rows.T.astype(g.dtype), _by_rows(source), out=_by_rows(between))
        np.matmul(columns.T.astype(g.dtype), between, out=target)
        if target is not dx:
            np.copyto(dx, target)
        return dx_of_samples

    def _sides(self, planes: NDArray[Any], axes: int) -> tuple[Shape, Shape, tuple[Any, Any]]:
        """Return, for planes of x, the extents of y, how often x is repeated along each axis, and the matrices."""
        plane = planes.shape[3 - axes : 3]
        arguments = self.arguments()
        wanted, repetitions = self._extents(plane, arguments), self.repetitions(plane, arguments)
        matrices = () if repetitions else self.matrices(plane, arguments)
        rows, columns = (None, None, *matrices)[-2:]
        return (1, *wanted)[-2:], (1, *repetitions)[-2:] if repetitions else (), (rows, columns)

    @classmethod
    def repetitions(cls, plane: Shape, arguments: Mapping[str, Any]) -> Shape:
        """Return how often each number is repeated along each axis, or () if that is not all there is to do."""
        wanted = cls._extents(plane, arguments)
        whole = all(m % n == 0 for n, m in zip(plane, wanted, strict=True))
        if plane != wanted and not (whole and arguments["mode"] == "nearest"):
            return ()
        return tuple(m // n for n, m in zip(plane, wanted, strict=True))

    @classmethod
    def matrices(cls, plane: Shape, arguments: Mapping[str, Any]) -> tuple[NDArray[Any], ...]:
        """Return a matrix `(m, n)` for each axis: y = M x along it."""
        wanted, how = cls._extents(plane, arguments), (arguments["mode"], bool(arguments.get("antialias")))
        return tuple(_weights(n, m, *how) for n, m in zip(plane, wanted, strict=True))

    def _copied(self, planes: NDArray[Any], name: str) -> NDArray[Any]:
        """Return planes as one contiguous array; unchanged if they already are."""
        room = self._room(planes, name)
        if room is not planes:
            np.copyto(room, planes)
        return room

    def _room(self, planes: NDArray[Any], name: str) -> NDArray[Any]:
        """Return these planes if they are one contiguous array, or else a work array like them."""
        return planes if in_one_piece(planes) else self._work_planes(name, planes.shape, planes.dtype)

    def _work_planes(self, name: str, shape: Shape, dtype: Any) -> NDArray[Any]:
        """Return a work array as planes `(C, H, W, B)`."""
        *planes, batch = shape
        return self.work_array(name, (batch, *planes), dtype).reshape(shape)


class Upsample(Resampling):
    """Make each sample `factor` times as large: `(B, C, H, W) -> (B, C, f·H, f·W)`, `(B, T, F) -> (B, f·T, F)`.

    `nearest` repeats every row and column f times, and dL/dx is the sum over the copies; `bilinear` (linear for
    sequences) and `bicubic` interpolate as `Resize` does. The factor is a number, or one for rows and one for columns.
    As PyTorch's `Upsample(scale_factor=f)`, and Keras's `UpSampling2D` with `nearest` or `bilinear`.
    """

    spec_name = "Upsample"
    also = ("UpSampling2D", "UpSampling1D", "UpsamplingNearest2d", "UpsamplingBilinear2d", "upsample")

    factor: Annotated[Count | tuple[Count, Count], Also("scale_factor", "size", "scale")] = 2
    mode: Mode = "nearest"

    @classmethod
    def _extents(cls, plane: Shape, arguments: Mapping[str, Any]) -> Shape:
        factors = each(sizes(arguments["factor"]), len(plane), cls.spec_name)
        return tuple(n * f for n, f in zip(plane, factors, strict=True))


class Resize(Resampling):
    """Make each sample `size` large: `(B, C, H, W) -> (B, C, *size)`, `(B, T, F) -> (B, size, F)`.

    The size is a number, or one for rows and one for columns. `mode` is `nearest`, `bilinear` (linear for sequences) or
    `bicubic`; `antialias` avoids the patterns of sampling fewer positions, and needs a mode other than `nearest`. As
    PyTorch's `F.interpolate` with `align_corners=False`, apart from `nearest`, which rounds positions exactly here; and
    as Keras's `Resizing`, whose `bicubic` has a = −½ and leaves out positions beyond the ends.
    """

    spec_name = "Resize"
    also = ("Resizing", "Interpolate", "interpolate", "resize")

    size: Annotated[Count | tuple[Count, Count], Also("shape", "target_size", "out_size")]
    mode: Mode = "bilinear"
    _: KW_ONLY
    antialias: bool = False

    @classmethod
    def _extents(cls, plane: Shape, arguments: Mapping[str, Any]) -> Shape:
        if arguments["antialias"] and arguments["mode"] == "nearest":
            raise ShapeError(
                "`antialias` needs a mode that interpolates",
                argument="antialias",
                label="has no effect with `mode=nearest`",
                help="remove it, or use `mode=bilinear`",
            )
        return each(sizes(arguments["size"]), len(plane), cls.spec_name)


def _each_copy(repetitions: Shape) -> Iterator[tuple[slice, ...]]:
    """Yield the slices of larger planes, each of which is a copy of the smaller ones."""
    down, across = repetitions
    for i in range(down):
        for j in range(across):
            yield slice(None), slice(i, None, down), slice(j, None, across)


def _by_rows(planes: NDArray[Any]) -> NDArray[Any]:
    """View planes `(C, H, W, B)` as matrices of rows `(C, H, W·B)`."""
    return planes.reshape(*planes.shape[:2], -1)


@functools.lru_cache(maxsize=64)
def _weights(n: int, m: int, mode: str, antialias: bool) -> NDArray[Any]:
    """Return the matrix (m, n) from x to y along an axis."""
    i = np.arange(m)
    if mode == "nearest":
        return np.eye(n)[i * n // m]
    stretch, reach = max(n / m, 1.0) if antialias else 1.0, 1 if mode == "bilinear" else 2
    u = (i + 0.5) * n / m - 0.5
    around = np.arange(-reach, n + reach)  # positions of x, and those beyond its ends
    far = np.abs(u[:, None] - around) / stretch
    if mode == "bilinear":
        weight = np.maximum(1 - far, 0)
    else:
        a = -0.5 if antialias else -0.75
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        weight = np.where(far <= 1, near, np.where(far < 2, a * (((far - 5) * far + 8) * far - 4), 0))
    matrix = weight[:, reach : reach + n].copy()
    if antialias:
        return matrix / matrix.sum(axis=1, keepdims=True)
    matrix[:, 0] += weight[:, :reach].sum(axis=1)
    matrix[:, -1] += weight[:, reach + n :].sum(axis=1)
    return matrix
