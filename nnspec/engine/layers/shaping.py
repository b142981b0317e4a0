"""Layers that change only the shape of their input, or the order of its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    ShapeError,
    image,
    sample_in_words,
    saved,
    sequence,
    sequence_or_image,
    shape_in_words,
)
from nnspec.engine.layers.windows import each, sizes
from nnspec.engine.part import Also, Count, Range, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Cropping",
    "Flatten",
    "Patches",
    "PixelShuffle",
    "PixelUnshuffle",
    "RepeatVector",
    "Reshape",
    "Select",
    "Transpose",
    "ZeroPad",
]


class _Reshaping(Layer):
    """Base of the layers that change only the shape. The result shares memory with x if possible."""

    in_place = True
    batch_invariant = True
    samples_independent = True
    batch_last = "keeps"

    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """If the numbers of a position do not stay together: later layers then have no notion of positions."""
        out = cls.geometry(incoming, arguments).out
        return len(incoming) == 2 and out[:1] != incoming[:1]

    def _leaving(self, incoming: Shape) -> Shape:
        """Return the new shape of a sample."""
        raise NotImplementedError

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Reshape each sample."""
        self._shape = x.shape
        return _reshaped(x, (len(x), *self._leaving(x.shape[1:])), out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Restore the shape of each sample."""
        return _reshaped(grad, saved(self._shape, self), out)


class Flatten(_Reshaping):
    """Flatten each sample to a row: `(B, *s) -> (B, Π s)`, in C order."""

    spec_name = "Flatten"

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`s -> (Π s,)`, at no cost."""
        return Geometry(out=(prod(incoming),), flops=0)

    def _leaving(self, incoming: Shape) -> Shape:
        return (prod(incoming),)


class Reshape(_Reshaping):
    """Reshape each sample, keeping its numbers in C order: `(B, *s) -> (B, *shape)`.

    One extent may be -1, which is inferred from the others. The number of extents determines the result: one makes
    features, two a sequence of positions × features, three an image of channels × rows × columns. For example,
    `Reshape([1, 28, 28])` turns 784 features into an image of one channel, and `Reshape([120, 7])` turns 840 into a
    sequence.
    """

    spec_name = "Reshape"
    also = ("reshape", "View", "Unflatten")

    shape: Annotated[tuple[int, ...], Range(low=-1), Also("target_shape", "size")]

    def __post_init__(self) -> None:
        if problem := _shape_problem(self.shape):
            raise ValueError(f"Reshape: {problem}")
        self.shape = tuple(self.shape)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`s -> shape`, at no cost."""
        shape = arguments["shape"]
        if problem := _shape_problem(shape):
            raise ShapeError(problem, argument="shape", label="no shape", help="for example, `Reshape([-1])`")
        return Geometry(out=_filled(shape, incoming), flops=0)

    def _leaving(self, incoming: Shape) -> Shape:
        return _filled(self.shape, incoming)


def _shape_problem(shape: Sequence[int]) -> str:
    """Describe why this is not a valid shape, or return an empty string."""
    if not shape:
        return "`shape` cannot be empty"
    if any(n == 0 for n in shape):
        return "`shape` cannot contain 0"
    return "" if sum(n == -1 for n in shape) < 2 else "`shape` can contain -1 only once"


def _filled(shape: Sequence[int], incoming: Shape) -> Shape:
    """Return the shape with -1 replaced. Raises ShapeError if the numbers do not fit into it."""
    numbers, known = prod(incoming), prod(n for n in shape if n != -1)
    if -1 in shape and numbers % known == 0:
        return tuple(numbers // known if n == -1 else int(n) for n in shape)
    if known != numbers:
        written = f"[{', '.join(map(str, shape))}]"
        raise ShapeError(
            f"{shape_in_words(incoming)} are {numbers} numbers, but {written} holds "
            f"{'a multiple of ' if -1 in shape else ''}{known}",
            argument="shape",
            label=f"{numbers} numbers here",
            help=f"put {'`Flatten` and ' if len(incoming) > 1 else ''}`Linear({known})` before it",
        )
    return tuple(int(n) for n in shape)


def _reshaped(x: NDArray[Any], shape: tuple[int, ...], out: NDArray[Any] | None) -> NDArray[Any]:
    view = x.reshape(shape)
    if out is None:
        return view
    if not np.may_share_memory(view, out):
        np.copyto(out, view)
    return out


@dataclass(frozen=True)
class Permutation:
    """Another order of the numbers of a sample: split its axes into `factors`, permute these by `order`, and merge them
    into the axes of `out`.
    """

    factors: Shape
    order: tuple[int, ...]
    out: Shape


class Permuting(Layer):
    """Base of the layers that change the order of numbers, which costs nothing but a copy."""

    batch_invariant = True
    samples_independent = True
    image_as: ClassVar[Literal["row", "sequence", "image", "any"]] = "image"

    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """The numbers of x in another order."""
        return Geometry(out=cls.permutation(incoming, arguments).out, flops=0)

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """Return the order of the numbers of a sample. Raises ShapeError."""
        raise NotImplementedError

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Copy the numbers into their new places."""
        self._shape = x.shape
        permutation = self.permutation(x.shape[1:], self.arguments())
        y = np.empty((len(x), *permutation.out), x.dtype) if out is None else out
        factors = tuple(permutation.factors[axis] for axis in permutation.order)
        order = (0, *(1 + axis for axis in permutation.order))
        source = x.reshape(len(x), *permutation.factors).transpose(order)
        np.copyto(y.reshape(len(x), *factors), source)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Copy the gradients back."""
        shape = saved(self._shape, self)
        permutation = self.permutation(shape[1:], self.arguments())
        dx = np.empty(shape, grad.dtype) if out is None else out
        order = (0, *(1 + axis for axis in permutation.order))
        target = dx.reshape(len(grad), *permutation.factors).transpose(order)
        np.copyto(target, grad.reshape(target.shape))
        return dx


class Transpose(Permuting):
    """Swap the last two axes: positions and features `(B, T, F) -> (B, F, T)`, rows and columns `(B, C, H, W) -> (B, C,
    W, H)`.

    In a mixer, the layers between two of them work across positions. PyTorch's `x.transpose(-1, -2)`, Keras's
    `Permute((2, 1))`.
    """

    spec_name = "Transpose"
    also = ("Permute", "transpose", "SwapAxes")
    image_as = "sequence"

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(*s, m, n) -> (*s, n, m)`."""
        sequence_or_image(cls, incoming)
        axes = (*range(len(incoming) - 2), len(incoming) - 1, len(incoming) - 2)
        return Permutation(incoming, axes, tuple(incoming[axis] for axis in axes))

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """Later layers work across positions."""
        return len(incoming) == 2


class Patches(Permuting):
    """Cut an image into patches, the positions of a sequence: `(B, C, H, W) -> (B, H/p · W/p, p·p·C)`.

    Positions are ordered by rows and columns of patches, the features of each by row, column and channel, as in
    Keras's `extract_patches`. `size` is p, or one for rows and one for columns; it must divide the image. With `Linear`
    after it, it is the stem of a vision transformer or a mixer: a convolution whose stride is its kernel size.
    Dosovitskiy et al. 2021.
    """

    spec_name = "Patches"
    also = ("PatchEmbed", "Patchify", "extract_patches", "PatchExtract", "ExtractPatches")

    size: Annotated[Count | tuple[Count, Count], Also("patch_size", "patch")]

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(C, H/p, p, W/p, p)` to `(H/p, W/p, p, p, C)`."""
        channels, height, width = image(cls, incoming)
        p, q = each(sizes(arguments["size"]), 2, cls.spec_name)
        if height % p or width % q:
            fits = [n for n in range(2, min(height, width)) if height % n == 0 and width % n == 0]
            raise ShapeError(
                f"patches of {p}×{q} do not divide {height}×{width}",
                argument="size",
                label="does not divide the image",
                help=f"`Patches({min(fits, key=lambda n: abs(n - p))})` does" if fits else "put `Resize` before it",
            )
        rows, columns = height // p, width // q
        return Permutation((channels, rows, p, columns, q), (1, 3, 2, 4, 0), (rows * columns, p * q * channels))


class PixelShuffle(Permuting):
    """Channels become rows and columns: y[c, r·h + i, r·w + j] = x[c·r² + r·i + j, h, w].

    `(B, C·r², H, W) -> (B, C, r·H, r·W)`: a convolution before it computes r² numbers for each pixel of the larger
    image. Shi et al. 2016; as in PyTorch. TensorFlow's `depth_to_space` has another order of channels.
    """

    spec_name = "PixelShuffle"
    also = ("pixel_shuffle", "DepthToSpace", "SubPixelConv")

    factor: Annotated[Count, Also("upscale_factor", "r", "block_size", "scale")]

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(C, r, r, H, W)` to `(C, H, r, W, r)`."""
        (channels, height, width), r = image(cls, incoming), arguments["factor"]
        if channels % (r * r):
            more = -(-channels // (r * r)) * r * r
            raise ShapeError(
                f"{channels} channels are not a multiple of {r}² = {r * r}",
                argument="factor",
                label=f"needs {r * r} channels for each channel of its output",
                help=f"put `Conv2D({more}, 3, padding=same)` before it",
            )
        out = channels // (r * r)
        return Permutation((out, r, r, height, width), (0, 3, 1, 4, 2), (out, r * height, r * width))


class PixelUnshuffle(Permuting):
    """Rows and columns become channels: `(B, C, r·H, r·W) -> (B, C·r², H, W)`, the inverse of `PixelShuffle`.

    As in PyTorch.
    """

    spec_name = "PixelUnshuffle"
    also = ("pixel_unshuffle", "SpaceToDepth")

    factor: Annotated[Count, Also("downscale_factor", "r", "block_size", "scale")]

    @classmethod
    def permutation(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Permutation:
        """`(C, H, r, W, r)` to `(C, r, r, H, W)`."""
        (channels, height, width), r = image(cls, incoming), arguments["factor"]
        if height % r or width % r:
            raise ShapeError(
                f"{r} does not divide {height}×{width}",
                argument="factor",
                label="does not divide the image",
                help="use a factor that divides both, or put `Resize` before it",
            )
        rows, columns = height // r, width // r
        return Permutation((channels, rows, r, columns, r), (0, 2, 4, 1, 3), (channels * r * r, rows, columns))


class RepeatVector(Layer):
    """Repeat the features of a sample at each position of a sequence: `(B, F) -> (B, T, F)`; dL/dx = Σ g over the
    positions. As in Keras; PyTorch's `x[:, None].expand(-1, T, -1)`.
    """

    spec_name = "RepeatVector"
    also = ("Repeat", "repeat_vector", "Expand")
    batch_invariant = True
    samples_independent = True

    length: Annotated[Count, Also("n", "places", "times", "timesteps", "count")]
    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(F,) -> (T, F)`, at no cost."""
        if len(incoming) != 1:
            raise ShapeError(
                f"RepeatVector expects features but got {sample_in_words(incoming)}", help="add `Flatten` before it"
            )
        return Geometry(out=(arguments["length"], *incoming), flops=0)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Copy x to each position."""
        self._shape = x.shape
        y = np.empty((len(x), self.length, x.shape[1]), x.dtype) if out is None else out
        np.copyto(y, x[:, None])
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Σ g over the positions."""
        saved(self._shape, self)
        return np.add.reduce(grad, axis=1, out=out)


class Select(Layer):
    """One position of a sequence: `(B, T, F) -> (B, F)`; dL/dx is g there and 0 elsewhere.

    `index` counts from 0, and from the end if it is negative: `Select(0)` after a vision transformer is its class
    token, `Select(-1)` the last position. PyTorch's `x[:, index]`.
    """

    spec_name = "Select"
    also = ("select", "Take", "Position", "Place", "Last", "First")
    batch_invariant = True
    samples_independent = True
    image_as = "sequence"

    index: Annotated[int, Also("place", "position", "i")]
    examples = ({"index": 0}, {"index": -1})
    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(T, F) -> (F,)`, at no cost."""
        (places, features), index = sequence(cls, incoming), arguments["index"]
        if not -places <= index < places:
            raise ShapeError(
                f"a sequence of {places} positions has no position {index}",
                argument="index",
                label=f"from {-places} to {places - 1}",
                help="`Select(-1)` is the last one",
            )
        return Geometry(out=(features,), flops=0)

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """No positions are left."""
        return True

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x at that position."""
        self._shape = x.shape
        return np.positive(x[:, self.index], out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g at that position, 0 elsewhere."""
        dx = np.empty(saved(self._shape, self), grad.dtype) if out is None else out
        dx.fill(0)
        np.copyto(dx[:, self.index], grad)
        return dx


Margin = Annotated[int, Range(low=0)]
Margins = Margin | tuple[Margin, Margin] | tuple[Margin, Margin, Margin, Margin]


class Framing(Layer):
    """Base of the layers that add or remove a frame. `inside` are the slices of the larger of x and y."""

    batch_last = "prefers"
    batch_invariant = True
    samples_independent = True
    image_as = "image"
    enlarges: ClassVar[bool]

    margin: Annotated[Margins, Also("padding", "cropping", "pad", "amount", "size")]
    _shape: tuple[int, ...] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Larger or smaller on each side, at no cost."""
        frame, sign = cls.frame(incoming, arguments["margin"]), 1 if cls.enlarges else -1
        out = tuple(extent + sign * (before + after) for extent, (before, after) in zip(incoming, frame, strict=True))
        if min(out) < 1:
            raise ShapeError(
                f"{cls.spec_name} leaves nothing of {sample_in_words(incoming)}",
                argument="margin",
                label="too much",
                help="crop less",
            )
        return Geometry(out=out, flops=0)

    @classmethod
    def frame(cls, shape: Shape, margin: int | Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Return what is added or removed before and after each axis of a sample."""
        numbers = (int(margin),) if isinstance(margin, int) else tuple(map(int, margin))
        if len(shape) == 2 and len(numbers) < 4:
            return (numbers[0], numbers[-1]), (0, 0)
        if len(shape) == 3:
            top, bottom, left, right = {1: numbers * 4, 2: (*numbers[:1] * 2, *numbers[1:] * 2)}.get(
                len(numbers), numbers
            )
            return (0, 0), (top, bottom), (left, right)
        if len(shape) == 2:
            raise ShapeError(
                f"{cls.spec_name} of a sequence takes a number, or two: before and after",
                argument="margin",
                label="four numbers",
                help=f"`{cls.spec_name}([{numbers[0]}, {numbers[1]}])`",
            )
        raise ShapeError(
            f"{cls.spec_name} expects a sequence or an image but got {sample_in_words(shape)}",
            help="put it before the layer that flattens the sample",
        )

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """If positions move to earlier ones."""
        before, _ = cls.frame(incoming, arguments["margin"])[0]
        return not cls.enlarges and before > 0

    def _inside(self, array: NDArray[Any], smaller: tuple[int, ...]) -> NDArray[Any]:
        """Return the part of the larger array that the smaller one has."""
        frame = self.frame(array.shape[1:], self.margin)
        return array[(slice(None), *(slice(b, b + n) for (b, _), n in zip(frame, smaller[1:], strict=True)))]

    def _resized(
        self, x: NDArray[Any], shape: tuple[int, ...], out: NDArray[Any] | None, *, enlarge: bool
    ) -> NDArray[Any]:
        y = np.empty(shape, x.dtype) if out is None else out
        if enlarge:
            y.fill(0)
            np.copyto(self._inside(y, x.shape), x)
        else:
            np.copyto(y, self._inside(x, y.shape))
        return y

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Add or remove the frame."""
        self._shape = x.shape
        return self._resized(x, (len(x), *self.output_shape(x.shape[1:])), out, enlarge=self.enlarges)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Remove or add the frame."""
        return self._resized(grad, saved(self._shape, self), out, enlarge=not self.enlarges)


class ZeroPad(Framing):
    """Add zeros around an image, or before and after a sequence: `(B, C, H, W) -> (B, C, H + 2m, W + 2m)`, `(B, T, F)
    -> (B, T + 2m, F)`.

    `margin` is m; or two numbers, for rows and columns of an image, or before and after a sequence; or four: top,
    bottom, left and right. As Keras's `ZeroPadding2D`; PyTorch's `ZeroPad2d` takes left, right, top and bottom.
    """

    spec_name = "ZeroPad"
    also = ("ZeroPadding2D", "ZeroPadding1D", "ZeroPad2d", "ZeroPad1d", "Pad")
    enlarges = True


class Cropping(Framing):
    """Remove the border of an image, or positions before and after a sequence: `(B, C, H, W) -> (B, C, H − 2m, W −
    2m)`, `(B, T, F) -> (B, T − 2m, F)`.

    `margin` is as in `ZeroPad`. As Keras's `Cropping2D` and `Cropping1D`.
    """

    spec_name = "Cropping"
    also = ("Crop", "Cropping2D", "Cropping1D", "CenterCrop")
    enlarges = False
