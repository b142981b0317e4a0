"""Convolutions over the positions of sequences `(T, F)`, and over the rows and columns of images `(C, H, W)`.

The kernels treat a sequence as an image of one row, whose channels are the features.

The contents of the windows are copied side by side ("im2col"), and one product does the rest:

    columns (K, N)      K = C/groups · kernel positions per group, N = windows · samples
    y = W · columns     (out, K) · (K, N)
    dL/dW = g · columnsᵀ        columns computed again, since keeping them takes K/C times the memory of x
    dL/dcolumns = Wᵀ · g        added up where the windows overlap ("col2im")

Chellapilla, Puri & Simard 2006. The samples are the last axis of the columns, so that each copy and each addition works
on long runs; large layers are processed in bands of rows of windows, so that the columns of a band stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, InitVar
from math import gcd, prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.initializers import BiasInit, HeNormal, Initializer
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, check_given, image, saved, sequence
from nnspec.engine.layers.windows import (
    Dilation,
    Dilation1D,
    Kernel,
    Kernel1D,
    Padding,
    Padding1D,
    Sizes,
    Stride,
    Stride1D,
    Windows,
    each,
    in_one_piece,
    planes_of,
    samples_of,
    sizes,
    windows_on,
)
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, argument, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Conv1D", "Conv2D"]

HE_NORMAL = HeNormal()
BAND = 20_000
"""The number of a sample's column entries that are processed at a time."""


class Convolution(Layer):
    """Base of the convolutions, and of the transposed ones: everything shared by one and two axes."""

    family = "linear"
    skips_frozen = True
    backward_reads = frozenset({"input"})
    batch_last = "prefers"
    samples_independent = True
    axes: ClassVar[int]

    in_channels: Inferred[Annotated[Count, Also("in", "in_features", "channels", "c_in")]]
    out_channels: Annotated[Count, Also("out", "filters", "out_features", "n_filters", "features", "c_out")]
    kernel_size: Kernel
    stride: Stride = 1
    padding: Padding | Padding1D = "valid"
    dilation: Dilation = 1
    groups: Annotated[Count, Also("n_groups")] = 1
    _: KW_ONLY
    use_bias: Annotated[bool, Also("use_bias")] = argument(alias="bias", default=True)
    init: Annotated[Initializer, Also("kernel_initializer", "weight_init")] = HE_NORMAL
    bias_init: BiasInit = None
    dtype: InitVar[str] = "float64"
    rng: InitVar[Generator | None] = None
    _x: NDArray[Any] | None = kept()

    def __post_init__(self, dtype: str, rng: Generator | None) -> None:
        problem = _group_problem(self.in_channels, self.out_channels, self.groups)
        if problem:
            raise ValueError(f"{type(self).__name__}: {problem}")
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        self._window = (*map(sizes, window), type(self).__name__)
        shape = self._weight_shape(self.in_channels, self.arguments())
        fan_in, fan_out = prod(shape[1:]), shape[0] // self.groups * prod(shape[2:])
        draw, start = rng or default_generator(), self.bias_init or self.init.biases()
        self.weight = Parameter(self.init.draw(shape, fan_in, fan_out, draw), dtype)
        bias = start.draw((self.out_channels,), fan_in, fan_out, draw) if self.use_bias else None
        self.bias = None if bias is None else Parameter(bias, dtype, decays=False)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(T, F) -> (T', out)` or `(C, H, W) -> (out, H', W')`. 2·K FLOPs per number for the product, one more for the
        bias.
        """
        channels, plane = cls._planes(incoming, arguments)
        out, groups = arguments["out_channels"], arguments["groups"]
        without = f"{cls.spec_name}({out}, {_in_spec(arguments['kernel_size'])})"
        check_given(cls, arguments, "in_channels", channels, "channel", without)
        if problem := _group_problem(channels, out, groups):
            help = f"`groups={gcd(channels, out)}` divides both"
            raise ShapeError(problem, argument="groups", label="does not divide both", help=help)
        windows, shape, bias = cls._windows(plane, arguments), cls._weight_shape(channels, arguments), arguments["bias"]
        leaving = cls._leaving(out, windows)
        under, over = shape[1] * groups, shape[0]  # channels of the plane under the windows, and numbers of each window
        rows = _rows_of_band(under, over, windows, groups)
        work = {
            "padded": Work((under, *windows.padded)),
            "columns": Work((under * prod(windows.size), rows, windows.out[1])),
            "product": Work((over, *windows.out)),
        }
        if rows < windows.out[0]:
            work["partial"] = Work(shape)
        return Geometry(
            out=leaving,
            flops=2 * prod(windows.out) * prod(shape) + (prod(leaving) if bias else 0),
            parameters={"weight": shape} | ({"bias": (out,)} if bias else {}),
            inferred={"in_channels": channels},
            work=work,
        )

    @classmethod
    def _weight_shape(cls, channels: int, arguments: Mapping[str, Any]) -> Shape:
        """Return the shape of W for a number of input channels."""
        kernel = each(arguments["kernel_size"], cls.axes)
        return (arguments["out_channels"], channels // arguments["groups"], *kernel)

    @classmethod
    def _leaving(cls, out: int, windows: Windows) -> Shape:
        """Return the shape of a sample's output."""
        return (out, *windows.out) if cls.axes == 2 else (windows.out[1], out)

    @classmethod
    def _planes(cls, incoming: Shape, arguments: Mapping[str, Any]) -> tuple[int, Shape]:
        """Return the number of channels of a sample, and the extents that windows slide along. Raises ShapeError."""
        raise NotImplementedError

    @classmethod
    def _windows(cls, plane: Shape, arguments: Mapping[str, Any]) -> Windows:
        window = (sizes(arguments[name]) for name in ("kernel_size", "stride", "padding", "dilation"))
        return windows_on(plane, *window, cls.spec_name)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Slide W over x, and add b."""
        self._x = x
        planes = planes_of(x, self.axes)
        windows = self._windows_on(planes)
        shape = (len(self.weight.data), *windows.out, len(x))
        wanted = np.empty(shape, x.dtype) if out is None else planes_of(out, self.axes)
        self._correlate(self._padded(planes, windows), wanted, windows, self.bias)
        return samples_of(wanted, self.axes) if out is None else out

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Write dL/dW and dL/db, and add Wᵀ g to the positions of each window."""
        x = saved(self._x, self)
        planes = planes_of(x, self.axes)
        windows = self._windows_on(planes)
        g = self._contiguous(planes_of(grad, self.axes))
        if self.trains and self.bias is not None:
            np.add.reduce(g.reshape(len(g), -1), axis=1, out=self.bias.grad)
        if self.trains:
            self._weight_gradient(g, self._padded(planes, windows), windows)
        if not input_grad:
            return None
        wanted = np.empty(planes.shape, g.dtype) if out is None else planes_of(out, self.axes)
        self._spread(g, wanted, windows)
        return samples_of(wanted, self.axes) if out is None else out

    def _correlate(
        self, source: NDArray[Any], wanted: NDArray[Any], windows: Windows, bias: Parameter | None = None
    ) -> None:
        """Write W · columns + b, the sums over each window, to planes of one number per window."""
        y = wanted if in_one_piece(wanted) else self._work_planes("product", wanted.shape, wanted.dtype)
        weight = self._by_group(self.weight.data)
        for start, stop, columns in self._bands(source, windows):
            np.copyto(columns, windows.view(source, start, stop))
            np.matmul(weight, self._matrix(columns), out=self._matrix(y[:, start:stop]))
        if bias is not None:
            np.add(y, bias.data[:, None, None, None], out=y)
        if y is not wanted:
            np.copyto(wanted, y)

    def _contiguous(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Return planes of one number per window as one contiguous array; unchanged if they already are."""
        if in_one_piece(planes):
            return planes
        copied = self._work_planes("product", planes.shape, planes.dtype)
        np.copyto(copied, planes)
        return copied

    def _weight_gradient(self, g: NDArray[Any], source: NDArray[Any], windows: Windows) -> None:
        """dL/dW = Σ g · columnsᵀ over the bands."""
        total = self._by_group(self.weight.grad)
        for start, stop, columns in self._bands(source, windows):
            np.copyto(columns, windows.view(source, start, stop))
            part = total
            if start:
                part = self.work_array("partial", (1, *self.weight.shape), g.dtype).reshape(total.shape)
            np.matmul(self._matrix(g[:, start:stop]), self._matrix(columns).mT, out=part)
            if start:
                np.add(total, part, out=total)

    def _spread(self, g: NDArray[Any], wanted: NDArray[Any], windows: Windows) -> None:
        """Add each entry of Wᵀ · g at its position in the window: dL/dx of a convolution."""
        direct = not windows.has_padding and in_one_piece(wanted)
        channels, _, _, batch = wanted.shape
        dx = wanted if direct else self._work_planes("padded", (channels, *windows.padded, batch), g.dtype)
        dx.fill(0)
        weight = self._by_group(self.weight.data).mT
        for start, stop, columns in self._bands(dx, windows):
            np.matmul(weight, self._matrix(g[:, start:stop]), out=self._matrix(columns))
            for (i, j), where in windows.places(start, stop):
                seen = dx[where]
                np.add(seen, columns[:, i, j], out=seen)
        if not direct:
            np.copyto(wanted, windows.inner(dx))

    def _windows_on(self, planes: NDArray[Any]) -> Windows:
        """Return the windows on planes of x."""
        return windows_on(planes.shape[3 - self.axes : 3], *self._window)

    def _padded(self, planes: NDArray[Any], windows: Windows) -> NDArray[Any]:
        """Return planes as one contiguous array with their padding; unchanged if they already are."""
        if not windows.has_padding and in_one_piece(planes):
            return planes
        channels, _, _, batch = planes.shape
        padded = self._work_planes("padded", (channels, *windows.padded, batch), planes.dtype)
        windows.fill_border(padded, 0)
        np.copyto(windows.inner(padded), planes)
        return padded

    def _bands(self, planes: NDArray[Any], windows: Windows) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield ranges of rows of windows, as start and end, with an array for their columns."""
        channels, _, _, batch = planes.shape
        rows = _rows_of_band(channels, len(self.weight.data), windows, self.groups)
        width = windows.out[1]
        height = channels * prod(windows.size)
        memory = self.work_array("columns", (batch, height, rows, width), planes.dtype).reshape(-1)
        for start in range(0, windows.out[0], rows):
            stop = min(start + rows, windows.out[0])
            shape = (channels, *windows.size, stop - start, width, batch)
            yield start, stop, memory[: prod(shape)].reshape(shape)

    def _work_planes(self, name: str, shape: Shape, dtype: Any) -> NDArray[Any]:
        """Return a work array as planes `(C, H, W, B)`."""
        *planes, batch = shape
        return self.work_array(name, (batch, *planes), dtype).reshape(shape)

    def _by_group(self, weight: NDArray[Any]) -> NDArray[Any]:
        """Return W or dL/dW as a matrix (out, K), or as one for each group."""
        out = len(weight)
        return weight.reshape(out, -1) if self.groups == 1 else weight.reshape(self.groups, out // self.groups, -1)

    def _matrix(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return columns `(C, kh, kw, rows, columns, B)` or channels `(C, rows, columns, B)` as a matrix whose second
        axis is windows and samples, or as one matrix per group.
        """
        *first, rows, columns, batch = array.shape
        places = (prod(first),) if self.groups == 1 else (self.groups, prod(first) // self.groups)
        return array.reshape(*places, rows * columns * batch)


class Conv2D(Convolution):
    """y[o, h, w] = b[o] + Σ W[o, c, i, j] · x[c, s·h + d·i − p, s·w + d·j − p].

    Summed over c, i, j: `(B, C, H, W) -> (B, out, H', W')`, a cross-correlation, as everywhere in the field. dL/dW sums
    g times the contents of each window; dL/dx adds W times g at the positions of each window. Kernel, stride, padding
    and dilation are numbers or pairs (rows, columns). `padding=same` gives ⌈H/s⌉ rows (in PyTorch only for s = 1), with
    odd padding placed at the end. With groups, each group of channels of y depends on one group of those of x;
    `groups=C` is the depthwise convolution. Weights `(out, C/groups, kh, kw)` start He-normal with fan-in C/groups · kh
    · kw, biases at zero; PyTorch initialises both uniformly. Keras puts channels last and stores W as `(kh, kw, C,
    out)`. LeCun et al. 1989.
    """

    spec_name = "Conv2D"
    also = ("Conv2d", "Convolution2D", "conv2d", "Conv")
    axes = 2
    image_as = "image"

    padding: Padding = "valid"

    @classmethod
    def _planes(cls, incoming: Shape, arguments: Mapping[str, Any]) -> tuple[int, Shape]:
        sizes_of_axes = zip(each(arguments["kernel_size"], 2), each(arguments["dilation"], 2), strict=True)
        channels, *plane = image(cls, incoming, max(d * (k - 1) + 1 for k, d in sizes_of_axes))
        return channels, tuple(plane)


class Conv1D(Convolution):
    """y[t, o] = b[o] + Σ W[o, c, i] · x[s·t + d·i − p, c].

    Summed over c, i: `(B, T, F) -> (B, T', out)`. As `Conv2D`, along the positions of a sequence; the channels are its
    features, and W is `(out, F/groups, k)`. `padding=causal` puts d·(k − 1) zeros before the first position and none
    after the last, so that y[t] depends only on x[0] … x[t] for s = 1. Keras has the same order of axes; PyTorch takes
    `(B, F, T)` and returns `(B, out, T')`.
    """

    spec_name = "Conv1D"
    also = ("Conv1d", "Convolution1D", "conv1d")
    resembles = (("CausalConv1D",), "add `padding=causal`")
    axes = 1
    image_as = "sequence"
    looks_ahead_unless = "padding=causal"

    kernel_size: Kernel1D
    stride: Stride1D = 1
    padding: Padding1D = "valid"
    dilation: Dilation1D = 1

    @classmethod
    def _planes(cls, incoming: Shape, arguments: Mapping[str, Any]) -> tuple[int, Shape]:
        places, features = sequence(cls, incoming)
        return features, (places,)

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """Unless the window ends at its own position, as with `padding=causal`."""
        return cls._windows(incoming[:1], arguments).look_ahead


def _group_problem(channels: int, out: int, groups: int) -> str:
    """Describe what does not fit, or return an empty string."""
    if channels % groups == 0 and out % groups == 0:
        return ""
    return f"`groups` must divide the input and output channels, got {channels} and {out} channels in {groups} groups"


def _rows_of_band(channels: int, out: int, windows: Windows, groups: int) -> int:
    """Return the number of rows of windows processed at a time, in bands of about the same height.

    The columns of a band are never smaller than the weights, whose gradients have to be added up over the bands.
    """
    height, (rows, width) = channels * prod(windows.size), windows.out
    bands = -(-height * rows * width // max(BAND, height * out // groups))
    return -(-rows // bands)


def _in_spec(kernel: Sizes) -> str:
    return str(kernel) if isinstance(kernel, int) else str(list(kernel))
