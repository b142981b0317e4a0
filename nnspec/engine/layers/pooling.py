"""Pooling: windows over the positions of a sequence `(T, F)`, or over the rows and columns of an image `(C, H, W)`,
each reduced to one number; no parameters.

For each position within a window, one NumPy call processes all windows at once. Channels are pooled independently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.activations import ReLU
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    ShapeError,
    beside_features,
    but_features,
    feature_axis,
    image,
    saved,
    sequence,
    sequence_or_image,
    shape_in_words,
)
from nnspec.engine.layers.windows import (
    Kernel,
    Padding,
    Stride,
    Windows,
    planes_of,
    samples_of,
    sizes,
    windows_on,
)
from nnspec.engine.part import Also, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AvgPool", "GlobalAvgPool", "GlobalMaxPool", "MaxPool"]


class _Pool(Layer):
    """Base of the pools with windows: `(B, T, F) -> (B, T', F)` or `(B, C, H, W) -> (B, C, H', W')`."""

    batch_last = "prefers"
    batch_invariant = True
    samples_independent = True
    image_as = "image"
    around: ClassVar[float] = 0.0
    """The value of the padding."""
    padded: ClassVar[tuple[str, ...]] = ("padded",)
    """Work arrays of padded planes: the first is that of x, the last that of dL/dx."""

    kernel_size: Kernel = 2
    stride: Stride | None = None
    padding: Padding = "valid"
    _x: NDArray[Any] | None = kept()
    _y: NDArray[Any] | None = kept()

    def __post_init__(self) -> None:
        self._window = _window(self.arguments(), type(self).__name__)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(T, F) -> (T', F)` or `(C, H, W) -> (C, H', W')`; one FLOP per position of each window."""
        plane: Shape
        if len(incoming) < 3 and isinstance(arguments["kernel_size"], int):
            places, channels = sequence(cls, incoming)
            plane = (places,)
        else:
            channels, *plane_axes = image(cls, incoming)
            plane = tuple(plane_axes)
        windows = _windows_on(plane, _window(arguments, cls.spec_name))
        out = (channels, *windows.out) if len(plane) == 2 else (windows.out[1], channels)
        work = dict(cls.works((channels, *windows.out), windows))
        if windows.has_padding:
            work |= {name: Work((channels, *windows.padded)) for name in cls.padded}
        return Geometry(out=out, flops=prod(out) * prod(windows.size), work=work)

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """If a window is wider than one position, unless all padding comes before the sequence."""
        return _windows_on(incoming[:1], _window(arguments, cls.spec_name)).look_ahead

    @classmethod
    def works(cls, out: Shape, windows: Windows) -> Mapping[str, Work]:
        """Declare the work arrays of the kernels besides padded planes, for windows `(C, rows, columns)`."""
        raise NotImplementedError

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Reduce each window to a number."""
        self._x = x
        axes, planes, windows = self._of(x)
        y = np.empty((len(planes), *windows.out, len(x)), x.dtype) if out is None else planes_of(out, axes)
        self._reduce(self._padded(planes, windows), y, windows)
        self._y = samples_of(y, axes) if out is None else out
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Distribute the gradient of each window to its positions."""
        axes, planes, windows = self._of(saved(self._x, self))
        if not input_grad:
            return None
        dx = np.empty(planes.shape, grad.dtype) if out is None else planes_of(out, axes)
        whole = dx
        if windows.has_padding:
            whole = self._work_planes(self.padded[-1], (len(planes), *windows.padded, planes.shape[-1]), grad.dtype)
        if not windows.tile:
            whole.fill(0)
        self._spread(planes_of(grad, axes), whole, windows)
        if windows.has_padding:
            np.copyto(dx, windows.inner(whole))
        return samples_of(dx, axes) if out is None else out

    def _reduce(self, source: NDArray[Any], y: NDArray[Any], windows: Windows) -> None:
        """Write y from padded planes."""
        raise NotImplementedError

    def _spread(self, g: NDArray[Any], dx: NDArray[Any], windows: Windows) -> None:
        """Write or add to padded planes of dL/dx, which are zero where windows do not tile them."""
        raise NotImplementedError

    def _of(self, x: NDArray[Any]) -> tuple[int, NDArray[Any], Windows]:
        """Return the number of axes that windows slide along, x as planes, and the windows."""
        axes = x.ndim - 2
        plane = x.shape[2:] if axes == 2 else x.shape[1:2]
        return axes, planes_of(x, axes), _windows_on(plane, self._window)

    def _padded(self, planes: NDArray[Any], windows: Windows) -> NDArray[Any]:
        """Return planes with their padding."""
        if not windows.has_padding:
            return planes
        channels, _, _, batch = planes.shape
        padded = self._work_planes("padded", (channels, *windows.padded, batch), planes.dtype)
        windows.fill_border(padded, self.around)
        np.copyto(windows.inner(padded), planes)
        return padded

    def _work_planes(self, name: str, shape: Shape, dtype: Any) -> NDArray[Any]:
        """Return a work array as planes `(C, H, W, B)`."""
        *planes, batch = shape
        return self.work_array(name, (batch, *planes), dtype).reshape(shape)


class MaxPool(_Pool):
    """y[c, h, w] = max x[c, s·h + i − p, s·w + j − p] over the window: `(B, C, H, W) -> (B, C, H', W')`.

    dL/dx is g at the position of the maximum, the first of equal ones, as in PyTorch, and 0 elsewhere; where windows
    overlap, it is the sum. Padding is never the maximum. For sequences, `(B, T, F) -> (B, T', F)`, windows slide
    along the positions. The stride defaults to the kernel size; padding is at most half of it, as in PyTorch. With
    `ceil_mode`, a last window may reach beyond the end, as always in Caffe.
    """

    spec_name = "MaxPool"
    also = ("MaxPool2d", "MaxPool1d", "MaxPooling2D", "MaxPooling1D", "MaxPool2D", "MaxPool1D", "max_pool")
    backward_reads = frozenset({"input", "output"})
    absorbs = (ReLU,)
    around = -math.inf
    rectifies = False
    """Whether it also does the work of a ReLU: max(x, 0) can be applied to the maximum of a window instead."""
    padded = ("padded", "spread")

    _: KW_ONLY
    ceil_mode: Annotated[bool, Also("ceil", "round_mode")] = False

    @classmethod
    def works(cls, out: Shape, windows: Windows) -> Mapping[str, Work]:
        """Which windows have their maximum at a position, and which have not found theirs yet."""
        return {"hit": Work(out, "bool"), "free": Work(out, "bool"), "share": Work(out)}

    def _reduce(self, source: NDArray[Any], y: NDArray[Any], windows: Windows) -> None:
        for number, (_, where) in enumerate(windows.places()):
            if number:
                np.maximum(y, source[where], out=y)
            else:
                np.copyto(y, source[where])
        if self.rectifies:
            np.maximum(y, 0, out=y)

    def _spread(self, g: NDArray[Any], dx: NDArray[Any], windows: Windows) -> None:
        for place, hit in self._winners(windows):
            # Converted to numbers first: a product with bools would be cast in pieces, into newly allocated memory.
            share = self._work_planes("share", g.shape, g.dtype)
            np.copyto(share, hit)
            if windows.disjoint:
                np.multiply(g, share, out=dx[place])
            else:
                np.multiply(g, share, out=share)
                np.add(dx[place], share, out=dx[place])

    def _winners(self, windows: Windows) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """Yield each position of a window with the windows whose first maximum is there."""
        axes, planes, _ = self._of(saved(self._x, self))
        source, y = self._padded(planes, windows), planes_of(saved(self._y, self), axes)
        hit, free = (self._work_planes(name, y.shape, bool) for name in ("hit", "free"))
        if self.rectifies:
            np.greater(y, 0, out=free)
        else:
            free.fill(True)
        for _, place in windows.places():
            np.equal(source[place], y, out=hit)
            np.logical_and(hit, free, out=hit)
            yield place, hit
            np.logical_xor(free, hit, out=free)

    def absorb(self, before: Layer) -> None:
        """Absorb a ReLU, which is then applied to one number per window instead of all."""
        if type(before) is not ReLU:
            super().absorb(before)
        self.rectifies = True

    def sides(self) -> NDArray[Any] | None:
        """The position of the maximum in each window: `(B, places, C, H', W')`."""
        *_, windows = self._of(saved(self._x, self))
        return np.moveaxis(np.stack([hit.copy() for _, hit in self._winners(windows)]), -1, 0)


class AvgPool(_Pool):
    """y[c, h, w] = 1/k Σ x[c, s·h + i − p, s·w + j − p] over the k positions of a window: `(B, C, H, W) -> (B, C, H',
    W')`.

    dL/dx adds g/k at every position of a window. Padding counts as zeros, as by default in PyTorch; Keras excludes it
    from sum and k. Arguments and shapes are those of `MaxPool`.
    """

    spec_name = "AvgPool"
    also = ("AvgPool2d", "AvgPool1d", "AveragePooling2D", "AveragePooling1D", "AvgPool2D", "AveragePool", "avg_pool")

    @classmethod
    def works(cls, out: Shape, windows: Windows) -> Mapping[str, Work]:
        """The share of its gradient that each window gives to each of its positions."""
        return {"share": Work(out)}

    def _reduce(self, source: NDArray[Any], y: NDArray[Any], windows: Windows) -> None:
        for number, (_, where) in enumerate(windows.places()):
            if number:
                np.add(y, source[where], out=y)
            else:
                np.copyto(y, source[where])
        np.multiply(y, 1.0 / prod(windows.size), out=y)

    def _spread(self, g: NDArray[Any], dx: NDArray[Any], windows: Windows) -> None:
        share = np.multiply(g, 1.0 / prod(windows.size), out=self._work_planes("share", g.shape, g.dtype))
        for _, where in windows.places():
            if windows.disjoint:
                np.copyto(dx[where], share)
            else:
                np.add(dx[where], share, out=dx[where])


class GlobalAvgPool(Layer):
    """The mean of each feature over the positions of a sequence, `(B, T, F) -> (B, F)`, or of each channel over the
    rows and columns of an image, `(B, C, H, W) -> (B, C)`; dL/dx = g / n everywhere, with n numbers per mean. Padding
    does not count; without any other position, the mean is 0.

    In PyTorch: `AdaptiveAvgPool2d(1)` and `Flatten`, or `x.mean(dim=1)`. Lin et al. 2014.
    """

    spec_name = "GlobalAvgPool"
    also = ("GlobalAveragePooling2D", "GlobalAveragePooling1D", "GlobalAvgPool2D", "AdaptiveAvgPool2d", "GAP")
    batch_last = "takes"
    samples_independent = True
    with_padding = "skips"
    image_as = "image"

    _shape: tuple[int, ...] | None = kept()
    _shares: NDArray[Any] | None = kept()
    """With padding, 1/n at each real position, and 0 at the others."""

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(T, F) -> (F,)` or `(C, H, W) -> (C,)`; one FLOP per number."""
        sequence_or_image(cls, incoming)
        out = (incoming[feature_axis(incoming)],)
        return Geometry(out=out, flops=prod(incoming), work={"share": Work(out)})

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """It takes the mean over all positions."""
        return len(incoming) == 2

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """Mean over all axes except the features or channels."""
        self._shape, real = x.shape, self.real_places(others)
        if real is not None:
            count = np.add.reduce(real, axis=1, keepdims=True, dtype=x.dtype)
            self._shares = shares = real / np.maximum(count, 1)
            return np.matmul(shares[:, None, :], x, out=None if out is None else out[:, None, :]).reshape(len(x), -1)
        axes = but_features(x)[1:]
        y = np.add.reduce(x, axis=axes, out=out)
        return np.multiply(y, 1.0 / prod(x.shape[axis] for axis in axes), out=y)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g / n everywhere."""
        shape = saved(self._shape, self)
        if self.mask is not None:
            return np.multiply(grad[:, None, :], saved(self._shares, self)[:, :, None], out=out)
        share = self.work_array("share", grad.shape, grad.dtype)
        np.multiply(grad, grad.shape[1] / prod(shape[1:]), out=share)
        dx = np.empty(shape, grad.dtype) if out is None else out
        np.copyto(dx, share.reshape(len(share), *beside_features(shape[1:])))
        return dx


class GlobalMaxPool(Layer):
    """The maximum of each feature over the positions of a sequence, `(B, T, F) -> (B, F)`, or of each channel over the
    rows and columns of an image, `(B, C, H, W) -> (B, C)`; dL/dx = g at the first maximum, else 0.

    In PyTorch: `AdaptiveMaxPool2d(1)` and `Flatten`, or `x.max(dim=1).values`. TensorFlow shares g among equal maxima.
    Padding does not count, unless there is nothing else.
    """

    spec_name = "GlobalMaxPool"
    also = ("GlobalMaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPool2D", "GlobalMaxPool1D", "AdaptiveMaxPool2d")
    samples_independent = True
    with_padding = "skips"
    image_as = "image"

    _shape: tuple[int, ...] | None = kept()
    _at: NDArray[Any] | None = kept()
    """The index of each maximum among the positions."""
    _first: NDArray[Any] | None = kept()
    """The index of the first position of each maximum among all numbers of a batch."""

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(T, F) -> (F,)` or `(C, H, W) -> (C,)`; one FLOP per number."""
        sequence_or_image(cls, incoming)
        out = (incoming[feature_axis(incoming)],)
        work = {"at": Work(out, "index", saved=True), "where": Work(out, "index")}
        if len(incoming) == 2:
            work["by_feature"] = Work((incoming[1], incoming[0]))
        return Geometry(out=out, flops=prod(incoming), work=work)

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """It takes the maximum over all positions."""
        return len(incoming) == 2

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """Maximum over all axes except the features or channels."""
        self._shape, real = x.shape, self.real_places(others)
        if x.ndim == 3:
            over = self.work_array("by_feature", (len(x), x.shape[2], x.shape[1]), x.dtype)
            np.copyto(over, x.swapaxes(1, 2))
            if real is not None:
                np.copyto(over, -np.inf, where=(~real & real.any(axis=1, keepdims=True))[:, None, :])
        else:
            over = x.reshape(*x.shape[:2], -1)
        self._at = over.argmax(axis=-1, out=self.work_array("at", over.shape[:2], np.intp))
        return np.maximum.reduce(over, axis=-1, out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g at the first maximum."""
        shape, at = saved(self._shape, self), saved(self._at, self)
        if not input_grad:
            return None
        dx = np.empty(shape, grad.dtype) if out is None else out
        numbers, channels = prod(shape[1:]), self._channels(shape)
        step = channels if len(shape) == 3 else 1
        if self._first is None or self._first.shape[1] != channels or len(self._first) < len(grad):
            apart = 1 if len(shape) == 3 else numbers // channels
            self._first = numbers * np.arange(len(grad))[:, None] + apart * np.arange(channels)
        where = np.multiply(at, step, out=self.work_array("where", at.shape, np.intp))
        np.add(where, self._first[: len(grad)], out=where)
        dx.fill(0)
        flat = dx.reshape(-1) if dx.flags.c_contiguous else np.zeros(dx.size, dx.dtype)
        flat.put(where.reshape(-1), grad.reshape(-1), mode="clip")
        if not dx.flags.c_contiguous:
            np.copyto(dx, flat.reshape(dx.shape))
        return dx

    @staticmethod
    def _channels(shape: Shape) -> int:
        return shape[2] if len(shape) == 3 else shape[1]

    def sides(self) -> NDArray[Any] | None:
        """The position of each maximum."""
        return saved(self._at, self).copy()


def _window(arguments: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Return the arguments that determine the windows on a plane."""
    kernel, stride, ceil = arguments["kernel_size"], arguments["stride"], arguments.get("ceil_mode", False)
    return sizes(kernel), sizes(kernel if stride is None else stride), sizes(arguments["padding"]), 1, name, ceil


def _windows_on(plane: Shape, window: tuple[Any, ...]) -> Windows:
    *arguments, ceil = window
    windows = windows_on(plane, *arguments)
    before, after = windows.before, windows.after
    if any(2 * max(pads) > size for *pads, size in zip(before, after, windows.size, strict=True)):
        raise ShapeError(
            f"the padding of a {arguments[-1]} is at most half of its window of {shape_in_words(windows.size)}",
            argument="padding",
            label="more than half",
            help=f"`padding={min(windows.size[2 - len(plane) :]) // 2}` is the most",
        )
    return windows_on(plane, *arguments, ceil=True) if ceil else windows
