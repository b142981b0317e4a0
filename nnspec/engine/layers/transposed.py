"""Transposed convolutions: the backward pass of a convolution as a layer, so that a stride enlarges the sample.

The windows are on y, one for each position of x. Forward adds Wᵀ x at the positions of each window, as a convolution's
backward pass does; dL/dx and dL/dW are the forward pass and the weight gradient of that convolution, given dL/dy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, image, saved, sequence
from nnspec.engine.layers.convolution import Convolution
from nnspec.engine.layers.windows import (
    Dilation1D,
    Extent,
    Kernel1D,
    Padding,
    Stride1D,
    Windows,
    each,
    planes_of,
    samples_of,
    sizes,
    windows_on,
)
from nnspec.engine.part import Also

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ConvTranspose1D", "ConvTranspose2D"]

WINDOW = ("kernel_size", "stride", "padding", "dilation", "output_padding")
"""The arguments that determine the windows on the output."""


class _Transposed(Convolution):
    """Base of the transposed convolutions."""

    _: KW_ONLY
    output_padding: Annotated[Extent | tuple[Extent, Extent], Also("out_padding")] = 0

    def __post_init__(self, dtype: str, rng: Any) -> None:
        super().__post_init__(dtype, rng)
        self._over = [sizes(getattr(self, name)) for name in WINDOW]

    @classmethod
    def _weight_shape(cls, channels: int, arguments: Mapping[str, Any]) -> Shape:
        kernel = each(arguments["kernel_size"], cls.axes)
        return (channels, arguments["out_channels"] // arguments["groups"], *kernel)

    @classmethod
    def _windows(cls, plane: Shape, arguments: Mapping[str, Any]) -> Windows:
        return windows_over(plane, [sizes(arguments[name]) for name in WINDOW], cls.spec_name)

    @classmethod
    def _leaving(cls, out: int, windows: Windows) -> Shape:
        height, width = windows.plane
        return (out, height, width) if cls.axes == 2 else (width, out)

    def _windows_on(self, planes: NDArray[Any]) -> Windows:
        return windows_over(planes.shape[3 - self.axes : 3], self._over, self.spec_name)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Add W times x at the positions of each window, and b."""
        self._x = x
        planes = planes_of(x, self.axes)
        windows = self._windows_on(planes)
        shape = (self.out_channels, *windows.plane, len(x))
        y = np.empty(shape, x.dtype) if out is None else planes_of(out, self.axes)
        self._spread(self._contiguous(planes), y, windows)
        if self.bias is not None:
            np.add(y, self.bias.data[:, None, None, None], out=y)
        return samples_of(y, self.axes) if out is None else out

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Write dL/dW and dL/db, and sum W times g over each window."""
        x = saved(self._x, self)
        planes, g = planes_of(x, self.axes), planes_of(grad, self.axes)
        windows = self._windows_on(planes)
        source = self._padded(g, windows)
        if self.trains and self.bias is not None:
            np.add.reduce(source.reshape(len(source), -1), axis=1, out=self.bias.grad)  # its padding is zero
        if self.trains:
            self._weight_gradient(self._contiguous(planes), source, windows)
        if not input_grad:
            return None
        wanted = np.empty(planes.shape, g.dtype) if out is None else planes_of(out, self.axes)
        self._correlate(source, wanted, windows)
        return samples_of(wanted, self.axes) if out is None else out


class ConvTranspose2D(_Transposed):
    """y[o, s·h + d·i − p, s·w + d·j − p] += W[c, o, i, j] · x[c, h, w], and b[o] is added.

    `(B, C, H, W) -> (B, out, H', W')` with H' = s·(H − 1) + d·(k − 1) + 1 − 2p + `output_padding`: the backward pass of
    a `Conv2D`, which a stride s makes s times as large. `padding=same` gives H' = s·H, as in Keras. `output_padding`
    adds rows and columns at the end, fewer than the stride. Weights are `(C, out/groups, kh, kw)`, as in PyTorch; they
    start He-normal with fan-in out/groups · kh · kw, which both frameworks take from this shape, and biases at zero.
    Keras stores W as `(kh, kw, out, C)`, and its `valid` is at least s·H large. Zeiler et al. 2010.
    """

    spec_name = "ConvTranspose2D"
    also = ("ConvTranspose2d", "Conv2DTranspose", "Deconvolution2D", "Deconv2D", "conv_transpose2d", "Deconvolution")
    axes = 2
    image_as = "image"

    padding: Padding = "valid"

    @classmethod
    def _planes(cls, incoming: Shape, arguments: Mapping[str, Any]) -> tuple[int, Shape]:
        channels, *plane = image(cls, incoming)
        return channels, tuple(plane)


class ConvTranspose1D(_Transposed):
    """y[s·t + d·i − p, o] += W[c, o, i] · x[t, c], and b[o] is added.

    `(B, T, F) -> (B, T', out)`. As `ConvTranspose2D`, along the positions of a sequence; W is `(F, out/groups, k)`.
    """

    spec_name = "ConvTranspose1D"
    also = ("ConvTranspose1d", "Conv1DTranspose", "Deconv1D", "conv_transpose1d")
    axes = 1
    image_as = "sequence"

    kernel_size: Kernel1D
    stride: Stride1D = 1
    padding: Annotated[Literal["valid", "same"] | Extent, Also("pad", "pads")] = "valid"
    dilation: Dilation1D = 1
    _: KW_ONLY
    output_padding: Annotated[Extent, Also("out_padding")] = 0

    @classmethod
    def _planes(cls, incoming: Shape, arguments: Mapping[str, Any]) -> tuple[int, Shape]:
        places, features = sequence(cls, incoming)
        return features, (places,)

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """Unless each position is only added to itself and later ones."""
        windows = cls._windows(incoming[:1], arguments)
        return windows.stride[1] > 1 or windows.before[1] > 0


def windows_over(plane: Shape, window: Sequence[Any], name: str) -> Windows:
    """Return the windows on the output, one for each position of `plane`: of size, stride, padding, dilation and output
    padding as in `WINDOW`. Raises ShapeError if there is no output.
    """
    size, stride, padding, dilation, output_padding = window
    axes = len(plane)
    k, s, d, more = (each(value, axes, name) for value in (size, stride, dilation, output_padding))
    if any(q >= step for q, step in zip(more, s, strict=True)):
        raise ShapeError(
            f"the output padding of a {name} must be less than its stride",
            argument="output_padding",
            label=f"the stride is {stride}",
            help="remove it" if max(s) == 1 else f"`output_padding={min(s) - 1}` is the most",
        )
    if padding == "same":
        if any(more):
            raise ShapeError(
                "`padding=same` already determines the size of the output",
                argument="output_padding",
                label="has no effect here",
                help="remove it, or set the padding to a number",
            )
        wide = tuple(n * step for n, step in zip(plane, s, strict=True))
    else:
        pads = each(0 if padding == "valid" else padding, axes, name)
        wide = tuple(
            (n - 1) * step + rate * (extent - 1) + 1 - 2 * pad + q
            for n, extent, step, rate, pad, q in zip(plane, k, s, d, pads, more, strict=True)
        )
        if min(wide) < 1:
            raise ShapeError(
                f"the padding of this {name} removes its whole output",
                argument="padding",
                label="too large",
                help="use a smaller padding",
            )
    return windows_on(wide, size, stride, padding, dilation, name)
